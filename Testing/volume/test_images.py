"""Images from every kind of file keep voxels, dtype and grid; files that cannot be used get one sentence that says
what to do.
"""

from __future__ import annotations

import gzip
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from SAM2_3dMedLib.volume.errors import VolumeError
from SAM2_3dMedLib.volume.geometry import Geometry, affine_from_parts
from SAM2_3dMedLib.volume.images import Volume, read_volume
from SAM2_3dMedLib.volume.intensity import Window, window_from
from scipy.spatial.transform import Rotation

OBLIQUE = Rotation.from_euler("xyz", (12, -7, 25), degrees=True).as_matrix()
LEFT_HANDED = OBLIQUE * [1, 1, -1]


def image_of(array: np.ndarray, directions: np.ndarray = OBLIQUE) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.8, 1.25, 3.5))
    image.SetOrigin((-101.5, 40.25, 7))
    image.SetDirection(directions.ravel().tolist())
    return image


@pytest.fixture(scope="module")
def cropped(samples: Path) -> np.ndarray:
    """A part of a real CT with three different side lengths [K, J, I]."""
    return read_volume(samples / "sarcoma_ct_img.nii.gz").array[10:22, 30:70, 20:80]


@pytest.mark.parametrize("directions", [OBLIQUE, LEFT_HANDED], ids=["oblique", "left-handed"])
@pytest.mark.parametrize("ending", ["nii", "nii.gz", "nrrd", "nhdr", "mha", "mhd", "img"])
def test_every_format_keeps_voxels_and_grid(
    tmp_path: Path, cropped: np.ndarray, ending: str, directions: np.ndarray
) -> None:
    path = tmp_path / f"a scan, größer.{ending}"
    sitk.WriteImage(image_of(cropped, directions), str(path))
    volume = read_volume(path)
    assert volume.array.dtype == cropped.dtype
    np.testing.assert_array_equal(volume.array, cropped)
    lps = affine_from_parts((-101.5, 40.25, 7), (0.8, 1.25, 3.5), directions)
    expected = Geometry(np.diag([-1, -1, 1, 1]) @ lps, (60, 40, 12))
    assert volume.geometry.is_close(expected, tolerance_mm=0.01)
    assert volume.geometry.is_right_handed == (directions is OBLIQUE)
    assert volume.source == path
    assert volume.spacing == pytest.approx((0.8, 1.25, 3.5), abs=1e-4)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"])
def test_dtypes_are_kept(tmp_path: Path, dtype: str) -> None:
    array = np.arange(60).reshape(3, 4, 5).astype(dtype)
    sitk.WriteImage(image_of(array), str(tmp_path / "v.nrrd"))
    volume = read_volume(str(tmp_path / "v.nrrd"))
    assert volume.array.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(volume.array, array)


def test_the_fourth_dimension_of_one_time_point_is_dropped(tmp_path: Path, cropped: np.ndarray) -> None:
    sitk.WriteImage(sitk.JoinSeries([sitk.GetImageFromArray(cropped)]), str(tmp_path / "v.nii"))
    np.testing.assert_array_equal(read_volume(tmp_path / "v.nii").array, cropped)


def test_windows_that_files_ask_for(tmp_path: Path, cropped: np.ndarray) -> None:
    image = image_of(cropped)
    sitk.WriteImage(image, str(tmp_path / "v.nii"))
    stored = bytearray((tmp_path / "v.nii").read_bytes())
    stored[124:132] = np.array([300, -100], dtype="<f4").tobytes()  # cal_max, cal_min
    (tmp_path / "v.nii").write_bytes(stored)
    assert read_volume(tmp_path / "v.nii").declared_window == Window(-100, 300)
    image.SetMetaData("0028|1050", "50\\400")
    image.SetMetaData("0028|1051", "300\\1500")
    image.SetMetaData("0008|0060", "CT")
    sitk.WriteImage(image, str(tmp_path / "v.nrrd"))
    volume = read_volume(tmp_path / "v.nrrd")
    assert volume.modality == "CT"
    assert window_from("auto", volume) == Window(-100, 200)


# DICOM


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


# What cannot be used


