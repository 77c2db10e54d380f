"""The Segment Editor's masking on the crop that is written, instead of on the whole grid for every write.

With an editable area or an intensity range, the editor's logic builds its mask over the whole segmentation for each
write: 130-210 ms at 512 x 512 x 300, and the window stands still that long. The mask of a crop is the same where it
counts. Voxels that it leaves are then written through a `vtkSlicerSegmentEditorLogic` of our own whose editor node has
the user's overwrite mode and no masks; the undo history stays that of the editor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from vtk.util import numpy_support

from .segment_grid import Extent, Region, SegmentGrid, oriented_image
from .volume_source import VolumeSource


class CropMasking:
    """What the masks of an editor node leave of a crop, and the way to write it with the overwrite mode only."""

    def __init__(self) -> None:
        self._node = slicer.vtkMRMLSegmentEditorNode()  # not in the scene: nothing observes it, nothing saves it
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._logic.SetSegmentEditorNode(self._node)

    @staticmethod
    def is_on(editor_node: Any) -> bool:
        """Whether the editor masks anything at all."""
        everywhere = slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere
        return editor_node.GetMaskMode() != everywhere or bool(editor_node.GetSourceVolumeIntensityMask())

    def editable(
        self,
        editor_node: Any,
        segmentation_node: Any,
        segment_id: str,
        grid: SegmentGrid,
        extent: Extent,
        source: VolumeSource,
    ) -> NDArray[np.bool_] | None:
        """Where the editor would let a voxel of the segment be changed, bool [K, J, I]; None: only the editor itself
        can tell (an intensity range over a volume of another grid or another one than `source`).
        """
        shape = (extent[5] - extent[4] + 1, extent[3] - extent[2] + 1, extent[1] - extent[0] + 1)
        allowed = np.ones(shape, dtype=bool)
        if editor_node.GetMaskMode() != slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere:
            reference = oriented_image(grid, Region(extent, np.zeros(shape, dtype=bool)))
            mask = slicer.vtkOrientedImageData()
            segment_ids = segment_id, editor_node.GetMaskSegmentID() or ""
            if not segmentation_node.GenerateEditMask(mask, editor_node.GetMaskMode(), reference, *segment_ids):
                return None
            if tuple(mask.GetExtent()) != tuple(extent):
                return None
            forbidden = numpy_support.vtk_to_numpy(mask.GetPointData().GetScalars()).reshape(shape)
            allowed &= forbidden == 0
        if editor_node.GetSourceVolumeIntensityMask():
            values = _values(editor_node, grid, extent, source)
            if values is None:
                return None
            low, high = editor_node.GetSourceVolumeIntensityMaskRange()
            if values.dtype.kind in "iu":  # vtkImageThreshold, which the editor uses, cuts the limits to whole numbers
                low, high = np.trunc(low), np.trunc(high)
            allowed &= (values >= low) & (values <= high)
        return allowed

    def add_to(self, editor_node: Any) -> Callable[[Any, str, Any], None]:
        """The function (segmentation node, segment ID, label map) that adds voxels known to be editable."""
        return self._modify(editor_node, self._logic.ModificationModeAdd)

    def remove_from(self, editor_node: Any) -> Callable[[Any, str, Any], None]:
        """The function that removes voxels known to be editable."""
        return self._modify(editor_node, self._logic.ModificationModeRemove)

    def _modify(self, editor_node: Any, mode: int) -> Callable[[Any, str, Any], None]:
        def modify(segmentation_node: Any, segment_id: str, labelmap: Any) -> None:
            self._node.SetOverwriteMode(editor_node.GetOverwriteMode())
            # The last two: not a per-segment effect; masking is not bypassed, which would switch off overwriting, too.
            extent = labelmap.GetExtent()
            self._logic.ModifySegmentByLabelmap(segmentation_node, segment_id, labelmap, mode, extent, False, False)

        return modify


def erasing_gives_back(editor_node: Any) -> bool:
    """Inside one segment the editor gives erased voxels back to that segment, and erases also outside of it: this is
    left to the editor.
    """
    return editor_node.GetMaskMode() == slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment


def _values(editor_node: Any, grid: SegmentGrid, extent: Extent, source: VolumeSource) -> NDArray | None:
    """The source volume's intensities in an extent of the grid, None when they are not voxel for voxel the same."""
    node = source.node
    if grid.offset is None or node is None or editor_node.GetSourceVolumeNode() is not node:
        return None
    low = [extent[2 * axis] + grid.offset[axis] for axis in range(3)]
    high = [extent[2 * axis + 1] + grid.offset[axis] for axis in range(3)]
    if min(low) < 0 or any(value >= size for value, size in zip(high, source.shape_ijk, strict=True)):
        return None
    return source.array[low[2] : high[2] + 1, low[1] : high[1] + 1, low[0] : high[0] + 1]
