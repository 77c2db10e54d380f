"""Writes the model's masks into a segment, slice by slice, as an effect of the Segment Editor would.

The rule: the model's last answer on a slice wins over its earlier answers, never over the user's hand. Voxels are
added where the model newly says so; erased only where this writer added them; what the user erased inside the
object stays erased until none of our voxels is left. Only the crop that changes is handed to the editor (512 x 512
x 300: a few ms against 0.3-1.1 s for the whole array).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from .crop_masking import CropMasking, erasing_gives_back
from .segment_access import TargetGone, check_representation, segment_of
from .segment_grid import Extent, Region, SegmentGrid, WriteRefused, grid_of, oriented_image
from .segment_targets import SegmentTarget
from .segment_voxels import read_voxels
from .slice_recognition import is_ours, recognize
from .surface_pace import SurfacePace
from .volume_source import VolumeSource
from .written_registry import WrittenRegistry
from .written_voxels import TAG, WrittenAction, WrittenVoxels, read_step

__all__ = ["ActionSummary", "SegmentWriter", "TargetGone", "WriteMode", "WriteRefused"]


class WriteMode(Enum):
    """ADD: the rule above. REPLACE: what stands on a written slice is replaced, also what a hand has painted (boundary
    refinement, which is asked for on the segment as it stands).
    """

    ADD = auto()
    REPLACE = auto()


@dataclass(frozen=True)
class ActionSummary:
    """What an action did: slices that changed, voxels added and erased."""

    slices: int = 0
    added: int = 0
    erased: int = 0


@dataclass
class _Action:
    segmentation_id: str
    segment_id: str
    grid: SegmentGrid
    source: VolumeSource
    written: WrittenVoxels
    mode: WriteMode
    record: WrittenAction | None = None  # made, with the state for undo, before the first voxel changes
    slices: int = 0
    added: int = 0
    erased: int = 0


class SegmentWriter:
    """One for each editor. An action (`begin_action` ... `end_action`) is one undo step, however many slices it
    writes.
    """

    def __init__(self, target: SegmentTarget, registry: WrittenRegistry | None = None) -> None:
        """`registry`: what the editors of the application have written; one of its own where there is one editor."""
        self._target = target
        self._registry = registry if registry is not None else WrittenRegistry()
        self._masking = CropMasking()
        self._surfaces = SurfacePace()
        self._action: _Action | None = None
        self._saved = ""  # address of the segmentation whose state was saved last

    @property
    def in_action(self) -> bool:
        return self._action is not None

    @property
    def overtaken(self) -> bool:
        """True when the segment no longer stands at the action that is open: the user has undone it."""
        if (action := self._action) is None or action.record is None:
            return False
        node = slicer.mrmlScene.GetNodeByID(action.segmentation_id)
        return read_step(segment_of(node, action.segment_id)) != action.record.step

    def mark_step(self) -> None:
        """Make the open action an undo step although no voxel changed: a prompt that the model answers with nothing
        new is an action of the user's, too. ValueError without an action, TargetGone as `write_slice`.
        """
        if self._action is None:
            raise ValueError("mark_step needs begin_action")
        node = slicer.mrmlScene.GetNodeByID(self._action.segmentation_id)
        segment_of(node, self._action.segment_id)
        self._record(self._action, node)

    def begin_action(
        self, segmentation_node: Any, segment_id: str, source: VolumeSource, mode: WriteMode = WriteMode.ADD
    ) -> None:
        """An action that was open is ended first. TargetGone, WriteRefused, VolumeSourceError with one sentence
        each.
        """
        self.end_action()
        segment_of(segmentation_node, segment_id)
        check_representation(segmentation_node)
        grid = grid_of(segmentation_node, source)
        written = self._registry.of(segmentation_node, segment_id, grid)
        if self._is_cleared(segmentation_node, segment_id, grid, written):
            written = self._registry.start_over(segmentation_node, segment_id, grid)
        self._action = _Action(segmentation_node.GetID(), segment_id, grid, source, written, mode)

    def write_slice(self, axis: int, index: int, mask: NDArray[np.bool_]) -> bool:
        """Makes `mask` (bool, array orientation) the model's answer on a slice; True when voxels of the segment
        changed.

        TargetGone when segment or segmentation were deleted meanwhile; ValueError for a mask of another shape or
        without an action.
        """
        action = self._action
        if action is None:
            raise ValueError("write_slice needs begin_action")
        node = slicer.mrmlScene.GetNodeByID(action.segmentation_id)
        segment_of(node, action.segment_id)
        axis, mask = int(axis), np.asarray(mask, dtype=bool)
        if mask.shape != tuple(np.delete(np.asarray(action.grid.volume_shape[::-1]), 2 - axis)):
            raise ValueError(f"a mask of shape {mask.shape} does not fit slice {index} along axis {axis}")
        recognize(action.written, action.grid, node, action.segment_id, axis, int(index))
        if action.mode is WriteMode.REPLACE:
            self._adopt(action, node, axis, int(index), mask)
        box = _touched_box(action, axis, int(index), mask)
        region = action.grid.lay_slice(axis, int(index), mask, box) if box is not None else None
        if region is None:
            return False
        return self._write_region(action, node, axis, int(index), region)

    def _write_region(self, action: _Action, node: Any, axis: int, index: int, region: Region) -> bool:
        claimed, ours = action.written.flags(region.extent)
        before = read_voxels(node, action.segment_id, action.grid, region.extent)
        ours = ours & before
        own_slice = action.grid.slice_voxels(axis, index, region.extent)
        add = region.values & ~claimed & ~before
        erase = ours & ~region.values & own_slice
        after, record = before, action.record
        changes = self._changes(action, node, region.extent, add, erase)
        if changes:
            record = self._record(action, node)
            overwritten = functools.partial(_overwritten, action, node, region.extent, add)
            with self._surfaces.write(node, action.segment_id, overwritten):
                for change, voxels in changes:
                    part = Region(region.extent, voxels).cropped()
                    change(node, action.segment_id, oriented_image(action.grid, part))
            after = read_voxels(node, action.segment_id, action.grid, region.extent)
        # A voxel that masking kept out is not claimed, so that it is tried again; one that the user erased stays
        # claimed, so that it is not.
        new_claimed = np.where(own_slice, region.values & (after | claimed), claimed)
        action.written.set_flags(record, region.extent, new_claimed, (ours | add) & after)
        added, erased = int((after & ~before).sum()), int((before & ~after).sum())
        action.added += added
        action.erased += erased
        action.slices += 1 if added or erased else 0
        return bool(added or erased)

    def _changes(
        self, action: _Action, node: Any, extent: Extent, add: NDArray[np.bool_], erase: NDArray[np.bool_]
    ) -> list[tuple[Callable[[Any, str, Any], None], NDArray[np.bool_]]]:
        """What has to be called with which voxels; under the editor's masks only with those that they leave."""
        wanted = [(self._target.add, add), (self._target.remove, erase)]
        editor = self._target.editor_node
        if (add.any() or erase.any()) and self._masking.is_on(editor):
            allowed = self._masking.editable(editor, node, action.segment_id, action.grid, extent, action.source)
            if allowed is not None:
                wanted[0] = (self._masking.add_to(editor), add & allowed)
                if not erasing_gives_back(editor):
                    wanted[1] = (self._masking.remove_from(editor), erase & allowed)
        return [(change, voxels) for change, voxels in wanted if voxels.any()]

    def _adopt(self, action: _Action, node: Any, axis: int, index: int, mask: NDArray[np.bool_]) -> None:
        """What stands on a slice that will change counts as written by us, so that the answer may erase it."""
        extent = action.grid.slice_extent(axis, index)
        if extent is None:
            return
        before = read_voxels(node, action.segment_id, action.grid, extent)
        if np.array_equal(action.grid.sample_to_slice(axis, index, Region(extent, before)), mask):
            return
        claimed, ours = action.written.flags(extent)
        own = action.grid.slice_voxels(axis, index, extent) & before
        # Recorded with the action, so that undo gives the voxels back to the hand that painted them.
        action.written.set_flags(self._record(action, node), extent, claimed | own, ours | own)

    def end_action(self) -> ActionSummary:
        """Ends the action, if one is open; safe at any time, also when the segment is gone."""
        try:
            undone = self.overtaken  # then the editor has brought back the surfaces of that time, and offers redo
        except TargetGone:
            undone = False
        action, self._action = self._action, None
        if undone:
            self._surfaces.forget()
        else:
            self._surfaces.finish()
        return ActionSummary(action.slices, action.added, action.erased) if action is not None else ActionSummary()

    def forget(self, segmentation_node: Any, segment_id: str | None = None) -> None:
        """All voxels so far become the user's: later answers erase none of them. Also when a segment was deleted."""
        self._registry.forget(segmentation_node, segment_id)

    accept = forget

    def forget_missing(self) -> None:
        """Drops what belongs to segments and segmentations that are no longer in the scene."""
        self._registry.forget_missing()

    def is_ours(self, node: Any, segment_id: str, source: VolumeSource, axis: int, index: int, checksum: int) -> bool:
        """Whether all that stands on a slice is the model's; `checksum`: of the slice as it is now."""
        segment_of(node, segment_id)
        grid = grid_of(node, source)
        return is_ours(self._registry.of(node, segment_id, grid), grid, node, segment_id, axis, index, checksum)

    def slice_mask(
        self, segmentation_node: Any, segment_id: str, source: VolumeSource, axis: int, index: int
    ) -> NDArray[np.bool_]:
        """What stands in the segment now on a slice of the source volume, bool in array orientation."""
        segment_of(segmentation_node, segment_id)
        grid = grid_of(segmentation_node, source)
        extent = grid.slice_extent(int(axis), int(index))
        if extent is None:
            return np.zeros(tuple(np.delete(np.asarray(source.array.shape), 2 - int(axis))), dtype=bool)
        region = Region(extent, read_voxels(segmentation_node, segment_id, grid, extent))
        return grid.sample_to_slice(int(axis), int(index), region)

    def slice_steps(
        self, segmentation_node: Any, segment_id: str, source: VolumeSource, axis: int
    ) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """(index, mask) of each slice along an axis, one a step of some ms: a large segment takes longer in all than
        the window may stand still.
        """
        for index in range(source.shape_ijk[int(axis)]):
            yield index, self.slice_mask(segmentation_node, segment_id, source, axis, index)

    def _record(self, action: _Action, node: Any) -> WrittenAction:
        """The state for undo, and the name of this action in the segment's tag: once for each action, before the
        first change.
        """
        if action.record is None:
            self._save_state(node)
            action.record = action.written.begin()
            node.GetSegmentation().GetSegment(action.segment_id).SetTag(TAG, action.record.step)
        return action.record

    def _save_state(self, node: Any) -> None:
        """Slicer's editor learns of another segmentation when its own node says that it changed, and of another content
        when the segmentation's node does. A scene that is loaded tells neither: the history would go on with what was
        before, and undo do nothing (5.13).
        """
        address = node.GetSegmentation().GetAddressAsString("vtkSegmentation")
        if address != self._saved:
            self._saved = address
            self._target.editor_node.Modified()
            node.Modified()
        self._target.save_state()

    @staticmethod
    def _is_cleared(node: Any, segment_id: str, grid: SegmentGrid, written: WrittenVoxels) -> bool:
        """Whether we wrote voxels and none of them is left: the user starts over, so nothing counts as erased by
        hand.
        """
        if not written.has_claims:
            return False
        for k in range(int(written.low[2]), int(written.high[2]) + 1):
            extent = (written.low[0], written.high[0], written.low[1], written.high[1], k, k)
            extent = tuple(int(value) for value in extent)
            claimed = written.flags(extent)[0]
            if claimed.any() and (claimed & read_voxels(node, segment_id, grid, extent)).any():
                return False
        return True


def _overwritten(action: _Action, node: Any, extent: Extent, add: NDArray[np.bool_]) -> list[str]:
    """The other segments that stand where voxels are added."""
    others = [other for other in node.GetSegmentation().GetSegmentIDs() if other != action.segment_id]
    return [other for other in others if (read_voxels(node, other, action.grid, extent) & add).any()]


def _touched_box(action: _Action, axis: int, index: int, mask: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    """Volume IJK box [2, 3] of the slice that holds the mask and all that the model claimed there before; None:
    nothing to do.
    """
    boxes = []
    if mask.any():
        others = [other for other in (2, 1, 0) if other != axis]
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = np.full((2, 3), index)
        box[:, others[0]] = rows[0], rows[-1]
        box[:, others[1]] = columns[0], columns[-1]
        boxes.append(box)
    box = action.written.claims_box(action.grid)
    if box is not None and box[0, axis] <= index <= box[1, axis]:
        box[:, axis] = index
        boxes.append(box)
    if not boxes:
        return None
    return np.stack([np.min([box[0] for box in boxes], axis=0), np.max([box[1] for box in boxes], axis=0)])
