"""Names of labels, as a dataset.json or a manifest has them: value to name, without the background."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_NOT_OBJECTS = ("background", "ignore")


class LabelNamesError(ValueError):
    """Names of labels that cannot be used; the message is one sentence with the place and the entry."""


def names_in_manifest(text: str | None, where: str) -> dict[int, str]:
    """Value to name from the text of a JSON table such as {"1": "spleen"}; empty where it names no object.

    Args:
        where: the line and the file, for the message.

    Raises:
        LabelNamesError: no such table, or a name that is no text.
    """
    try:
        table = json.loads(text or "")
    except (ValueError, RecursionError):  # the last: brackets without end
        table = None
    if not isinstance(table, dict):
        raise LabelNamesError(f"The labels in {where} are not a JSON table of numbers and names.")
    return _objects({_value(key, key, where): _name(key, name, where) for key, name in table.items()})


def names_in_description(table: Mapping[str, Any], where: str) -> dict[int, str]:
    """Value to name. MSD and nnU-Net 1 have {"1": "spleen"}, nnU-Net 2 {"spleen": 1}, regions {"whole": [1, 2]}.

    A region is a union of values, which are taken one by one: a value that has no name of its own is "label 2".

    Args:
        where: the file, for the message.

    Raises:
        LabelNamesError: a name that is no text, a value that is no whole number, or nothing but the background.
    """
    found: dict[int, str] = {}
    for key, entry in table.items():
        if _is_number(key):
            found[_value(key, key, where)] = _name(key, entry, where)
            continue
        values = [_value(key, value, where) for value in (entry if isinstance(entry, list) else [entry])]
        if key.lower() in _NOT_OBJECTS:
            continue
        if len(values) == 1:
            found[values[0]] = key
        else:
            found = {value: f"label {value}" for value in values} | found
    found = _objects(found)
    if not found:
        raise LabelNamesError(f"{where} names no label but the background.")
    return found


def _objects(found: Mapping[int, str]) -> dict[int, str]:
    """Without the background, by value."""
    return {value: found[value] for value in sorted(found) if value > 0 and found[value].lower() not in _NOT_OBJECTS}


def _is_number(key: str) -> bool:
    return key.lstrip("-").isdecimal()


def _value(key: str, value: Any, where: str) -> int:
    """A label's value. Numbers of JSON may have a fraction, and true is one for Python."""
    if isinstance(value, str) and _is_number(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise LabelNamesError(f"The label {_shown(key)} in {where} has the value {_shown(value)}; give a whole number.")


def _name(key: str, name: Any, where: str) -> str:
    if isinstance(name, str) and name.strip():
        return name
    raise LabelNamesError(f"The label {_shown(key)} in {where} has the name {_shown(name)}; give a text in quotes.")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
