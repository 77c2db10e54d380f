"""What the model's answers put into one segment, in step with the editor's undo and redo.

For each voxel of the segmentation's grid: `claimed` (the model's last answer holds it and it was written) and
`ours` (it was not in the segment before: only these may be erased again). The editor restores a segment's tags on
undo and redo, so a tag with the name of the last action tells at which action the segment stands; the record of
each action says how to go back and forth.
"""

from __future__ import annotations

import uuid
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import vtk
from numpy.typing import NDArray

from .segment_grid import Extent, Region, SegmentGrid
from .slice_sums import SliceSums

TAG = "SAM2_3dMed.Written"
# The editor keeps 10 states unless the user raises it.
_MAXIMUM_ACTIONS = 50


@dataclass(frozen=True)
class _Change:
    """The flags of an extent before and after, packed."""

    extent: Extent
    before: bytes
    after: bytes


@dataclass
class WrittenAction:
    """One action: its name in the segment's tag and the changes of flags in order."""

    step: str
    changes: list[_Change] = field(default_factory=list)


class WrittenVoxels:
    """Flags on one grid; `signature` names the grid, so that another one starts afresh."""

    def __init__(self, signature: str, grid: SegmentGrid, step: str) -> None:
        self.signature = signature
        self._origin = np.array(grid.extent[0::2])
        # np.zeros: memory is only taken where something is written.
        self._claimed = np.zeros(grid.shape_kji, dtype=bool)
        self._ours = np.zeros(grid.shape_kji, dtype=bool)
        self._base = step
        self._actions: list[WrittenAction] = []
        self._position = 0
        self.remembered: SliceSums | None = None  # of slices that another session wrote, until they are looked at
        self.low = np.array(grid.extent[1::2])  # box of all claims, in the grid's IJK; low > high: none
        self.high = np.array(grid.extent[0::2]) - 1

    @property
    def has_claims(self) -> bool:
        return bool(np.all(self.low <= self.high))

    def claims_box(self, grid: SegmentGrid) -> NDArray[np.int64] | None:
        """Box [2, 3] (inclusive, volume IJK) that holds all claims; None without one."""
        if not self.has_claims:
            return None
        ends = np.stack([self.low, self.high]).astype(float)
        corners = np.array([[ends[a, 0], ends[b, 1], ends[c, 2]] for a in (0, 1) for b in (0, 1) for c in (0, 1)])
        ijk = corners @ grid.to_volume[:3, :3].T + grid.to_volume[:3, 3]
        box = np.stack([np.floor(ijk.min(axis=0) + 0.5), np.floor(ijk.max(axis=0) + 0.5)]).astype(np.int64)
        return np.clip(box, 0, np.asarray(grid.volume_shape) - 1)

    def flags(self, extent: Extent) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Views of `claimed` and `ours` in an extent."""
        part = self._part(extent)
        return self._claimed[part], self._ours[part]

    def follow(self, step: str) -> bool:
        """Goes to the action that the tag names (undo or redo happened); False when it is unknown."""
        names = [self._base, *(action.step for action in self._actions)]
        if step not in names:
            return False
        wanted = names.index(step)
        while self._position > wanted:
            self._position -= 1
            for change in reversed(self._actions[self._position].changes):
                self._restore(change.extent, change.before)
        while self._position < wanted:
            for change in self._actions[self._position].changes:
                self._restore(change.extent, change.after)
            self._position += 1
        return True

    def begin(self) -> WrittenAction:
        """A new action after the present one; what could have been redone is forgotten."""
        action = WrittenAction(uuid.uuid4().hex[:12])
        del self._actions[self._position :]
        self._actions.append(action)
        if len(self._actions) > _MAXIMUM_ACTIONS:
            self._base = self._actions.pop(0).step
        self._position = len(self._actions)
        return action

    def set_flags(
        self, action: WrittenAction | None, extent: Extent, claimed: NDArray[np.bool_], ours: NDArray[np.bool_]
    ) -> None:
        """New flags in an extent, recorded for undo where an action has changed voxels (None: it has not, there is
        nothing to undo).
        """
        part = self._part(extent)
        if action is not None:
            before = _pack(self._claimed[part], self._ours[part])
            action.changes.append(_Change(extent, before, _pack(claimed, ours)))
        self._claimed[part] = claimed
        self._ours[part] = ours
        if claimed.any():
            held = Region(extent, claimed).cropped().extent
            self.low = np.minimum(self.low, held[0::2])
            self.high = np.maximum(self.high, held[1::2])

    def take_remembered(self, axis: int, index: int) -> int | None:
        """The checksum that a slice had when another session had written it, once; None when it is not known."""
        if self.remembered is None or self.remembered.axis != axis:
            return None
        return self.remembered.values.pop(index, None)

    def _restore(self, extent: Extent, packed: bytes) -> None:
        part = self._part(extent)
        shape = self._claimed[part].shape
        bits = np.unpackbits(np.frombuffer(zlib.decompress(packed), dtype=np.uint8), count=2 * int(np.prod(shape)))
        self._claimed[part], self._ours[part] = bits.reshape(2, *shape).astype(bool)

    def _part(self, extent: Extent) -> tuple[slice, slice, slice]:
        i, j, k = self._origin
        return (
            slice(extent[4] - k, extent[5] - k + 1),
            slice(extent[2] - j, extent[3] - j + 1),
            slice(extent[0] - i, extent[1] - i + 1),
        )


def read_step(segment: Any) -> str:
    """The action that a segment stands at, "" before the first one."""
    value = vtk.reference("")
    return str(value) if segment.GetTag(TAG, value) else ""


def _pack(claimed: NDArray[np.bool_], ours: NDArray[np.bool_]) -> bytes:
    return zlib.compress(np.packbits(np.stack([claimed, ours])).tobytes(), 1)
