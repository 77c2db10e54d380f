"""Weight files: what was saved comes back, and everything else is refused in one sentence."""

import json
import pickle
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file
from SAM2_3dMedLib.network import checkpoint
from SAM2_3dMedLib.network.build import build_network
from SAM2_3dMedLib.network.checkpoint import (
    CheckpointError,
    CheckpointMetadata,
    build_pretrained,
    file_sha256,
    load_checkpoint,
    read_metadata,
    save_checkpoint,
)
from SAM2_3dMedLib.network.config import Parts, network_config


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(3)
    network = build_network(network_config("nano", 128, Parts.all()))
    path = tmp_path_factory.mktemp("weights") / "nano.safetensors"
    save_checkpoint(path, network, CheckpointMetadata("test", "1.0", ("a (CC BY 4.0)",), notes="random"), half=False)
    return network, path


def test_a_saved_network_answers_the_same(saved) -> None:
    network, path = saved
    again, metadata = load_checkpoint(path, expected_sha256=file_sha256(path))
    assert metadata.training_data == ("a (CC BY 4.0)",)
    assert again.config.parts == Parts(adapter=True, bd=True, bd_fusion=True), (
        "SRPP is training only and is not shipped"
    )
    image = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        assert torch.equal(again.encode(image).embedding, network.encode(image).embedding)
    assert read_metadata(path)[0] == again.config


def test_half_precision_stays_under_25_megabytes(saved, tmp_path) -> None:
    network, _ = saved
    save_checkpoint(tmp_path / "half.safetensors", network, CheckpointMetadata("half"))
    assert (tmp_path / "half.safetensors").stat().st_size <= 25_000_000
    assert load_checkpoint(tmp_path / "half.safetensors")[0].no_mem_embed.dtype == torch.float32


def test_a_truncated_file_is_refused(saved, tmp_path) -> None:
    short = tmp_path / "short.safetensors"
    short.write_bytes(saved[1].read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="truncated"):
        load_checkpoint(short)


