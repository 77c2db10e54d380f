"""Which slices of a segment are the model's work, also when another session has written them.

The record of single voxels (`written_voxels`) ends with the session. What is kept with the scene are checksums of the
slices on which everything was the model's: a slice that still has its checksum is the model's work again.
"""

from __future__ import annotations

from typing import Any

from .segment_grid import Region, SegmentGrid
from .segment_voxels import read_voxels
from .slice_sums import checksum_of
from .written_voxels import WrittenVoxels


def recognize(written: WrittenVoxels, grid: SegmentGrid, node: Any, segment_id: str, axis: int, index: int) -> None:
    """A slice that another session wrote, and that no hand has changed since, counts as written by us from now on."""
    expected = written.take_remembered(axis, index)
    extent = grid.slice_extent(axis, index) if expected is not None else None
    if extent is None:
        return
    before = read_voxels(node, segment_id, grid, extent)
    if checksum_of(grid.sample_to_slice(axis, index, Region(extent, before))) == expected:
        claimed, ours = written.flags(extent)
        own = grid.slice_voxels(axis, index, extent) & before
        written.set_flags(None, extent, claimed | own, ours | own)


def is_ours(
    written: WrittenVoxels, grid: SegmentGrid, node: Any, segment_id: str, axis: int, index: int, checksum: int
) -> bool:
    """Whether all that stands on a slice is the model's, and something does. `checksum`: of the slice as it is now."""
    remembered = written.remembered
    if remembered is not None and remembered.axis == axis and index in remembered.values:
        return remembered.values[index] == checksum
    extent = grid.slice_extent(axis, index)
    if extent is None:
        return False
    ours = written.flags(extent)[1]
    if not ours.any():
        return False
    voxels = read_voxels(node, segment_id, grid, extent) & grid.slice_voxels(axis, index, extent)
    return bool(voxels.any() and not (voxels & ~ours).any())
