"""Folders of DICOM slices: which files make the volume, in which order, and what is said about the others."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from SAM2_3dMedLib.volume import dicom
from SAM2_3dMedLib.volume.errors import VolumeError
from SAM2_3dMedLib.volume.geometry import Geometry, affine_from_parts
from SAM2_3dMedLib.volume.images import read_volume
from SAM2_3dMedLib.volume.intensity import Window, window_from
from scipy.spatial.transform import Rotation

OBLIQUE = Rotation.from_euler("xyz", (12, -7, 25), degrees=True).as_matrix()


@pytest.fixture(scope="module")
def cropped(samples: Path) -> np.ndarray:
    """A part of a real CT with three different side lengths [K, J, I]."""
    return read_volume(samples / "sarcoma_ct_img.nii.gz").array[10:22, 30:70, 20:80]


def write_series(folder: Path, array: np.ndarray, number: int = 1, skip: tuple[int, ...] = (), **changed: str) -> None:
    """Slices of a CT in HU as DICOM with a rescale, in files whose names are in another order than their positions."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k in range(len(array)):
        if k in skip:
            continue
        image = sitk.GetImageFromArray(array[k : k + 1])  # GDCM takes HU and stores them by the rescale below
        place = OBLIQUE @ [0, 0, 3.5 * k] + [-101.5, 40.25, 7]
        tags = {
            "0008|0060": "CT",
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"1.2.826.0.1.3680043.2.1125.{number}.{k + 1}",
            "0020|000d": "1.2.826.0.1.3680043.2.1125.9",
            "0020|000e": f"1.2.826.0.1.3680043.2.1125.9.{number}",
            "0020|0032": "\\".join(f"{part:.6f}" for part in place),
            "0020|0037": "\\".join(f"{part:.8f}" for part in OBLIQUE[:, :2].T.ravel()),
            "0020|0013": str(k + 1),
            "0018|0050": "3.5",
            "0028|0030": "1.25\\0.8",
            "0028|1050": "60",
            "0028|1051": "350",
            "0028|1052": "-1024",
            "0028|1053": "1",
        }
        for key, value in (tags | {key.replace("_", "|"): value for key, value in changed.items()}).items():
            image.SetMetaData(key, value)
        image.SetSpacing((0.8, 1.25, 3.5))
        writer.SetFileName(str(folder / f"s{number}_{(k * 7) % len(array):03d}.dcm"))
        writer.Execute(image)


def test_a_dicom_folder(tmp_path: Path, cropped: np.ndarray) -> None:
    array = cropped[:11]  # 7 and 11 have no common divisor, so the file names are all different
    write_series(tmp_path / "ct", array)
    volume = read_volume(tmp_path / "ct")
    np.testing.assert_array_equal(volume.array, array)
    lps = affine_from_parts((-101.5, 40.25, 7), (0.8, 1.25, 3.5), OBLIQUE)
    assert volume.geometry.is_close(Geometry(np.diag([-1, -1, 1, 1]) @ lps, (60, 40, 11)), tolerance_mm=0.01)
    assert volume.modality == "CT"
    assert window_from("auto", volume) == Window(-115, 235)
    assert volume.notes == ()


def test_of_several_series_the_longest_is_taken_and_said(tmp_path: Path, cropped: np.ndarray) -> None:
    write_series(tmp_path / "study" / "a", cropped[:3], number=1)
    write_series(tmp_path / "study" / "b", cropped[:5], number=2)
    volume = read_volume(tmp_path / "study")
    np.testing.assert_array_equal(volume.array, cropped[:5])
    assert any("2 DICOM series" in note and "(5, in" in note for note in volume.notes)


def test_missing_slices_are_said(tmp_path: Path, cropped: np.ndarray) -> None:
    write_series(tmp_path, cropped[:11], skip=(4, 5))
    volume = read_volume(tmp_path)
    assert volume.array.shape[0] == 9
    assert any("missing or unevenly spaced (3.50 to 10.50 mm" in note for note in volume.notes)


def test_a_time_series_in_one_folder_is_refused(tmp_path: Path, cropped: np.ndarray) -> None:
    write_series(tmp_path, cropped[:4])
    write_series(tmp_path / "again", cropped[:4], number=2, **{"0020_000e": "1.2.826.0.1.3680043.2.1125.9.1"})
    for file in (tmp_path / "again").iterdir():
        shutil.move(file, tmp_path / file.name)
    with pytest.raises(VolumeError, match="several images at the same position"):
        read_volume(tmp_path)


