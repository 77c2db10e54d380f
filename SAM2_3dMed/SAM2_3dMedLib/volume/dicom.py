"""Which files of a DICOM folder make the volume, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its customary name

from .errors import VolumeError
from .geometry import FloatArray
from .itk_quiet import itk_errors


@dataclass(frozen=True)
class DicomSeries:
    """Files of one series sorted by position along the slice normal, and what the user should know about the choice."""

    files: tuple[str, ...]
    notes: tuple[str, ...]


def choose_series(folder: Path) -> DicomSeries:
    """The series with most slices in `folder`, or (where it holds none itself) in the folders under it.

    Raises VolumeError when there is none, or when several volumes lie at the same positions (a time series in one).
    Notes: other series that were left, uneven spacing, a tilted gantry.
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
    if len(files) > 1:
        files, remarks = _sort_by_position(files, folder)
        notes += remarks
    return DicomSeries(tuple(files), tuple(notes))


def _series_in(folder: Path) -> list[Sequence[str]]:
    with itk_errors():
        identifiers = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
        return [sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), identifier) for identifier in identifiers]


def _sort_by_position(files: Sequence[str], folder: Path) -> tuple[Sequence[str], list[str]]:
    """The files in order along the slice normal, and what is unusual about their places."""
    places = [place for file in files if (place := _position_and_normal(file)) is not None]
    if len(places) < len(files):
        return files, ["Some slices do not say where they lie; their order in the volume is that of their file names."]
    normal = places[0][1]
    along = np.array([position @ normal for position, _ in places])
    # GDCM sorts too, but falls back to file names, without a word, where two slices share a position.
    order = np.argsort(along, kind="stable")
    positions = np.array([places[number][0] for number in order])
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


def _position_and_normal(file: str) -> tuple[FloatArray, FloatArray] | None:
    """LPS position of the first pixel and the slice normal; None where the header lacks them."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    with itk_errors():
        reader.ReadImageInformation()
    try:
        position = np.array([float(part) for part in reader.GetMetaData("0020|0032").split("\\")])
        cosines = np.array([float(part) for part in reader.GetMetaData("0020|0037").split("\\")])
    except (RuntimeError, ValueError):
        return None
    return (position, np.cross(cosines[:3], cosines[3:])) if len(position) == 3 and len(cosines) == 6 else None
