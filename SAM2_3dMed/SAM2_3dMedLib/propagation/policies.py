"""Memory policies: which memories a slice is decoded with, and by which chains slices are reached.

A policy is a pure function of the bank and the position; propagation and corrections ask it the same question, so that
policies can be compared on equal terms.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from .memory_bank import MemoryBank, MemorySelection, Remembered
from .schedule import Chain, bracketed_chains, sam2_chains

# SAM2's own numbers (sam2_base.py): num_maskmem 7 less the conditioning slot, max_obj_ptrs_in_encoder 16.
RECENT_MEMORIES = 6
MAX_POINTERS = 16


class MemoryPolicy(Protocol):
    """What `VolumeSession` needs to know. All positions are in anatomical order; directions are +1 or -1.

    Attributes:
        reads_memories: whether `select` looks into the memories and not only at where they are. Then each slice waits
            until the device has finished the ones before.
        keeps_clicks: whether an answer that contradicts the clicks on its slice is replaced (`ClickAnswers`).
    """

    @property
    def reads_memories(self) -> bool: ...

    @property
    def keeps_clicks(self) -> bool: ...

    def chains(self, prompted: Sequence[int], absent: Collection[int], first: int, last: int) -> list[Chain]:
        """By which chains the positions first..last are reached from the sorted prompted positions.

        Args:
            absent: those of them on which, the prompts say, the object is not.
        """

    def select(self, bank: MemoryBank, position: int, direction: int, slice_count: int) -> MemorySelection:
        """What the slice at `position` is decoded with when traveling in `direction`."""

    def reach(self, prompted: Sequence[int], changed: int, slice_count: int) -> range:
        """Unprompted positions whose masks may change when the prompts at `changed` do.

        Args:
            prompted: in the order of `MemoryBank.conditioning`, `changed` among them.
        """


@dataclass(frozen=True)
class Sam2MemoryPolicy:
    """Exactly SAM2's choice (`SAM2Base._prepare_memory_conditioned_features`, settings of SAM2VideoPredictor).

    All conditioning memories, the last six of the chain, up to sixteen pointers of which conditioning ones only if they
    lie in the past; distances are signed.
    """

    reads_memories: ClassVar[bool] = False
    keeps_clicks: ClassVar[bool] = False

    def chains(self, prompted: Sequence[int], absent: Collection[int], first: int, last: int) -> list[Chain]:
        return sam2_chains(prompted, first, last)

    def select(self, bank: MemoryBank, position: int, direction: int, slice_count: int) -> MemorySelection:
        return _sam2_selection(bank, bank.conditioning, position, direction, slice_count)

    def reach(self, prompted: Sequence[int], changed: int, slice_count: int) -> range:
        return range(slice_count)


@dataclass(frozen=True)
class BracketedMemoryPolicy:
    """The prompted slices that bracket a position, the one that was prompted first, and the last six of its chain.

    Ours: a correction then reaches only the slices between its prompted neighbors, or to the end of the volume where it
    has none, so that work the user has finished stays as it is and little is computed again.

    The first prompt, mostly a box where the object is clearest, says more than a click at its end: without it the
    slices beyond a correction were followed from that alone (docs/evaluation.md, Corrections).

    Attributes:
        anchor: whether the slice that was prompted first is always seen.
        outer: how many conditioning memories a slice beyond the outermost prompt sees. With 1 the reach above is
            strict; with 2 such slices also see the second prompted slice, and a correction there reaches them.
    """

    outer: int = 1
    anchor: bool = True
    keeps_clicks: bool = True
    reads_memories: ClassVar[bool] = False

    def chains(self, prompted: Sequence[int], absent: Collection[int], first: int, last: int) -> list[Chain]:
        return bracketed_chains(prompted, absent, first, last)

    def select(self, bank: MemoryBank, position: int, direction: int, slice_count: int) -> MemorySelection:
        chosen = self._brackets(sorted(bank.conditioning), position)
        first = next(iter(bank.conditioning), None)
        if self.anchor and first is not None and first not in chosen:
            chosen = [first, *chosen]
        return _sam2_selection(bank, chosen, position, direction, slice_count)

    def reach(self, prompted: Sequence[int], changed: int, slice_count: int) -> range:
        if self.anchor and changed == prompted[0]:
            return range(slice_count)
        below = sorted(position for position in prompted if position < changed)
        above = sorted(position for position in prompted if position > changed)
        # A slice above the highest prompt sees the `outer` highest ones: `changed` is among them if fewer lie above it.
        low = below[-1] + 1 if len(below) >= self.outer else 0
        high = above[0] if len(above) >= self.outer else slice_count
        return range(low, high)

    def _brackets(self, prompted: list[int], position: int) -> list[int]:
        below = [entry for entry in prompted if entry <= position]
        above = [entry for entry in prompted if entry > position]
        if below and above:
            return [below[-1], above[0]]
        return below[-self.outer :][::-1] if below else above[: self.outer]


def _sam2_selection(
    bank: MemoryBank, conditioning: Iterable[int], position: int, direction: int, slice_count: int
) -> MemorySelection:
    chosen = list(conditioning)
    max_pointers = min(slice_count, MAX_POINTERS)
    memories = [Remembered(entry, bank.conditioning[entry], 0) for entry in chosen]
    # SAM2 puts the farthest of the recent memories first.
    for slot in range(RECENT_MEMORIES, 0, -1):
        before = position - direction * slot
        if before in bank.chain:
            memories.append(Remembered(before, bank.chain[before], slot))
    distances = {entry: (position - entry) * direction for entry in chosen}
    pointers = [
        Remembered(entry, bank.conditioning[entry], distance) for entry, distance in distances.items() if distance >= 0
    ]
    for distance in range(1, max_pointers):
        before = position - direction * distance
        if before in bank.chain:
            pointers.append(Remembered(before, bank.chain[before], distance))
    return MemorySelection.of(memories, pointers, max_pointers)
