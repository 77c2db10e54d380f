"""Every kind of bad input: one sentence on stderr, exit code 2, nothing written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  its customary name
import torch
from SAM2_3dMedLib.volume.images import SegmentInfo, read_volume, write_label_map
from SAM2_3dMedLib.weights import manifest
from SAM2_3dMedLib.weights.manifest import BUNDLED, Manifest, WeightsEntry

BOX = "8,6,5,22,20,5"


def write(array: np.ndarray, path: Path, **options) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(array, **options), str(path))
    return path


def nifti_with_nan(path: Path, place: slice) -> Path:
    """The uncompressed NIfTI file with float32 NaN at these bytes."""
    content = bytearray(path.read_bytes())
    content[place] = np.full(len(content[place]) // 4, np.nan, "<f4").tobytes()
    path.write_bytes(content)
    return path


def nrrd_header(sizes: str) -> bytes:
    return f"NRRD0004\ntype: short\ndimension: 3\nsizes: {sizes}\nencoding: gzip\nendian: little\n\n".encode()


def bad_image(kind: str, folder: Path) -> Path:
    path = folder / f"{kind}.nrrd"
    volume = np.zeros((4, 5, 6), dtype=np.float32)
    if kind == "text":
        path.write_text("this is no image\n" * 100)
    elif kind == "empty file":
        path.write_bytes(b"")
    elif kind == "four dimensions":
        write(np.zeros((3, 4, 5, 6), dtype=np.float32), path, isVector=False)
    elif kind == "color":
        write(np.zeros((4, 5, 6, 3), dtype=np.uint8), path, isVector=True)
    elif kind == "one slice":
        write(volume[:1], path)
    elif kind == "flat":
        write(volume[0], path)
    elif kind == "nan":
        write(volume + np.nan, path)
    elif kind == "truncated":
        path = write(np.random.default_rng(0).normal(size=(20, 30, 30)), folder / "whole.mha")
        path.write_bytes(path.read_bytes()[:40_000])
    elif kind == "empty folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "nan in a NIfTI file":
        path = nifti_with_nan(write(volume, folder / "nan.nii"), slice(352, None))
    elif kind == "nan for spacing":
        path = nifti_with_nan(write(volume, folder / "spacing.nii"), slice(80, 92))
    elif kind == "nan for directions":
        path = nifti_with_nan(write(volume, folder / "directions.nii"), slice(280, 328))
    elif kind == "promises 2 GB":
        path.write_bytes(nrrd_header("1000 1000 1000") + b"too little")
    elif kind == "promises petabytes":
        path.write_bytes(nrrd_header("200000 200000 200000") + b"too little")
    elif kind == "no voxels":
        path.write_bytes(nrrd_header("10 0 10"))
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "does not exist"),
        ("text", "not"),
        ("empty file", "empty"),
        ("four dimensions", "dimensions"),
        ("color", "color"),
        ("one slice", "single slice"),
        ("flat", "slice"),
        ("nan", "NaN"),
        ("truncated", "damaged"),
        ("empty folder", "DICOM"),
        pytest.param("pipe", "pipe", marks=pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders")),
        ("nan in a NIfTI file", "NaN"),
        ("nan for spacing", "no finite numbers"),
        ("nan for directions", "no finite numbers"),
        ("promises 2 GB", "truncated"),
        ("promises petabytes", "memory"),
        ("no voxels", "cannot be read"),
    ],
)
def test_images(refused, out, weights, tmp_path, kind, said):
    image = bad_image(kind, tmp_path)
    refused("segment", image, "--weights", weights, "--output", out, "--box", "1,1,1,3,3,1", said=said)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "Nothing to segment"),
        (("--point", "40,10,5"), "outside the volume (I 0..31, J 0..27, K 0..7)"),
        (("--negative", "1,1,-1", "--point", "1,1,1"), "outside"),
        (("--box", "8,6,5,40,20,5"), "outside"),
        (("--point", "500,500,500", "--ras"), "outside"),
        (("--box", "8,6,5,8,20,5"), "no area"),
        (("--box", "8,6,5,8,6,5"), "no area"),
        (("--box", "8,6,4,22,20,5"), "one slice"),
        (("--point", "1,2"), "3 numbers"),
        (("--point", "1,2,x"), "3 numbers"),
        (("--point", "1,2,nan"), "3 numbers"),
        (("--point", "=1,2,3"), "name is missing"),
        (("--box", "1,2,3"), "6 numbers"),
        (("--box", BOX, "--window", "sepia"), "sepia"),
        (("--box", BOX, "--window", "40/0"), "window"),
        (("--box", BOX, "--axis", "Q"), "Unknown axis"),
        (("--box", BOX, "--color", "red"), "#RRGGBB"),
        (("--box", BOX, "--color", "spleen=#ff0000"), "no prompt"),
        (("--box", BOX, "--slice-range", "6:4"), "slice range"),
        (("--box", BOX, "--slice-range", "0:10"), "0:7"),
        (("--box", BOX, "--slice-range", "all"), "FIRST:LAST"),
        (("--box", BOX, "--slice-range", "6:7"), "holds no prompt"),
        (("--box", BOX, "--device", "abacus"), "abacus"),
        (("--box", BOX, "--picture", "out/picture.jpg"), ".png"),
        (("--boxes", BOX), "--boxes"),
        (("--prompts", "none.json"), "does not exist"),
        (("--negative", "1,1,1"), "only negative"),
        (("--box", BOX, "--negative", "rim=1,1,1"), "'rim' has only negative"),
        (("--point", "a=9,9,4", "--negative", "a=9.2,9,4"), "positive and a negative point in voxel 9,9,4"),
        (("--point", "1e308,1e308,1e308", "--ras"), "outside"),
        (("--point", "1e300,1,1"), "outside"),
        (("--box", BOX, "--slice-range", "1:" + "9" * 5000), "slice range"),
    ],
)
def test_options(refused, ct, out, weights, options, said):
    refused("segment", ct, "--weights", weights, "--output", out, *options, said=said)


def test_a_device_that_is_not_there(refused, ct, out, weights):
    absent = "mps" if torch.cuda.is_available() else "cuda"
    refused(
        "segment", ct, "--weights", weights, "--output", out, "--box", BOX, "--device", absent, said="--device auto"
    )


@pytest.mark.parametrize("file", ["spinalcord_t2_lab.nii.gz", "abdomen_ct_lab.nii.gz"])
def test_label_maps(refused, out, weights, samples, file):
    command = ("segment", samples / file, "--weights", weights, "--output", out, "--point", "30,30,10")
    refused(*command, said="is a label map")
    refused(*command, "--window", "none-such", said="none-such")  # a window says that it is an image after all


@pytest.mark.parametrize("window", ["auto", "full"])
def test_files_that_say_that_they_are_label_maps(refused, ct, out, weights, tmp_path, window):
    """What this program writes is a segmentation, whatever its values are."""
    geometry, written = read_volume(ct).geometry, tmp_path / "written.seg.nrrd"
    labels = np.zeros(geometry.shape_kji, dtype=np.uint8)
    labels[2:5, 4:20, 4:20] = 7
    write_label_map(written, labels, geometry, [SegmentInfo(7, "seven", (1, 0, 0))])
    command = ("segment", written, "--weights", weights, "--output", out, "--point", "3,3,3", "--window", window)
    refused(*command, said="label map")


@pytest.mark.parametrize(
    "damage", ["truncated", "no network", "other configuration", "missing", "folder", "unknown name"]
)
def test_weights(refused, ct, out, weights, tmp_path, damage):
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = tmp_path / "other.safetensors"
    said = {"missing": "does not exist", "folder": "folder", "unknown name": "choose one of"}.get(damage, str(path))
    if damage == "truncated":
        path.write_bytes(weights.read_bytes()[:-1000])
    elif damage in ("no network", "other configuration"):
        with safe_open(weights, framework="pt") as stream:
            header, tensors = dict(stream.metadata()), {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
        config = json.loads(header["config"])
        config["memory"]["attention_layers"] += 1
        header["config"] = json.dumps(config)
        save_file(tensors, path, metadata=header if damage == "other configuration" else {"format": "pt"})
    elif damage == "folder":
        path.mkdir()
    elif damage == "unknown name":
        path = "no-such-model"
    refused("segment", ct, "--weights", path, "--output", out, "--box", BOX, said=said)


def test_weights_with_a_wrong_hash(refused, ct, out, weights, tmp_path, monkeypatch):
    """A copy of a published file in which one byte is different."""
    entry = WeightsEntry("m", "published.safetensors", manifest.sha256_of(weights), 1, "MIT", "nano", BUNDLED)
    monkeypatch.setattr(manifest, "read_manifest", lambda: Manifest("m", (entry,)))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    damaged = tmp_path / "published.safetensors"
    damaged.write_bytes(content)
    refused("segment", ct, "--weights", damaged, "--output", out, "--box", BOX, said="SHA-256")


def test_an_output_that_is_the_input(refused, ct, weights, tmp_path):
    image, link = tmp_path / "image.nii.gz", tmp_path / "link.nii.gz"
    image.write_bytes(ct.read_bytes())
    link.symlink_to(image)
    for output in (image, link):
        refused("segment", image, "--weights", weights, "--output", output, "--box", BOX, said="the input")
    assert image.read_bytes() == ct.read_bytes()


def test_a_picture_that_is_a_folder(refused, ct, out, weights, tmp_path):
    folder = tmp_path / "look.png"
    folder.mkdir()
    refused("segment", ct, "--weights", weights, "--output", out, "--box", BOX, "--picture", folder, said="is a folder")


@pytest.mark.parametrize("name", ["result.txt", "result", "result.nii.gz.bak", ".seg.nrrd"])
def test_output_of_unknown_kind(refused, ct, weights, tmp_path, name):
    output = tmp_path / "out" / name
    refused("segment", ct, "--weights", weights, "--output", output, "--box", BOX, said=".seg.nrrd")


def test_output_that_cannot_be_written(refused, ct, weights, tmp_path):
    (tmp_path / "file").write_text("")
    output = tmp_path / "file" / "result.nii.gz"
    refused("segment", ct, "--weights", weights, "--output", output, "--box", BOX, said="cannot be written")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(refused, ct, weights, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    refused(
        "segment", ct, "--weights", weights, "--output", folder / "x.nii.gz", "--box", BOX, said="cannot be written"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("a,b\n1,2\n", "column"),
        ("split,dataset,case,modality,labels,image,label\nval,d,c,CT,liver,i,l\n", "JSON"),
        (
            'split,dataset,case,modality,labels,image,label\nval,d,c,CT,"{""1"": ""x""}",i.nrrd,l.nrrd\n',
            "does not exist",
        ),
        ("split,dataset,case,modality,labels,image,label\n", "No case"),
    ],
)
def test_manifests(refused, weights, tmp_path, content, said):
    file = tmp_path / "manifest.csv"
    if content is not None:
        file.write_text(content)
    command = ("evaluate", "--manifest", file, "--root", tmp_path, "--weights", weights, "--output", tmp_path / "out")
    refused(*command, said=said)


def test_evaluate_with_unknown_protocol_or_output_in_a_file(refused, weights, ct, tmp_path):
    file = tmp_path / "manifest.csv"
    row = f'val,d,c,CT,"{{""1"": ""ball""}}",{ct},{ct.with_name("ball_lab.nii.gz")}\n'
    file.write_text("split,dataset,case,modality,labels,image,label\n" + row)
    command = ("evaluate", "--manifest", file, "--root", tmp_path, "--weights", weights, "--output")
    refused(*command, tmp_path / "out", "--protocol", "magic", said="magic")
    refused(*command, file / "sub", said="cannot be written")


def test_in_a_process_of_its_own(ct, tmp_path):
    """As a user sees it: the exit code and stderr of the program itself."""
    command = [
        sys.executable,
        "-m",
        "SAM2_3dMedLib.cli",
        "segment",
        str(ct),
        "--point",
        "99,0,0",
        "--output",
        "x.nii.gz",
    ]
    source = Path(manifest.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert ended.returncode == 2
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "outside the volume" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_empty_name_is_not_the_current_folder(refused, out):
    """As `sam2-3dmed segment "$CT"` gives it where there is no such variable."""
    refused("segment", "", "--output", out, "--box", BOX, said="the name is empty; give a file")
