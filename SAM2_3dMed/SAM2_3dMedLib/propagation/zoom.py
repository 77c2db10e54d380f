"""How near the network looks at an object: the whole slice, or a field of view round a small object.

The network stretches what it sees to its own input size. An aorta on an abdominal CT covers 4 of its 32 x 32 image
tokens on the whole slice, and 64 in a field four times its size.

Figures: docs/evaluation.md, Small objects. Mean Dice of nano 0.3.0: btcv_ct, one box, 0.583 -> 0.600, one point 0.444
-> 0.511; val 0.745 -> 0.752 and 0.699 -> 0.700. Fields of 3 times the size are as good, of 6 times less so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np

from ..volume.field_of_view import FieldOfView
from ..volume.planes import SliceAxis, SlicePlane
from .packed_mask import PackedMask, bounding_box
from .prompts import BoxPrompt, MaskPrompt, PointPrompt, Prompt, nearest_index

# Sides of shared fields are powers of the first, their places multiples of a side over the second.
_SIZES, _PLACES = 1.5, 8


@dataclass(frozen=True)
class Zoom:
    """When an object gets a field of view of its own, and which.

    Attributes:
        factor: side of the field in sizes of the object, its larger side in mm.
        least_pixels: of the finer of the two pixel spacings; the field is never smaller.
        most_area: a field that would cover more than this share of the slice is the whole slice.
    """

    factor: float = 4.0
    least_pixels: int = 48
    most_area: float = 0.45

    def field_around(self, plane: SlicePlane, region: FieldOfView) -> FieldOfView | None:
        """The field of an object that covers `region` of a slice; None: the whole slice."""
        row_spacing, column_spacing = plane.pixel_spacing
        rows, columns = region.shape
        side = max(
            self.factor * max(rows * row_spacing, columns * column_spacing),
            self.least_pixels * min(row_spacing, column_spacing),
        )
        return self._field(plane, region, side / row_spacing, side / column_spacing)

    def holding(self, plane: SlicePlane, field: FieldOfView, region: FieldOfView) -> FieldOfView | None:
        """The field itself where `region` lies in it, else one that reaches from it to what surrounds the region; None:
        the whole slice.
        """
        if field.around(region):
            return field
        beside = self.field_around(plane, region)
        if beside is None:
            return None
        both = FieldOfView(
            min(field.top, beside.top),
            max(field.bottom, beside.bottom),
            min(field.left, beside.left),
            max(field.right, beside.right),
        )
        row_spacing, column_spacing = plane.pixel_spacing
        rows, columns = both.shape
        side = max(rows * row_spacing, columns * column_spacing)
        return self._field(plane, both, side / row_spacing, side / column_spacing)

    def shared(self, plane: SlicePlane, region: FieldOfView) -> FieldOfView | None:
        """As `field_around`, of few sizes and places, so that similar masks on neighboring slices share their field."""
        field = self.field_around(plane, region)
        if field is None:
            return None
        spans = []
        for first, end, count in zip(
            (field.top, field.left), (field.bottom, field.right), plane.whole_shape, strict=True
        ):
            length = min(count, math.ceil(_SIZES ** math.ceil(math.log(end - first, _SIZES))))
            step = max(1, length // _PLACES)
            start = min((first + end - length) // 2 // step * step, count - length)
            spans.append((max(start, 0), max(start, 0) + length))
        (top, bottom), (left, right) = spans
        return FieldOfView(top, bottom, left, right)

    def wider(self, plane: SlicePlane, field: FieldOfView) -> FieldOfView | None:
        """Twice as far to all sides; None: the whole slice."""
        rows, columns = field.shape
        return self._field(plane, field, 2.0 * rows, 2.0 * columns)

    def _field(self, plane: SlicePlane, middle: FieldOfView, rows: float, columns: float) -> FieldOfView | None:
        height, width = plane.whole_shape
        top, bottom = _span(middle.top + middle.bottom, rows, height)
        left, right = _span(middle.left + middle.right, columns, width)
        field = FieldOfView(top, bottom, left, right)
        return field if field.area <= self.most_area * height * width else None


class FieldChoice(str, Enum):
    """By name, for command lines and comparisons. NEAR (default): small objects through a field of view of their own.
    WHOLE: all objects on whole slices, as SAM2.
    """

    NEAR = "near"
    WHOLE = "whole"

    def zoom(self) -> Zoom | None:
        """For a session."""
        return Zoom() if self is FieldChoice.NEAR else None


def _span(ends: int, wanted: float, count: int) -> tuple[int, int]:
    """`wanted` of `count` pixels round the middle of two ends (given as their sum), moved inside."""
    length = min(count, max(1, round(wanted)))
    first = min(max((ends - length) // 2, 0), count - length)
    return first, first + length


def region_of_mask(plane: SlicePlane, mask: np.ndarray) -> FieldOfView | None:
    """What a mask in array orientation covers of its whole canonical slice; None: nothing."""
    box = bounding_box(plane.within(None).to_canonical(mask))
    return None if box is None else FieldOfView(*box)


def region_of_prompt(plane: SlicePlane, prompt: Prompt) -> FieldOfView | None:
    """What a prompt on any axis covers of the slices of `plane`; None for an empty mask."""
    corners = _corners(prompt)
    if corners is None:
        return None
    pixels = np.floor(plane.within(None).to_pixels(corners) + 0.5).astype(int)
    (left, top), (right, bottom) = pixels.min(axis=0).tolist(), pixels.max(axis=0).tolist()
    return FieldOfView(top, bottom + 1, left, right + 1)


def _corners(prompt: Prompt) -> list[list[float]] | None:
    """Voxels (i, j, k) at the corners of what a prompt covers."""
    if isinstance(prompt, PointPrompt):
        return [[float(nearest_index(value)) for value in prompt.position]]
    if isinstance(prompt, BoxPrompt):
        return [[float(nearest_index(value)) for value in corner] for corner in (prompt.corner_a, prompt.corner_b)]
    return _mask_corners(prompt)


def _mask_corners(prompt: MaskPrompt) -> list[list[float]] | None:
    box = bounding_box(prompt.mask)
    if box is None:
        return None
    # In array orientation the rows run along the higher of the two IJK axes that remain.
    row_axis, column_axis = sorted((axis for axis in SliceAxis if axis != prompt.axis), reverse=True)
    corners = []
    for row, column in ((box[0], box[2]), (box[1] - 1, box[3] - 1)):
        corner = [0.0, 0.0, 0.0]
        corner[prompt.axis], corner[row_axis], corner[column_axis] = float(prompt.index), float(row), float(column)
        corners.append(corner)
    return corners


def reaches_edge(plane: SlicePlane, mask: PackedMask) -> bool:
    """Whether a mask reaches an edge of the plane's field where the slice goes on: the object may go on there too."""
    field = plane.field
    if field is None or mask.area == 0:
        return False
    region = region_of_mask(plane, mask.unpack())
    height, width = plane.whole_shape
    return region is not None and (
        (region.top <= field.top and field.top > 0)
        or (region.bottom >= field.bottom and field.bottom < height)
        or (region.left <= field.left and field.left > 0)
        or (region.right >= field.right and field.right < width)
    )
