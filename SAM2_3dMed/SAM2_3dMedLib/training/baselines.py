"""What a box alone gives, without any image: the yardstick beside every figure of a box.

A method that does no better than an ellipse in the box has shown nothing on round objects. Masks and boxes are in array
orientation; a box is its inclusive voxel bounds `((first row, last row), (first column, last column))`.
"""

from __future__ import annotations

import numpy as np

from ..propagation.prompts import BoxPrompt, nearest_index
from ..volume.planes import SliceAxis

Bounds = tuple[tuple[int, int], tuple[int, int]]


def bounds_of_mask(mask: np.ndarray) -> Bounds:
    """The tight box of a non-empty 2D mask."""
    rows, columns = np.nonzero(mask)
    return (int(rows.min()), int(rows.max())), (int(columns.min()), int(columns.max()))


def bounds_of_box(box: BoxPrompt) -> Bounds:
    """The voxels that a box prompt covers on its slice."""
    corners = []
    for corner in (box.corner_a, box.corner_b):
        kji = [nearest_index(value) for value in reversed(corner)]
        del kji[SliceAxis(box.axis).array_axis]
        corners.append(kji)
    (row_a, column_a), (row_b, column_b) = corners
    return (min(row_a, row_b), max(row_a, row_b)), (min(column_a, column_b), max(column_a, column_b))


def ellipse_in(bounds: Bounds, shape: tuple[int, int]) -> np.ndarray:
    """The ellipse inscribed in a box, as a bool mask of `shape`."""
    rows, columns = (_squared_offsets(ends, count) for ends, count in zip(bounds, shape, strict=True))
    return rows[:, None] + columns[None, :] <= 1.0


def ellipsoid_in(bounds: Bounds, axis: SliceAxis, index: int, reference: np.ndarray) -> np.ndarray:
    """The ellipse of a box on slice `index`, shrunk like an ellipsoid toward the true object's first and last slice.

    That extent is more than a box tells, so the comparison favors this baseline.

    Args:
        bounds: the box.
        axis: across the slices.
        index: the prompted slice.
        reference: the true object, bool `[K, J, I]`, not empty; only its extent along `axis` is used.

    Returns:
        Bool `[K, J, I]`.
    """
    array_axis = SliceAxis(axis).array_axis
    held = np.flatnonzero(reference.any(axis=tuple(other for other in range(3) if other != array_axis)))
    first, last = min(int(held[0]), index), max(int(held[-1]), index)
    slices = np.arange(first, last + 1)
    lengths = np.where(slices < index, index - first + 0.5, last - index + 0.5)
    room = 1.0 - ((slices - index) / lengths) ** 2
    found = np.zeros(reference.shape, dtype=bool)
    turned = np.moveaxis(found, array_axis, 0)
    rows, columns = (_squared_offsets(ends, count) for ends, count in zip(bounds, turned.shape[1:], strict=True))
    turned[first : last + 1] = rows[:, None] + columns[None, :] <= room[:, None, None]
    return found


def _squared_offsets(ends: tuple[int, int], count: int) -> np.ndarray:
    """Squared distance of each of `count` pixels from the middle of `ends`, in half lengths of it."""
    first, last = ends
    return ((np.arange(count) - (first + last) / 2) / ((last - first + 1) / 2)) ** 2
