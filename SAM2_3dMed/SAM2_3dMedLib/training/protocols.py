"""Prompts as a careful user would give them, derived from a true mask: what `sam2-3dmed evaluate` simulates.

Deterministic, at full resolution, in voxel indices of the volume; training draws its own random prompts elsewhere.
2D masks are in array orientation (the volume's array with the slice axis removed, docs/decisions/0001-interfaces.md).
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from scipy import ndimage

from ..propagation.prompts import BoxPrompt, PointPrompt
from ..volume.geometry import Geometry
from ..volume.planes import SliceAxis

MAX_CORRECTIONS = 5


class Protocol(str, Enum):
    """How the simulated user prompts.

    BOX: the tight box of the true mask on the slice where it is largest. POINT: that slice's most interior pixel.
    CORRECTIONS: the box, then up to five clicks, each in the middle of the largest error of the slice with most error.
    JITTER, POINT_POSITION, OFF_SLICE: one prompt, given less and less carefully (`prompt_variants`).
    """

    BOX = "box"
    POINT = "point"
    CORRECTIONS = "corrections"
    JITTER = "jitter"
    POINT_POSITION = "point-position"
    OFF_SLICE = "off-slice"

    @property
    def varies_prompt(self) -> bool:
        """Whether every object is prompted several times over, each time differently."""
        return self in (Protocol.JITTER, Protocol.POINT_POSITION, Protocol.OFF_SLICE)


def slice_of(array: np.ndarray, axis: SliceAxis, index: int) -> np.ndarray:
    """One slice of a `[K, J, I]` array, in array orientation (a view)."""
    return np.take(array, index, axis=2 - axis)


def largest_slice(mask: np.ndarray, axis: SliceAxis) -> int:
    """The slice that holds most of a `[K, J, I]` mask. Raises `ValueError` when it is empty."""
    counts = _counts(mask, axis)
    if not counts.any():
        raise ValueError("The true mask is empty, so no prompt can be derived from it.")
    return int(counts.argmax())


def box_prompt(mask: np.ndarray, axis: SliceAxis, index: int) -> BoxPrompt:
    """The tight box of a non-empty slice of a mask; both corners are voxels of the object's extent.

    Of a single pixel it is no box that a user could draw: `is_single_pixel` tells.
    """
    rows, columns = np.nonzero(slice_of(mask, axis, index))
    first = voxel_position(axis, index, rows.min(), columns.min())
    last = voxel_position(axis, index, rows.max(), columns.max())
    return BoxPrompt(axis, first, last)


def is_single_pixel(mask: np.ndarray, axis: SliceAxis, index: int) -> bool:
    """Whether a slice holds one pixel of a mask: a user can click it, but draw no box around it."""
    return int(np.count_nonzero(slice_of(mask, axis, index))) == 1


def first_prompt(mask: np.ndarray, axis: SliceAxis, index: int, geometry: Geometry) -> BoxPrompt | PointPrompt:
    """The tight box of a non-empty slice of a mask; a click where that slice holds a single pixel."""
    if is_single_pixel(mask, axis, index):
        return point_prompt(mask, axis, index, geometry)
    return box_prompt(mask, axis, index)


def point_prompt(mask: np.ndarray, axis: SliceAxis, index: int, geometry: Geometry) -> PointPrompt:
    """A positive point at the most interior pixel of a non-empty slice of a mask."""
    row, column = interior_pixel(slice_of(mask, axis, index), pixel_spacing(geometry, axis))
    return PointPrompt(axis, voxel_position(axis, index, row, column), True)


def correction_prompt(
    prediction: np.ndarray, reference: np.ndarray, axis: SliceAxis, geometry: Geometry
) -> PointPrompt | None:
    """The next click of a user who corrects: in the middle of the largest error of the slice with most error.

    Positive where the object was missed, negative where it was exceeded; None when nothing is wrong.
    """
    errors = _counts(prediction != reference, axis)
    if not errors.any():
        return None
    index = int(errors.argmax())
    found, true = slice_of(prediction, axis, index), slice_of(reference, axis, index)
    missed, exceeded = _largest_region(true & ~found), _largest_region(found & ~true)
    positive = np.count_nonzero(missed) >= np.count_nonzero(exceeded)
    row, column = interior_pixel(missed if positive else exceeded, pixel_spacing(geometry, axis))
    return PointPrompt(axis, voxel_position(axis, index, row, column), bool(positive))


def interior_pixel(mask: np.ndarray, spacing: tuple[float, float]) -> tuple[int, int]:
    """Row and column of the pixel of a non-empty 2D mask that is farthest (mm) from its outside.

    The border of the image counts as outside. Of several such pixels, the one nearest to their mean.
    """
    distance = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1]
    candidates = np.argwhere(distance >= distance.max() * (1 - 1e-9))
    nearest = np.square((candidates - candidates.mean(axis=0)) * np.asarray(spacing)).sum(axis=1).argmin()
    row, column = candidates[nearest]
    return int(row), int(column)


def pixel_spacing(geometry: Geometry, axis: SliceAxis) -> tuple[float, float]:
    """Spacing (mm) of the rows and columns of a slice in array orientation."""
    along = [float(size) for size in reversed(tuple(geometry.spacing))]
    del along[2 - axis]
    return along[0], along[1]


def voxel_position(axis: SliceAxis, index: int, row: int, column: int) -> tuple[float, float, float]:
    """`(i, j, k)` of a pixel of a slice in array orientation."""
    kji = [float(row), float(column)]
    kji.insert(2 - axis, float(index))
    return kji[2], kji[1], kji[0]


def _counts(mask: np.ndarray, axis: SliceAxis) -> np.ndarray:
    return np.count_nonzero(mask, axis=tuple(other for other in range(3) if other != 2 - axis))


def _largest_region(mask: np.ndarray) -> np.ndarray:
    """The largest 4-connected region of a 2D mask; empty when the mask is."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return np.zeros_like(mask)
    return labels == np.bincount(labels.ravel())[1:].argmax() + 1
