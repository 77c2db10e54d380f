"""Pieces of a Markdown report that every protocol's page is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .medians import Interval


def about_lines(about: Mapping[str, str | int]) -> list[str]:
    """What was evaluated and how, a line each."""
    return [f"- {name}: {value}" for name, value in about.items()]


def row_of(cells: Sequence[str]) -> str:
    """A row of a Markdown table; a bar in a name does not end its cell."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def with_interval(value: float | None, interval: Interval | None, digits: int = 3) -> str:
    """`0.812 (0.75 to 0.86)`: a median and its interval, or `-`."""
    if value is None:
        return "-"
    ends = " to ".join(_fixed(end, max(digits - 1, 0)) for end in interval or ())
    return _fixed(value, digits) + (f" ({ends})" if ends else "")


def _fixed(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: no "-0.00"


def pictures(names: Sequence[str]) -> str:
    """Links to the pictures beside the page; nothing without any."""
    return "".join(f"\n![{name}]({name})\n" for name in names)
