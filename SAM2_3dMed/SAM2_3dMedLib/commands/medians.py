"""Medians of results and their intervals over cases."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..training.evaluation import ObjectResult, VariantResult, median_interval

Interval = tuple[float, float]
CaseKey = tuple[str, str, str]


def case_of(row: ObjectResult | VariantResult) -> CaseKey:
    """What tells the case of a result from all others."""
    return row.split, row.dataset, row.case


def median_of(values: Sequence[float | None], cases: Sequence[CaseKey]) -> tuple[float | None, Interval | None]:
    """The median of the values that are known and finite, and its 95 % interval; None and None if there are none.

    Args:
        values: one a row.
        cases: which case each row belongs to; same length.
    """
    known = [(v, case) for v, case in zip(values, cases, strict=True) if v is not None and math.isfinite(v)]
    if not known:
        return None, None
    return float(np.median([v for v, _ in known])), median_interval([v for v, _ in known], [case for _, case in known])
