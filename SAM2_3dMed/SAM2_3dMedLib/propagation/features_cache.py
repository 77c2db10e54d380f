"""A cache of tensors with a budget in bytes: device memory first, then host memory, then dropped and recomputed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

import torch


class Cacheable(Protocol):
    """What can be cached: something with a size that can move between devices."""

    @property
    def nbytes(self) -> int: ...

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Cacheable: ...


Value = TypeVar("Value", bound=Cacheable)


@dataclass(frozen=True)
class CacheBudget:
    """Bytes that may be kept on the device and in host memory; on a CPU only `device_bytes` counts."""

    device_bytes: int
    host_bytes: int

    @classmethod
    def default(cls, device: torch.device) -> CacheBudget:
        """CPU: 1.5 GB, 480 slices of nano at 512 px, so that a job stays under 4 GB. CUDA: a third of what is free, at
        most 1 GB: 125 slices of tiny at 1024 px (8.4 MB each); the others wait in host memory. With weights, graphs and
        work space the process stays below `device_limit`.
        """
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            return cls(min(free // 3, 1 << 30), 4 << 30)
        return cls(3 << 29, 0 if device.type == "cpu" else 2 << 30)


class TieredCache(Generic[Value]):
    """Least recently used entries leave the device for the host, and the host for good."""

    def __init__(self, device: torch.device, budget: CacheBudget) -> None:
        self._device = device
        self._budget = budget
        # From CUDA through page-locked memory: the host only ever hands it back, on the same stream. Elsewhere a
        # transfer that does not block may be read before it is done.
        self._asynchronous = device.type == "cuda"
        self._near: OrderedDict[Hashable, Value] = OrderedDict()
        self._far: OrderedDict[Hashable, Value] = OrderedDict()
        self._near_bytes = 0
        self._far_bytes = 0

    def __contains__(self, key: Hashable) -> bool:
        return key in self._near or key in self._far

    @property
    def device_bytes(self) -> int:
        """Bytes kept on the device now."""
        return self._near_bytes

    @property
    def host_bytes(self) -> int:
        """Bytes kept in host memory now, beside those of a CPU device."""
        return self._far_bytes

    def get(self, key: Hashable) -> Value | None:
        """The value on the device, or None; counts as used."""
        if key in self._near:
            self._near.move_to_end(key)
            return self._near[key]
        if key not in self._far:
            return None
        value = self._far.pop(key)
        self._far_bytes -= value.nbytes
        value = value.to(self._device, non_blocking=self._asynchronous)
        self.put(key, value)
        return value

    def put(self, key: Hashable, value: Value) -> None:
        """Keep a value that lies on the device, as far as the budget allows."""
        self.drop(key)
        self._near[key] = value
        self._near_bytes += value.nbytes
        while self._near_bytes > self._budget.device_bytes and self._near:
            self._demote()

    def drop(self, key: Hashable) -> None:
        """Forget a value."""
        if key in self._near:
            self._near_bytes -= self._near.pop(key).nbytes
        if key in self._far:
            self._far_bytes -= self._far.pop(key).nbytes

    def release_device(self) -> None:
        """Take everything off the device because it ran out of memory, and keep half as much there from now on.

        With the whole budget it would soon run out again: a process held to 4 GB took 40 ms a slice of tiny at 1024 px
        instead of 7 (H200, 2026-11-28), most of it for running out, waiting and beginning again.
        """
        self._budget = replace(self._budget, device_bytes=max(self._near_bytes // 2, self._budget.device_bytes // 8))
        while self._near:
            self._demote()

    def clear(self) -> None:
        """Forget everything."""
        self._near.clear()
        self._far.clear()
        self._near_bytes = self._far_bytes = 0

    def _demote(self) -> None:
        key, value = self._near.popitem(last=False)
        self._near_bytes -= value.nbytes
        if value.nbytes > self._budget.host_bytes or self._device.type == "cpu":
            return
        self._far[key] = value.to("cpu", non_blocking=self._asynchronous)
        self._far_bytes += value.nbytes
        while self._far_bytes > self._budget.host_bytes:
            self._far_bytes -= self._far.popitem(last=False)[1].nbytes
