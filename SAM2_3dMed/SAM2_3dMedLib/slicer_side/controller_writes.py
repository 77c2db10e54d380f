"""Answers of the worker on their way into the segment, in portions that leave the window free.

A write through the editor logic takes 10-56 ms at 512 x 512 x 300, more when a 3D surface is shown. The queue writes
for a few milliseconds, then gives the event loop at least as long, and keeps only the latest answer for a slice.

Everything in the queue names the job it belongs to and the writer of the editor it was made in, so that it can be
written in the same small portions after the effect was left, or after the engine ended: nothing is lost, nothing waits.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .controller_state import Job

# One turn ends with the write that passes this: with one of 35 ms the limit of 50 ms still holds.
TURN_SECONDS = 0.012
SHORTEST_PAUSE_MS = 5
LONGEST_PAUSE_MS = 400


@dataclass(frozen=True)
class JobEnd:
    """Everything of the job stands before this in the queue. `node`: the segmentation; `writer`: of its editor."""

    job: Job
    node: Any
    writer: Any

    @property
    def place(self) -> tuple:
        return (self.job, "end")


@dataclass(frozen=True)
class SliceWrite(JobEnd):
    """A mask (bool, array orientation) for one slice."""

    axis: int
    index: int
    mask: np.ndarray

    @property
    def place(self) -> tuple:
        return (self.job.action, self.axis, self.index)


class WriteQueue:
    """Hands one item after the other to `work`, on the main thread."""

    def __init__(self, scheduler, work: Callable[[JobEnd], None]) -> None:
        self._scheduler = scheduler
        self._work = work
        self._pending: OrderedDict[tuple, JobEnd] = OrderedDict()
        self._scheduled = False

    @property
    def empty(self) -> bool:
        return not self._pending

    @property
    def jobs(self) -> list[Job]:
        """The jobs of what is not written yet, in order."""
        return list(dict.fromkeys(item.job for item in self._pending.values()))

    def push(self, item: JobEnd) -> None:
        """Add an item; a slice that waits already keeps its place and gets the new mask."""
        self._pending[item.place] = item
        self._schedule(0)

    def drop(self, unwanted: Callable[[Job], bool]) -> None:
        """Forget what is not written yet of these jobs."""
        for place, item in tuple(self._pending.items()):
            if unwanted(item.job):
                del self._pending[place]

    def clear(self) -> None:
        """Forget what is not written yet."""
        self._pending.clear()

    def flush(self) -> None:
        """Write everything now; for the end of the application and of an editor, when there is no later."""
        while self._pending:
            self._work(self._pending.popitem(last=False)[1])

    def _schedule(self, milliseconds: int) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._scheduler.call_later(milliseconds, self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        begin = time.perf_counter()
        while self._pending:
            self._work(self._pending.popitem(last=False)[1])
            if time.perf_counter() - begin >= TURN_SECONDS:
                break
        if self._pending:
            spent = int(1000 * (time.perf_counter() - begin))
            self._schedule(min(LONGEST_PAUSE_MS, max(SHORTEST_PAUSE_MS, spent)))
