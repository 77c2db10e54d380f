"""The table of an ablation: mean and spread over seeds of each arm, and what it gains over plain SAM2.

python -m SAM2_3dMedLib.training.ablation_table results.jsonl
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BASELINE = "plain SAM2"


@dataclass(frozen=True)
class ArmScore:
    """One arm on one split under one policy; every figure is a mean over objects, then over seeds.

    Attributes:
        dice_spread: standard deviation of the seeds' means; None with a single seed.
        gain: mean over seeds of the difference to the baseline of the same seed; None where there is none.
        gain_spread: its standard deviation over seeds.
    """

    arm: str
    policy: str
    split: str
    seeds: int
    objects: int
    dice: float
    dice_spread: float | None
    gain: float | None
    gain_spread: float | None
    hd95_mm: float
    worst_slice_dice: float
    train_seconds: float
    parameters: int


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a results file (`ablation.AblationRow` as JSON)."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def scores(rows: Sequence[dict[str, Any]]) -> list[ArmScore]:
    """One score for each arm, policy and split, in the order in which they appear."""
    groups: dict[tuple[str, str, str], dict[int, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        groups[row["arm"], row["policy"], row["split"]][row["seed"]].append(row)
    baseline = {
        (split, seed): _mean(found, "dice")
        for (arm, _, split), seeds in groups.items()
        if arm == BASELINE
        for seed, found in seeds.items()
    }
    return [_score(key, seeds, baseline) for key, seeds in groups.items()]


def _score(
    key: tuple[str, str, str], seeds: dict[int, list[dict[str, Any]]], baseline: dict[tuple[str, int], float]
) -> ArmScore:
    arm, policy, split = key
    dice = {seed: _mean(rows, "dice") for seed, rows in seeds.items()}
    gains = [value - baseline[split, seed] for seed, value in dice.items() if (split, seed) in baseline]
    every = [row for rows in seeds.values() for row in rows]
    return ArmScore(
        arm=arm,
        policy=policy,
        split=split,
        seeds=len(seeds),
        objects=len(next(iter(seeds.values()))),
        dice=statistics.fmean(dice.values()),
        dice_spread=_spread(list(dice.values())),
        gain=statistics.fmean(gains) if gains and arm != BASELINE else None,
        gain_spread=_spread(gains) if arm != BASELINE else None,
        hd95_mm=_mean(every, "hd95_mm"),
        worst_slice_dice=_mean(every, "worst_slice_dice"),
        train_seconds=statistics.fmean(row["train_seconds"] for row in every),
        parameters=every[0]["parameters"],
    )


def _mean(rows: Sequence[dict[str, Any]], name: str) -> float:
    return statistics.fmean(row["result"][name] for row in rows)


def _spread(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


def markdown(found: Sequence[ArmScore]) -> str:
    """The scores as a Markdown table."""
    lines = [
        "| split | arm | memory | seeds | objects | mean Dice | gain over plain | HD95 mm | worst slice | s to train "
        "| M param. |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for score in sorted(found, key=lambda entry: entry.split):
        lines.append(
            f"| {score.split} | {score.arm} | {score.policy} | {score.seeds} | {score.objects} "
            f"| {_with_spread(score.dice, score.dice_spread)} "
            f"| {_with_spread(score.gain, score.gain_spread, sign='+')} "
            f"| {score.hd95_mm:.1f} | {score.worst_slice_dice:.3f} | {score.train_seconds:.0f} "
            f"| {score.parameters / 1e6:.1f} |"
        )
    return "\n".join(lines) + "\n"


def _with_spread(value: float | None, spread: float | None, sign: str = "") -> str:
    if value is None:
        return "-"
    return f"{value:{sign}.3f}" + (f" ± {spread:.3f}" if spread is not None else "")


if __name__ == "__main__":
    print(markdown(scores(read_rows(Path(sys.argv[1])))), end="")
