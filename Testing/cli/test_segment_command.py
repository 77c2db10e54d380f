"""`sam2-3dmed segment` on a small CT with random weights: what is written, where, and on which grid."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  its customary name
from PIL import Image
from SAM2_3dMedLib.volume.images import read_volume

BOX = "8,6,5,22,20,5"


def labels_of(path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_objects_have_their_names_colors_and_grid(cli, ct, weights, tmp_path):
    output = tmp_path / "new folder" / "two.seg.nrrd"
    ended = cli(
        *("segment", ct, "--weights", weights, "--output", output),
        *("--box", f"ball={BOX}", "--point", "rim=4,14,5", "--negative", "rim=16,14,5", "--color", "rim=#0080FF"),
    )
    assert ended.code == 0, ended.err
    assert str(output) in ended.out
    assert "ball: " in ended.out
    written, image = sitk.ReadImage(str(output)), sitk.ReadImage(str(ct))
    assert written.GetSize() == image.GetSize()
    for get in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(written, get)(), getattr(image, get)(), atol=1e-5)
    tags = {key: written.GetMetaData(key) for key in written.GetMetaDataKeys()}
    assert [tags["Segment0_Name"], tags["Segment1_Name"]] == ["ball", "rim"]
    assert [tags["Segment0_LabelValue"], tags["Segment1_LabelValue"]] == ["1", "2"]
    np.testing.assert_allclose([float(x) for x in tags["Segment1_Color"].split()], [0, 128 / 255, 1], atol=0.005)
    with Image.open(output.parent / "two.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 100
    assert sorted(path.name for path in output.parent.iterdir()) == ["two.png", "two.seg.nrrd"]


def test_nifti_and_a_picture_elsewhere(cli, ct, weights, tmp_path):
    output, picture = tmp_path / "out.nii.gz", tmp_path / "look.png"
    ended = cli("segment", ct, "--weights", weights, "--output", output, "--picture", picture, "--box", BOX)
    assert ended.code == 0, ended.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["look.png", "out.nii.gz"]
    assert set(np.unique(labels_of(output))) <= {0, 1}


def ras_of(ct, *voxels) -> list[list[float]]:
    return read_volume(ct).geometry.to_ras(np.array(voxels, dtype=float)).tolist()


def test_millimeters_voxels_and_a_file_say_the_same(cli, ct, weights, tmp_path):
    corners, click = ras_of(ct, (8, 6, 5), (22, 20, 5)), ras_of(ct, (3, 14, 5))[0]
    in_mm = ",".join(f"{x:.3f}" for corner in corners for x in corner)
    file = tmp_path / "prompts.json"
    point = {"type": "point", "position": [3, 14, 5], "positive": False}
    box = {"type": "box", "corner_a": [8, 6, 5], "corner_b": [22, 20, 5]}
    file.write_text(json.dumps({"version": 1, "objects": {"Segment_1": [box, point]}}))
    ras_file = tmp_path / "ras.json"
    ras_point = {"type": "point", "position": click, "positive": False}
    ras_box = {"type": "box", "corner_a": corners[0], "corner_b": corners[1]}
    ras_file.write_text(json.dumps({"space": "ras", "objects": {"Segment_1": [ras_box, ras_point]}}))
    ways = {
        "voxels": ("--box", BOX, "--negative", "3,14,5"),
        "mm": ("--ras", "--box", in_mm, "--negative", ",".join(f"{x:.3f}" for x in click)),
        "file": ("--prompts", file),
        "ras-file": ("--prompts", ras_file),
    }
    results = {}
    for name, options in ways.items():
        output = tmp_path / f"{name}.nii.gz"
        ended = cli("segment", ct, "--weights", weights, "--output", output, *options)
        assert ended.code == 0, ended.err
        results[name] = labels_of(output)
    assert results["voxels"].any()
    for name in ("mm", "file", "ras-file"):
        np.testing.assert_array_equal(results[name], results["voxels"], err_msg=name)


def test_slice_range_is_not_left(cli, ct, weights, tmp_path):
    output = tmp_path / "out.nii.gz"
    ended = cli("segment", ct, "--weights", weights, "--output", output, "--box", BOX, "--slice-range", "4:6")
    assert ended.code == 0, ended.err
    labels = labels_of(output)
    assert labels[4:7].any()
    assert not labels[:4].any()
    assert not labels[7:].any()


@pytest.mark.parametrize("axis", ["J", "coronal", "auto"])
def test_points_go_to_the_chosen_axis(cli, ct, weights, tmp_path, axis):
    output = tmp_path / "out.nii.gz"
    options = ("--axis", axis, "--point", "16,14,5", "--slice-range", "5:5", "--window", "40/400", "--device", "cpu")
    if axis != "auto":
        options = ("--axis", axis, "--point", "16,14,5", "--slice-range", "14:14")
    ended = cli("segment", ct, "--weights", weights, "--output", output, *options)
    assert ended.code == 0, ended.err
    touched = np.argwhere(labels_of(output))
    assert set(touched[:, 0 if axis == "auto" else 1]) == {5 if axis == "auto" else 14}


def test_a_failure_at_the_end_leaves_nothing(cli, ct, weights, tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device", str(tmp_path / "x.png"))

    monkeypatch.setattr("SAM2_3dMedLib.commands.segment.draw_contact_sheet", fail)
    ended = cli("segment", ct, "--weights", weights, "--output", tmp_path / "x.seg.nrrd", "--box", BOX)
    assert (ended.code, len(ended.err.strip().splitlines()[-1:])) == (2, 1)
    assert "No space left" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_for_the_picture_is_told_with_what_was_written(cli, ct, weights, tmp_path, monkeypatch):
    def fail(self, *arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    ended = cli("segment", ct, "--weights", weights, "--output", tmp_path / "x.seg.nrrd", "--box", BOX)
    assert ended.code == 2
    assert "No space left" in ended.err.splitlines()[-1]
    assert "x.seg.nrrd is written whole" in ended.err.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["x.seg.nrrd"]


def test_names_are_no_markup_and_need_no_ascii(cli, ct, weights, tmp_path):
    image = tmp_path / "größe [red] 影像.nii.gz"
    image.write_bytes(ct.read_bytes())
    output = tmp_path / "öut put" / "x.seg.nrrd"
    ended = cli("segment", image, "--weights", weights, "--output", output, "--box", f"Läsion [/b] 影={BOX}")
    assert ended.code == 0, ended.err
    assert "größe [red] 影像" in ended.err
    assert "Läsion [/b] 影" in ended.out
    assert sitk.ReadImage(str(output)).GetMetaData("Segment0_Name") == "Läsion [/b] 影"


def test_what_was_chosen_in_reading_is_told_once(cli, ct, weights, tmp_path, monkeypatch):
    noted = replace(read_volume(ct), notes=("The gantry was tilted.",))
    monkeypatch.setattr("SAM2_3dMedLib.commands.segment.read_volume", lambda path: noted)
    ended = cli("segment", ct, "--weights", weights, "--output", tmp_path / "x.nii.gz", "--box", BOX)
    assert ended.code == 0, ended.err
    assert ended.err.count("The gantry was tilted.") == 1


def test_an_interruption_is_told_and_leaves_nothing(cli, ct, weights, tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("SAM2_3dMedLib.commands.segment.draw_contact_sheet", interrupt)
    ended = cli("segment", ct, "--weights", weights, "--output", tmp_path / "x.seg.nrrd", "--box", BOX)
    assert ended.code == 130
    assert "Canceled" in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows asks for rights to make a link")
@pytest.mark.parametrize("there", [True, False], ids=["to a file", "to one that is not there yet"])
@pytest.mark.parametrize("ending", [".seg.nrrd", ".nii.gz"])
def test_an_output_that_is_a_link_stays_one(cli, ct, weights, tmp_path, monkeypatch, there, ending):
    store = tmp_path / "store"
    links = {tmp_path / f"x{ending}": store / "result", tmp_path / "x.png": store / "picture"}
    for link, target in links.items():
        link.symlink_to(Path("store") / target.name)
        if there:
            store.mkdir(exist_ok=True)
            target.write_bytes(b"old")
    replaced = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (replaced.append((Path(a), Path(b))), replace(a, b)))
    ended = cli("segment", ct, "--weights", weights, "--output", tmp_path / f"x{ending}", "--box", BOX)
    assert ended.code == 0, ended.err
    for link, target in links.items():
        assert link.is_symlink()
        assert not target.is_symlink()
        assert target.stat().st_size > 100
    read_volume(tmp_path / f"x{ending}")
    assert [target for _, target in replaced] == list(links.values())
    assert all(store in partial.parents for partial, _ in replaced), "or another disk could not be renamed to"
    assert sorted(path.name for path in store.iterdir()) == ["picture", "result"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_nobody_else_may_read_the_results_where_the_user_has_it_so(cli, ct, weights, tmp_path):
    former = os.umask(0o077)
    try:
        ended = cli("segment", ct, "--weights", weights, "--output", tmp_path / "x.seg.nrrd", "--box", BOX)
    finally:
        os.umask(former)
    assert ended.code == 0, ended.err
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "x.seg.nrrd": 0o600,
        "x.png": 0o600,
    }
