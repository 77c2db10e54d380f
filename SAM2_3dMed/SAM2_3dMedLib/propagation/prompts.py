"""Prompts as frozen data classes with a JSON form. No torch: Slicer reads this file at start.

Positions are voxels (i, j, k) of the volume's own array, voxel centers at integers. `axis` is the axis the slice is
perpendicular to; `slice_index` is the slice along it, in the volume's own order. Masks are in array orientation
(docs/decisions/0001-interfaces.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..volume.planes import SliceAxis
from .errors import PromptError

Position = tuple[float, float, float]


def nearest_index(coordinate: float) -> int:
    """The voxel that holds a coordinate: centers at integers, halves go up on every platform."""
    return math.floor(coordinate + 0.5)


@dataclass(frozen=True)
class PointPrompt:
    """A click: inside the object (`positive`) or outside of it."""

    axis: SliceAxis
    position: Position
    positive: bool = True

    @property
    def slice_index(self) -> int:
        return nearest_index(self.position[self.axis])

    def to_json(self) -> dict[str, Any]:
        return {
            "type": "point",
            "axis": self.axis.name,
            "position": list(self.position),
            "positive": self.positive,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PointPrompt:
        positive = _entry(data, "positive", True)
        if not isinstance(positive, bool):
            raise PromptError("'positive' of a point must be true or false.")
        return cls(_axis(data), _position(data, "position"), positive)


@dataclass(frozen=True)
class BoxPrompt:
    """A box on one slice, flat along `axis`; the corners are the outermost voxels it covers, in any order."""

    axis: SliceAxis
    corner_a: Position
    corner_b: Position

    @property
    def slice_index(self) -> int:
        return nearest_index(self.corner_a[self.axis])

    def to_json(self) -> dict[str, Any]:
        return {
            "type": "box",
            "axis": self.axis.name,
            "corner_a": list(self.corner_a),
            "corner_b": list(self.corner_b),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BoxPrompt:
        return cls(_axis(data), _position(data, "corner_a"), _position(data, "corner_b"))


@dataclass(frozen=True, eq=False)
class MaskPrompt:
    """The object's whole mask on one slice, bool `[rows, columns]` in array orientation; copied and read-only."""

    axis: SliceAxis
    index: int
    mask: np.ndarray

    def __post_init__(self) -> None:
        mask = np.array(self.mask, dtype=bool, order="C")
        mask.flags.writeable = False
        object.__setattr__(self, "mask", mask)

    @property
    def slice_index(self) -> int:
        return self.index

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, MaskPrompt)
            and self.axis == other.axis
            and self.index == other.index
            and np.array_equal(self.mask, other.mask)
        )

    def __hash__(self) -> int:
        return hash((self.axis, self.index, self.mask.shape, self.mask.tobytes()))

    def to_json(self) -> dict[str, Any]:
        return {
            "type": "mask",
            "axis": self.axis.name,
            "index": self.index,
            "shape": list(self.mask.shape),
            "runs": run_lengths(self.mask),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MaskPrompt:
        shape, runs, index = _entry(data, "shape"), _entry(data, "runs"), _entry(data, "index")
        if not _whole_numbers(shape) or len(shape) != 2 or not _whole_numbers(runs) or not _whole_numbers([index]):
            raise PromptError("A mask prompt needs a whole 'index', a 'shape' of two and 'runs' of whole numbers.")
        return cls(_axis(data), index, mask_from_runs(runs, (shape[0], shape[1])))


Prompt = PointPrompt | BoxPrompt | MaskPrompt


def says_where(prompt: Prompt) -> bool:
    """Whether a prompt alone says where the object is; a negative point and an empty mask do not."""
    if isinstance(prompt, PointPrompt):
        return prompt.positive
    return not isinstance(prompt, MaskPrompt) or bool(prompt.mask.any())


_KINDS: dict[str, type[PointPrompt] | type[BoxPrompt] | type[MaskPrompt]] = {
    "point": PointPrompt,
    "box": BoxPrompt,
    "mask": MaskPrompt,
}


def prompt_from_json(data: Mapping[str, Any]) -> Prompt:
    """The prompt that `to_json` wrote; `axis` may be a letter or a number.

    Raises:
        PromptError: not a prompt, or an entry missing or of the wrong kind.
    """
    kind = _entry(data, "type")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise PromptError(f"A prompt's type must be one of {', '.join(_KINDS)}, not {kind!r}.")
    return _KINDS[kind].from_json(data)


def prompts_to_json(prompts: Mapping[str, Sequence[Prompt]]) -> dict[str, Any]:
    """All prompts of several objects as one JSON document: `{"version": 1, "objects": {id: [prompt, ...]}}`."""
    objects = {name: [prompt.to_json() for prompt in given] for name, given in prompts.items()}
    return {"version": 1, "objects": objects}


def prompts_from_json(data: Mapping[str, Any]) -> dict[str, tuple[Prompt, ...]]:
    """What `prompts_to_json` wrote. Raises PromptError."""
    objects = _entry(data, "objects")
    if not isinstance(objects, Mapping) or _entry(data, "version", 1) != 1:
        raise PromptError("The prompts must be a version 1 document with 'objects': a list of prompts for each name.")
    read: dict[str, tuple[Prompt, ...]] = {}
    for name, entries in objects.items():
        if not isinstance(entries, Iterable) or isinstance(entries, str | bytes | Mapping):
            raise PromptError(f"The prompts of '{name}' must be a list.")
        read[name] = tuple(prompt_from_json(entry) for entry in entries)
    return read


def run_lengths(mask: np.ndarray) -> list[int]:
    """Lengths of the alternating runs of a mask read row by row, starting with background (0 if there is none)."""
    flat = np.asarray(mask, dtype=bool).ravel()
    if flat.size == 0:
        return []
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return [0, *lengths] if flat[0] else lengths


def mask_from_runs(runs: Sequence[int], shape: tuple[int, int]) -> np.ndarray:
    """The bool mask of `run_lengths`. Raises PromptError when the runs do not fill the shape."""
    if any(run < 0 for run in runs) or min(shape) < 0 or sum(runs) != shape[0] * shape[1]:
        raise PromptError(f"The runs of a mask prompt must add up to its shape {shape[0]} x {shape[1]}.")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(shape)


_MISSING = object()


def _entry(data: Mapping[str, Any], name: str, default: Any = _MISSING) -> Any:
    if not isinstance(data, Mapping):
        raise PromptError(f"A prompt must be an object with named entries, not {type(data).__name__}.")
    value = data.get(name, default)
    if value is _MISSING:
        raise PromptError(f"A prompt lacks its entry '{name}'.")
    return value


def _axis(data: Mapping[str, Any]) -> SliceAxis:
    value = _entry(data, "axis")
    try:
        return SliceAxis[value.upper()] if isinstance(value, str) else SliceAxis(value)
    except (KeyError, ValueError) as error:
        raise PromptError(f"A prompt's axis must be I, J or K (0, 1 or 2), not {value!r}.") from error


def _position(data: Mapping[str, Any], name: str) -> Position:
    value = _entry(data, name)
    try:
        i, j, k = (float(number) for number in ([] if isinstance(value, str | bytes) else value))
    except (TypeError, ValueError, OverflowError) as error:
        raise PromptError(f"'{name}' of a prompt must be three numbers (i, j, k), not {value!r}.") from error
    if not all(math.isfinite(number) for number in (i, j, k)):
        raise PromptError(f"'{name}' of a prompt must be three finite numbers (i, j, k), not {value!r}.")
    return (i, j, k)


def _whole_numbers(values: Any) -> bool:
    is_list = isinstance(values, list | tuple)
    return is_list and all(isinstance(value, int) and not isinstance(value, bool) for value in values)
