"""A slice's mask in little memory: the foreground's bounding box, one bit a voxel.

600 slices of 512 x 512 as bool arrays are 157 MB an object, and undo keeps several of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Box = tuple[int, int, int, int]


def bounding_box(mask: np.ndarray) -> Box | None:
    """(r0, r1, c0, c1) of the foreground, so that `mask[r0:r1, c0:c1]` holds it all; None for an empty mask."""
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


@dataclass(frozen=True, eq=False)
class PackedMask:
    """A bool mask [rows, columns].

    Attributes:
        shape: rows and columns of the whole slice.
        box: see `bounding_box`.
        bits: `numpy.packbits` of the box's content.
        area: foreground voxels.
    """

    shape: tuple[int, int]
    box: Box | None
    bits: np.ndarray
    area: int

    @classmethod
    def of(cls, mask: np.ndarray) -> PackedMask:
        box = bounding_box(mask)
        shape = (mask.shape[0], mask.shape[1])
        if box is None:
            return cls(shape, None, np.zeros(0, np.uint8), 0)
        crop = mask[box[0] : box[1], box[2] : box[3]]
        return cls(shape, box, np.packbits(crop), int(crop.sum()))

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> PackedMask:
        return cls(shape, None, np.zeros(0, np.uint8), 0)

    def unpack(self) -> np.ndarray:
        """The whole mask, a new bool array."""
        mask = np.zeros(self.shape, bool)
        if self.box is not None:
            r0, r1, c0, c1 = self.box
            count = (r1 - r0) * (c1 - c0)
            mask[r0:r1, c0:c1] = np.unpackbits(self.bits, count=count).reshape(r1 - r0, c1 - c0).astype(bool)
        return mask

    def same_as(self, other: PackedMask) -> bool:
        """Whether both hold the same voxels."""
        return self.shape == other.shape and self.box == other.box and np.array_equal(self.bits, other.bits)

    def changed_box(self, before: PackedMask | None) -> Box | None:
        """Bounding box of the voxels that differ from an earlier mask (None: an empty one); None when none differ."""
        if before is None or before.box is None:
            return self.box
        if self.box is None:
            return before.box
        return None if self.same_as(before) else bounding_box(self.unpack() ^ before.unpack())

    @property
    def nbytes(self) -> int:
        return self.bits.nbytes
