"""From the text of `--point`, `--box` and a prompts file to prompts in voxels, for several named objects."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..propagation.errors import PromptError
from ..propagation.prompts import BoxPrompt, MaskPrompt, PointPrompt, Prompt, nearest_index
from ..volume.geometry import Geometry
from ..volume.images import SegmentInfo
from ..volume.planes import SliceAxis, acquisition_axis, axis_of_orientation
from ..volume.segments import default_color
from .box_options import box_in_mm, box_in_voxels, outside_sentence
from .errors import UserError
from .prompt_file import prompt_of, read_document, table

DEFAULT_NAME = "Segment_1"
# Far above what a person draws, and what still ends: each object is a mask of the whole volume, each prompt a decoding.
MAX_OBJECTS, MAX_PROMPTS = 255, 1000
MAX_NAME = 200  # characters


@dataclass(frozen=True)
class PromptText:
    """The prompt options as typed: `[NAME=]numbers`; numbers are voxels I,J,K or, with `ras`, mm R,A,S."""

    points: Sequence[str] = ()
    negatives: Sequence[str] = ()
    boxes: Sequence[str] = ()
    colors: Sequence[str] = ()
    file: Path | None = None
    ras: bool = False


@dataclass(frozen=True)
class PromptedObject:
    """One object to segment: its prompts in the order they are given, its segment's name, label and color."""

    segment: SegmentInfo
    prompts: tuple[Prompt, ...]


def read_prompts(text: PromptText, geometry: Geometry, axis: SliceAxis) -> list[PromptedObject]:
    """The objects in order of their first prompt: those of the file, then boxes, points, negative points.

    Args:
        axis: the axis that points without one of their own are on; boxes are on the axis they are flat along.

    Raises:
        UserError: text or file that is no prompt, a prompt outside the volume, or no prompt at all.
        PromptError: an entry of the file is no prompt.
    """
    prompts: dict[str, list[Prompt]] = {}
    colors: dict[str, str] = {}
    if text.file is not None:
        document = read_document(text.file)
        colors.update(table(document.get("colors", {}), "colors"))
        in_ras = text.ras or document.get("space", "ijk") == "ras"
        for name, entries in table(document.get("objects"), "objects").items():
            if not isinstance(entries, list):
                raise UserError(f"The prompts of '{name}' in {text.file} must be a list.")
            _check_count(len(entries), name)
            prompts[name] = [_from_document(entry, geometry, axis, in_ras) for entry in entries]
    for option, values in (("--box", text.boxes), ("--point", text.points), ("--negative", text.negatives)):
        for value in values:
            name, numbers = _split(value, option, 6 if option == "--box" else 3)
            if option == "--box":
                prompt = _box(numbers[:3], numbers[3:], geometry, text.ras)
            else:
                prompt = PointPrompt(axis, _voxel(numbers, geometry, text.ras), option == "--point")
            prompts.setdefault(name, []).append(prompt)
    if not any(prompts.values()):
        raise UserError("Nothing to segment: give at least one --point, --box or --prompts.")
    if len(prompts) > MAX_OBJECTS:
        raise UserError(f"There are {len(prompts)} objects, of {MAX_OBJECTS} at most; segment them in several runs.")
    for value in text.colors:
        name, _, color = value.rpartition("=")
        colors[name or DEFAULT_NAME] = color
    unknown = sorted(set(colors) - set(prompts))
    if unknown:
        raise UserError(f"There is a color for '{unknown[0]}' but no prompt; the objects are: {', '.join(prompts)}.")
    objects = []
    for number, (name, given) in enumerate(prompts.items(), start=1):
        _check_object(given, geometry, name)
        color = parse_color(colors[name]) if name in colors else default_color(number - 1)
        objects.append(PromptedObject(SegmentInfo(number, name, color), tuple(given)))
    return objects


def read_axis(name: str, geometry: Geometry) -> SliceAxis:
    """`I`, `J`, `K`, or `axial`, `coronal`, `sagittal` for the nearest axis, or `auto`: across the acquired slices.

    Raises:
        UserError: none of these.
    """
    wanted = name.strip().lower()
    if wanted in ("i", "j", "k"):
        return SliceAxis("ijk".index(wanted))
    if wanted in ("axial", "coronal", "sagittal"):
        return axis_of_orientation(geometry, wanted)
    if wanted == "auto":
        return acquisition_axis(geometry)
    raise UserError(f"Unknown axis '{name}': use auto, I, J, K, axial, coronal or sagittal.")


