"""Memories that tracking has projected, kept on the device for the next slices."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..network.memory_reader import MemoryReader, ProjectedMemory
from .memory_bank import SliceMemory


@dataclass(frozen=True)
class _Batch:
    """What one step left behind: row n of each tensor belongs to version n."""

    versions: tuple[int, ...]
    projected: ProjectedMemory


class ProjectedMemories:
    """By the versions of `SliceMemory`, the least recently used are forgotten and projected again when needed.

    Slices that were tracked as one batch are kept as one batch: two chains that started together find their memories
    side by side, and nothing is copied.
    """

    def __init__(self, reader: MemoryReader, device: torch.device, budget_bytes: int) -> None:
        self._reader = reader
        self._device = device
        self._budget = budget_bytes
        self._batches: OrderedDict[tuple[int, ...], _Batch] = OrderedDict()
        self._rows: dict[int, tuple[_Batch, int]] = {}
        self._bytes = 0

    @property
    def nbytes(self) -> int:
        """Bytes kept now."""
        return self._bytes

    def keep(self, versions: Sequence[int], projected: ProjectedMemory) -> None:
        """Memories that a step has just made, in the order of its batch."""
        batch = _Batch(tuple(versions), projected)
        if batch.versions in self._batches:
            return
        self._batches[batch.versions] = batch
        self._bytes += projected.nbytes
        for row, version in enumerate(batch.versions):
            self._rows[version] = (batch, row)
        while self._bytes > self._budget and len(self._batches) > 1:
            self._forget(next(iter(self._batches)))

    def get(self, memories: Sequence[SliceMemory]) -> ProjectedMemory:
        """One memory for each slice of a batch, as a batch."""
        wanted = tuple(memory.version for memory in memories)
        found = self._batches.get(wanted)
        if found is not None:
            self._batches.move_to_end(wanted)
            return found.projected
        rows = [self._row(memory) for memory in memories]
        if len(rows) == 1:
            return rows[0]
        joined = ProjectedMemory(torch.cat([row.keys for row in rows], 1), torch.cat([row.values for row in rows], 1))
        # Two chains from one prompted slice ask for it side by side at every slice.
        self.keep(wanted, joined)
        return joined

    def clear(self) -> None:
        """Give back the memory."""
        self._batches.clear()
        self._rows.clear()
        self._bytes = 0

    def _row(self, memory: SliceMemory) -> ProjectedMemory:
        if memory.version in self._rows:
            batch, row = self._rows[memory.version]
            self._batches.move_to_end(batch.versions)
            kept = batch.projected
            return ProjectedMemory(kept.keys[:, row : row + 1], kept.values[:, row : row + 1])
        projected = self._reader.project(memory.features.to(self._device, non_blocking=self._device.type == "cuda"))
        self.keep((memory.version,), projected)
        return projected

    def _forget(self, versions: tuple[int, ...]) -> None:
        batch = self._batches.pop(versions)
        self._bytes -= batch.projected.nbytes
        for version in versions:
            if version in self._rows and self._rows[version][0] is batch:
                del self._rows[version]


class DevicePointers:
    """Object pointers [1, C] of recent slices on the device, by version."""

    def __init__(self, device: torch.device, limit: int = 256) -> None:
        self._device = device
        self._limit = limit
        self._pointers: OrderedDict[int, Tensor] = OrderedDict()

    def keep(self, versions: Sequence[int], pointers: Tensor) -> None:
        """Pointers [B, C] that a step has just made."""
        for row, version in enumerate(versions):
            self._pointers[version] = pointers[row : row + 1]
        while len(self._pointers) > self._limit:
            self._pointers.popitem(last=False)

    def get(self, memory: SliceMemory) -> Tensor:
        if memory.version not in self._pointers:
            self.keep((memory.version,), memory.pointer.to(self._device, non_blocking=self._device.type == "cuda"))
        self._pointers.move_to_end(memory.version)
        return self._pointers[memory.version]

    def clear(self) -> None:
        self._pointers.clear()
