"""Checks of what a user hands to a session; each failure is one sentence that says what to do next."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..volume.planes import SliceAxis, SlicePlane
from .errors import PromptError
from .prompts import BoxPrompt, MaskPrompt, PointPrompt, Position, Prompt, nearest_index


def checked_axis(axis: SliceAxis | int) -> SliceAxis:
    """The axis itself. Raises PromptError."""
    try:
        return SliceAxis(axis)
    except ValueError as error:
        raise PromptError(f"The slice axis must be I, J or K (0, 1 or 2), not {axis!r}.") from error


def checked_position(values: Sequence[float], shape_ijk: tuple[int, int, int], what: str) -> Position:
    """Three finite numbers inside the volume, as floats. A voxel reaches half a voxel around its center.

    Raises:
        PromptError: otherwise.
    """
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise PromptError(f"The {what} must be three numbers (i, j, k), not {values!r}.") from error
    if len(numbers) != 3:
        raise PromptError(f"The {what} must be three numbers (i, j, k), not {len(numbers)}.")
    if not all(math.isfinite(number) for number in numbers):
        raise PromptError(f"The {what} {_text(numbers)} is not a position; give three finite numbers (i, j, k).")
    if not all(0 <= nearest_index(number) < size for number, size in zip(numbers, shape_ijk, strict=True)):
        raise PromptError(
            f"The {what} {_text(numbers)} lies outside the volume; give voxels from (0, 0, 0) to "
            f"{_text([size - 1 for size in shape_ijk])}."
        )
    return numbers[0], numbers[1], numbers[2]


def checked_prompt(prompt: Prompt, plane: SlicePlane) -> Prompt:
    """The prompt with its positions as floats, fit for a volume.

    Args:
        prompt: any prompt.
        plane: of the prompt's axis.

    Raises:
        PromptError: outside the volume, box without area or not flat, mask of another shape, not finite.
    """
    shape = plane.shape_ijk
    if isinstance(prompt, PointPrompt):
        return PointPrompt(plane.axis, checked_position(prompt.position, shape, "point"), bool(prompt.positive))
    if isinstance(prompt, BoxPrompt):
        return _checked_box(prompt, plane)
    index = _checked_index(prompt.index, plane)
    if prompt.mask.shape != plane.array_shape:
        raise PromptError(
            f"The mask has the shape {_sizes(prompt.mask.shape)}, but a slice along {plane.axis.name} has "
            f"{_sizes(plane.array_shape)}; give a mask of the whole slice."
        )
    return MaskPrompt(plane.axis, index, prompt.mask)


def checked_mask(axis: SliceAxis, index: int, mask: np.ndarray) -> MaskPrompt:
    """A mask prompt from an array of any kind of number. Raises PromptError when it is not a plane of finite values."""
    values = np.asarray(mask)
    if values.ndim != 2:
        raise PromptError(f"A mask must have two dimensions (rows, columns), not {values.ndim}.")
    if values.dtype.kind not in "biuf" or (values.dtype.kind == "f" and not np.isfinite(values).all()):
        raise PromptError("A mask must hold true and false (or numbers, all finite); paint it anew.")
    return MaskPrompt(axis, index, values > 0)


def checked_range(slice_range: Sequence[int] | None, plane: SlicePlane) -> tuple[int, int] | None:
    """First and last position (inclusive, anatomical order) of a range of slice indices; None for the whole volume."""
    if slice_range is None:
        return None
    try:
        first, last = slice_range
    except (TypeError, ValueError) as error:
        raise PromptError(f"A slice range is its first and its last slice, not {slice_range!r}.") from error
    first, last = _checked_index(first, plane), _checked_index(last, plane)
    if first > last:
        raise PromptError(f"The slice range {first}..{last} is empty; give its lower end first.")
    ends = sorted((plane.order(first), plane.order(last)))
    return ends[0], ends[1]


def _checked_box(box: BoxPrompt, plane: SlicePlane) -> BoxPrompt:
    corner_a = checked_position(box.corner_a, plane.shape_ijk, "box corner")
    corner_b = checked_position(box.corner_b, plane.shape_ijk, "box corner")
    voxel_a = [nearest_index(value) for value in corner_a]
    voxel_b = [nearest_index(value) for value in corner_b]
    axis = plane.axis
    if voxel_a[axis] != voxel_b[axis]:
        raise PromptError(
            f"The box spans the slices {voxel_a[axis]} and {voxel_b[axis]} along {axis.name}; draw it on one slice."
        )
    # A box covers whole voxels: one voxel wide and several long is a box (thin structures); a single voxel is a slip.
    if voxel_a == voxel_b:
        raise PromptError(
            f"The box from {_text(corner_a)} to {_text(corner_b)} has no area; draw it around the object."
        )
    return BoxPrompt(axis, corner_a, corner_b)


def _checked_index(index: int, plane: SlicePlane) -> int:
    if isinstance(index, bool) or not isinstance(index, int | np.integer) or not 0 <= index < plane.slice_count:
        raise PromptError(
            f"There is no slice {index!r} along {plane.axis.name}; choose one from 0 to {plane.slice_count - 1}."
        )
    return int(index)


def _text(numbers: Sequence[float]) -> str:
    return "(" + ", ".join(f"{number:g}" for number in numbers) + ")"


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(str(size) for size in shape)
