"""Throughput and loss of two runs side by side, from their logs: what a second GPU gains.

    python -m SAM2_3dMedLib.training.throughput ONE/log.jsonl TWO/log.jsonl

The first half of each log is left out: there graphs are captured and the device warms up. Losses are compared over the
same steps; the standard error says how far two means of such steps lie apart by chance.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pace:
    """A run's second half.

    Attributes:
        images_per_second: of all processes together, median.
        loss: mean total loss, and its standard error.
    """

    steps: int
    images_per_second: float
    loss: float
    loss_error: float


def read_pace(path: Path) -> Pace:
    """From the lines of `log.jsonl` that tell of steps.

    Raises:
        ValueError: fewer than four of them.
    """
    told = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    steps = [facts for facts in told if facts.get("total") is not None]  # null: a step that gave no finite loss
    if len(steps) < 4:
        raise ValueError(f"{path} tells of {len(steps)} steps; four at least are needed. Set log_every lower.")
    later = steps[len(steps) // 2 :]
    losses = [facts["total"] for facts in later]
    return Pace(
        steps=steps[-1]["step"],
        images_per_second=statistics.median(facts["images_per_second"] for facts in later),
        loss=statistics.fmean(losses),
        loss_error=statistics.stdev(losses) / len(losses) ** 0.5,
    )


def table(names: Sequence[str], paces: Sequence[Pace]) -> str:
    """Markdown: one row a run, its throughput relative to the first one's."""
    lines = ["| run | steps | images/s | relative | loss ± standard error |", "|---|---:|---:|---:|---:|"]
    for name, pace in zip(names, paces, strict=True):
        relative = pace.images_per_second / paces[0].images_per_second
        lines.append(
            f"| {name} | {pace.steps} | {pace.images_per_second:.0f} | {relative:.2f} "
            f"| {pace.loss:.4f} ± {pace.loss_error:.4f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    files = [Path(argument) for argument in sys.argv[1:]]
    print(table([path.parent.name for path in files], [read_pace(path) for path in files]), end="")
