"""Medians and quartiles of evaluated objects: over all, by data set, and by structure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..training.evaluation import ObjectResult


@dataclass(frozen=True)
class Group:
    """Objects summed up. Values are medians unless named otherwise; None where no object has the value (no mm known).

    Attributes:
        dice_quartiles: 25th and 75th percentile of Dice.
        ellipse_slice_dice: median Dice of the inscribed ellipse on the prompted slice, to be beaten by
            `prompted_slice_dice`.
        dice_by_clicks: median Dice after 0, 1, 2 ... clicks; an object that needed fewer keeps its last value.
        lost: share of objects with a Dice under 0.1.
    """

    dataset: str
    name: str
    objects: int
    dice: float
    dice_mean: float
    dice_quartiles: tuple[float, float]
    iou: float
    hd95_mm: float | None
    nsd_1mm: float | None
    nsd_2mm: float | None
    worst_slice_dice: float
    prompted_slice_dice: float
    ellipse_slice_dice: float
    dice_by_clicks: tuple[float, ...]
    lost: float
    seconds_to_preview: float
    seconds: float


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
    lines = ["# Evaluation", ""]
    lines += [f"- {name}: {value}" for name, value in summary.about.items()]
    lines += [
        "",
        "Medians over objects; Dice with its quartiles; HD95 and NSD in the original spacing (`-`: spacing not known).",
        "'slice' is the preview on the prompted slice, 'ellipse' what its tight box gives there without any model.",
        "",
        "| data set | structure | n | Dice (quartiles) | mean | IoU | HD95 mm | NSD 1 mm | NSD 2 mm | worst slice "
        "| slice | ellipse | lost | by clicks | s |",
        "|---|---|" + "---:|" * 13,
    ]
    lines += [_markdown_row(group) for group in summary.groups]
    return "\n".join(lines) + "\n"


def _markdown_row(group: Group) -> str:
    low, high = group.dice_quartiles
    clicks = " ".join(f"{value:.2f}" for value in group.dice_by_clicks) if len(group.dice_by_clicks) > 1 else "-"
    cells = [
        group.dataset,
        group.name,
        str(group.objects),
        f"{group.dice:.3f} ({low:.2f}-{high:.2f})",
        *(f"{value:.3f}" for value in (group.dice_mean, group.iou)),
        _or_dash(group.hd95_mm, 1),
        _or_dash(group.nsd_1mm, 3),
        _or_dash(group.nsd_2mm, 3),
        *(f"{v:.3f}" for v in (group.worst_slice_dice, group.prompted_slice_dice, group.ellipse_slice_dice)),
        f"{group.lost:.0%}",
        clicks,
        f"{group.seconds:.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _or_dash(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _group(dataset: str, name: str, members: Sequence[ObjectResult]) -> Group:
    dices = np.array([member.dice for member in members])
    longest = max(len(member.dice_by_clicks) for member in members)
    clicks = [list(m.dice_by_clicks) + [m.dice_by_clicks[-1]] * (longest - len(m.dice_by_clicks)) for m in members]
    return Group(
        dataset=dataset,
        name=name,
        objects=len(members),
        dice=_median(dices),
        dice_mean=float(dices.mean()),
        dice_quartiles=(float(np.percentile(dices, 25)), float(np.percentile(dices, 75))),
        iou=_median([member.iou for member in members]),
        hd95_mm=_known_median([member.hd95_mm for member in members]),
        nsd_1mm=_known_median([member.nsd_1mm for member in members]),
        nsd_2mm=_known_median([member.nsd_2mm for member in members]),
        worst_slice_dice=_median([member.worst_slice_dice for member in members]),
        prompted_slice_dice=_median([member.prompted_slice_dice for member in members]),
        ellipse_slice_dice=_median([member.ellipse_slice_dice for member in members]),
        dice_by_clicks=tuple(np.median(np.array(clicks), axis=0).tolist()),
        lost=float((dices < 0.1).mean()),
        seconds_to_preview=_median([member.seconds_to_preview for member in members]),
        seconds=_median([member.seconds for member in members]),
    )


def _median(values: Sequence[float] | np.ndarray) -> float:
    return float(np.median(values))


def _known_median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _median(known) if known else None
