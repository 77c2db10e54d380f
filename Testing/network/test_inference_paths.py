"""The paths that inference takes give what SAM2's own forward passes give."""

import pytest
import torch
from SAM2_3dMedLib.network import memory_reader
from SAM2_3dMedLib.network.build import build_network
from SAM2_3dMedLib.network.config import Parts, network_config
from SAM2_3dMedLib.network.features import MemoryItem, PointerItem
from SAM2_3dMedLib.network.memory_reader import MemoryReader
from SAM2_3dMedLib.network.slice_encoder import SliceEncoder, reduced_copy

SIZE = 128
SLOTS, DISTANCES, MAX_POINTERS = (0, 0, 3, 2, 1), (4, -2, 1), 9


@pytest.fixture(scope="module", params=["nano", "tiny"])
def network(request: pytest.FixtureRequest):
    torch.manual_seed(0)
    built = build_network(network_config(request.param, SIZE, Parts.all()))
    with torch.no_grad():
        built.maskmem_tpos_enc.mul_(50)  # a memory's age matters as much as its place
    return built


def _noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def _error(ours: torch.Tensor, reference: torch.Tensor) -> float:
    """Mean absolute difference over the reference's spread."""
    return float((ours.float() - reference.float()).abs().mean() / reference.float().std())


@torch.inference_mode()
def test_the_slice_encoder_gives_the_features_of_sam2s_forward_pass(network) -> None:
    images = _noise(2, 3, SIZE, SIZE)
    expected = network.encode(images)
    for ours, reference in zip(SliceEncoder(network).encode(images).maps(), expected.maps(), strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-5)
    reduced = SliceEncoder(reduced_copy(network, torch.bfloat16)).encode(images)
    for ours, reference in zip(reduced.maps(), expected.maps(), strict=True):
        assert ours.dtype == torch.bfloat16
        assert 0 < _error(ours, reference) < 0.02


def _memories(network) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    side, width = network.sam_image_embedding_size, network.hidden_dim
    memories = [_noise(2, network.mem_dim, side, side) * (number + 1) for number in range(len(SLOTS))]
    return memories, [_noise(2, width) * (number + 1) for number in range(len(DISTANCES))]


def _read(network, embedding: torch.Tensor) -> torch.Tensor:
    memories, pointers = _memories(network)
    reader = MemoryReader(network)
    projected = [reader.project(memory) for memory in memories]
    places = reader.project_pointers(torch.stack(pointers), DISTANCES, MAX_POINTERS)
    keys = [entry.keys + reader.age(slot) for entry, slot in zip(projected, SLOTS, strict=True)]
    values = [entry.values for entry in projected]
    return reader.read(embedding, torch.cat([*keys, places.keys], 2), torch.cat([*values, places.values], 2))


def _condition(network, embedding: torch.Tensor) -> torch.Tensor:
    memories, pointers = _memories(network)
    return network.condition(
        embedding,
        [MemoryItem(memory, slot) for memory, slot in zip(memories, SLOTS, strict=True)],
        [PointerItem(pointer, distance) for pointer, distance in zip(pointers, DISTANCES, strict=True)],
        MAX_POINTERS,
    )


@torch.inference_mode()
def test_memories_projected_once_give_what_sam2s_memory_attention_gives(network) -> None:
    embedding = _noise(2, network.hidden_dim, 8, 8)
    expected = _condition(network, embedding)
    torch.testing.assert_close(_read(network, embedding), expected, rtol=1e-3, atol=1e-5)
    changed = network.no_mem_embed.view(1, -1, 1, 1) + embedding
    assert _error(changed, expected) > 0.1, "the memories matter"


@torch.inference_mode()
def test_reduced_weights_are_those_that_autocast_makes(network) -> None:
    """Bit for bit, apart from the image encoder, whose layer norms are reduced too."""
    features = network.encode(_noise(2, 3, SIZE, SIZE))
    boundary = network.detect_boundary(features.embedding, features)
    points, labels = torch.tensor([[[40.0, 50.0]]] * 2), torch.ones(2, 1, dtype=torch.int32)
    outputs = []
    for candidate in (network, reduced_copy(network, torch.bfloat16)):
        with torch.autocast("cpu", torch.bfloat16):
            fused = _condition(candidate, features.embedding)
            decoding = candidate.decode(fused, features, points, labels)
            memory = candidate.encode_memory(features.embedding, decoding.logits, decoding.object_score, prompted=True)
            found = candidate.detect_boundary(features.embedding, features)
        outputs.append([fused, decoding.logits, decoding.pointer, memory, found.logits])
    for ours, reference in zip(*outputs, strict=True):
        assert torch.equal(ours, reference)
    assert not torch.equal(outputs[0][-1], boundary.logits), "autocast is in effect"
    assert next(network.memory_attention.parameters()).dtype == torch.float32, "the original stays as it was"


@torch.inference_mode()
def test_what_is_kept_of_pointers_places_has_an_end(network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_reader, "_MOST_PLACES", 5)
    reader, pointers = MemoryReader(network), _noise(2, 1, network.hidden_dim)
    first = reader.project_pointers(pointers, (0, 1), MAX_POINTERS)
    for distance in range(1, 20):
        reader.project_pointers(pointers, (distance, 1), MAX_POINTERS)
    assert len(reader._pointer_places) == 5
    torch.testing.assert_close(reader.project_pointers(pointers, (0, 1), MAX_POINTERS).keys, first.keys)
