"""What the rows of an ablation say together: means, spreads over seeds, and paired gains with their intervals."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .ablation_arms import AblationRow, Cost
from .bootstrap import mean_interval
from .packed_evaluation import PackedResult

FEWEST_SEEDS = 3  # of which a gain may be called clear
# One object of one run: what two rows must share to be compared.
_Place = tuple[int, str, str, str]


def read_rows(path: Path) -> list[AblationRow]:
    """The rows of a results file."""
    return [_row(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _row(facts: dict) -> AblationRow:
    return AblationRow(**{**facts, "result": PackedResult(**facts["result"]), "cost": Cost(**facts["cost"])})


@dataclass(frozen=True)
class Gain:
    """A difference of mean Dice to other rows of the same objects and seeds.

    Attributes:
        seeds: how many there are.
        spread: standard deviation over seeds of the seeds' mean gains; None with a single seed.
        interval: 95 % bootstrap interval of the mean gain over cases, each object's gain averaged over seeds.
    """

    mean: float
    seeds: int
    spread: float | None
    interval: tuple[float, float] | None

    @property
    def clear(self) -> bool:
        """Whether neither the choice of cases nor that of seeds explains it: the interval leaves out zero, and the
        mean of three seeds or more is more than two standard errors over them away from it.
        """
        if self.interval is None or self.spread is None or self.seeds < FEWEST_SEEDS:
            return False
        beyond_cases = self.interval[0] > 0 or self.interval[1] < 0
        return beyond_cases and abs(self.mean) > 2 * self.spread / self.seeds**0.5


@dataclass(frozen=True)
class Score:
    """Some rows: means over objects, then over seeds. `hd95_mm` is None where no spacing is known."""

    seeds: int
    objects: int
    dice: float
    dice_spread: float | None
    hd95_mm: float | None
    worst_slice_dice: float
    seconds: float
    cost: Cost


def score(rows: Sequence[AblationRow]) -> Score:
    """Of rows of one arm, trial and split."""
    by_seed = list(_grouped(rows, lambda row: row.seed).values())
    dice = [statistics.fmean(row.result.dice for row in found) for found in by_seed]
    distances = [row.result.hd95_mm for row in rows if row.result.hd95_mm is not None]
    return Score(
        seeds=len(by_seed),
        objects=len(by_seed[0]),
        dice=statistics.fmean(dice),
        dice_spread=spread(dice),
        hd95_mm=statistics.fmean(distances) if distances else None,
        worst_slice_dice=statistics.fmean(row.result.worst_slice_dice for row in rows),
        seconds=statistics.fmean(row.result.seconds for row in rows),
        cost=_mean_cost([found[0].cost for found in by_seed]),
    )


def gain(rows: Sequence[AblationRow], baseline: Sequence[AblationRow]) -> Gain | None:
    """Over `baseline`, object by object of the same seed; None where they share none."""
    before = {_place(row): row.result.dice for row in baseline}
    differences = {_place(row): row.result.dice - before[_place(row)] for row in rows if _place(row) in before}
    if not differences:
        return None
    by_object: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    by_seed: dict[int, list[float]] = defaultdict(list)
    for (seed, *place), value in differences.items():
        by_object[tuple(place)].append(value)
        by_seed[seed].append(value)
    means = [statistics.fmean(values) for values in by_object.values()]
    cases = [place[:2] for place in by_object]
    seeds = [statistics.fmean(values) for values in by_seed.values()]
    return Gain(statistics.fmean(seeds), len(seeds), spread(seeds), mean_interval(means, cases))


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation; None of a single value."""
    return statistics.stdev(values) if len(values) > 1 else None


def _place(row: AblationRow) -> _Place:
    return row.seed, row.result.dataset, row.result.case, row.result.name


def _grouped(rows: Iterable[AblationRow], key: Callable[[AblationRow], int]) -> Mapping[int, list[AblationRow]]:
    groups: dict[int, list[AblationRow]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def _mean_cost(costs: Sequence[Cost]) -> Cost:
    first = costs[0]
    return Cost(
        train_seconds=statistics.fmean(cost.train_seconds for cost in costs),
        step_seconds=statistics.fmean(cost.step_seconds for cost in costs),
        parameters=first.parameters,
        trained_parameters=first.trained_parameters,
        gpu_gib=max(cost.gpu_gib for cost in costs),
    )
