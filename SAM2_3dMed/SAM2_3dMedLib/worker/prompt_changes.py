"""Which slices a changed list of prompts touches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def common_length(old: Sequence[Any], new: Sequence[Any]) -> int:
    """How many prompts at the start of both lists are equal."""
    count = 0
    for before, after in zip(old, new, strict=False):
        if before != after:
            break
        count += 1
    return count


def changed_slices(old: Iterable[Any], new: Iterable[Any]) -> list[tuple[int, int]]:
    """(axis, slice index) of all prompts in both lists, in order, each once."""
    seen: dict[tuple[int, int], None] = {}
    for prompt in (*old, *new):
        seen[(int(prompt.axis), int(prompt.slice_index))] = None
    return list(seen)
