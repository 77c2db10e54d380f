"""Where a run tells what it does: `log.jsonl`, TensorBoard, and a progress bar with the time that is left."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from .files import write_text_whole
from .recipe import Stage
from .schedule import stage_progress
from .state import Progress

LOG_FILE = "log.jsonl"


class FactSink(Protocol):
    """Takes the facts of a step: a flat table, or one with a table `validation` in it; both have `step`."""

    def write(self, facts: Mapping[str, Any]) -> None:
        """Keep the facts of one step."""


class RunLog:
    """`log.jsonl`: one JSON object a line for every logged step and every validation.

    `go_on_from` makes it consistent with a resumed state: a run that was killed has logged steps that its last state
    does not have, and they come again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def go_on_from(self, progress: Progress) -> None:
        """Drop the lines after `progress` and a last line that was cut off."""
        if not self.path.is_file():
            return
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and _belongs(line, progress)]
        if kept != lines:
            write_text_whole(self.path, "".join(kept))

    def write(self, facts: Mapping[str, Any]) -> None:
        """Append one line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(finite_facts(facts), allow_nan=False) + "\n")


def _belongs(line: str, progress: Progress) -> bool:
    try:
        facts = json.loads(line)
    except ValueError:  # two halves of lines, as a killed run and its follower left them before version 0.3.0
        return False
    return facts["step"] <= (progress.validated if "validation" in facts else progress.step)


def finite_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has neither NaN nor infinity: a mean over nothing and a loss beyond all numbers become null."""
    known = {name: finite_facts(value) if isinstance(value, dict) else value for name, value in facts.items()}
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in known.items()
    }


class TensorBoardLog:
    """The same facts as scalars for TensorBoard: `train/...` and `validation/...` over steps.

    Raises:
        ModuleNotFoundError: the package tensorboard is not installed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # an extra of the project; not everyone wants it

        # Steps after a killed run's last state come again: purge_step hides the ones of the first time.
        self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def write(self, facts: Mapping[str, Any]) -> None:
        """Write the numbers of one step."""
        group = "validation" if "validation" in facts else "train"
        for name, value in facts.get("validation", facts).items():
            if isinstance(value, (int, float)) and name != "step" and math.isfinite(value):
                self._writer.add_scalar(f"{group}/{name}", value, facts["step"])

    def close(self) -> None:
        """Write what is still waiting."""
        self._writer.close()


class StageBar:
    """A progress bar of one stage on stderr, with the time that is left of the stage and of the run."""

    def __init__(self, stages: tuple[Stage, ...], number: int, progress: Progress, quiet: bool) -> None:
        self._stages, self._number = stages, number
        stage = stages[number]
        self._by_time = stage.steps is None
        self._first_step, self._began = progress.stage_step, time.monotonic()
        self._bar = tqdm(
            desc=f"{stage.name} ({number + 1}/{len(stages)})",
            total=round(stage.minutes * 60) if self._by_time else stage.steps,
            initial=round(self._done(progress)),
            unit="s" if self._by_time else "step",
            mininterval=0.5 if sys.stderr.isatty() else 10.0,
            disable=quiet,
        )

    def update(self, progress: Progress, loss: float | None = None) -> None:
        """Show the present state; `loss` where it was read back from the device."""
        if loss is not None:
            facts = {"loss": f"{loss:.3f}", "step": progress.step}
            if len(self._stages) > 1:
                facts["all left"] = tqdm.format_interval(self._seconds_left(progress))
            self._bar.set_postfix(facts, refresh=False)
        self._bar.update(round(self._done(progress)) - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()

    def _done(self, progress: Progress) -> float:
        return progress.stage_seconds if self._by_time else progress.stage_step

    def _seconds_left(self, progress: Progress) -> float:
        """Of the whole run; later stages of so many steps are taken to be as fast as this one."""
        pace = (time.monotonic() - self._began) / max(progress.stage_step - self._first_step, 1)
        lengths = [s.minutes * 60 if s.steps is None else s.steps * pace for s in self._stages[self._number :]]
        done = stage_progress(self._stages[self._number], progress.stage_step, progress.stage_seconds)
        return sum(lengths[1:]) + lengths[0] * max(0.0, 1.0 - done)


def say(sentence: str) -> None:
    """Print a line without tearing the progress bar."""
    tqdm.write(sentence)
