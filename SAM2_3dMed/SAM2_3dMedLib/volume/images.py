"""Volumes from files: NIfTI, NRRD, MHA/MHD and DICOM folders, read by SimpleITK, never resampled and never converted
to another dtype.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 - its customary name

from .dicom import choose_series
from .errors import VolumeError
from .geometry import NO_GRID, FloatArray, Geometry, affine_from_parts, ras_from_lps
from .integrity import check_header, check_packed_size, check_whole_file, has_finite_values, physical_memory
from .intensity import Window
from .itk_quiet import itk_errors, reason, words
from .label_maps import SegmentInfo, check_path_text, write_label_map
from .meta_image import check_meta_image

__all__ = ["SegmentInfo", "Volume", "VolumeError", "read_volume", "write_label_map"]

_NO_FINITE_VALUE = "holds no finite value (all NaN or infinite); choose another image."
# Neither NIfTI nor Slicer keeps such a grid: a result would lie elsewhere than the image.
_SHEARED = "'{}' has axes that are not at right angles; resample it on a rectangular grid first."
_RIGHT_ANGLE = 0.01  # cosine; headers are rounded
_COPIES = 2  # SimpleITK's image and the array, for a moment side by side
_READABLE = "NIfTI, NRRD, MHA or MHD file, or a folder of DICOM slices"


@dataclass(frozen=True, eq=False)
class Volume:
    """One scalar image on its grid.

    array: [K, J, I], any integer or floating dtype. ijk_to_ras: affine [4, 4], mm. name: for messages and file names.
    modality: DICOM's word ("CT", "MR") where the file says it. source: the file or folder. declared_window: the
    window that the file's header asks for. notes: sentences for the user about choices made in reading.
    declared_labels: whether the header says that the values are labels of a segmentation. Raises
    VolumeError when it cannot be segmented: not three axes, an axis of length 1, values that are not real numbers, no
    finite value, or no valid grid.
    """

    array: npt.NDArray
    ijk_to_ras: FloatArray
    name: str = ""
    modality: str | None = None
    source: Path | None = None
    declared_window: Window | None = None
    notes: tuple[str, ...] = ()
    declared_labels: bool = False

    def __post_init__(self) -> None:
        _check_array(self.array, self.name or "The image")
        object.__setattr__(self, "ijk_to_ras", self.geometry.ijk_to_ras)

    @property
    def shape_ijk(self) -> tuple[int, int, int]:
        """Number of voxels along i, j, k."""
        k, j, i = self.array.shape
        return (i, j, k)

    @property
    def geometry(self) -> Geometry:
        """The grid."""
        return Geometry(self.ijk_to_ras, self.shape_ijk)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between neighboring voxels along i, j, k."""
        return self.geometry.spacing


def read_volume(path: str | os.PathLike[str]) -> Volume:
    """Read one 3D scalar image: a file, or the largest series of a folder of DICOM slices.

    Voxels, their order and the grid are those of the file, also left-handed and oblique; DICOM and NIfTI rescaling is
    applied by SimpleITK, which reads NaN in NIfTI files as 0.

    Raises VolumeError: missing, not an image, truncated, 4D, color or vector, a single slice,
    all NaN, empty, not numeric.
    """
    if not str(path):
        raise VolumeError(f"The name of the image is empty; give a {_READABLE}.")
    source = Path(path).expanduser()
    check_path_text(source)
    if source.is_dir():
        return _read_dicom(source)
    if not source.exists():
        raise VolumeError(f"The image '{source}' does not exist; check the path.")
    if not source.is_file():
        raise VolumeError(f"'{source}' is a device or a pipe; give a {_READABLE}.")
    check_header(source)
    reader = _header(source)
    _check_header(reader, f"'{source.name}'")
    check_packed_size(source, _promised_bytes(reader))
    check_whole_file(source)
    check_meta_image(source, _promised_bytes(reader))
    image = _execute(reader, source)
    if not sitk.GetArrayViewFromImage(image).any() and not has_finite_values(source):
        raise VolumeError(f"'{source.name}' {_NO_FINITE_VALUE}")
    return _volume(image, _tags(reader), source, ())


