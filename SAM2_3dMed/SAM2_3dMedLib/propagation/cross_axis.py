"""What a prompt on another axis says about slices along the object's own axis.

A point says the same on the slice through it. A box or a mask is first answered on its own slice; that mask then
implies points on a few slices that cross it: inside its longest run on each, and just outside the run's two ends.
"""

from __future__ import annotations

import numpy as np

from ..volume.planes import SliceAxis
from .prompts import PointPrompt, nearest_index

# Enough to follow an object's extent, few enough to be decoded while the user waits.
_MOST_SLICES = 5
# Voxels between a run's end and the negative point: closer, and an edge a voxel off would contradict it.
_OUTSIDE = 2


def implied_by_point(point: PointPrompt, axis: SliceAxis) -> PointPrompt:
    """The same voxel's point on the slice through it along `axis`."""
    i, j, k = (float(nearest_index(value)) for value in point.position)
    return PointPrompt(axis, (i, j, k), point.positive)


def implied_by_mask(
    mask: np.ndarray, mask_axis: SliceAxis, mask_index: int, axis: SliceAxis
) -> dict[int, tuple[PointPrompt, ...]]:
    """Points on up to five slices along `axis`, by slice index, from the middle of the mask's extent outward.

    Args:
        mask: bool, array orientation, slice `mask_index` along `mask_axis`.
        axis: another axis.
    """
    # In array orientation the rows run along the higher of the two IJK axes that remain.
    row_axis, column_axis = sorted((entry for entry in SliceAxis if entry != mask_axis), reverse=True)
    lines = mask if row_axis == axis else mask.T
    run_axis = column_axis if row_axis == axis else row_axis
    filled = np.flatnonzero(lines.any(axis=1))
    if filled.size == 0:
        return {}
    first, last = int(filled[0]), int(filled[-1])
    count = min(_MOST_SLICES, last - first + 1)
    # The middles of equal parts: the extent's very ends are thin and say little.
    places = [first + int((part + 0.5) * (last - first + 1) / count) for part in range(count)]
    places.sort(key=lambda place: (abs(2 * place - first - last), place))
    implied: dict[int, tuple[PointPrompt, ...]] = {}
    for place in places:
        run = _longest_run(lines[place])
        if run is None:
            continue
        # Half a voxel is kept: the middle must not depend on the direction in which the file counts.
        spots = [((run[0] + run[1]) / 2, True)]
        for end in (run[0] - _OUTSIDE, run[1] + _OUTSIDE):
            # A negative point must stay in the volume and must not fall into another part of the mask.
            if 0 <= end < lines.shape[1] and not lines[place, end]:
                spots.append((float(end), False))
        points = []
        for spot, positive in spots:
            position = [0.0, 0.0, 0.0]
            position[mask_axis], position[axis], position[run_axis] = float(mask_index), float(place), spot
            points.append(PointPrompt(axis, (position[0], position[1], position[2]), positive))
        implied[place] = tuple(points)
    return implied


def _longest_run(line: np.ndarray) -> tuple[int, int] | None:
    """First and last voxel of the longest run of True; None when there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(np.int8), [0]])))
    if edges.size == 0:
        return None
    starts, ends = edges[::2], edges[1::2] - 1
    longest = int(np.argmax(ends - starts))
    return int(starts[longest]), int(ends[longest])
