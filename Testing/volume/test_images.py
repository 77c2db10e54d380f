"""Images from every kind of file keep voxels, dtype and grid; files that cannot be used get one sentence that says
what to do.
"""

from __future__ import annotations

import gzip
import os
import re
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


@pytest.mark.parametrize(
    ("said", "modality"), [(None, None), ("MET_MOD_CT", "CT"), ("MET_MOD_MR", "MR"), ("MET_MOD_OTHER", None)]
)
def test_the_modality_of_a_metaimage_file(tmp_path: Path, cropped: np.ndarray, said: str | None, modality: str) -> None:
    """MetaImage files say MET_MOD_UNKNOWN where nobody has said more; such a CT is windowed as that of a NIfTI file."""
    path = tmp_path / "v.mha"
    sitk.WriteImage(image_of(cropped), str(path))
    stored = path.read_bytes()
    if said:
        path.write_bytes(stored.replace(b"NDims", f"Modality = {said}\nNDims".encode(), 1))
    volume = read_volume(path)
    assert volume.modality == modality
    if not said:
        sitk.WriteImage(image_of(cropped), str(tmp_path / "v.nii"))
        assert window_from("auto", volume) == window_from("auto", read_volume(tmp_path / "v.nii"))


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


@pytest.mark.parametrize("ending", ["mha", "mhd"])
def test_packed_voxels_that_are_damaged_are_not_made_an_image_of(
    tmp_path: Path, cropped: np.ndarray, ending: str
) -> None:
    path = tmp_path / f"v.{ending}"
    sitk.WriteImage(image_of(cropped), str(path), useCompression=True)
    data = path if ending == "mha" else tmp_path / "v.zraw"
    stored = bytearray(data.read_bytes())
    middle = len(stored) // 2
    stored[middle : middle + 40] = bytes(byte ^ 0x5A for byte in stored[middle : middle + 40])
    data.write_bytes(stored)
    assert "truncated or damaged" in refused(path)


def test_libraries_inside_of_itk_print_nothing(
    tmp_path: Path, cropped: np.ndarray, capfd: pytest.CaptureFixture
) -> None:
    """MetaIO and the NIfTI library write their complaints past Python, to the process's stderr."""
    sitk.WriteImage(image_of(cropped), str(tmp_path / "v.mha"))
    (tmp_path / "v.mha").write_bytes((tmp_path / "v.mha").read_bytes()[:40_000])
    sitk.WriteImage(image_of(cropped), str(tmp_path / "v.nii"))
    stored = bytearray((tmp_path / "v.nii").read_bytes())
    stored[42:44] = (0).to_bytes(2, "little")  # voxels along i
    (tmp_path / "v.nii").write_bytes(stored)
    for name in ("v.mha", "v.nii"):
        refused(tmp_path / name)
    assert capfd.readouterr() == ("", "")
    os.write(2, b"heard again")
    assert capfd.readouterr().err == "heard again"


@pytest.mark.parametrize(
    ("place", "numbers", "said"),
    [
        (80, [0, 0, 0], "zero spacing"),
        (108, [np.nan], "damaged"),
        (108, [-500], "damaged"),
    ],
    ids=["no spacing", "voxels nowhere", "voxels before the file"],
)
def test_headers_of_nifti_files_that_itk_takes_as_they_are(
    tmp_path: Path, cropped: np.ndarray, place: int, numbers: list[float], said: str
) -> None:
    path = tmp_path / "v.nii"
    sitk.WriteImage(image_of(cropped), str(path))
    stored = bytearray(path.read_bytes())
    stored[place : place + 4 * len(numbers)] = np.array(numbers, "<f4").tobytes()
    path.write_bytes(stored)
    assert said in refused(path)


def test_a_grid_that_is_none_is_not_called_a_damaged_file(tmp_path: Path, cropped: np.ndarray) -> None:
    sitk.WriteImage(image_of(cropped), str(tmp_path / "v.mha"))
    stored = (tmp_path / "v.mha").read_bytes()
    (tmp_path / "v.mha").write_bytes(re.sub(rb"ElementSpacing = .*", b"ElementSpacing = 0 1 1", stored, count=1))
    assert "zero spacing" in refused(tmp_path / "v.mha")
    (tmp_path / "v.mha").write_bytes(re.sub(rb"TransformMatrix = .*", b"TransformMatrix = 1 0 0 1 0 0 0 0 1", stored))
    assert "parallel axes" in refused(tmp_path / "v.mha")
    (tmp_path / "v.mha").write_bytes(re.sub(rb"Offset = \S+", b"Offset = nan", stored, count=1))
    assert "no finite numbers" in refused(tmp_path / "v.mha")


@pytest.mark.parametrize("word", ["spacing", "determinant", "allocated", "orthonormal"])
def test_the_name_of_a_file_says_nothing_of_what_is_wrong_with_it(tmp_path: Path, cropped: np.ndarray, word) -> None:
    """ITK's messages hold the file's name, and they are searched for such words."""
    path = tmp_path / f"my {word}" / f"{word}.nrrd"
    path.parent.mkdir()
    sitk.WriteImage(image_of(cropped), str(path))
    path.write_bytes(path.read_bytes()[:-900])
    assert "is truncated, damaged or without its data file" in refused(path)
    path.write_bytes(b"no image" * 40)
    assert "cannot be read as an image" in refused(path)


def test_a_sheared_grid_is_refused_in_every_format(tmp_path: Path, cropped: np.ndarray) -> None:
    """A result in NIfTI would lie on another grid, without a word."""
    sitk.WriteImage(image_of(cropped, np.eye(3)), str(tmp_path / "v.nrrd"))
    stored = (tmp_path / "v.nrrd").read_bytes()
    sheared = re.sub(rb"space directions: .*", b"space directions: (0.8,0,0) (0.4,1.25,0) (0,0,3.5)", stored, count=1)
    (tmp_path / "v.nrrd").write_bytes(sheared)
    assert "not at right angles; resample it" in refused(tmp_path / "v.nrrd")


def test_an_empty_name_is_not_the_current_folder() -> None:
    with pytest.raises(VolumeError, match="name of the image is empty"):
        read_volume("")


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
