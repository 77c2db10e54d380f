"""Answers of the worker on their way into the segment, in portions that leave the window free.

A write through the editor logic takes 10-56 ms at 512 x 512 x 300, more when a 3D surface is shown. The queue writes
for a few milliseconds, then gives the event loop at least as long, and keeps only the latest answer for a slice.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# One turn: a single slow write may pass it, so that the limit of 50 ms holds with room for the redraw.
TURN_SECONDS = 0.02
SHORTEST_PAUSE_MS = 5
LONGEST_PAUSE_MS = 400


@dataclass(frozen=True)
class SliceWrite:
    """A mask (bool, array orientation) for one slice."""

    axis: int
    index: int
    mask: np.ndarray


class WriteQueue:
    """Writes slices one after the other; `write` is called on the main thread for each."""

    def __init__(self, scheduler, write: Callable[[SliceWrite], None], drained: Callable[[], None]) -> None:
        self._scheduler = scheduler
        self._write = write
        self._drained = drained
        self._pending: OrderedDict[tuple[int, int], SliceWrite] = OrderedDict()
        self._scheduled = False

    @property
    def empty(self) -> bool:
        return not self._pending

    def push(self, item: SliceWrite) -> None:
        self._pending[(item.axis, item.index)] = item
        self._schedule(0)

    def clear(self) -> None:
        """Forget what is not written yet."""
        self._pending.clear()

    def flush(self) -> None:
        """Write everything now; for the moments when waiting is not possible (the effect is left)."""
        while self._pending:
            self._write(self._pending.popitem(last=False)[1])

    def _schedule(self, milliseconds: int) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._scheduler.call_later(milliseconds, self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        begin = time.perf_counter()
        while self._pending and time.perf_counter() - begin < TURN_SECONDS:
            self._write(self._pending.popitem(last=False)[1])
        if self._pending:
            spent = int(1000 * (time.perf_counter() - begin))
            self._schedule(min(LONGEST_PAUSE_MS, max(SHORTEST_PAUSE_MS, spent)))
        else:
            self._drained()
