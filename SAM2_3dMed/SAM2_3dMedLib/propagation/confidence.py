"""How far to trust a slice: one value from 0 to 1, and the parts it is made of.

The geometric mean of three parts: a slice is doubtful when any one of them is low, and its value does not depend on
which one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .packed_mask import PackedMask

# Logits between -1 and 1 are probabilities between 0.27 and 0.73 (SAM's stability score uses the same offset).
_UNCERTAIN_LOGIT = 1.0


@dataclass(frozen=True)
class SliceConfidence:
    """Confidence of one slice; all parts from 0 (doubtful) to 1.

    Attributes:
        value: the one number to show.
        score: the network's own opinion: predicted IoU times the probability that the object is there (where the mask
            is empty: the probability that it is not).
        boundary: how sharp the mask's edge is.
        agreement: mean Dice with the neighboring slices' masks.
        checked: the user prompted this slice.
    """

    value: float
    score: float
    boundary: float
    agreement: float
    checked: bool


@dataclass(frozen=True)
class SliceEvidence:
    """What is known of one slice on its own. `iou`, `boundary` in 0..1; `object_score` a logit."""

    mask: PackedMask
    iou: float
    object_score: float
    boundary: float
    checked: bool


def boundary_certainties(logits: Tensor) -> Tensor:
    """How sharp the edges of B masks are: 1 / (1 + w/2), w the mean width of the uncertain band in their pixels.

    Measured against the length of the edge, so that small objects are not doubtful for being small; 1 without an edge.

    Args:
        logits: [B, 1, h, w] mask logits.

    Returns:
        [B] float32, on the same device, which is not waited for.
    """
    inside = (logits > 0).flatten(0, 1)
    rows = (inside[:, 1:] != inside[:, :-1]).sum((1, 2))
    across = rows + (inside[:, :, 1:] != inside[:, :, :-1]).sum((1, 2))
    uncertain = (logits.abs() < _UNCERTAIN_LOGIT).sum((1, 2, 3))
    width = uncertain / across.clamp(min=1)
    return torch.where(across > 0, 1.0 / (1.0 + width / 2.0), 1.0)


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Dice of two bool masks; 1 when both are empty."""
    total = int(first.sum()) + int(second.sum())
    return 2.0 * int((first & second).sum()) / total if total else 1.0


def confidences(evidence: Mapping[int, SliceEvidence]) -> dict[int, SliceConfidence]:
    """Confidence by position, in ascending order of position."""
    result: dict[int, SliceConfidence] = {}
    masks = _Unpacked(evidence)
    for position in sorted(evidence):
        entry = evidence[position]
        score = _score(entry)
        agreement = _agreement(masks, evidence, position)
        value = (score * entry.boundary * agreement) ** (1 / 3)
        result[position] = SliceConfidence(value, score, entry.boundary, agreement, entry.checked)
    return result


class _Unpacked:
    """Masks of the last three positions asked for: each is unpacked once in an ascending walk."""

    def __init__(self, evidence: Mapping[int, SliceEvidence]) -> None:
        self._evidence = evidence
        self._masks: dict[int, np.ndarray] = {}

    def __getitem__(self, position: int) -> np.ndarray:
        if position not in self._masks:
            self._masks = {key: mask for key, mask in self._masks.items() if abs(key - position) <= 2}
            self._masks[position] = self._evidence[position].mask.unpack()
        return self._masks[position]


def _score(entry: SliceEvidence) -> float:
    present = 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, entry.object_score))))
    if entry.mask.area == 0:
        return 1.0 - present
    return min(1.0, max(0.0, entry.iou)) * present


def _agreement(masks: _Unpacked, evidence: Mapping[int, SliceEvidence], position: int) -> float:
    neighbors = [near for near in (position - 1, position + 1) if near in evidence]
    if evidence[position].mask.area == 0:
        # Empty where the object goes on at both sides: a hole; at its end: nothing to doubt.
        full = [near for near in neighbors if evidence[near].mask.area > 0]
        return 0.0 if len(full) == 2 else 1.0
    # Beyond its end the object has no neighbor to agree with; on its own in the whole volume it agrees with nothing.
    full = [near for near in neighbors if evidence[near].mask.area > 0]
    if not full:
        return 0.0 if neighbors else 1.0
    return sum(dice(masks[position], masks[near]) for near in full) / len(full)