def read_slice_range(text: str | None, axis: SliceAxis, geometry: Geometry) -> tuple[int, int] | None:
    """`FIRST:LAST` (or `FIRST,LAST`), both included, along the object's axis. Raises `UserError`."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d{1,9})\s*[:,]\s*(\d{1,9})\s*", text)
    if match is None:
        raise UserError(f"The slice range '{text}' must be two slice numbers, FIRST:LAST, for example 20:64.")
    first, last = int(match[1]), int(match[2])
    count = geometry.shape_ijk[axis]
    if first > last or last >= count:
        raise UserError(f"The slice range {text} must go upward within 0:{count - 1}, the slices along {axis.name}.")
    return first, last


def parse_color(text: str) -> tuple[float, float, float]:
    """`#RRGGBB` as three numbers 0..1. Raises `UserError`."""
    if not isinstance(text, str) or not re.fullmatch(r"#?[0-9a-fA-F]{6}", text):
        raise UserError(f"'{text}' is no color; write it as #RRGGBB, for example #E69F00.")
    digits = text.removeprefix("#")
    return tuple(int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4))


def _split(text: str, option: str, count: int) -> tuple[str, list[float]]:
    """`[NAME=]a,b,c` to the name and `count` numbers."""
    name, separator, rest = text.rpartition("=")
    name = name.strip()
    if separator and not name:
        raise UserError(f"The name is missing before '=' in {option} {text}.")
    try:
        numbers = [float(part) for part in rest.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        form = "I,J,K" if count == 3 else "I1,J1,K1,I2,J2,K2"
        raise UserError(f"{option} {text} is not {count} numbers; write [NAME=]{form}, for example spleen={form}.")
    return name or DEFAULT_NAME, numbers


def _voxel(numbers: Sequence[float], geometry: Geometry, ras: bool) -> tuple[float, float, float]:
    return tuple(geometry.to_ijk(np.array([numbers]))[0].tolist()) if ras else tuple(float(n) for n in numbers)


def _box(first: Sequence[float], second: Sequence[float], geometry: Geometry, ras: bool) -> BoxPrompt:
    return (box_in_mm if ras else box_in_voxels)(first, second, geometry)


def _from_document(entry: Any, geometry: Geometry, axis: SliceAxis, ras: bool) -> Prompt:
    """One prompt of a file, in voxels."""
    prompt = prompt_of(entry, geometry, axis)
    if isinstance(prompt, BoxPrompt):
        box = _box(prompt.corner_a, prompt.corner_b, geometry, ras)
        if "axis" in entry and box.axis != prompt.axis:
            raise UserError(
                f"A box in the prompts file says 'axis' {prompt.axis.name} and is flat along {box.axis.name}; correct "
                "its corners, or leave out the axis."
            )
        return box
    if isinstance(prompt, PointPrompt):
        return replace(prompt, position=_voxel(prompt.position, geometry, ras))
    if ras:
        raise UserError("Mask prompts are in voxels; leave out 'ras' for a file that holds them.")
    return prompt


def _check_object(given: Sequence[Prompt], geometry: Geometry, name: str) -> None:
    """Refuse what says nothing about where the object is, what is outside the volume, and what would never end."""
    if not name.strip():
        raise UserError("An object in the prompts file has no name; name it as its segment is to be called.")
    if len(name) > MAX_NAME or not name.isprintable():
        shown = name[:20].encode("ascii", "backslashreplace").decode()
        raise UserError(
            f"The name of the object '{shown}' is longer than {MAX_NAME} characters or holds characters that cannot be "
            "shown; choose another."
        )
    if not given:
        raise UserError(f"There are no prompts for '{name}'; give it a point or a box, or leave it out.")
    _check_count(len(given), name)
    for prompt in given:
        _check_inside(prompt, geometry, name)
    _check_agreement(given, name)
    _check_masks(given, name)
    if all(isinstance(prompt, PointPrompt) and not prompt.positive for prompt in given):
        raise UserError(f"'{name}' has only negative points; give a point inside of it, or a box, with the same name.")


def _check_count(count: int, name: str) -> None:
    if count > MAX_PROMPTS:
        raise UserError(f"'{name}' has {count} prompts, of {MAX_PROMPTS} at most; a box or mask says more with less.")


def _check_agreement(given: Sequence[Prompt], name: str) -> None:
    """Refuse two points that say the opposite of one voxel."""
    said: dict[tuple[int, ...], bool] = {}
    for prompt in given:
        if isinstance(prompt, PointPrompt):
            voxel = tuple(nearest_index(value) for value in prompt.position)
            if said.setdefault(voxel, prompt.positive) != prompt.positive:
                i, j, k = voxel
                raise UserError(
                    f"'{name}' has a positive and a negative point in voxel {i},{j},{k}; leave one of them out."
                )


def _check_masks(given: Sequence[Prompt], name: str) -> None:
    """Refuse an empty mask ("the object is not here") that comes before anything says where the object is."""
    for prompt in given:
        if not isinstance(prompt, MaskPrompt):
            if isinstance(prompt, BoxPrompt) or prompt.positive:
                return
        elif prompt.mask.any():
            return
        else:
            raise UserError(f"The first mask of '{name}' is empty; give a prompt that says where it is before it.")


def _check_inside(prompt: Prompt, geometry: Geometry, name: str) -> None:
    if isinstance(prompt, MaskPrompt):
        if not 0 <= prompt.index < geometry.shape_ijk[prompt.axis]:
            raise PromptError(
                f"The mask prompt of '{name}' is on slice {prompt.index}, which the volume does not have."
            )
        return
    for position in (prompt.position,) if isinstance(prompt, PointPrompt) else (prompt.corner_a, prompt.corner_b):
        if not geometry.contains(np.array([position]))[0]:
            raise UserError(outside_sentence(f"prompt of '{name}'", position, geometry))
