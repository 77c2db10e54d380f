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
from ..volume.planes import acquisition_axis
from .metrics import dice, slice_scores, surface_score
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
    """What one object scored with one tight box on its largest slice; `seconds`: prompt and propagation."""

    dataset: str
    case: str
    name: str
    dice: float
    hd95_mm: float
    worst_slice_dice: float
    seconds: float


def evaluate_packed(
    predictor: SlicePredictor, packed: PackedCase, policy: MemoryPolicy | None = None
) -> Iterator[PackedResult]:
    """Evaluate every labeled object of a packed case, in the order of the labels."""
    volume = volume_of(packed)
    axis = acquisition_axis(volume.geometry)
    spacing = tuple(float(value) for value in reversed(packed.info.spacing_mm))
    with closing(VolumeSession(predictor, volume, policy=policy)) as session:
        for label, name in sorted(packed.info.labels.items()):
            reference = packed.label == label
            if not reference.any():
                continue
            started = time.perf_counter()
            session.add_prompt(name, first_prompt(reference, axis, largest_slice(reference, axis), volume.geometry))
            for _ in session.propagate(name):
                pass
            seconds = time.perf_counter() - started
            prediction = session.mask(name)
            session.remove_object(name)
            surface = surface_score(prediction, reference, spacing)
            yield PackedResult(
                dataset=packed.info.dataset,
                case=packed.info.case,
                name=name,
                dice=dice(prediction, reference),
                hd95_mm=surface.hd95_mm,
                worst_slice_dice=slice_scores(prediction, reference, axis.array_axis).worst_dice,
                seconds=seconds,
            )