def test_a_changed_file_is_refused_by_its_hash(saved, tmp_path) -> None:
    content = bytearray(saved[1].read_bytes())
    content[-1] ^= 1
    (tmp_path / "changed.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_checkpoint(tmp_path / "changed.safetensors", expected_sha256=file_sha256(saved[1]))


def test_weights_of_another_configuration_are_refused(saved, tmp_path) -> None:
    tensors = load_file(saved[1])
    tensors["no_mem_embed"] = torch.zeros(1, 1, 7)
    from safetensors import safe_open

    with safe_open(saved[1], framework="pt") as stream:
        save_file(tensors, tmp_path / "other.safetensors", metadata=stream.metadata())
    with pytest.raises(CheckpointError, match="another configuration"):
        load_checkpoint(tmp_path / "other.safetensors")
    save_file(tensors, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="holds no sam2-3dmed network"):
        load_checkpoint(tmp_path / "foreign.safetensors")


@pytest.mark.parametrize(
    ("part", "entry", "value"),
    [
        ("", "image_size", 10**6),
        ("", "image_size", "large"),
        ("", "hidden_dim", 0),
        ("trunk", "stages", [1]),
        ("trunk", "stages", [10**6] * 4),
        ("trunk", "window_spec", [None]),
        ("trunk", "num_heads", -1),
        ("trunk", "num_heads", 7),
        ("memory", "attention_layers", 10**6),
        ("memory", "dropout", 7.0),
        ("memory", "channels", True),
        ("parts", "bd", "yes"),
        ("decoder", "num_heads", 7),
        ("decoder", "num_heads", 0),
    ],
)
def test_descriptions_of_no_network_are_refused_before_they_take_the_computer_down(
    saved, tmp_path, part, entry, value
) -> None:
    from safetensors import safe_open

    with safe_open(saved[1], framework="pt") as stream:
        header = dict(stream.metadata())
    config = json.loads(header["config"])
    (config[part] if part else config)[entry] = value
    save_file(load_file(saved[1]), tmp_path / "odd.safetensors", metadata=header | {"config": json.dumps(config)})
    with pytest.raises(CheckpointError, match="download it again, or update this software"):
        load_checkpoint(tmp_path / "odd.safetensors")


@pytest.mark.parametrize(
    ("part", "entry", "value"),
    [
        ("trunk", "embed_dim", 2048),
        ("trunk", "window_pos_embed_bkg_spatial_size", [8000, 8000]),
        ("trunk", "window_spec", [8000, 4, 16, 8]),
        ("memory", "attention_layers", 100),
        ("memory", "attention_feedforward", 8000),
        ("decoder", "mlp_dim", 8000),
        ("", "hidden_dim", 8192),
    ],
)
def test_a_network_that_a_file_cannot_hold_is_not_built(saved, tmp_path, monkeypatch, part, entry, value) -> None:
    """A file of some kilobytes took all memory there was before it was found to be damaged."""
    from safetensors import safe_open

    monkeypatch.setattr(checkpoint, "build_network", lambda config: pytest.fail("it was built"))
    with safe_open(saved[1], framework="pt") as stream:
        header = dict(stream.metadata())
    config = json.loads(header["config"])
    (config[part] if part else config)[entry] = value
    save_file(load_file(saved[1]), tmp_path / "odd.safetensors", metadata=header | {"config": json.dumps(config)})
    with pytest.raises(CheckpointError, match="it has more weights than the file"):
        load_checkpoint(tmp_path / "odd.safetensors")


@pytest.mark.parametrize("entry", ["config", "metadata"])
def test_a_description_of_endless_brackets_is_refused(saved, tmp_path, entry: str) -> None:
    from safetensors import safe_open

    with safe_open(saved[1], framework="pt") as stream:
        header = stream.metadata() | {entry: "[" * 200_000}
    save_file(load_file(saved[1]), tmp_path / "odd.safetensors", metadata=header)
    with pytest.raises(CheckpointError, match="download it again, or update this software"):
        load_checkpoint(tmp_path / "odd.safetensors")


def test_a_missing_file_says_so(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        load_checkpoint(tmp_path / "nothing.safetensors")


def test_sam2_checkpoints_load_with_and_without_the_papers_parts(tmp_path) -> None:
    torch.manual_seed(0)
    reference = build_network(network_config("tiny", 512))
    torch.save({"model": reference.state_dict()}, tmp_path / "medsam2.pt")
    network = build_pretrained(tmp_path / "medsam2.pt", image_size=512, parts=Parts.all())
    assert network.config.name == "tiny"
    assert network.config.image_size == 512
    state = network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in reference.state_dict().items())
    assert load_checkpoint(tmp_path / "medsam2.pt")[1].name == "sam2.1-tiny"


def test_a_pickle_with_code_is_never_run(tmp_path) -> None:
    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    (tmp_path / "harm.pt").write_bytes(pickle.dumps({"model": Harm()}))
    with warnings.catch_warnings(record=True) as remarks, pytest.raises(CheckpointError, match="never run"):
        load_checkpoint(tmp_path / "harm.pt")
    assert remarks == [], "a command says one sentence"
    assert not (tmp_path / "harm").exists()


def test_weights_that_are_not_finite_are_not_saved(saved, tmp_path) -> None:
    network = build_network(network_config("nano", 128))
    with torch.no_grad():
        network.no_mem_embed[0, 0, 0] = float("nan")
    with pytest.raises(CheckpointError, match="not finite"):
        save_checkpoint(tmp_path / "nan.safetensors", network, CheckpointMetadata("nan"))
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_are_not_used(saved, tmp_path) -> None:
    """All answers of such a network are empty."""
    from safetensors import safe_open

    with safe_open(saved[1], framework="pt") as stream:
        header = stream.metadata()
    tensors = load_file(saved[1])
    tensors["no_mem_embed"][0, 0, 0] = float("inf")
    save_file(tensors, tmp_path / "inf.safetensors", metadata=header)
    with pytest.raises(CheckpointError, match="not all finite"):
        load_checkpoint(tmp_path / "inf.safetensors")
