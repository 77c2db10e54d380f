"""Results as CSV and JSON: every row of a class, every number finite or missing."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from .output import write_whole


def write_csv(path: Path, kind: type, rows: Sequence[Any]) -> None:
    """Write data classes of one kind, a column a field; the file appears whole.

    Floats have 4 decimals; a tuple is its floats with spaces between; None, NaN and infinity are an empty cell.

    Raises:
        UserError: it cannot be written.
    """

    def write(target: Path) -> None:
        with target.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow([field.name for field in fields(kind)])
            for row in rows:
                writer.writerow([_cell(value) for value in asdict(row).values()])

    write_whole(path, write)


def write_json(path: Path, content: Any) -> None:
    """Write a data class as JSON; the file appears whole. NaN and infinity, which JSON does not have, are null.

    Raises:
        UserError: it cannot be written.
    """
    text = json.dumps(_finite(asdict(content)), indent=2, allow_nan=False) + "\n"
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text; the file appears whole. Raises `UserError` when it cannot be written."""
    write_whole(path, lambda target: target.write_text(text, encoding="utf-8") and None)


def _cell(value: object) -> str:
    value = _finite(value)
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}"
    return " ".join(_cell(entry) for entry in value) if isinstance(value, list) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    return [_finite(entry) for entry in value] if isinstance(value, list | tuple) else value
