"""Answers of the worker on their way into the segment, in portions that leave the window free.

A write through the editor logic takes 10-56 ms at 512 x 512 x 300, more when a 3D surface is shown. The queue writes
for a few milliseconds, then gives the event loop at least as long, and keeps only the latest answer for a slice.

After each turn Slicer draws all views and the panel, on a CPU 60 ms of processor time that the engine lacks: where the
engine is slow, slices of a long job wait for each other.

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

from .controller_state import Job, JobKind

# One turn ends with the write that passes this: with one of 35 ms the limit of 50 ms still holds.
TURN_SECONDS = 0.012
SHORTEST_PAUSE_MS = 5
LONGEST_PAUSE_MS = 400
# A slice of a long job waits for up to so many others, or so long since the last turn. Box to the liver of the bundled
# CT, 29 slices on two cores by software rendering (2026-11-29): 10.9 s, and 9.5 s in plain Python, without waiting.
REST_SLICES = 4
REST_SECONDS = 0.8


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

    def __init__(self, scheduler, work: Callable[[JobEnd], None], turned: Callable[[], None] = lambda: None) -> None:
        """`turned` is called at the end of each turn."""
        self._scheduler = scheduler
        self._work = work
        self._turned = turned
        self._pending: OrderedDict[tuple, JobEnd] = OrderedDict()
        self._due: float | None = None  # when the next turn comes, time.monotonic; None: none is wanted
        self._ended = -REST_SECONDS  # when the last one ended

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
        self._schedule(self._rest_ms(item))

    def _rest_ms(self, item: JobEnd) -> int:
        long = isinstance(item, SliceWrite) and item.job.kind in (JobKind.PROPAGATE, JobKind.REFINE)
        if not long or len(self._pending) >= REST_SLICES:
            return 0
        return max(0, round(1000 * (self._ended + REST_SECONDS - time.monotonic())))

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
        due = time.monotonic() + milliseconds / 1000
        if self._due is None or due < self._due:
            self._due = due
            self._scheduler.call_later(milliseconds, lambda: self._turn(due))

    def _turn(self, due: float) -> None:
        if due != self._due:
            return  # it has come earlier
        self._due = None
        if not self._pending:
            return  # dropped meanwhile, or written by `flush`
        begin = time.perf_counter()
        while self._pending:
            self._work(self._pending.popitem(last=False)[1])
            if time.perf_counter() - begin >= TURN_SECONDS:
                break
        self._turned()
        self._ended = time.monotonic()
        if self._pending:
            spent = int(1000 * (time.perf_counter() - begin))
            self._schedule(min(LONGEST_PAUSE_MS, max(SHORTEST_PAUSE_MS, spent)))
