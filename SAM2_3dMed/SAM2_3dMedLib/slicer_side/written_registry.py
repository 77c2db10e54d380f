"""What the model has written into which segment, for all editors of the application, also after a scene was loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from .segment_grid import SegmentGrid, reference_geometry
from .slice_sums import SliceSums
from .written_voxels import WrittenVoxels, read_step

Remembered = Callable[[Any, str], SliceSums | None]


class WrittenRegistry:
    """One for the application: an editor goes on where another one stopped.

    `remembered` (segmentation node, segment ID) gives the checksums that the slices had after the model's last answer,
    from the scene, for segments that were written in another session.
    """

    def __init__(self, remembered: Remembered = lambda segmentation_node, segment_id: None) -> None:
        self._remembered = remembered
        self._written: dict[tuple[str, str], WrittenVoxels] = {}

    def of(self, segmentation_node: Any, segment_id: str, grid: SegmentGrid) -> WrittenVoxels:
        """The record of a segment, at the step the segment stands at; a new one where there is none."""
        known = self._written.get((segmentation_node.GetID(), segment_id))
        step = read_step(segmentation_node.GetSegmentation().GetSegment(segment_id))
        if known is not None and known.signature == reference_geometry(segmentation_node) and known.follow(step):
            return known
        made = self.start_over(segmentation_node, segment_id, grid)
        if step:  # the model has written into it: in another session, or so long ago that it was forgotten
            made.remembered = self._remembered(segmentation_node, segment_id)
        return made

    def start_over(self, segmentation_node: Any, segment_id: str, grid: SegmentGrid) -> WrittenVoxels:
        """A new record: all voxels of the segment are the user's."""
        step = read_step(segmentation_node.GetSegmentation().GetSegment(segment_id))
        made = WrittenVoxels(reference_geometry(segmentation_node), grid, step)
        self._written[(segmentation_node.GetID(), segment_id)] = made
        return made

    def forget(self, segmentation_node: Any, segment_id: str | None = None) -> None:
        """Drop a segment, or all of a segmentation."""
        for key in list(self._written):
            if key[0] == segmentation_node.GetID() and segment_id in (None, key[1]):
                del self._written[key]

    def forget_missing(self) -> None:
        """Drop what belongs to segments and segmentations that are no longer in the scene."""
        for key in list(self._written):
            node = slicer.mrmlScene.GetNodeByID(key[0])
            if node is None or node.GetSegmentation().GetSegment(key[1]) is None:
                del self._written[key]
