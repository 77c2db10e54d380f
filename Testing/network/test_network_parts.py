"""The paper's parts start as exact SAM2, and each does what its docstring says."""

from dataclasses import replace

import pytest
import torch
from SAM2_3dMedLib.network.build import build_network
from SAM2_3dMedLib.network.config import Parts, network_config
from SAM2_3dMedLib.network.features import MemoryItem, PointerItem, SliceFeatures
from SAM2_3dMedLib.network.slice_position import SlicePositionHead

SIZE = 128


@pytest.fixture(scope="module")
def networks():
    """Plain SAM2 and the same weights with every part at its initialization."""
    torch.manual_seed(0)
    plain = build_network(network_config("nano", SIZE))
    full = build_network(network_config("nano", SIZE, Parts.all()))
    full.load_state_dict(plain.state_dict(), strict=False)
    return plain, full


def _images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def _through(network, images: torch.Tensor) -> list[torch.Tensor]:
    """Prompt on slice 0, then slice 1 with its memory: every tensor that leaves the network."""
    points = torch.tensor([[[40.0, 50.0], [90.0, 100.0]]])
    labels = torch.tensor([[2, 3]], dtype=torch.int32)
    features = network.encode(images)
    valid = torch.ones(1, len(images), dtype=torch.bool)
    embedding = network.contextualize(features.embedding[None], valid)[0]
    features = replace(features, embedding=embedding, boundary=network.detect_boundary(embedding, features))
    first, second = features.select(0), features.select(1)
    start = network.decode(network.condition(first.embedding, [], []), first, points, labels)
    memory = network.encode_memory(first.embedding, start.logits, start.object_score, prompted=True)
    fused = network.condition(second.embedding, [MemoryItem(memory, 0)], [PointerItem(start.pointer, 1)])
    after = network.decode(fused, second)
    return [start.candidates, start.pointer, memory, fused, after.candidates, after.candidate_ious, after.object_score]


@torch.inference_mode()
def test_with_new_parts_at_zero_the_output_is_exactly_sam2(networks) -> None:
    plain, full = networks
    for ours, reference in zip(_through(full, _images(2)), _through(plain, _images(2)), strict=True):
        assert torch.equal(ours, reference)


@torch.inference_mode()
def test_the_parts_change_the_output_once_they_leave_zero() -> None:
    torch.manual_seed(0)
    network = build_network(network_config("nano", SIZE, Parts.all()))
    before = _through(network, _images(2))
    torch.nn.init.normal_(network.adapter.up.weight, std=0.1)
    with_adapter = _through(network, _images(2))
    torch.nn.init.ones_(network.boundary_fusion.gate)
    with_fusion = _through(network, _images(2))
    assert not torch.allclose(before[0], with_adapter[0])
    assert not torch.allclose(with_adapter[0], with_fusion[0])


