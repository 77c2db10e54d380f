"""The prompts file: JSON to prompts, with one sentence for everything that is none."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..propagation.prompts import Prompt, prompt_from_json
from ..volume.geometry import Geometry
from ..volume.planes import SliceAxis
from .errors import UserError

_POSITIONS = ("position", "corner_a", "corner_b")
_DOCUMENT = ("version", "space", "colors", "objects")
_OF_TYPE = {
    "point": ("type", "axis", "position", "positive"),
    "box": ("type", "axis", "corner_a", "corner_b"),
    "mask": ("type", "axis", "index", "shape", "runs"),
}


def read_document(path: Path) -> Mapping[str, Any]:
    """The table in a prompts file. Raises `UserError`."""
    if path.exists() and not path.is_file():
        raise UserError(f"The prompts file {path} cannot be read; give a JSON file, no folder, device or pipe.")
    try:
        text = path.read_text(encoding="utf-8-sig")  # "sig": also with the mark Windows puts first
        document = json.loads(text, object_pairs_hook=_each_name_once)
    except FileNotFoundError as error:
        raise UserError(f"The prompts file {path} does not exist; check the path.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The prompts file {path} cannot be read; check that it is a text file.") from error
    except json.JSONDecodeError as error:
        raise UserError(
            f"The prompts file {path} is not valid JSON (line {error.lineno}, column {error.colno}: {error.msg})."
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets in brackets
        raise UserError(f"The prompts file {path} holds no prompts; see docs/tutorial.md for its form.") from error
    if not isinstance(document, dict) or document.get("version", 1) != 1:
        raise UserError(f"The prompts file {path} must be a version 1 table with 'objects'; see docs/tutorial.md.")
    _check_names(document, _DOCUMENT, "The prompts file")
    if document.get("space", "ijk") not in ("ijk", "ras"):
        raise UserError(f"The 'space' in {path} must be 'ijk' (voxels) or 'ras' (mm).")
    return document


def table(value: Any, name: str) -> Mapping[str, Any]:
    """A value that has to be a table. Raises `UserError`."""
    if not isinstance(value, dict):
        raise UserError(f"The prompts file needs '{name}' as a table with the objects' names; see docs/tutorial.md.")
    return value


def prompt_of(entry: Any, geometry: Geometry, axis: SliceAxis) -> Prompt:
    """One prompt as `propagation.prompts` writes it, except that points and boxes may leave out the axis; positions are
    those of the file, in voxels or millimeters. Raises `UserError` and `PromptError`.
    """
    if not isinstance(entry, dict):
        raise UserError("A prompt in the prompts file must be a table with 'type'; see docs/tutorial.md.")
    kind = entry.get("type")
    if not isinstance(kind, str) or kind not in _OF_TYPE:
        raise UserError(
            f'The \'type\' of a prompt in the prompts file must be "point", "box" or "mask", not {_short(kind)}.'
        )
    _check_names(entry, _OF_TYPE[kind], f"A {kind} in the prompts file")
    for key in _POSITIONS:
        if key in entry and not _are_numbers(entry[key]):
            raise UserError(f"'{key}' of a prompt in the prompts file must be three numbers, not {_short(entry[key])}.")
    entry = {"axis": axis.name, **entry}
    if entry["type"] == "mask":
        _check_mask_shape(entry, geometry)
    return prompt_from_json(entry)


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON table; `json` itself would keep the last of two values and drop the other without a word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"The prompts file has {_short(twice)} twice in one table; put all of it in one place.")
    return found


def _check_names(found: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    """Refuse a name that means nothing: it may be one that was meant, misspelled."""
    unknown = next((name for name in found if name not in known), None)
    if unknown is not None:
        raise UserError(f"{what} has an entry {_short(unknown)}, which is none; it can have {', '.join(known)}.")


def _are_numbers(values: Any) -> bool:
    """Whether a JSON value is three finite numbers. JSON as Python reads it also knows NaN, Infinity and 1e999."""
    try:
        return (
            isinstance(values, list)
            and len(values) == 3
            and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
            and all(np.isfinite(float(value)) for value in values)
        )
    except OverflowError:
        return False


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _check_mask_shape(entry: Mapping[str, Any], geometry: Geometry) -> None:
    """Refuse a mask of another shape before it is unpacked: a few bytes of runs can stand for terabytes."""
    named = {name: axis for axis in SliceAxis for name in (axis.name, str(int(axis)))}
    axis = named.get(str(entry["axis"]).upper())
    if axis is None:
        raise UserError(f"The 'axis' of a mask in the prompts file must be I, J or K, not {_short(entry['axis'])}.")
    expected = geometry.shape_kji[: 2 - axis] + geometry.shape_kji[3 - axis :]
    if entry.get("shape") != list(expected):
        rows, columns = expected
        raise UserError(
            f"The 'shape' of a mask in the prompts file must be [{rows}, {columns}], as that of the volume's slices "
            f"along {axis.name}."
        )
