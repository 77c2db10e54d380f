"""Time and memory of a step on a device."""

from __future__ import annotations

import contextlib
import gc
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Seconds:
    """What a step took: by the wall clock, and of all processor cores together. On a machine that does other work the
    second is the one to compare.
    """

    wall: float
    processor: float


def seconds_of(step: Callable[[], object], device: torch.device) -> Seconds:
    """One run, until the device has finished."""
    wait_for(device)
    wall, processor = time.perf_counter(), time.process_time()
    step()
    wait_for(device)
    return Seconds(time.perf_counter() - wall, time.process_time() - processor)


def wait_for(device: torch.device) -> None:
    """Until everything that was given to the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def median(values: Sequence[Seconds]) -> Seconds:
    """Of each kind on its own."""
    return Seconds(statistics.median(v.wall for v in values), statistics.median(v.processor for v in values))


class MemoryWatch:
    """The most memory that was in use since it was made: on the device, and resident in this process."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = 0
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
            self._before = torch.cuda.memory_allocated(device)
        _forget_host_peak()

    @property
    def device_bytes(self) -> int | None:
        """As torch's allocator counts it; None where it does not count."""
        return torch.cuda.max_memory_allocated(self._device) if self._device.type == "cuda" else None

    @property
    def device_growth(self) -> int | None:
        """`device_bytes` without what was in use before."""
        return None if self.device_bytes is None else self.device_bytes - self._before

    @property
    def host_bytes(self) -> int:
        """Peak resident set; of the whole life of the process where the system cannot count anew."""
        for line in _status_lines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _forget_host_peak() -> None:
    # Linux; on another system, or where it is not allowed, `host_bytes` is the whole process's.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", "ascii")


def _status_lines() -> list[str]:
    try:
        return Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        return []
