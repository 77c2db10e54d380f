"""Time and memory of a step on a device."""

from __future__ import annotations

import contextlib
import gc
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch


def seconds_of(step: Callable[[], object], device: torch.device) -> float:
    """Wall-clock seconds of one run, until the device has finished."""
    wait_for(device)
    started = time.perf_counter()
    step()
    wait_for(device)
    return time.perf_counter() - started


def wait_for(device: torch.device) -> None:
    """Until everything that was given to the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def median(values: Sequence[float]) -> float:
    return float(statistics.median(values))


class MemoryWatch:
    """The most memory that was in use since it was made: on the device, and resident in this process."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        _forget_host_peak()

    @property
    def device_bytes(self) -> int | None:
        """As torch's allocator counts it; None where it does not count."""
        return torch.cuda.max_memory_allocated(self._device) if self._device.type == "cuda" else None

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
