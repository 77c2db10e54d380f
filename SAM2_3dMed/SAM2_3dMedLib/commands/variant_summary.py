"""What each setting of a prompt did to the result: over all objects and by data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..training.evaluation import VariantResult
from ..training.prompt_variants import careful_setting, settings_of
from ..training.protocols import Protocol
from .markdown import about_lines, row_of, with_interval
from .medians import Interval, case_of, median_of
from .summary import LOST_BELOW

_MEANINGS = {
    Protocol.JITTER: "The tight box of the largest slice, each side moved by a uniform draw of up to so many pixels of "
    "the slice stretched to 512 x 512.",
    Protocol.POINT_POSITION: "A click on the largest slice: its most interior pixel, any of its pixels, or one near "
    "its edge.",
    Protocol.OFF_SLICE: "The tight box on another slice than the largest: so many percent of the way to the object's "
    "end, + toward left, posterior or superior. An object without such a slice has no row.",
}


@dataclass(frozen=True)
class SettingGroup:
    """The objects of one setting. Values are medians; None where no object has the value.

    Attributes:
        dice_change: of each object, against the careful setting; objects that have no such row do not count.
        ellipse_slice_dice, ellipsoid_dice: what the box as it was given yields without a model; None for clicks.
        lost: share of objects with a Dice under 0.1.
    """

    dataset: str
    setting: str
    objects: int
    cases: int
    dice: float
    dice_interval: Interval | None
    dice_change: float | None
    dice_change_interval: Interval | None
    prompted_slice_dice: float
    prompted_slice_dice_interval: Interval | None
    ellipse_slice_dice: float | None
    ellipse_slice_dice_interval: Interval | None
    ellipsoid_dice: float | None
    ellipsoid_dice_interval: Interval | None
    lost: float
    seconds: float


@dataclass(frozen=True)
class VariantSummary:
    """All settings of `all` first, then those of each data set; settings in the protocol's order."""

    about: dict[str, str | int]
    groups: tuple[SettingGroup, ...]


def summarize_variants(
    results: Sequence[VariantResult], protocol: Protocol, about: Mapping[str, str | int]
) -> VariantSummary:
    """Group the results by data set and setting and take medians."""
    changes = _changes(results, careful_setting(protocol))
    datasets = ["all", *sorted({f"{result.split}/{result.dataset}" for result in results})]
    groups = []
    for dataset in datasets:
        for setting in settings_of(protocol):
            members = [
                number
                for number, result in enumerate(results)
                if result.setting == setting and dataset in ("all", f"{result.split}/{result.dataset}")
            ]
            if members:
                chosen = [results[number] for number in members]
                groups.append(_group(dataset, setting, chosen, [changes[number] for number in members]))
    return VariantSummary(dict(about), tuple(groups))


def markdown_of_variants(summary: VariantSummary, protocol: Protocol) -> str:
    """The summary as a Markdown page."""
    careful = careful_setting(protocol)
    lines = [f"# Evaluation: {protocol.value}", "", *about_lines(summary.about)]
    lines += [
        "",
        _MEANINGS[protocol],
        "",
        f"Medians over objects with 95 % intervals (bootstrap over cases). 'change' is that of each object's Dice "
        f"against setting '{careful}'; 'slice' is the preview on the prompted slice; 'ellipse' and 'ellipsoid' are "
        "what the box as it was given yields without any model, there and in 3D.",
        "",
        "| data set | setting | objects | cases | Dice | change | ellipsoid | slice | ellipse | lost | s |",
        "|---|---|" + "---:|" * 9,
    ]
    lines += [_row(group) for group in summary.groups]
    return "\n".join(lines) + "\n"


def _row(group: SettingGroup) -> str:
    cells = [group.dataset, group.setting, str(group.objects), str(group.cases)]
    cells += [
        with_interval(group.dice, group.dice_interval),
        with_interval(group.dice_change, group.dice_change_interval),
        with_interval(group.ellipsoid_dice, group.ellipsoid_dice_interval),
        with_interval(group.prompted_slice_dice, group.prompted_slice_dice_interval),
        with_interval(group.ellipse_slice_dice, group.ellipse_slice_dice_interval),
    ]
    return row_of([*cells, f"{group.lost:.0%}", f"{group.seconds:.1f}"])


def _changes(results: Sequence[VariantResult], careful: str) -> list[float | None]:
    """Dice of each result minus that of its object's careful prompt."""
    base = {(case_of(result), result.label): result.dice for result in results if result.setting == careful}
    changes = []
    for result in results:
        start = base.get((case_of(result), result.label))
        changes.append(None if start is None else result.dice - start)
    return changes


def _group(
    dataset: str, setting: str, members: Sequence[VariantResult], changes: Sequence[float | None]
) -> SettingGroup:
    cases = [case_of(row) for row in members]
    dice, dice_interval = median_of([row.dice for row in members], cases)
    change, change_interval = median_of(changes, cases)
    on_slice, on_slice_interval = median_of([row.prompted_slice_dice for row in members], cases)
    ellipse, ellipse_interval = median_of([row.ellipse_slice_dice for row in members], cases)
    ellipsoid, ellipsoid_interval = median_of([row.ellipsoid_dice for row in members], cases)
    return SettingGroup(
        dataset=dataset,
        setting=setting,
        objects=len(members),
        cases=len(set(cases)),
        dice=dice,
        dice_interval=dice_interval,
        dice_change=change,
        dice_change_interval=change_interval,
        prompted_slice_dice=on_slice,
        prompted_slice_dice_interval=on_slice_interval,
        ellipse_slice_dice=ellipse,
        ellipse_slice_dice_interval=ellipse_interval,
        ellipsoid_dice=ellipsoid,
        ellipsoid_dice_interval=ellipsoid_interval,
        lost=float(np.mean([row.dice < LOST_BELOW for row in members])),
        seconds=float(np.median([row.seconds for row in members])),
    )
