"""Keeps the 3D surface of a segment from being made again for every slice that is written.

Where a segment has a closed surface (Show 3D), the editor's logic makes it anew within each write: 0.3 s for an organ
of 180 x 180 x 50 voxels, a hundred times what the write itself takes, and the window stands still. So the surface is
taken out of the segment for most of the writes and put back as it was; it is made again now and then, so that it is
seen to grow, and when the action ends.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import slicer

# A surface rests at least this long, and so many times as long as it takes to make it.
SHORTEST_REST_S = 1.0
REST_FOR_EACH_SECOND = 5.0


class SurfacePace:
    """One for each writer. `clock`: seconds, as time.monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due = 0.0
        self._stale: set[tuple[str, str]] = set()  # (ID of the segmentation node, segment ID)

    @contextlib.contextmanager
    def write(self, node: Any, segment_id: str, overwritten: Callable[[], Iterable[str]]) -> Iterator[None]:
        """Around a write into a segment: the views hear of it once, however many calls it takes. `overwritten` gives
        the other segments that lose voxels; it is asked only when their surfaces do not follow by themselves.
        """
        was_modifying = node.StartModify()
        try:
            with self._resting(node, segment_id, overwritten):
                yield
        finally:
            node.EndModify(was_modifying)

    @contextlib.contextmanager
    def _resting(self, node: Any, segment_id: str, overwritten: Callable[[], Iterable[str]]) -> Iterator[None]:
        segment = node.GetSegmentation().GetSegment(segment_id)
        surface = segment.GetRepresentation(_name())
        begin = self._clock()
        if surface is None or begin >= self._due:
            yield
            if surface is not None:
                self._rest_after(begin)
                self._stale.discard((node.GetID(), segment_id))
            return
        self._stale.update((node.GetID(), other) for other in (segment_id, *overwritten()))
        segment.RemoveRepresentation(_name())
        try:
            yield
        finally:
            segment.AddRepresentation(_name(), surface)

    def finish(self) -> None:
        """Make the surfaces that are not up to date; those whose segment is gone are forgotten."""
        stale, self._stale = self._stale, set()
        for node_id in {node_id for node_id, _segment_id in stale}:
            node = slicer.mrmlScene.GetNodeByID(node_id)
            if node is not None:
                _convert(node, [other for one, other in sorted(stale) if one == node_id])

    def forget(self) -> None:
        """The surfaces are right, by another hand."""
        self._stale.clear()

    def _rest_after(self, begin: float) -> None:
        now = self._clock()
        self._due = now + max(SHORTEST_REST_S, REST_FOR_EACH_SECOND * (now - begin))


def _name() -> str:
    return slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()


def _convert(node: Any, segment_ids: list[str]) -> None:
    """Make the surfaces of these segments anew. Slicer's Python offers this for segments that have none."""
    segmentation = node.GetSegmentation()
    segments = [segmentation.GetSegment(segment_id) for segment_id in segment_ids]
    present = [segment for segment in segments if segment is not None and segment.GetRepresentation(_name())]
    if not present:
        return
    was_modifying = node.StartModify()
    try:
        for segment in present:
            segment.RemoveRepresentation(_name())
        segmentation.CreateRepresentation(_name())
    finally:
        node.EndModify(was_modifying)
