"""A memory policy that keeps confident and mutually different memories instead of simply the last six.

After Medical SAM 2 (self-sorting memory) and SLM-SAM2 (confidence-driven writes), method.md: a slice that the network
doubts is not remembered, since a memory bank that holds a wrong mask carries it on; of many good ones those that differ
are worth more than six nearly equal neighbors.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional

from .memory_bank import MemoryBank, MemorySelection, Remembered, SliceMemory
from .policies import RECENT_MEMORIES, BracketedMemoryPolicy
from .schedule import Chain


@dataclass(frozen=True)
class ConfidentMemoryPolicy:
    """As `BracketedMemoryPolicy`, but a chain's memories are chosen by confidence and difference.

    Prompted slices are always remembered: the user vouches for them. Of the chain's last `window` slices those count
    whose confidence suffices. The nearest of them is always seen, for the object changes least to the next slice; five
    more are added one by one, each the one least like all that are chosen already. They get SAM2's slots by their
    order, nearest first, as SAM2Long gives them, so that the network meets no age that it was not trained with.
    Pointers of doubtful slices are left out too. With at most six confident slices there is nothing to choose, and if
    none was doubtful this is the bracketed policy.

    Attributes:
        outer: as in `BracketedMemoryPolicy`.
        least_confidence: a slice is remembered from this `confidence_of` on.
        window: how many slices back memories may come from.
    """

    outer: int = 1
    least_confidence: float = 0.5
    window: int = 12
    reads_memories: ClassVar[bool] = True
    keeps_clicks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.least_confidence <= 1.0:
            raise ValueError(f"least_confidence must lie between 0 and 1, not {self.least_confidence}.")
        if self.window < RECENT_MEMORIES:
            raise ValueError(f"window must be at least {RECENT_MEMORIES}, not {self.window}.")

    def chains(self, prompted: Sequence[int], absent: Collection[int], first: int, last: int) -> list[Chain]:
        return self._brackets.chains(prompted, absent, first, last)

    def select(self, bank: MemoryBank, position: int, direction: int, slice_count: int) -> MemorySelection:
        kept = {at: entry for at, entry in bank.chain.items() if confidence_of(entry) >= self.least_confidence}
        usual = self._brackets.select(MemoryBank(bank.conditioning, kept), position, direction, slice_count)
        prompted = [entry for entry in usual.memories if entry.offset == 0]
        behind = (position - direction * distance for distance in range(1, self.window + 1))
        chosen = _most_different([at for at in behind if at in kept], kept, [entry.memory for entry in prompted])
        recent = [Remembered(at, kept[at], slot) for slot, at in enumerate(chosen, 1)]
        return MemorySelection.of([*prompted, *reversed(recent)], usual.pointers, usual.max_pointers)

    def reach(self, prompted: Sequence[int], changed: int, slice_count: int) -> range:
        return self._brackets.reach(prompted, changed, slice_count)

    @property
    def _brackets(self) -> BracketedMemoryPolicy:
        return BracketedMemoryPolicy(self.outer)


def confidence_of(memory: SliceMemory) -> float:
    """0..1: the network's predicted IoU times the probability that the object is on the slice at all.

    `confidence.SliceConfidence` also asks whether the neighbors agree, which is not known while a chain is on its way.
    """
    iou, object_score, _ = memory.scores[0].tolist()
    return min(1.0, max(0.0, iou)) / (1.0 + math.exp(-max(-60.0, min(60.0, object_score))))


def _most_different(
    near_to_far: Sequence[int], memories: Mapping[int, SliceMemory], seen: Sequence[SliceMemory]
) -> list[int]:
    """At most `RECENT_MEMORIES` positions, nearest first: the nearest, then each time the least like those chosen.

    Args:
        near_to_far: positions to choose from; of equally different ones the nearer is taken.
        seen: memories that are there anyhow.
    """
    if len(near_to_far) <= RECENT_MEMORIES:
        return list(near_to_far)
    rows = [memories[at].features for at in near_to_far] + [memory.features for memory in seen]
    directions = functional.normalize(torch.stack([row.flatten().float() for row in rows]))
    candidates = directions[: len(near_to_far)]
    likeness = candidates @ directions.T  # cosine of each candidate with each candidate, then with what is seen
    closest = likeness[:, [0, *range(len(near_to_far), len(rows))]].amax(1)
    chosen = [0]
    while len(chosen) < RECENT_MEMORIES:
        by_candidate = closest.tolist()
        left = (number for number in range(len(near_to_far)) if number not in chosen)
        chosen.append(min(left, key=by_candidate.__getitem__))
        closest = torch.maximum(closest, likeness[:, chosen[-1]])
    return [near_to_far[number] for number in sorted(chosen)]
