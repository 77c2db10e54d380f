"""What a mask tells the network so that it draws its edge anew, and how much of the answer is taken."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..volume.planes import SlicePlane
from .prompts import BoxPrompt, PointPrompt, Prompt

# Refinement may move an edge by this share of the object's size (the square root of its area), at least 2 voxels.
_REFINE_SHARE = 0.1


def with_refined_edge(mask: np.ndarray, refined: np.ndarray) -> np.ndarray:
    """`refined` near the edge of `mask`, and `mask` elsewhere; bool, both of one orientation."""
    reach = max(2, round(_REFINE_SHARE * float(np.sqrt(mask.sum()))))
    inner = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] > reach
    outer = ndimage.distance_transform_edt(~mask) <= reach
    return inner | (refined & outer)


def implied_prompts(plane: SlicePlane, position: int, mask: np.ndarray) -> list[Prompt]:
    """Box and most interior point of a mask in array orientation."""
    picture = plane.to_canonical(mask)
    rows, columns = np.nonzero(picture)
    depth = ndimage.distance_transform_edt(np.pad(picture, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    pixels = np.array([[columns.min(), rows.min()], [columns.max(), rows.max()], [column, row]])
    corner_a, corner_b, inside = (
        (float(i), float(j), float(k)) for i, j, k in plane.from_pixels(pixels, plane.order(position))
    )
    return [BoxPrompt(plane.axis, corner_a, corner_b), PointPrompt(plane.axis, inside, True)]
