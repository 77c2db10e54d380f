"""What a session reports of a slice."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..volume.planes import SliceAxis
from .packed_mask import Box, PackedMask
from .state import SliceResult


@dataclass(frozen=True, eq=False)
class SliceUpdate:
    """One slice of one object, as it is now.

    Attributes:
        object_id: whose.
        axis: the slice's axis.
        index: the slice along it.
        mask: bool [rows, columns] in array orientation, the whole slice.
        box: (r0, r1, c0, c1) of the voxels that changed, `mask[r0:r1, c0:c1]`; None when none did.
        score: predicted IoU, 0..1.
        object_score: logit; above 0 the object is on the slice.
        done, total: slices finished and in all; 0 and 0 outside a propagation.
    """

    object_id: str
    axis: SliceAxis
    index: int
    mask: np.ndarray = field(repr=False)
    box: Box | None
    score: float
    object_score: float
    done: int = 0
    total: int = 0


@dataclass(frozen=True, eq=False)
class SlicePreview(SliceUpdate):
    """The answer to a prompt on its own slice.

    Attributes:
        note: a sentence when nothing is shown, else empty.
        others: prompted slices that were answered anew with it, since the object is seen through another field of view.
    """

    note: str = ""
    others: tuple[SlicePreview, ...] = ()


@dataclass(frozen=True)
class Fields:
    """What a mask, its scores and the mask before it say of a slice."""

    mask: np.ndarray
    box: Box | None
    score: float
    object_score: float

    @classmethod
    def of(cls, result: SliceResult | None, before: SliceResult | None, shape: tuple[int, int]) -> Fields:
        """`result` None: an empty slice."""
        packed = PackedMask.empty(shape) if result is None else result.mask
        box = packed.changed_box(None if before is None else before.mask)
        if result is None:
            return cls(packed.unpack(), box, 0.0, 0.0)
        return cls(packed.unpack(), box, result.iou, result.object_score)
