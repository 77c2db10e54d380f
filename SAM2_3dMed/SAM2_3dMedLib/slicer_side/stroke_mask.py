"""From a stroke or a closed line on one slice to a mask of its voxels (numpy only)."""

from __future__ import annotations

import itertools

import numpy as np


def in_plane_axes(axis: int) -> tuple[int, int]:
    """The two IJK axes of a slice, as (row axis, column axis) of its array (array orientation: K before J before I)."""
    row, column = (other for other in (2, 1, 0) if other != int(axis))
    return row, column


def slice_shape(shape_kji: tuple[int, int, int], axis: int) -> tuple[int, int]:
    """(rows, columns) of a slice of an array [K,J,I]."""
    row, column = in_plane_axes(axis)
    return int(shape_kji[2 - row]), int(shape_kji[2 - column])


def brush_mask(ijk: np.ndarray, axis: int, shape: tuple[int, int], spacing, radius: float) -> np.ndarray:
    """Voxels within `radius` (mm) of a stroke; bool [rows, columns].

    ijk: positions [N,3] along the stroke. spacing: (i, j, k) in mm. The voxel under a position is always part of it, so
    that a brush finer than a voxel still marks something.
    """
    row_axis, column_axis = in_plane_axes(axis)
    points = _dense(np.asarray(ijk, dtype=float)[:, [row_axis, column_axis]])
    scale = np.array([spacing[row_axis], spacing[column_axis]], dtype=float)
    mask = np.zeros(shape, dtype=bool)
    reach = np.ceil(radius / scale).astype(int)
    for point in points:
        center = np.rint(point).astype(int)
        low = np.maximum(center - reach, 0)
        high = np.minimum(center + reach + 1, shape)
        if (low < high).all():
            rows, columns = np.ogrid[low[0] : high[0], low[1] : high[1]]
            distance2 = ((rows - point[0]) * scale[0]) ** 2 + ((columns - point[1]) * scale[1]) ** 2
            mask[low[0] : high[0], low[1] : high[1]] |= distance2 <= radius * radius
        if (center >= 0).all() and (center < shape).all():
            mask[center[0], center[1]] = True
    return mask


def lasso_mask(ijk: np.ndarray, axis: int, shape: tuple[int, int]) -> np.ndarray:
    """Voxels whose center is inside a closed line (even-odd rule); bool [rows, columns]. ijk: its corners [N,3]."""
    row_axis, column_axis = in_plane_axes(axis)
    corners = np.asarray(ijk, dtype=float)[:, [row_axis, column_axis]]
    mask = np.zeros(shape, dtype=bool)
    low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, shape)
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, 0, shape)
    if len(corners) < 3 or (low >= high).any():
        return mask
    rows, columns = np.mgrid[low[0] : high[0], low[1] : high[1]].astype(float)
    inside = np.zeros(rows.shape, dtype=bool)
    for (r0, c0), (r1, c1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if r0 == r1:
            continue
        crosses = (r0 > rows) != (r1 > rows)
        inside ^= crosses & (columns < (c1 - c0) * (rows - r0) / (r1 - r0) + c0)
    mask[low[0] : high[0], low[1] : high[1]] = inside
    return mask


def outline(mask: np.ndarray) -> np.ndarray:
    """Edges between the voxels of a mask and the rest: [N,2,2] of (row, column), in voxels, at voxel borders."""
    padded = np.pad(mask, 1)
    across = np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1])  # an edge above row r at column c
    along = np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1])  # an edge left of column c at row r
    half_row, half_column = np.array([0.5, 0.0]), np.array([0.0, 0.5])
    horizontal = np.stack([across - half_row - half_column, across - half_row + half_column], axis=1)
    vertical = np.stack([along - half_row - half_column, along + half_row - half_column], axis=1)
    return np.concatenate([horizontal, vertical]).reshape(-1, 2, 2)


def _dense(points: np.ndarray) -> np.ndarray:
    """Positions at most half a voxel apart along the line through `points` [N,2]."""
    parts = [points[:1]]
    for begin, end in itertools.pairwise(points):
        steps = max(1, int(np.ceil(np.abs(end - begin).max() * 2)))
        parts.append(begin + (end - begin) * (np.arange(1, steps + 1) / steps)[:, None])
    return np.concatenate(parts)
