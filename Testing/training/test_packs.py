"""Packs give back what went in, turned to one orientation, and say clearly what is wrong with a bad one."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from SAM2_3dMedLib.training import pack
from SAM2_3dMedLib.training.store import load_store, place_case

COLUMNS = ["split", "dataset", "case", "modality", "shape", "spacing_mm", "labels", "image", "label"]


def _write_case(folder: Path, name: str, modality: str, voxels: np.ndarray, direction: str = "LPS") -> dict[str, str]:
    labels = np.zeros(voxels.shape, np.uint8)
    labels[1:4, 2:7, 3:9] = 2
    for suffix, array in (("img", voxels), ("lab", labels)):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((0.8, 0.9, 3.0))
        sitk.WriteImage(sitk.DICOMOrient(image, direction), str(folder / f"{name}_{suffix}.nii.gz"))
    facts = {"1": "absent", "2": "block"}
    values = ["train", "made", name, modality, "", "", json.dumps(facts), f"{name}_img.nii.gz", f"{name}_lab.nii.gz"]
    return dict(zip(COLUMNS, values, strict=True))


def _manifest(folder: Path, rows: list[dict[str, str]]) -> Path:
    path = folder / "manifest.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> tuple[list[pack.PackedCase], np.ndarray, np.ndarray]:
    folder = tmp_path_factory.mktemp("packs")
    rng = np.random.default_rng(0)
    ct = rng.integers(-1024, 1500, size=(6, 10, 12)).astype(np.int16)
    mr = rng.integers(0, 256, size=(6, 10, 12)).astype(np.uint8)
    rows = [_write_case(folder, "a", "CT", ct), _write_case(folder, "b", "MR T1", mr, direction="RAI")]
    paths, _ = pack.pack_manifest(_manifest(folder, rows), folder, "train", folder / "out", parts=2)
    cases = [case for path in paths for case in pack.read_pack(path)]
    return sorted(cases, key=lambda case: case.info.case), ct, mr


def test_eight_bit_images_return_exactly_whatever_way_the_file_was_turned(packed):
    cases, _, mr = packed
    np.testing.assert_array_equal(cases[1].image, mr)
    assert cases[1].info.spacing_mm == pytest.approx((3.0, 0.9, 0.8))
    assert cases[1].info.labels[2] == "block"


def test_ct_returns_within_half_a_step(packed):
    cases, ct, _ = packed
    found = pack.CT_LEVELS[cases[0].image]
    soft = (ct >= -220) & (ct <= 410)
    assert np.abs(found - ct)[soft].max() <= 2
    lung = (ct >= -1024) & (ct < -240)
    assert np.abs(found - ct)[lung].max() <= 10


def test_labels_return_exactly_and_are_indexed_along_each_axis(packed):
    cases, _, _ = packed
    expected = np.zeros((6, 10, 12), np.uint8)
    expected[1:4, 2:7, 3:9] = 2
    np.testing.assert_array_equal(cases[1].label, expected)
    (found,) = place_case(cases[1], torch.device("cpu")).objects
    assert [found.extent(axis) for axis in range(3)] == [(1, 3), (2, 6), (3, 8)]
    assert found.areas[0].tolist() == [0, 30, 30, 30, 0, 0]


def test_parts_are_nearly_equal():
    parts = pack.split_in_parts([50, 1, 1, 30, 20, 9, 9], 2)
    assert sorted(parts[0] + parts[1]) == list(range(7))
    sums = [sum([50, 1, 1, 30, 20, 9, 9][n] for n in part) for part in parts]
    assert abs(sums[0] - sums[1]) <= 2


def test_an_empty_split_and_a_foreign_file_are_named(tmp_path):
    rows = [_write_case(tmp_path, "a", "CT", np.zeros((6, 10, 12), np.int16))]
    with pytest.raises(pack.PackError, match="no rows of split 'val'"):
        pack.pack_manifest(_manifest(tmp_path, rows), tmp_path, "val", tmp_path / "out")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(pack.PackError, match="is not a pack"):
        list(pack.read_pack(tmp_path / "other.npz"))
    with pytest.raises(pack.PackError, match="no case"):
        load_store([], torch.device("cpu"))


def test_two_scans_of_a_patient_stay_on_one_side_of_the_holdout(packed):
    cases, _, _ = packed
    from dataclasses import replace

    from SAM2_3dMedLib.training.store import CaseStore

    store = CaseStore()
    for dataset in ("one", "two"):
        for number in range(60):
            info = replace(cases[1].info, dataset=dataset, case=f"patient_{number}")
            store.cases.append(place_case(replace(cases[1], info=info), torch.device("cpu")))
    training, holdout = store.split_holdout(0.3)
    assert len(training.cases) + len(holdout.cases) == 120
    assert 10 < len(holdout.cases) < 70
    names = {case.info.case for case in holdout.cases}
    assert not names & {case.info.case for case in training.cases}