@torch.inference_mode()
def test_typed_calls_equal_sam2s_own_functions(networks) -> None:
    """decode, mask_as_output, condition and encode_memory against SAM2Base's dictionary-driven originals."""
    plain, _ = networks
    features = plain.encode(_images(2))
    first, second = features.select(0), features.select(1)
    point = {"point_coords": torch.tensor([[[40.0, 50.0]]]), "point_labels": torch.ones(1, 1, dtype=torch.int32)}
    skips = [first.high_res_s0, first.high_res_s1]
    start = plain.condition(first.embedding, [], [])
    _, _, ious, low, high, pointer, score = plain._forward_sam_heads(start, point, None, skips, multimask_output=True)
    ours = plain.decode(start, first, point["point_coords"], point["point_labels"])
    for mine, theirs in [
        (ours.logits, low),
        (ours.pointer, pointer),
        (ours.candidate_ious, ious),
        (ours.object_score, score),
    ]:
        torch.testing.assert_close(mine, theirs)

    maps = [first.high_res_s0, first.high_res_s1, first.embedding]
    sequences = [entry.flatten(2).permute(2, 0, 1) for entry in maps]
    sizes = [entry.shape[-2:] for entry in maps]
    memory, position = plain._encode_new_memory(sequences, sizes, high, score, is_mask_from_pts=True)
    torch.testing.assert_close(plain.encode_memory(first.embedding, low, score, prompted=True), memory)

    stored = {"maskmem_features": memory, "maskmem_pos_enc": position, "obj_ptr": pointer}
    maps = [second.high_res_s0, second.high_res_s1, second.embedding]
    places = [plain.image_encoder.neck.position_encoding(entry).flatten(2).permute(2, 0, 1) for entry in maps]
    theirs = plain._prepare_memory_conditioned_features(
        frame_idx=6,
        is_init_cond_frame=False,
        current_vision_feats=[second.embedding.flatten(2).permute(2, 0, 1)],
        current_vision_pos_embeds=places[-1:],
        feat_sizes=sizes[-1:],
        output_dict={"cond_frame_outputs": {3: stored}, "non_cond_frame_outputs": {4: stored, 5: stored}},
        num_frames=20,
    )
    mine = plain.condition(
        second.embedding,
        [MemoryItem(memory, 0), MemoryItem(memory, 2), MemoryItem(memory, 1)],
        [PointerItem(pointer, 3), PointerItem(pointer, 1), PointerItem(pointer, 2)],
    )
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)

    mask = torch.zeros(1, 1, SIZE, SIZE)
    mask[..., 30:60, 40:90] = 1
    _, _, _, low, _, pointer, score = plain._use_mask_as_output(first.embedding, skips, mask)
    ours = plain.mask_as_output(first.embedding, first, mask)
    for mine, theirs in [(ours.logits, low), (ours.pointer, pointer), (ours.object_score, score)]:
        torch.testing.assert_close(mine, theirs)


@torch.inference_mode()
def test_a_slice_sees_its_neighbors_and_nothing_beyond_them() -> None:
    torch.manual_seed(0)
    network = build_network(network_config("nano", SIZE, Parts(adapter=True)))
    torch.nn.init.normal_(network.adapter.up.weight, std=0.1)
    clip = torch.randn(1, 7, 192, 8, 8)
    valid = torch.ones(1, 7, dtype=torch.bool)
    reference = network.contextualize(clip, valid)
    changed = clip.clone()
    changed[:, 5] = torch.randn(192, 8, 8)  # not a constant: the layer norm would take it away
    difference = (network.contextualize(changed, valid) - reference).abs().amax(dim=(0, 2, 3, 4))
    assert [bool(entry > 1e-6) for entry in difference] == [False, False, False, False, True, True, True]
    # The middle of a window on its own, at an end of the volume and inside it.
    windows = torch.stack([clip[0, [0, 0, 1]], clip[0, 2:5]])
    inside = torch.tensor([[False, True, True], [True, True, True]])
    middles = network.contextualize_middle(windows, inside)
    torch.testing.assert_close(middles, reference[0, [0, 3]])
    # A padded neighbor counts as absent: the clip's end gives the same with and without padding.
    padded = network.contextualize(clip[:, :4], torch.tensor([[True, True, True, False]]))
    torch.testing.assert_close(padded[:, :3], network.contextualize(clip[:, :3], valid[:, :3]))


@torch.inference_mode()
def test_relative_positions_are_antisymmetric_and_follow_the_slices() -> None:
    torch.manual_seed(0)
    head = SlicePositionHead(channels=16, pool=2, width=32, layers=2, heads=4, feedforward=64).eval()
    clip = torch.randn(2, 5, 16, 8, 8)
    estimate = head(clip)
    torch.testing.assert_close(estimate, -estimate.transpose(1, 2))
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(head(clip[:, order]), estimate[:, order][:, :, order], rtol=1e-4, atol=1e-5)


def test_features_stack_and_select() -> None:
    maps = SliceFeatures(torch.rand(3, 8, 2, 2), torch.rand(3, 2, 4, 4), torch.rand(3, 1, 8, 8))
    again = SliceFeatures.stack([maps.select(0), maps.select(1), maps.select(-1)])
    assert torch.equal(again.embedding, maps.embedding)
    assert len(again) == 3
    assert again.nbytes == maps.nbytes
