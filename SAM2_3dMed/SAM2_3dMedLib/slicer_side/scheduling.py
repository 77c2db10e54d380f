"""Calls later, on the main thread: Qt's timer inside Slicer, a loop of its own where there is no Qt."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable
from typing import Any, Protocol


class Scheduler(Protocol):
    def call_later(self, milliseconds: int, callback: Callable[[], None]) -> None:
        """Calls `callback` once, on the main thread, after at least `milliseconds`."""


class QtScheduler:
    """QTimer of the application. `qt` is Slicer's module; tests pass PySide6's QtCore."""

    def __init__(self, qt: Any = None) -> None:
        if qt is None:
            import qt
        self._qt = qt

    def call_later(self, milliseconds: int, callback: Callable[[], None]) -> None:
        self._qt.QTimer.singleShot(int(milliseconds), callback)


class ManualScheduler:
    """For the command line and tests: `run` is the event loop."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def call_later(self, milliseconds: int, callback: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (time.monotonic() + milliseconds / 1000, next(self._numbers), callback))

    def run(self, until: Callable[[], bool], timeout_s: float) -> bool:
        """Runs what is due until `until()` holds; False when `timeout_s` passed before."""
        limit = time.monotonic() + timeout_s
        while not until():
            now = time.monotonic()
            if now > limit:
                return False
            if self._heap and self._heap[0][0] <= now:
                heapq.heappop(self._heap)[2]()
            else:
                time.sleep(0.002)
        return True
