"""Finds the slices of a segment that the user has edited with other effects, so that they count as checked.

The editor tells that a segment was modified, not where. So after our own writing each slice gets a checksum, and when
the effect is active again the checksums are compared. Both go slice by slice in the pauses of the event loop.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from .controller_state import ObjectKey
from .slice_sums import checksum_of

TURN_SECONDS = 0.01
PAUSE_MS = 15


class EditWatch:
    """Checksums of the slices of each segment, along the axis of its prompts."""

    def __init__(self, controller) -> None:
        self._controller = controller
        self._known: dict[ObjectKey, tuple[int, dict[int, int]]] = {}
        self._pass: Iterator[None] | None = None
        self._scheduled = False

    def invalidate(self, key: ObjectKey) -> None:
        """We write into the segment ourselves."""
        self._known.pop(key, None)
        self._pass = None

    def remember(self, key: ObjectKey) -> None:
        """What stands in the segment now is not an edit of the user's."""
        axis = self._controller.review_axis(key)
        if axis is not None:
            self._known[key] = (axis, {})
            self._begin(self._remember(key, axis))

    def compare(self, key: ObjectKey) -> None:
        """Mark the slices that were edited since `remember`."""
        axis, before = self._known.get(key, (None, {}))
        if before:
            self._begin(self._compare(key, axis, dict(before)))

    def stop(self) -> None:
        """The effect is left; checksums that are there are kept for the next time."""
        self._pass = None

    def forget(self, segmentation_id: str | None) -> None:
        """Drop what belongs to a segmentation, or everything."""
        self._pass = None
        for key in tuple(self._known):
            if segmentation_id is None or key.segmentation_id == segmentation_id:
                del self._known[key]

    def _remember(self, key: ObjectKey, axis: int) -> Iterator[None]:
        sums, ours = self._known[key][1], {}
        for index, checksum in self._controller.slice_checksums(key, axis, checksum_of):
            sums[index] = checksum
            if self._controller.is_ours(key, axis, index, checksum):
                ours[index] = checksum
            yield
        self._controller.store_slice_sums(key, axis, ours)

    def _compare(self, key: ObjectKey, axis: int, before: dict[int, int]) -> Iterator[None]:
        now: dict[int, int] = {}
        for index, checksum in self._controller.slice_checksums(key, axis, checksum_of):
            now[index] = checksum
            yield
        self._known[key] = (axis, now)
        self._controller.mark_edited(key, {i for i, checksum in now.items() if before.get(i, checksum) != checksum})

    def _begin(self, steps: Iterator[None]) -> None:
        self._pass = steps
        if not self._scheduled:
            self._scheduled = True
            self._controller.scheduler.call_later(PAUSE_MS, self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        steps, end = self._pass, time.perf_counter() + TURN_SECONDS
        while steps is not None and time.perf_counter() < end:
            try:
                next(steps)
            except StopIteration:
                if self._pass is steps:
                    self._pass = None
                return
        if self._pass is not None and not self._scheduled:
            self._scheduled = True
            self._controller.scheduler.call_later(PAUSE_MS, self._turn)
