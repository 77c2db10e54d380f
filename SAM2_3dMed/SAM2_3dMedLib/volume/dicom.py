"""Which files of a DICOM folder make the volume, in which order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its customary name

from .errors import VolumeError
from .geometry import NO_GRID, FloatArray
from .itk_quiet import itk_errors

_SAME_NORMAL = 0.999  # cosine; 2.5 degrees
_META_CLASS = re.compile(rb"\x02\x00\x02\x00UI..([0-9.]+)", re.DOTALL)  # (0002,0002), in every file's first bytes
_HEADER_BYTES = 1 << 16


@dataclass(frozen=True)
class DicomSeries:
    """Files of one series sorted by position along the slice normal, and what the user should know about the choice."""

    files: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Slice:
    """What the header of one file says; position (LPS mm of the first pixel) and normal are None where it has none."""

    file: str
    series: str
    sop_class: str
    size: tuple[int, ...]
    position: FloatArray | None
    normal: FloatArray | None

    def fits(self, other: _Slice) -> bool:
        """Whether both can be slices of one volume."""
        if self.size != other.size or (self.normal is None) != (other.normal is None):
            return False
        return self.normal is None or other.normal is None or float(self.normal @ other.normal) > _SAME_NORMAL


def choose_series(folder: Path) -> DicomSeries:
    """The series with most slices in `folder`, or (where it holds none itself) in the folders under it.

    Raises VolumeError when there is none, when a slice of it is damaged, when its pixels have no size, or when several
    volumes lie at the same positions (a time series in one). Notes: other series that were left, slices of another
    orientation or size, uneven spacing, a tilted gantry.
    """
    found = _series_in(folder)
    if not found:
        found = [
            files
            for below in sorted(path for path in folder.rglob("*") if path.is_dir())
            for files in _series_in(below)
        ]
    if not found:
        raise VolumeError(
            f"The folder '{folder}' holds no DICOM images; give the folder that holds the slices themselves."
        )
    files = max(found, key=len)
    notes = []
    if len(found) > 1:
        notes.append(
            f"'{folder}' holds {len(found)} DICOM series; "
            f"the one with most slices ({len(files)}, in '{Path(files[0]).parent}') was taken."
        )
    slices = [_slice_of(file) for file in files]
    _refuse_damaged(slices, files)
    alike = _most_alike(slices)
    if len(alike) < len(slices):
        notes.append(
            f"{len(slices) - len(alike)} of the {len(slices)} slices have another orientation or size than most (a "
            "localizer?) and were left out."
        )
    files = [one.file for one in alike]
    if len(files) > 1:
        files, remarks = _sort_by_position(alike, folder)
        notes += remarks
    return DicomSeries(tuple(files), tuple(notes))


def _series_in(folder: Path) -> list[Sequence[str]]:
    with itk_errors():
        try:
            identifiers = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
            return [
                sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), identifier) for identifier in identifiers
            ]
        except RuntimeError:  # a single file that GDCM stumbles over (some RT doses) ends its whole search
            return _series_by_headers(folder)


def _series_by_headers(folder: Path) -> list[Sequence[str]]:
    series: dict[str, list[str]] = {}
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        try:
            series.setdefault(_slice_of(str(path)).series, []).append(str(path))
        except (RuntimeError, VolumeError):
            continue
    return list(series.values())


def _most_alike(slices: Sequence[_Slice]) -> Sequence[_Slice]:
    groups: list[list[_Slice]] = []
    for one in slices:
        group = next((group for group in groups if group[0].fits(one)), None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    return max(groups, key=len)


def _refuse_damaged(slices: Sequence[_Slice], files: Sequence[str]) -> None:
    """VolumeError for a file of the same series and kind that GDCM leaves out because it cannot read it."""
    first = slices[0]
    if not first.series:
        return
    known = {Path(file) for file in files}  # GDCM's names have slashes of their own on Windows
    # Whole, for the UIDs of the series of one study often differ by a digit at their end.
    series = re.compile(rb"(?<![0-9.])" + re.escape(first.series.encode()) + rb"(?![0-9.])")
    for path in sorted(Path(first.file).parent.iterdir()):
        if path in known or not path.is_file():
            continue
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
        kind = _META_CLASS.search(header)
        alike = kind and kind[1].decode() == first.sop_class and series.search(header)
        if alike and not _is_of_another_series(path, first.series):
            raise VolumeError(f"'{path}' is a slice that is truncated or damaged; copy or export the series again.")


def _is_of_another_series(path: Path, series: str) -> bool:
    """Whether a file that names a series is readable and only refers to it."""
    try:
        return _slice_of(str(path)).series not in ("", series)
    except (RuntimeError, VolumeError):
        return False


def _sort_by_position(slices: Sequence[_Slice], folder: Path) -> tuple[Sequence[str], list[str]]:
    """The files in order along the slice normal, and what is unusual about their places."""
    files = [one.file for one in slices]
    normal = slices[0].normal
    if normal is None:
        return files, ["Some slices do not say where they lie; their order in the volume is that of their file names."]
    places = [one.position for one in slices if one.position is not None]
    along = np.array([position @ normal for position in places])
    # GDCM sorts too, but falls back to file names, without a word, where two slices share a position.
    order = np.argsort(along, kind="stable")
    positions = np.array([places[number] for number in order])
    gaps = np.diff(along[order])
    if gaps.min() < 1e-3:
        raise VolumeError(
            f"The DICOM series in '{folder}' holds several images at the same position "
            "(a time series or several echoes); export one of them to its own folder."
        )
    notes = []
    usual = float(np.median(gaps))
    # 2 % of a slice is rounding in headers; from 10 % on somebody would see it in the volume.
    if np.abs(gaps - usual).max() > 0.1 * usual:
        notes.append(
            f"Slices are missing or unevenly spaced ({gaps.min():.2f} to "
            f"{gaps.max():.2f} mm apart); the volume has their mean distance."
        )
    travel = positions[-1] - positions[0]
    sideways = np.linalg.norm(travel - normal * (travel @ normal))
    # 1 mm over the whole stack: less is below a voxel nearly everywhere.
    if sideways > 1.0:
        notes.append(
            f"The gantry was tilted: slices are shifted by "
            f"up to {sideways:.1f} mm, which the volume's right-angled grid does not show."
        )
    return [files[number] for number in order], notes


def _slice_of(file: str) -> _Slice:
    """Read a header. Raises VolumeError for pixels without a size, and SimpleITK's RuntimeError where there is none."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(file)
    with itk_errors():
        reader.ReadImageInformation()
    spacing = _numbers(reader, "0028|0030")
    if spacing is not None and not (spacing > 0).all():
        raise VolumeError(NO_GRID)  # ITK would take 1 mm
    position, cosines = _numbers(reader, "0020|0032"), _numbers(reader, "0020|0037")
    if position is None or len(position) != 3 or cosines is None or len(cosines) != 6:
        position = normal = None
    else:
        normal = np.cross(cosines[:3], cosines[3:])
        if np.linalg.norm(normal) < 0.5:  # no directions at all
            position = normal = None
    series, sop_class = _text(reader, "0020|000e"), _text(reader, "0008|0016")
    return _Slice(file, series, sop_class, tuple(reader.GetSize()), position, normal)


def _numbers(reader: sitk.ImageFileReader, tag: str) -> FloatArray | None:
    """The finite numbers of a tag; None where there are none."""
    try:
        numbers = np.array([float(part) for part in _text(reader, tag).split("\\")])
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _text(reader: sitk.ImageFileReader, tag: str) -> str:
    return reader.GetMetaData(tag).strip(" \0") if reader.HasMetaDataKey(tag) else ""
