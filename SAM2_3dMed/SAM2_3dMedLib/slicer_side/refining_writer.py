"""The segment writer of the effect: in a boundary refinement the whole outline is ours, also where a hand has painted.

Everywhere else the rule of `SegmentWriter` holds: answers never erase what the user painted. Refinement is asked for on
the segment as it stands, so there its answer replaces the slice.
"""

from __future__ import annotations

import numpy as np
import slicer

from .segment_grid import Region
from .segment_voxels import read_voxels
from .segment_writer import SegmentWriter


class RefiningWriter(SegmentWriter):
    """A SegmentWriter whose open action may replace slices: set `replacing` after `begin_action`."""

    def __init__(self, target) -> None:
        super().__init__(target)
        self.replacing = False

    def begin_action(self, segmentation_node, segment_id: str, source) -> None:
        self.replacing = False
        super().begin_action(segmentation_node, segment_id, source)

    def write_slice(self, axis: int, index: int, mask) -> bool:
        if self.replacing and self._action is not None:
            self._adopt(int(axis), int(index), np.asarray(mask, dtype=bool))
        return super().write_slice(axis, index, mask)

    def _adopt(self, axis: int, index: int, mask) -> None:
        """What stands on a slice that will change counts as written by us, so that the answer may erase it."""
        action = self._action
        node = slicer.mrmlScene.GetNodeByID(action.segmentation_id)
        extent = action.grid.slice_extent(axis, index)
        if node is None or node.GetSegmentation().GetSegment(action.segment_id) is None or extent is None:
            return  # `write_slice` says what is gone
        before = read_voxels(node, action.segment_id, action.grid, extent)
        if np.array_equal(action.grid.sample_to_slice(axis, index, Region(extent, before)), mask):
            return
        claimed, ours = action.written.flags(extent)
        own = action.grid.slice_voxels(axis, index, extent) & before
        # Recorded with the action, so that undo gives the voxels back to the hand that painted them.
        action.written.set_flags(self._record(action, node), extent, claimed | own, ours | own)
