"""How many steps every arm gets: as the recipe says, or as many as fit a given time on so many processes."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ..propagation.step_runner import StepMode
from .ablation_arms import AblationRow, Arm, Cost
from .ablation_bench import TRIAL_STEPS, Bench
from .files import write_text_whole

BUDGET_FILE = "budget.json"
FEWEST_STEPS = 60  # below, the parts have not left their initialization and a table would show nothing
SAME_DICE = 0.005  # mean Dice by which the two ways of tracking may differ by rounding
_MARGIN = 0.92  # share of the time that is planned for: the last runs of all processes never end together


@dataclass(frozen=True)
class Measured:
    """Seconds that parts of a run take: one step (as often as processes share a GPU, which is the worst case),
    everything else of its training, one evaluation by one trial.
    """

    step: float
    beside_steps: float
    trial: float


@dataclass(frozen=True)
class Budget:
    """What all runs of an ablation share; kept beside the common start, so that later calls go on with the same.

    Attributes:
        steps: of every arm; None: the recipe's.
        tracking: `StepMode` that everything is evaluated with.
        direct_dice, static_dice: mean Dice of the common start by both ways of tracking, where both were tried.
    """

    steps: int | None
    tracking: str
    measured: Measured | None = None
    direct_dice: float | None = None
    static_dice: float | None = None

    @property
    def mode(self) -> StepMode:
        return StepMode(self.tracking)

    def longest_run(self, arms: Sequence[Arm]) -> float:
        """Seconds that a run may take as far as it is known; 0 where nothing was measured."""
        if self.measured is None or self.steps is None:
            return 0.0
        trials = max(len(arm.trials) for arm in arms)
        return self.measured.beside_steps + self.steps * self.measured.step + trials * self.measured.trial


def read_budget(folder: Path) -> Budget | None:
    """The budget that `folder` holds; None for none."""
    path = folder / BUDGET_FILE
    if not path.is_file():
        return None
    facts = json.loads(path.read_text(encoding="utf-8"))
    measured = facts.pop("measured")
    return Budget(**facts, measured=None if measured is None else Measured(**measured))


def write_budget(folder: Path, budget: Budget) -> None:
    write_text_whole(folder / BUDGET_FILE, json.dumps(asdict(budget), indent=2) + "\n")


def fitted_steps(measured: Measured, arms: Sequence[Arm], seeds: int, processes: int, seconds: float) -> int:
    """The most steps, in tens, with which every arm and seed ends within `seconds`; never below `FEWEST_STEPS`."""
    runs = len(arms) * seeds
    rounds = -(-runs // processes)  # of the process that has most runs
    trials = seeds * sum(len(arm.trials) for arm in arms) / processes
    left = seconds * _MARGIN - rounds * measured.beside_steps - trials * measured.trial
    return max(FEWEST_STEPS, int(left / rounds / measured.step) // 10 * 10)


@dataclass(frozen=True)
class Prepared:
    """A budget, and the common start evaluated on the way."""

    budget: Budget
    rows: list[AblationRow]


def prepare(bench: Bench, arms: Sequence[Arm], seeds: int, processes: int, fit_seconds: float | None) -> Prepared:
    """Make the common start, evaluate it, and settle what all runs share.

    On CUDA tracking runs as graphs, after a look whether they say the same as kernel by kernel.

    Args:
        fit_seconds: time for all runs; None: the recipe's steps.
    """
    bench.make_start()
    mode, direct, static = StepMode.default(bench.device), None, None
    if mode is StepMode.STATIC:
        direct, static = (_mean_dice(bench.sample().rows_of_start(way)) for way in (StepMode.DIRECT, StepMode.STATIC))
        mode = StepMode.STATIC if abs(direct - static) <= SAME_DICE else StepMode.DIRECT
    started = time.monotonic()
    rows = bench.rows_of_start(mode)
    trial_seconds = time.monotonic() - started
    if fit_seconds is None:
        return Prepared(Budget(None, mode.value, None, direct, static), rows)
    cost = bench.trial_run()
    stage = bench.base.stages[-1]
    beside = cost.train_seconds - (stage.scenarios + TRIAL_STEPS) * cost.step_seconds
    sharing = -(-processes // max(1, torch.cuda.device_count())) if bench.device.type == "cuda" else 1
    measured = Measured(cost.step_seconds * sharing, max(0.0, beside), trial_seconds)
    steps = fitted_steps(measured, arms, seeds, processes, fit_seconds)
    return Prepared(Budget(steps, mode.value, measured, direct, static), rows)


def cost_line(cost: Cost) -> str:
    """A run's cost in words, for the terminal."""
    return f"{cost.train_seconds:.0f} s to train, {cost.step_seconds:.3f} s a step, {cost.gpu_gib:.1f} GiB"


def _mean_dice(rows: Sequence[AblationRow]) -> float:
    return statistics.fmean(row.result.dice for row in rows)