def test_a_folder_without_images_or_with_one_slice(tmp_path: Path, cropped: np.ndarray) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(VolumeError, match="holds no DICOM images; give the folder"):
        read_volume(tmp_path)
    write_series(tmp_path / "one", cropped[:1])
    with pytest.raises(VolumeError, match="single slice; give a volume of several slices"):
        read_volume(tmp_path / "one")
    with pytest.raises(VolumeError, match="for DICOM the folder that holds them all"):
        read_volume(next((tmp_path / "one").iterdir()))


def test_a_localizer_in_the_series_is_left_out(tmp_path: Path, cropped: np.ndarray) -> None:
    same = {"0020_000e": "1.2.826.0.1.3680043.2.1125.9.1"}
    write_series(tmp_path, cropped[:5])
    write_series(tmp_path, cropped[:2], number=2, **same, **{"0020_0037": "0\\1\\0\\0\\0\\-1"})
    write_series(tmp_path, cropped[:1, :20], number=3, **same)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, cropped[:5])
    assert any(note.startswith("3 of the 8 slices have another orientation or size") for note in volume.notes)


@pytest.mark.parametrize("cut", [slice(None, -900), slice(None, 1100)], ids=["in its pixels", "in its header"])
def test_a_slice_that_is_cut_off_is_not_left_out_without_a_word(
    tmp_path: Path, cropped: np.ndarray, cut: slice
) -> None:
    write_series(tmp_path, cropped[:5])
    (tmp_path / "readme.txt").write_text("not a slice")
    last = tmp_path / "s1_003.dcm"  # 4 * 7 % 5
    last.write_bytes(last.read_bytes()[cut])
    with pytest.raises(VolumeError, match=r"s1_003.dcm' is a slice that is truncated or damaged"):
        read_volume(tmp_path)


def test_a_dose_beside_the_slices(tmp_path: Path, cropped: np.ndarray) -> None:
    """GDCM's search of a folder ends at a dose of radiotherapy without frames."""
    write_series(tmp_path, cropped[:5])
    dose = {"0008_0060": "RTDOSE", "0008_0016": "1.2.840.10008.5.1.4.1.1.481.2", "0028_1052": "0"}
    grays = np.ones((1, 40, 60), dtype=np.uint16)
    write_series(tmp_path, grays, number=2, **dose)
    with pytest.raises(RuntimeError, match="GetNumberOfValues"):
        sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(tmp_path))
    (tmp_path / "readme.txt").write_text("not a slice")
    np.testing.assert_array_equal(read_volume(tmp_path).array, cropped[:5])


def test_pixels_without_a_size(tmp_path: Path, cropped: np.ndarray) -> None:
    """ITK would take 1 mm."""
    write_series(tmp_path, cropped[:3])
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes().replace(b"1.25\\.8 ", b"0.00\\0.0"))
    with pytest.raises(VolumeError, match="zero spacing"):
        read_volume(tmp_path)


@pytest.mark.parametrize("position", [b"-1.#IND\\0.00\\0.00", b"nan\\nan\\nan     "], ids=["no number", "not a number"])
def test_slices_that_do_not_say_where_they_lie(tmp_path: Path, cropped: np.ndarray, position: bytes) -> None:
    write_series(tmp_path, cropped[:3], **{"0020_0032": "1.125\\2.125\\3.125"})
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes().replace(b"1.125\\2.125\\3.125", position.ljust(17)))
    assert any("do not say where they lie" in note for note in read_volume(tmp_path).notes)


def test_another_series_whose_uid_begins_like_the_chosen_ones_is_not_damaged(
    tmp_path: Path, cropped: np.ndarray
) -> None:
    write_series(tmp_path, cropped[:11], 1)
    write_series(tmp_path, cropped[:5], 10)
    volume = read_volume(tmp_path)
    assert len(volume.array) == 11
    assert "holds 2 DICOM series" in volume.notes[0]


def test_another_series_that_refers_to_the_chosen_one_is_not_damaged(tmp_path: Path, cropped: np.ndarray) -> None:
    write_series(tmp_path, cropped[:11], 1)
    write_series(tmp_path, cropped[:5], 2, **{"0008_103e": "registered to 1.2.826.0.1.3680043.2.1125.9.1"})
    assert len(read_volume(tmp_path).array) == 11


def test_names_of_files_with_other_slashes_are_the_same_files(
    tmp_path: Path, cropped: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As GDCM gives them on Windows: backslashes up to the folder, then a slash."""
    write_series(tmp_path, cropped[:11])
    found = dicom._series_in
    monkeypatch.setattr(
        dicom, "_series_in", lambda folder: [[name.replace("/s1", "//s1") for name in names] for names in found(folder)]
    )
    assert len(read_volume(tmp_path).array) == 11
