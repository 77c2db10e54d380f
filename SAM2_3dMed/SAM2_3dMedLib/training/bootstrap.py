"""95 % intervals of medians and means by a bootstrap over cases."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
SEED = 2510


def median_interval(values: Sequence[float], cases: Sequence[Hashable]) -> tuple[float, float] | None:
    """The percentile interval of the median when the cases are drawn anew with replacement.

    The objects of one case share a scan, a patient and a network's mood, so they are drawn together: drawn one by one,
    they would make the interval too narrow. Always the same draws, and the order of the values does not matter.

    Args:
        values: one a row, finite.
        cases: which case each row belongs to; same length.

    Returns:
        Lower and upper end, or None with fewer than two cases: one case says nothing about others.
    """
    numbers: dict[Hashable, int] = {}
    for case in sorted(set(cases), key=str):
        numbers[case] = len(numbers)
    count = len(numbers)
    if count < 2:
        return None
    members = np.array([numbers[case] for case in cases])
    array = np.asarray(values, dtype=np.float64)
    order = np.lexsort((members, array))
    drawn = np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    # Each value stands in a resample as often as its case was drawn; the median of that without writing it out.
    running = np.cumsum(drawn[:, members[order]], axis=1, dtype=np.int32)
    total = running[:, -1:]
    ranked = array[order]
    lower, upper = ranked[(running > (total - 1) // 2).argmax(axis=1)], ranked[(running > total // 2).argmax(axis=1)]
    ends = np.percentile((lower + upper) / 2, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(ends[0]), float(ends[1])


def mean_interval(values: Sequence[float], cases: Sequence[Hashable]) -> tuple[float, float] | None:
    """As `median_interval`, of the mean over the rows of all cases that are drawn."""
    numbers = {case: number for number, case in enumerate(sorted(set(cases), key=str))}
    count = len(numbers)
    if count < 2:
        return None
    members = np.array([numbers[case] for case in cases])
    sums = np.bincount(members, weights=np.asarray(values, dtype=np.float64), minlength=count)
    rows = np.bincount(members, minlength=count)
    drawn = np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    ends = np.percentile((drawn @ sums) / (drawn @ rows), [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(ends[0]), float(ends[1])
