"""Medians of evaluated objects with their intervals: over all, by data set, and by structure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from ..training.evaluation import ObjectResult
from .markdown import about_lines, row_of, with_interval
from .medians import Interval, case_of, median_of

LOST_BELOW = 0.1  # a Dice under which the object was lost rather than drawn badly


@dataclass(frozen=True)
class Intervals:
    """95 % intervals of the medians of a `Group`, by a bootstrap over cases; None with fewer than two cases."""

    dice: Interval | None
    iou: Interval | None
    hd95_mm: Interval | None
    nsd_1mm: Interval | None
    nsd_2mm: Interval | None
    worst_slice_dice: Interval | None
    slice_consistency: Interval | None
    prompted_slice_dice: Interval | None
    ellipse_slice_dice: Interval | None
    ellipsoid_dice: Interval | None


@dataclass(frozen=True)
class Group:
    """Objects summed up. Values are medians unless named otherwise; None where no object has the value (no mm known).

    Attributes:
        cases: how many volumes the objects come from.
        dice_quartiles: 25th and 75th percentile of Dice.
        ellipse_slice_dice: median Dice of the inscribed ellipse on the prompted slice, to be beaten by
            `prompted_slice_dice`.
        ellipsoid_dice: the same in 3D, to be beaten by `dice`.
        dice_by_clicks: median Dice after 0, 1, 2 ... clicks; an object that needed fewer keeps its last value.
        dice_by_clicks_intervals: of each of these.
        lost: share of objects with a Dice under 0.1.
        gpu_memory_mib: largest of all objects.
    """

    dataset: str
    name: str
    objects: int
    cases: int
    dice: float
    dice_mean: float
    dice_quartiles: tuple[float, float]
    iou: float
    hd95_mm: float | None
    nsd_1mm: float | None
    nsd_2mm: float | None
    worst_slice_dice: float
    slice_consistency: float | None
    prompted_slice_dice: float
    ellipse_slice_dice: float
    ellipsoid_dice: float
    intervals: Intervals
    dice_by_clicks: tuple[float, ...]
    dice_by_clicks_intervals: tuple[Interval | None, ...]
    lost: float
    seconds_to_preview: float
    seconds: float
    gpu_memory_mib: float | None


@dataclass(frozen=True)
class Summary:
    """All groups: `all` first, then the data sets, then the structures of each."""

    about: dict[str, str | int]
    groups: tuple[Group, ...]


def summarize(results: Sequence[ObjectResult], about: Mapping[str, str | int]) -> Summary:
    """Group the results and take medians. Without results there are no groups."""
    grouped: dict[tuple[str, str], list[ObjectResult]] = {}
    if results:
        grouped["all", "all"] = list(results)
    by_dataset, by_structure = defaultdict(list), defaultdict(list)
    for result in results:
        by_dataset[f"{result.split}/{result.dataset}", "all"].append(result)
        by_structure[f"{result.split}/{result.dataset}", result.name].append(result)
    for part in (by_dataset, by_structure):
        grouped.update(sorted(part.items()))
    return Summary(dict(about), tuple(_group(*key, members) for key, members in grouped.items()))


def markdown_of(summary: Summary) -> str:
    """The summary as a Markdown page."""
    lines = ["# Evaluation", "", *about_lines(summary.about)]
    lines += [
        "",
        "Medians over objects, in parentheses their 95 % intervals (bootstrap over cases; none with a single case).",
        "'slice' is the preview on the prompted slice; 'ellipse' and 'ellipsoid' are what its tight box gives without "
        "any model, there and in 3D; 'lost' is the share of objects with a Dice under 0.1.",
        "",
        "| data set | structure | objects | cases | Dice | ellipsoid | slice | ellipse | lost | by clicks |",
        "|---|---|" + "---:|" * 8,
    ]
    lines += [_overlap_row(group) for group in summary.groups]
    lines += [
        "",
        "HD95 and NSD in the original spacing (`-`: spacing not known); worst slice and slice consistency along the "
        "acquisition axis; seconds to the first preview and in all.",
        "",
        "| data set | structure | IoU | HD95 mm | NSD 1 mm | NSD 2 mm | worst slice | consistency | preview s | s "
        "| GPU MiB |",
        "|---|---|" + "---:|" * 9,
    ]
    lines += [_detail_row(group) for group in summary.groups]
    return "\n".join(lines) + "\n"


def _overlap_row(group: Group) -> str:
    clicks = " ".join(f"{value:.2f}" for value in group.dice_by_clicks) if len(group.dice_by_clicks) > 1 else "-"
    names = ("dice", "ellipsoid_dice", "prompted_slice_dice", "ellipse_slice_dice")
    cells = [group.dataset, group.name, str(group.objects), str(group.cases)]
    cells += [with_interval(getattr(group, name), getattr(group.intervals, name)) for name in names]
    return row_of([*cells, f"{group.lost:.0%}", clicks])


def _detail_row(group: Group) -> str:
    digits = {"iou": 3, "hd95_mm": 2, "nsd_1mm": 3, "nsd_2mm": 3, "worst_slice_dice": 3, "slice_consistency": 3}
    cells = [with_interval(getattr(group, name), getattr(group.intervals, name), n) for name, n in digits.items()]
    memory = "-" if group.gpu_memory_mib is None else f"{group.gpu_memory_mib:.0f}"
    return row_of(
        [group.dataset, group.name, *cells, f"{group.seconds_to_preview:.1f}", f"{group.seconds:.1f}", memory]
    )


def _group(dataset: str, name: str, members: Sequence[ObjectResult]) -> Group:
    dices = np.array([member.dice for member in members])
    cases = [case_of(member) for member in members]
    longest = max(len(member.dice_by_clicks) for member in members)
    clicks = [median_of([_after_clicks(member, number) for member in members], cases) for number in range(longest)]
    names = [field.name for field in fields(Intervals)]
    medians = {name: median_of([getattr(member, name) for member in members], cases) for name in names}
    memory = [member.gpu_memory_mib for member in members if member.gpu_memory_mib is not None]
    return Group(
        dataset=dataset,
        name=name,
        objects=len(members),
        cases=len(set(cases)),
        dice_mean=float(dices.mean()),
        dice_quartiles=(float(np.percentile(dices, 25)), float(np.percentile(dices, 75))),
        **{name: median for name, (median, _) in medians.items()},
        intervals=Intervals(**{name: interval for name, (_, interval) in medians.items()}),
        dice_by_clicks=tuple(median for median, _ in clicks),
        dice_by_clicks_intervals=tuple(interval for _, interval in clicks),
        lost=float((dices < LOST_BELOW).mean()),
        seconds_to_preview=float(np.median([member.seconds_to_preview for member in members])),
        seconds=float(np.median([member.seconds for member in members])),
        gpu_memory_mib=max(memory, default=None),
    )


def _after_clicks(member: ObjectResult, number: int) -> float:
    return member.dice_by_clicks[min(number, len(member.dice_by_clicks) - 1)]
