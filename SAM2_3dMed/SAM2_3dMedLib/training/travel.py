"""Which memories a slice of a training clip sees, and the two directions in which a clip is traveled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from ..network.features import MemoryItem, PointerItem

MAX_POINTERS = 16  # SAM2's max_obj_ptrs_in_encoder
Remembered = tuple[torch.Tensor, torch.Tensor]  # a slice's spatial memory and its object pointer


@dataclass
class Way:
    """One direction of travel: what it has passed."""

    direction: int
    prompted: dict[int, Remembered]
    tracked: dict[int, Remembered] = field(default_factory=dict)


@dataclass(frozen=True)
class WayStep:
    """The next slice of a direction and what it may see."""

    way: Way
    place: int
    memories: list[MemoryItem]
    pointers: list[PointerItem]

    def alike(self, other: WayStep) -> bool:
        """Whether both see memories of the same kinds at the same distances, so that they fit one batch."""
        return [item.slot for item in self.memories] == [item.slot for item in other.memories] and [
            item.distance for item in self.pointers
        ] == [item.distance for item in other.pointers]


def joined(group: Sequence[WayStep]) -> tuple[list[MemoryItem], list[PointerItem]]:
    """The memories of alike steps as one batch."""
    memories = zip(*(step.memories for step in group), strict=True)
    pointers = zip(*(step.pointers for step in group), strict=True)
    return (
        [MemoryItem(torch.cat([item.features for item in items]), items[0].slot) for items in memories],
        [PointerItem(torch.cat([item.pointer for item in items]), items[0].distance) for items in pointers],
    )


def sam2_memories(
    prompted: dict[int, Remembered],
    tracked: dict[int, Remembered],
    place: int,
    direction: int,
    num_maskmem: int,
) -> tuple[list[MemoryItem], list[PointerItem]]:
    """What slice `place` may see under SAM2's policy (`SAM2Base._prepare_memory_conditioned_features`).

    All prompted slices in slot 0, then the `num_maskmem` - 1 slices just passed; pointers of prompted slices already
    passed (`only_obj_ptrs_in_the_past_for_eval`) and of up to 15 slices passed. Values are (memory, pointer).
    """
    memories = [MemoryItem(memory, 0) for memory, _ in prompted.values()]
    pointers = []
    for where, (_, pointer) in prompted.items():
        distance = (place - where) * direction
        if distance > 0:
            pointers.append(PointerItem(pointer, distance))
    for back in range(1, MAX_POINTERS):
        entry = tracked.get(place - back * direction)
        if entry is None:
            continue
        if back < num_maskmem:
            memories.append(MemoryItem(entry[0], back))
        pointers.append(PointerItem(entry[1], back))
    return memories, pointers