def _read_dicom(folder: Path) -> Volume:
    series = choose_series(folder)
    first = _header(Path(series.files[0]))
    _check_header(first, f"The DICOM series in '{folder}'", slices=len(series.files))
    if len(series.files) == 1:
        return _volume(_execute(first, folder), _tags(first), folder, series.notes)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(series.files)
    middle = _header(Path(series.files[len(series.files) // 2]))
    return _volume(_execute(reader, folder), _tags(middle), folder, series.notes)


def _header(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with itk_errors():
            reader.ReadImageInformation()
    except RuntimeError as error:
        if not os.access(path, os.R_OK):
            raise VolumeError(f"'{path}' may not be read; check its permissions.") from error
        if path.stat().st_size == 0:
            raise VolumeError(f"'{path}' is an empty file; copy or export the image again.") from error
        if "orthonormal" in words(error, [str(path)]):
            raise VolumeError(_SHEARED.format(path.name)) from error
        raise VolumeError(f"'{path.name}' cannot be read as an image ({reason(error)}); give a {_READABLE}.") from error
    return reader


def _tags(reader: sitk.ImageFileReader) -> dict[str, str]:
    return {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}


def _check_header(reader: sitk.ImageFileReader, what: str, slices: int = 1) -> None:
    size = list(reader.GetSize())
    if "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()).lower():
        raise VolumeError(f"{what} holds complex numbers; export its magnitude as a gray-scale volume.")
    if reader.GetNumberOfComponents() > 1:
        raise VolumeError(
            f"{what} holds {reader.GetNumberOfComponents()} values a voxel (a color, vector or layered image); "
            "export it as one gray-scale volume."
        )
    if len(size) > 3 and max(size[3:]) > 1:
        raise VolumeError(
            f"{what} has {len(size)} dimensions ({' x '.join(map(str, size))}); export one time point as a 3D volume."
        )
    if len(size) < 3 or (size[2] == 1 and slices == 1):
        raise VolumeError(
            f"{what} is a single slice; give a volume of several slices (for DICOM the folder that holds them all)."
        )
    _check_memory(reader, what, slices)
    if len(size) > 3:
        reader.SetExtractSize([*size[:3], *[0] * (len(size) - 3)])


def _check_memory(reader: sitk.ImageFileReader, what: str, slices: int) -> None:
    """VolumeError for a volume that cannot be held: reading it would take the computer down with it."""
    needed = _COPIES * slices * _promised_bytes(reader)
    if needed > physical_memory():
        raise VolumeError(
            f"{what} does not fit into this computer's memory (it needs {needed / 1e9:.0f} GB); crop it first."
        )


def _promised_bytes(reader: sitk.ImageFileReader) -> int:
    bits = re.match(r"\d+", sitk.GetPixelIDValueAsString(reader.GetPixelID()))
    return math.prod(reader.GetSize()) * (int(bits[0]) // 8 if bits else 1)


def _execute(reader: sitk.ImageFileReader | sitk.ImageSeriesReader, path: Path) -> sitk.Image:
    try:
        with itk_errors():
            return reader.Execute()
    except RuntimeError as error:
        is_series = isinstance(reader, sitk.ImageSeriesReader)
        said = words(error, reader.GetFileNames() if is_series else [reader.GetFileName()])
        if "allocat" in said or "bad_alloc" in said:
            raise VolumeError(f"'{path}' does not fit into this computer's memory; crop it first.") from error
        if "spacing" in said or "determinant" in said:
            raise VolumeError(NO_GRID) from error
        raise VolumeError(
            f"'{path}' is truncated, damaged or without its data file; copy or export it again."
        ) from error


def _volume(image: sitk.Image, tags: Mapping[str, str], source: Path, notes: tuple[str, ...]) -> Volume:
    directions = np.array(image.GetDirection()).reshape(3, 3)
    if np.abs(directions.T @ directions - np.eye(3)).max() > _RIGHT_ANGLE:
        raise VolumeError(_SHEARED.format(source.name))
    lps = affine_from_parts(image.GetOrigin(), image.GetSpacing(), directions)
    modality = _modality(tags)
    return Volume(
        array=sitk.GetArrayFromImage(image),
        ijk_to_ras=ras_from_lps(lps),
        name=source.name.split(".")[0] or source.name,
        modality=modality,
        source=source,
        declared_window=_declared_window(tags),
        notes=notes,
        declared_labels=modality == "SEG"
        or tags.get("intent_code") == _NIFTI_LABELS
        or any(key.startswith("Segment0_") for key in tags),
    )


_NIFTI_LABELS = "1002"  # NIFTI_INTENT_LABEL
_NO_MODALITY = ("", "UNKNOWN", "OTHER", "OT")


def _modality(tags: Mapping[str, str]) -> str | None:
    """DICOM's word. MetaImage writes MET_MOD_CT, and MET_MOD_UNKNOWN into every file that nobody has told better."""
    text = (tags.get("0008|0060") or tags.get("modality") or tags.get("Modality") or "").strip().upper()
    word = text.removeprefix("MET_MOD_")
    return None if word in _NO_MODALITY else word


# Pairs of header fields (all formats; SimpleITK hands them on as text). Center and width: DICOM's tags, which ITK's
# writers also put into NRRD and MHA, and the names they have in NRRD files of other tools. Limits: NIfTI's display
# range.
_CENTER_WIDTH_FIELDS = (("0028|1050", "0028|1051"), ("WindowCenter", "WindowWidth"), ("window_center", "window_width"))
_LIMIT_FIELDS = (("cal_min", "cal_max"),)


def _declared_window(tags: Mapping[str, str]) -> Window | None:
    for center_field, width_field in _CENTER_WIDTH_FIELDS:
        center, width = _number(tags.get(center_field)), _number(tags.get(width_field))
        if center is not None and width is not None and width > 0:
            return Window.centered(center, width)
    for lower_field, upper_field in _LIMIT_FIELDS:
        lower, upper = _number(tags.get(lower_field)), _number(tags.get(upper_field))
        if lower is not None and upper is not None and lower < upper:
            return Window(lower, upper)
    return None


def _number(text: str | None) -> float | None:
    """The first number of a DICOM multi-value or plain text; None where there is none, as headers hold anything."""
    try:
        value = float((text or "").split("\\")[0])
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _check_array(array: npt.NDArray, name: str) -> None:
    if array.ndim != 3:
        raise VolumeError(f"{name} has {array.ndim} dimensions instead of 3; give one gray-scale volume.")
    if not (np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)):
        raise VolumeError(f"{name} holds {array.dtype} values; give an image of real numbers.")
    if array.size == 0:
        raise VolumeError(f"{name} is empty; choose another image.")
    if min(array.shape) == 1:
        size = " x ".join(map(str, array.shape[::-1]))
        raise VolumeError(
            f"{name} is a single slice ({size} voxels); give a volume with at least two voxels along each axis."
        )
    # Slice by slice: a mask of the whole array would need another byte a voxel.
    if np.issubdtype(array.dtype, np.floating) and not any(np.isfinite(plane).any() for plane in array):
        raise VolumeError(f"{name} {_NO_FINITE_VALUE}")
