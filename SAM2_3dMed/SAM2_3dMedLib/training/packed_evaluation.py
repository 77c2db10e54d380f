"""Evaluation of a network on packs: what a training machine without the volumes and SimpleITK can measure.

The same prompts, session and measures as `sam2-3dmed evaluate --protocol box`, on the packs' voxels: CT in the 248
levels of `pack.CT_LEVELS`, MR in 8 bit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from ..propagation.policies import MemoryPolicy
from ..propagation.predictor import SlicePredictor
from ..propagation.session import VolumeSession
from ..volume.array_volume import ArrayVolume
from ..volume.planes import SliceAxis, acquisition_axis
from .hausdorff import hausdorff95_mm
from .metrics import dice, slice_scores
from .pack import CT_LEVELS, PackedCase
from .protocols import first_prompt, largest_slice


def volume_of(packed: PackedCase) -> ArrayVolume:
    """The case as a volume, HU where they are known: stored `[S, P, L]` is `[K, J, I]`, i toward Left, j Posterior."""
    info = packed.info
    superior, posterior, left = info.spacing_mm
    array = CT_LEVELS[np.minimum(packed.image, len(CT_LEVELS) - 1)] if info.kind == "ct" else packed.image
    affine = np.diag([-left, -posterior, superior, 1.0])
    return ArrayVolume(array, affine, info.case, "MR" if info.kind == "mr" else "CT")


@dataclass(frozen=True)
class PackedResult:
    """What one object scored; `seconds`: prompts and propagation. `hd95_mm` is None where the spacing is not known."""

    dataset: str
    case: str
    name: str
    dice: float
    hd95_mm: float | None
    worst_slice_dice: float
    seconds: float


def prompted_slices(reference: np.ndarray, axis: SliceAxis, boxes: int) -> list[int]:
    """The slices that a user prompts: the largest, and with three boxes those halfway from it to the object's ends.

    Fewer than `boxes` where they fall together or the object is not on one of them.
    """
    largest = largest_slice(reference, axis)
    held = np.flatnonzero(np.moveaxis(reference, axis.array_axis, 0).any((1, 2)))
    halfway = [(largest + int(end) + 1) // 2 for end in (held[0], held[-1])] if boxes == 3 else []
    return [largest, *(index for index in dict.fromkeys(halfway) if index != largest and index in held)]


def evaluate_packed(
    predictor: SlicePredictor, packed: PackedCase, policy: MemoryPolicy | None = None, boxes: int = 1
) -> Iterator[PackedResult]:
    """Evaluate every labeled object of a packed case, in the order of the labels.

    Args:
        boxes: 1: a tight box on the object's largest slice; 3: also halfway to both of its ends. Memory policies differ
            in what they make of several prompted slices.
    """
    volume = volume_of(packed)
    axis = acquisition_axis(volume.geometry)
    spacing = tuple(float(value) for value in reversed(packed.info.spacing_mm))
    with closing(VolumeSession(predictor, volume, policy=policy)) as session:
        for label, name in sorted(packed.info.labels.items()):
            reference = packed.label == label
            if not reference.any():
                continue
            prompts = [
                first_prompt(reference, axis, index, volume.geometry)
                for index in prompted_slices(reference, axis, boxes)
            ]
            started = time.perf_counter()
            session.set_prompts(name, prompts)
            for _ in session.propagate(name):
                pass
            seconds = time.perf_counter() - started
            prediction = session.mask(name)
            session.remove_object(name)
            known = packed.info.spacing_known
            yield PackedResult(
                dataset=packed.info.dataset,
                case=packed.info.case,
                name=name,
                dice=dice(prediction, reference),
                hd95_mm=hausdorff95_mm(prediction, reference, spacing, predictor.device) if known else None,
                worst_slice_dice=slice_scores(prediction, reference, axis.array_axis).worst_dice,
                seconds=seconds,
            )
