"""One labeled case from its files: read, checked, and turned to `[S, P, L]` bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 - its customary name

from ..volume.errors import VolumeError
from ..volume.images import Volume, read_volume
from ..volume.itk_quiet import itk_errors
from ..volume.planes import nearest_patient_axes
from .data_layouts import LabeledCase
from .pack import CaseInfo, PackedCase, hounsfield_to_level

# Voxel-to-RAS entries (mm) that may differ between an image and its labels; the evaluation's rule.
GRID_TOLERANCE_MM = 1e-2


class UnusableCaseError(ValueError):
    """A case that cannot be trained on; the message says why, without naming the case."""


def read_case(case: LabeledCase) -> PackedCase:
    """Read a case. Labels that it does not name count as background.

    Raises:
        UnusableCaseError: a file is missing or no usable volume, image and labels are not on one grid, or there is no
            labeled voxel.
    """
    try:
        image, label = read_volume(case.image), read_volume(case.label)
    except VolumeError as error:
        raise UnusableCaseError(str(error)) from error
    _require_one_grid(image, label)
    labels = _label_bytes(label.array, case)
    voxels, kind = to_bytes(image.array, case.modality)
    spacing = turned_spacing(image)
    shape, labels_of = turned(voxels, image).shape, dict(case.labels)
    info = CaseInfo(case.dataset, case.case, kind, shape, spacing, labels_of, case.spacing_known)
    return PackedCase(info, turned(voxels, image), turned(labels, label))


def open_header(path: Path) -> sitk.ImageFileReader:
    """A reader that has read the file's header. Raises UnusableCaseError where there is no image."""
    if not path.exists():
        raise UnusableCaseError(f"The image '{path}' does not exist; check the path.")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with itk_errors():
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise UnusableCaseError(f"'{path}' cannot be read as an image.") from error
    return reader


def check_header(case: LabeledCase) -> int:
    """Look at the files' headers alone; the number of voxels.

    Raises:
        UnusableCaseError: a file is missing or no image, or image and labels are not on one grid.
    """
    image, label = open_header(case.image), open_header(case.label)
    sizes = [reader.GetSize()[:3] for reader in (image, label)]
    _require_one_size(*sizes)
    # A 4D image has more numbers for its place than its labels; `read_case` compares the channel's.
    if image.GetDimension() == label.GetDimension():
        for what in ("origin", "spacing", "direction"):
            here, there = (getattr(reader, f"Get{what.capitalize()}")() for reader in (image, label))
            if not np.allclose(here, there, rtol=0, atol=GRID_TOLERANCE_MM):
                raise UnusableCaseError(f"image and labels differ in {what}; resample the labels onto the image.")
    return int(np.prod(sizes[0]))


def turned(array: npt.NDArray, volume: Volume) -> npt.NDArray:
    """An array `[K, J, I]` on the volume's grid as `[S, P, L]`, contiguous: axes toward the nearest patient axes."""
    axes, signs = nearest_patient_axes(volume.ijk_to_ras)
    wanted = ((2, 1), (1, -1), (0, -1))  # superior, posterior, left, as RAS axis and sign
    places = [axes.index(ras) for ras, _ in wanted]
    moved = np.transpose(array, [2 - place for place in places])
    flips = [slice(None, None, sign * signs[place]) for place, (_, sign) in zip(places, wanted, strict=True)]
    return np.ascontiguousarray(moved[tuple(flips)])


def turned_spacing(volume: Volume) -> tuple[float, float, float]:
    """Spacing in mm along S, P, L."""
    axes, _ = nearest_patient_axes(volume.ijk_to_ras)
    s, p, el = (float(volume.spacing[axes.index(ras)]) for ras in (2, 1, 0))
    return s, p, el


def to_bytes(voxels: npt.NDArray, modality: str) -> tuple[npt.NDArray[np.uint8], str]:
    """Voxels as bytes, and the `kind` of `CaseInfo` that they are. Values that are not finite count as the lowest."""
    is_ct = modality.upper().startswith("CT")
    if voxels.dtype == np.uint8:
        return voxels, "ct8" if is_ct else "mr"
    if np.issubdtype(voxels.dtype, np.floating):
        finite = np.isfinite(voxels)
        if not finite.all():
            voxels = np.where(finite, voxels, voxels[finite].min())
    if is_ct and voxels.min() < -100:
        return hounsfield_to_level(voxels), "ct"
    values = voxels.astype(np.float32)
    low, high = np.percentile(values, (0.1, 99.9))
    scaled = (values - low) * (255.0 / max(high - low, 1e-6))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8), "ct8" if is_ct else "mr"


def _require_one_grid(image: Volume, label: Volume) -> None:
    _require_one_size(image.shape_ijk, label.shape_ijk)
    apart = np.abs(image.ijk_to_ras - label.ijk_to_ras)
    if apart.max() > GRID_TOLERANCE_MM:
        what = "origin" if apart[:3, :3].max() <= GRID_TOLERANCE_MM else "spacing or direction"
        raise UnusableCaseError(
            f"image and labels differ in {what} by up to {apart.max():.3g} mm; resample the labels onto the image."
        )


def _require_one_size(image: Sequence[int], label: Sequence[int]) -> None:
    if tuple(image) != tuple(label):
        image_size, label_size = ("x".join(map(str, size)) for size in (image, label))
        raise UnusableCaseError(f"image ({image_size}) and labels ({label_size}) differ in size; resample the labels.")


def _label_bytes(labels: npt.NDArray, case: LabeledCase) -> npt.NDArray[np.uint8]:
    if max(case.labels) > 255:
        raise UnusableCaseError(f"label {max(case.labels)} is above 255; renumber the labels.")
    is_float = np.issubdtype(labels.dtype, np.floating)
    if is_float:
        labels = np.nan_to_num(labels)  # NaN is background, as in the evaluation
    whole = np.rint(labels)
    if is_float and not np.allclose(whole, labels, rtol=0, atol=1e-3):
        raise UnusableCaseError("the label map holds fractions; is it an image, or was it resampled by interpolation?")
    kept = np.zeros(labels.shape, dtype=np.uint8)
    for value in case.labels:
        kept[whole == value] = value
    if not kept.any():
        found = ", ".join(str(int(value)) for value in np.unique(whole)[:6])
        raise UnusableCaseError(f"no voxel has one of the labels {', '.join(map(str, case.labels))} (found: {found}).")
    return kept
