"""Our reading of safetensors files equals that of the package, on the bundled weights and on every type."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from SAM2_3dMedLib.network.safetensors_reader import SafetensorsError, read_header, read_tensors

BUNDLED = Path(__file__).resolve().parents[2] / "Resources" / "Weights" / "sam2-3dmed-nano.safetensors"


def _by_the_package(path: Path) -> tuple[dict, dict]:
    with safe_open(path, framework="pt") as stream:
        return stream.metadata(), {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118


def test_the_bundled_weights_read_as_the_package_reads_them() -> None:
    metadata, tensors = read_tensors(BUNDLED)
    expected_metadata, expected = _by_the_package(BUNDLED)
    assert metadata == expected_metadata
    assert tensors.keys() == expected.keys()
    assert all(
        torch.equal(tensors[name], value) and tensors[name].dtype == value.dtype for name, value in expected.items()
    )


def test_every_type_and_odd_shapes(tmp_path) -> None:
    kinds = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16]
    kinds += [torch.int8, torch.uint8, torch.bool]
    written = {f"t{n}": torch.arange(6).reshape(2, 3).to(kind) for n, kind in enumerate(kinds)}
    written |= {"scalar": torch.tensor(3.5), "nothing": torch.empty(0, 4)}
    save_file(written, tmp_path / "all.safetensors")
    read = read_tensors(tmp_path / "all.safetensors")[1]
    assert read.keys() == written.keys()
    assert all(torch.equal(read[name], value) and read[name].dtype == value.dtype for name, value in written.items())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x05",
        (1 << 62).to_bytes(8, "little"),
        (10).to_bytes(8, "little") + b"{}",
        (4).to_bytes(8, "little") + b"nope",
        (2).to_bytes(8, "little") + b"[]",
        (20).to_bytes(8, "little") + b'{"__metadata__":[]} ',
        (200_000).to_bytes(8, "little") + b"[" * 200_000,
    ],
)
def test_what_is_no_such_file_is_refused(content: bytes, tmp_path) -> None:
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(SafetensorsError):
        read_header(tmp_path / "bad")


@pytest.mark.parametrize(
    "entry",
    [
        '{"dtype":"F32","shape":[4],"data_offsets":[0,8]}',
        '{"dtype":"F99","shape":[1],"data_offsets":[0,4]}',
        '{"dtype":"F32","shape":[-1,-4],"data_offsets":[0,16]}',
        '{"dtype":"F32","shape":[1e999],"data_offsets":[0,0]}',
        "{}",
    ],
)
def test_descriptions_that_do_not_fit_are_refused(entry: str, tmp_path) -> None:
    header = f'{{"a":{entry}}}'.encode()
    (tmp_path / "bad").write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    with pytest.raises(SafetensorsError, match="'a'"):
        read_tensors(tmp_path / "bad")


def test_a_file_that_goes_on_after_its_last_tensor_is_refused(tmp_path) -> None:
    save_file({"a": torch.ones(3)}, tmp_path / "long")
    with (tmp_path / "long").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(SafetensorsError, match="goes on"):
        read_tensors(tmp_path / "long")