def refused(path: Path) -> str:
    with pytest.raises(VolumeError) as caught:
        read_volume(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    assert len(message) < 420
    return message


def test_a_missing_file_and_files_that_are_no_images(tmp_path: Path) -> None:
    assert "does not exist; check the path" in refused(tmp_path / "missing.nii.gz")
    for name in ("text.txt", "text.nii.gz", "text.nrrd", "text.mha", "text.dcm", "text.nii"):
        (tmp_path / name).write_text("this is not an image\n" * 100)
        assert "NIfTI, NRRD, MHA or MHD file, or a folder of DICOM slices" in refused(tmp_path / name)
    (tmp_path / "empty.nii").write_bytes(b"")
    assert "empty file" in refused(tmp_path / "empty.nii")


@pytest.mark.parametrize("kept", [0.3, 0.97])
@pytest.mark.parametrize("ending", ["nii", "nii.gz", "nrrd", "mha"])
def test_a_truncated_file_is_never_filled_up_with_zeros(
    tmp_path: Path, cropped: np.ndarray, ending: str, kept: float
) -> None:
    whole = tmp_path / f"whole.{ending}"
    sitk.WriteImage(image_of(cropped), str(whole), useCompression=ending != "nii")
    stored = whole.read_bytes()
    cut = tmp_path / f"cut.{ending}"
    cut.write_bytes(stored[: int(len(stored) * kept)])
    assert "truncated" in refused(cut)


def test_a_gzip_file_of_several_members_is_whole(tmp_path: Path, cropped: np.ndarray) -> None:
    sitk.WriteImage(image_of(cropped), str(tmp_path / "v.nii"))
    stored = (tmp_path / "v.nii").read_bytes()
    (tmp_path / "v.nii.gz").write_bytes(gzip.compress(stored[:20_000]) + gzip.compress(stored[20_000:]))
    np.testing.assert_array_equal(read_volume(tmp_path / "v.nii.gz").array, cropped)


def test_wrong_kinds_of_image(tmp_path: Path) -> None:
    flat = np.zeros((4, 5, 6), dtype=np.float32)

    def written(image: sitk.Image, name: str) -> Path:
        sitk.WriteImage(image, str(tmp_path / name))
        return tmp_path / name

    series = sitk.JoinSeries([sitk.GetImageFromArray(flat)] * 3)
    assert "4 dimensions (6 x 5 x 4 x 3); export one time point" in refused(written(series, "time.nii.gz"))
    color = sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), dtype=np.uint8), isVector=True)
    assert "3 values a voxel" in refused(written(color, "color.nrrd"))
    assert "export it as one gray-scale volume" in refused(written(color, "color.nii.gz"))
    assert "single slice" in refused(written(sitk.GetImageFromArray(flat[0].astype(np.uint8)), "picture.png"))
    for axis in range(3):
        thin = sitk.GetImageFromArray(np.take(flat, [0], axis=axis))
        assert "single slice" in refused(written(thin, f"thin{axis}.nii.gz"))
    assert "no finite value" in refused(written(sitk.GetImageFromArray(flat * np.nan), "nan.nii.gz"))
    complex_image = sitk.Cast(sitk.GetImageFromArray(flat), sitk.sitkComplexFloat32)
    assert "complex numbers" in refused(written(complex_image, "complex.nii"))


def test_arrays_from_elsewhere_are_checked_too() -> None:
    for array, message in (
        (np.zeros((3, 4)), "2 dimensions instead of 3"),
        (np.zeros((3, 4, 5), dtype=bool), "bool values; give an image of real numbers"),
        (np.zeros((3, 4, 5), dtype=complex), "real numbers"),
        (np.zeros((0, 4, 5)), "empty"),
        (np.zeros((3, 1, 5)), "single slice"),
        (np.full((3, 4, 5), np.inf), "no finite value"),
    ):
        with pytest.raises(VolumeError, match=message):
            Volume(array, np.eye(4))
    with pytest.raises(VolumeError, match="correct its header"):
        Volume(np.zeros((3, 4, 5)), np.zeros((4, 4)))


def test_a_file_that_may_not_be_read(tmp_path: Path, cropped: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "v.nrrd"
    path.write_text("not readable as an image")
    # Root may read everything, so the refusal of the operating system is played.
    monkeypatch.setattr("SAM2_3dMedLib.volume.images.os.access", lambda *_: False)
    assert "check its permissions" in refused(path)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text elsewhere")
def test_a_path_that_is_no_text_is_refused():
    path = os.fsdecode(b"/nowhere/gr\xf6\xdfe.nii.gz")
    with pytest.raises(VolumeError, match="UTF-8"):
        read_volume(path)
