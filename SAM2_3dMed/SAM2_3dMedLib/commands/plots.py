"""Plots of an evaluation as PNG files: Dice by structure, by corrections, and by setting of a prompt.

matplotlib's `Figure` alone, without `pyplot`: no global state, no window, no display.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ..training.evaluation import ObjectResult
from .medians import Interval
from .output import write_whole
from .summary import Group, Summary
from .variant_summary import SettingGroup, VariantSummary

_DPI = 110
# Okabe-Ito: also told apart without red and green.
_RESULT, _BASELINE, _SLICE = "#0072B2", "#D55E00", "#009E73"
_MAX_LINES = 8  # data sets that can be told apart in one plot


def plot_structures(path: Path, results: Sequence[ObjectResult], summary: Summary) -> None:
    """Every object's Dice by structure, with median, interval and the ellipsoid in the box. Raises `UserError`."""
    groups = [group for group in summary.groups if group.name != "all"]
    figure = Figure(figsize=(8.0, 1.4 + 0.3 * len(groups)), layout="constrained")
    axes = figure.add_subplot()
    for row, group in enumerate(groups):
        members = [r.dice for r in results if (f"{r.split}/{r.dataset}", r.name) == (group.dataset, group.name)]
        axes.plot(members, [row] * len(members), "|", color="0.6", markersize=9, zorder=1)
    places = list(range(len(groups)))
    axes.plot(
        [g.ellipsoid_dice for g in groups], places, "D", color=_BASELINE, mfc="none", label="ellipsoid in the box"
    )
    errors = _errors([group.dice for group in groups], [group.intervals.dice for group in groups])
    axes.errorbar(
        [g.dice for g in groups], places, xerr=errors, fmt="o", color=_RESULT, capsize=3, label="median, 95 % interval"
    )
    axes.set_yticks(places, [f"{group.dataset}  {group.name} ({group.objects})" for group in groups])
    axes.set(xlim=(-0.02, 1.02), xlabel="Dice", ylim=(len(groups) - 0.5, -0.5))
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    _save(path, figure)


def plot_clicks(path: Path, summary: Summary) -> None:
    """Median Dice after 0, 1, 2 ... corrections: all objects with intervals, each data set as a line."""
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for group in _lines(summary.groups):
        first = group.dataset == "all"
        errors = _errors(group.dice_by_clicks, group.dice_by_clicks_intervals) if first else None
        axes.errorbar(
            range(len(group.dice_by_clicks)),
            group.dice_by_clicks,
            yerr=errors,
            marker="o",
            linewidth=2.5 if first else 1.0,
            color="black" if first else None,
            capsize=3,
            label=f"{group.dataset} ({group.objects})",
            zorder=3 if first else 2,
        )
    axes.set(ylim=(-0.02, 1.02), xlabel="corrections", ylabel="median Dice")
    axes.locator_params(axis="x", integer=True)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    _save(path, figure)


def plot_settings(path: Path, summary: VariantSummary, label: str) -> None:
    """Median Dice of all objects by setting: in 3D, on the prompted slice, and of the baselines without a model.

    Args:
        label: what the settings are, with their unit.
    """
    groups = [group for group in summary.groups if group.dataset == "all"]
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    _line(axes, groups, [g.dice for g in groups], [g.dice_interval for g in groups], "result, 3D", _RESULT, "-")
    shown = [g.prompted_slice_dice for g in groups], [g.prompted_slice_dice_interval for g in groups]
    _line(axes, groups, *shown, "result, prompted slice", _SLICE, "-")
    if all(group.ellipsoid_dice is not None for group in groups):
        shown = [g.ellipsoid_dice for g in groups], [g.ellipsoid_dice_interval for g in groups]
        _line(axes, groups, *shown, "ellipsoid in the box, 3D", _RESULT, ":")
        shown = [g.ellipse_slice_dice for g in groups], [g.ellipse_slice_dice_interval for g in groups]
        _line(axes, groups, *shown, "ellipse in the box, prompted slice", _SLICE, ":")
    axes.set_xticks(range(len(groups)), [f"{group.setting}\nn = {group.objects}" for group in groups])
    axes.set(ylim=(-0.02, 1.02), xlabel=label, ylabel="median Dice")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    _save(path, figure)


def _line(
    axes,
    groups: Sequence[SettingGroup],
    values: Sequence[float],
    intervals: Sequence[Interval | None],
    label: str,
    color: str,
    style: str,
) -> None:
    errors = _errors(values, intervals)
    axes.errorbar(
        range(len(groups)), values, yerr=errors, marker="o", capsize=3, label=label, color=color, linestyle=style
    )


def _lines(groups: Sequence[Group]) -> list[Group]:
    """All objects, then data sets: those with most objects where there are too many to tell apart."""
    whole = [group for group in groups if group.name == "all"]
    largest = sorted(whole[1:], key=lambda group: (-group.objects, group.dataset))[:_MAX_LINES]
    return [*whole[:1], *sorted(largest, key=lambda group: group.dataset)]


def _errors(values: Sequence[float], intervals: Sequence[Interval | None]) -> list[list[float]]:
    """Distances from the values down and up to their intervals; 0 where there is none."""
    pairs = [(v, ends or (v, v)) for v, ends in zip(values, intervals, strict=True)]
    # A median of an even number lies between two values, an interval's ends may too: never negative.
    return [[max(v - ends[0], 0.0) for v, ends in pairs], [max(ends[1] - v, 0.0) for v, ends in pairs]]


def _save(path: Path, figure: Figure) -> None:
    write_whole(path, lambda target: figure.savefig(target, dpi=_DPI, format="png"))
