"""Cases that cannot be trained on are told apart from those that can, with the reason, and do not end the packing."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from SAM2_3dMedLib.training import pack
from SAM2_3dMedLib.training.case_reading import UnusableCaseError, check_header, read_case
from SAM2_3dMedLib.training.channels import single_channel
from SAM2_3dMedLib.training.data_layouts import LabeledCase

SAMPLES = Path(__file__).parents[2] / "Resources" / "Samples"
SIZE = (6, 10, 12)


def _labels() -> np.ndarray:
    labels = np.zeros(SIZE, np.uint8)
    labels[1:4, 2:7, 3:9] = 2
    return labels


def _case(folder: Path, voxels: np.ndarray, labels: np.ndarray | None = None, modality: str = "CT") -> LabeledCase:
    """A case in NRRD files, which keep NaN as it is."""
    for name, array in (("img", voxels), ("lab", _labels() if labels is None else labels)):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((0.8, 0.9, 3.0))
        sitk.WriteImage(image, str(folder / f"{name}.nrrd"))
    return LabeledCase("made", "case", modality, {2: "block"}, folder / "img.nrrd", folder / "lab.nrrd")


def _ct() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1300, size=SIZE).astype(np.float32)


def test_voxels_without_a_value_in_a_ct_become_air_and_change_nothing_else(tmp_path) -> None:
    voxels = _ct()
    voxels[0, 0, 0] = -1020
    whole = read_case(_case(tmp_path, voxels))
    voxels[2, 3, 4], voxels[2, 3, 5] = np.nan, np.inf
    found = read_case(_case(tmp_path, voxels))
    assert found.info.kind == whole.info.kind == "ct"
    assert pack.CT_LEVELS[found.image[2, 3, [4, 5]]].tolist() == [-1024, -1024]
    changed = np.argwhere(found.image != whole.image)
    assert len(changed) <= 2
    assert found.info.labels == {2: "block"}


def _moved(path: Path, **changes) -> None:
    image = sitk.ReadImage(str(path))
    for name, value in changes.items():
        getattr(image, f"Set{name}")(value)
    sitk.WriteImage(image, str(path))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Origin": (0.0, 0.0, 3.0)}, "differ in origin by up to 3 mm"),
        ({"Spacing": (0.8, 0.9, 2.5)}, "spacing or direction"),
        ({"Direction": (-1, 0, 0, 0, -1, 0, 0, 0, 1)}, "spacing or direction"),
    ],
)
def test_labels_on_another_grid_of_the_same_size_are_refused(tmp_path, changes, reason) -> None:
    case = _case(tmp_path, _ct())
    _moved(case.label, **changes)
    with pytest.raises(UnusableCaseError, match=reason):
        read_case(case)
    with pytest.raises(UnusableCaseError, match=rf"differ in {next(iter(changes)).lower()}; resample"):
        check_header(case)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (np.zeros(SIZE, np.uint8), "no voxel has one of the labels 2"),
        (np.full(SIZE, 7, np.uint8), r"found: 7"),
        (_labels().astype(np.float32) * 0.7, "fractions"),
        (np.zeros((5, 10, 12), np.uint8), "12x10x6.* and labels .12x10x5. differ in size"),
    ],
)
def test_label_maps_that_hold_no_object_are_refused(tmp_path, labels, reason) -> None:
    with pytest.raises(UnusableCaseError, match=reason):
        read_case(_case(tmp_path, _ct(), labels))


def test_sizes_are_told_alike_by_headers_and_voxels(tmp_path) -> None:
    case = _case(tmp_path, _ct(), np.zeros((5, 10, 12), np.uint8))
    told = []
    for read in (check_header, read_case):
        with pytest.raises(UnusableCaseError) as refused:
            read(case)
        told.append(str(refused.value))
    assert told == ["image (12x10x6) and labels (12x10x5) differ in size; resample the labels."] * 2


def test_labels_without_a_value_are_background(tmp_path) -> None:
    """As in the evaluation."""
    labels = _labels().astype(np.float32)
    labels[labels == 0] = np.nan
    np.testing.assert_array_equal(
        read_case(_case(tmp_path, _ct(), labels)).label, read_case(_case(tmp_path, _ct())).label
    )


def test_labels_that_the_data_set_does_not_name_are_background(tmp_path) -> None:
    labels = _labels()
    labels[5, 5, 5] = 9
    assert set(np.unique(read_case(_case(tmp_path, _ct(), labels)).label)) == {0, 2}


def test_the_asked_channel_of_a_4d_image_is_taken_once(tmp_path) -> None:
    case = _case(tmp_path, _ct(), modality="MR")
    channels = [sitk.ReadImage(str(case.image)), sitk.ReadImage(str(case.image)) * 0 + 5.0]
    channels[1][1, 2, 3] = 90.0
    several = replace(case, image=tmp_path / "several.nii.gz", channel=1)
    sitk.WriteImage(sitk.JoinSeries(channels), str(several.image))
    assert check_header(several) == np.prod(SIZE)
    found = single_channel(several, tmp_path / "channels")
    written = found.image.stat().st_mtime_ns
    assert np.argwhere(read_case(found).image == 255).tolist() == [[3, 2, 1]]
    assert single_channel(several, tmp_path / "channels").image.stat().st_mtime_ns == written
    assert single_channel(case, tmp_path / "channels") is case
    with pytest.raises(UnusableCaseError, match="has 2 channels, and channel 2"):
        single_channel(replace(several, channel=2), tmp_path / "channels")


def test_bad_rows_are_reported_and_the_others_packed(tmp_path) -> None:
    rows = []
    for name, image, label in (
        ("good", "sarcoma_mr_img", "sarcoma_mr_lab"),
        ("swapped", "sarcoma_mr_img", "sarcoma_ct_lab"),
        ("missing", "no_such_img", "sarcoma_mr_lab"),
    ):
        rows.append(["train", "samples", name, "MR", json.dumps({"1": "tumor"}), f"{image}.nii.gz", f"{label}.nii.gz"])
    manifest = tmp_path / "manifest.csv"
    with manifest.open("w", newline="") as stream:
        csv.writer(stream).writerows([["split", "dataset", "case", "modality", "labels", "image", "label"], *rows])
    paths, unusable = pack.pack_manifest(manifest, SAMPLES, "train", tmp_path / "out", parts=1)
    (packed,) = pack.read_pack(paths[0])
    assert packed.info.case == "good"
    assert [entry.case.case for entry in unusable] == ["swapped", "missing"]
    with (tmp_path / "out" / "unusable.csv").open(newline="") as stream:
        reasons = {row["case"]: row["reason"] for row in csv.DictReader(stream)}
    assert "differ in size" in reasons["swapped"]
    assert "does not exist" in reasons["missing"]
    manifest.write_text("\n".join(manifest.read_text().splitlines()[i] for i in (0, 2, 3)) + "\n")
    with pytest.raises(pack.PackError, match="None of the 2 cases"):
        pack.pack_manifest(manifest, SAMPLES, "train", tmp_path / "none", parts=1)
    assert not list((tmp_path / "none").glob("*.npz"))


def test_a_pack_that_could_not_be_written_leaves_the_former_one(tmp_path) -> None:
    case = pack.compress(read_case(_case(tmp_path, _ct())))
    path = tmp_path / "part0.npz"
    pack.write_pack(path, [case])

    def broken():
        yield case
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        pack.write_pack(path, broken())
    assert [entry.info.case for entry in pack.read_pack(path)] == ["case"]
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(pack.PackError, match="cannot be read as a pack"):
        list(pack.read_pack(path))
