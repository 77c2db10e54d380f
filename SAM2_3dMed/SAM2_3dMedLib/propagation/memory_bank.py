"""What earlier slices left behind for later ones: spatial memories and object pointers, by position.

Positions are slice numbers in anatomical order (`SlicePlane`), so that a flipped file takes the same path.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..network.features import MemoryItem, PointerItem

_versions = itertools.count(1)


def next_version() -> int:
    """A number that no `SliceMemory` of this process has had."""
    return next(_versions)


@dataclass(frozen=True)
class UnmadeFeatures:
    """Features of a `SliceMemory` that are made when they are first looked at.

    Attributes:
        make: makes them, [1, M, S/16, S/16] on any device; called once.
        held_bytes: of the tensors that it keeps until then.
    """

    make: Callable[[], Tensor]
    held_bytes: int


class SliceMemory:
    """Memory of one slice, kept in host memory.

    Attributes:
        pointer: [1, C] float32.
        scores: [1, 3] float32, what the network said of the slice's own mask: predicted IoU, object score (logit),
            `confidence.boundary_certainties`. For policies that choose by it.
        version: unique in the process; two memories with the same version are the same tensors.
    """

    def __init__(
        self, features: Tensor | UnmadeFeatures, pointer: Tensor, scores: Tensor, version: int | None = None
    ) -> None:
        """
        Args:
            features: as the property; unmade ones where many are never looked at and no device works on ahead.
            pointer, scores: as the attributes.
            version: default `next_version()`.
        """
        self._features = features
        self.pointer = pointer
        self.scores = scores
        self.version = next_version() if version is None else version

    @classmethod
    def of(cls, features: Tensor | UnmadeFeatures, pointer: Tensor, scores: Tensor) -> SliceMemory:
        """From the network's output on any device."""
        if isinstance(features, Tensor):
            features = features.to("cpu", torch.bfloat16)
        return cls(features, pointer.to("cpu", torch.float32), scores.to("cpu", torch.float32))

    @property
    def features(self) -> Tensor:
        """[1, M, S/16, S/16], bfloat16 as SAM2VideoPredictor stores it."""
        if isinstance(self._features, UnmadeFeatures):
            self._features = self._features.make().to("cpu", torch.bfloat16)
        return self._features

    @property
    def nbytes(self) -> int:
        features = self._features
        held = features.held_bytes if isinstance(features, UnmadeFeatures) else features.nbytes
        return held + self.pointer.nbytes + self.scores.nbytes


@dataclass(frozen=True)
class MemoryBank:
    """What a slice may look at.

    Attributes:
        conditioning: memories of prompted slices by position, those that show the object before those where it was
            denied, each in the order they were first prompted.
        chain: memories of the unprompted slices that this chain has passed, by position.
    """

    conditioning: Mapping[int, SliceMemory]
    chain: Mapping[int, SliceMemory]


@dataclass(frozen=True)
class Remembered:
    """One entry of a selection. `offset`: a memory's slot (0: conditioning) or a pointer's signed distance."""

    position: int
    memory: SliceMemory
    offset: int


Layout = tuple[tuple[int, ...], tuple[int, ...], int]
Fingerprint = tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...], int]


@dataclass(frozen=True)
class MemorySelection:
    """What a policy chose for one slice.

    Attributes:
        memories: spatial memories; `offset` is the slot.
        pointers: object pointers; `offset` is the signed distance along the direction of travel.
        max_pointers: normalizes the pointers' distances.
    """

    memories: tuple[Remembered, ...]
    pointers: tuple[Remembered, ...]
    max_pointers: int

    @classmethod
    def of(cls, memories: Iterable[Remembered], pointers: Iterable[Remembered], max_pointers: int) -> MemorySelection:
        return cls(tuple(memories), tuple(pointers), max_pointers)

    @property
    def fingerprint(self) -> Fingerprint:
        """Equal for two selections exactly when the network would be given the same memories."""
        return (
            tuple((entry.memory.version, entry.offset) for entry in self.memories),
            tuple((entry.memory.version, entry.offset) for entry in self.pointers),
            self.max_pointers,
        )

    @property
    def layout(self) -> Layout:
        """Equal for two selections exactly when their memories are alike: as many, and as old."""
        return (
            tuple(entry.offset for entry in self.memories),
            tuple(entry.offset for entry in self.pointers),
            self.max_pointers,
        )

    def memory_items(self, device: torch.device, dtype: torch.dtype) -> list[MemoryItem]:
        """For `network.condition`. Converted on the host: not every device computes in bfloat16."""
        return [MemoryItem(entry.memory.features.to(dtype).to(device), entry.offset) for entry in self.memories]

    def pointer_items(self, device: torch.device) -> list[PointerItem]:
        return [PointerItem(entry.memory.pointer.to(device), entry.offset) for entry in self.pointers]
