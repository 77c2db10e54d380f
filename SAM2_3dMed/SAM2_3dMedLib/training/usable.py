"""Which cases can be used, and a report of those that cannot: one bad file does not end the work on all others."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from .case_reading import UnusableCaseError
from .data_layouts import LabeledCase
from .files import write_text_whole

_T = TypeVar("_T")
_SHOWN = 20


@dataclass(frozen=True)
class Unusable:
    """A case that is left out, and why."""

    case: LabeledCase
    reason: str

    @property
    def sentence(self) -> str:
        """For the terminal."""
        return f"left out {self.case.key}: {self.reason}"


@dataclass(frozen=True)
class Sorted(Generic[_T]):
    """What came of a list of cases, in its order."""

    usable: tuple[_T, ...]
    unusable: tuple[Unusable, ...]


def each_usable(
    cases: Sequence[LabeledCase],
    work: Callable[[LabeledCase], _T],
    threads: int = 2,
    done: Callable[[], None] = lambda: None,
) -> Sorted[_T]:
    """Do `work` on every case and set those aside on which it raises UnusableCaseError; `done` is called after each."""

    def attempt(case: LabeledCase) -> _T | Unusable:
        try:
            return work(case)
        except UnusableCaseError as error:
            return Unusable(case, str(error).rstrip("."))
        finally:
            done()

    with ThreadPoolExecutor(threads) as pool:
        outcomes = list(pool.map(attempt, cases))
    unusable = tuple(outcome for outcome in outcomes if isinstance(outcome, Unusable))
    return Sorted(tuple(outcome for outcome in outcomes if not isinstance(outcome, Unusable)), unusable)


def write_report(path: Path, unusable: Sequence[Unusable]) -> Path:
    """The cases that were left out as CSV: dataset, case, reason, image, label. Only the header where there is none."""
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(["dataset", "case", "reason", "image", "label"])
    for entry in unusable:
        writer.writerow([entry.case.dataset, entry.case.case, entry.reason, entry.case.image, entry.case.label])
    return write_text_whole(path, table.getvalue())


def sentences(unusable: Sequence[Unusable], report: Path) -> list[str]:
    """One line for each case that was left out (the first twenty), and where all of them stand."""
    lines = [entry.sentence for entry in unusable[:_SHOWN]]
    if len(unusable) > _SHOWN:
        lines.append(f"... and {len(unusable) - _SHOWN} more")
    return [*lines, f"{len(unusable)} cases left out, see {report}"] if unusable else []
