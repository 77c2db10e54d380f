"""Agreement of two masks of one volume: overlap, and distances of the surfaces in mm in the original spacing.

HD95 and NSD are MONAI's functions (`compute_hausdorff_distance`, `compute_surface_dice`); what is ours is the crop to
the two objects, which changes no value and makes a 512 x 512 x 300 volume affordable, and what an empty mask scores.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch

NSD_TOLERANCES_MM = (1.0, 2.0)


@dataclass(frozen=True)
class SurfaceScore:
    """Surface distances of one object.

    Attributes:
        hd95_mm: the larger of the two directed 95th percentiles of the distances between boundary voxels, in mm.
        nsd_1mm: share of both surfaces (by area) that lies within 1 mm of the other, 0..1.
        nsd_2mm: the same within 2 mm.
    """

    hd95_mm: float
    nsd_1mm: float
    nsd_2mm: float


@dataclass(frozen=True)
class SliceScores:
    """How the slices of one object fare along one axis.

    Attributes:
        worst_dice: lowest Dice of the slices that hold the true object.
        worst_index: that slice.
        missed: slices that hold the true object and nothing of the predicted one.
        leaked: slices that hold the predicted object and nothing of the true one.
    """

    worst_dice: float
    worst_index: int
    missed: int
    leaked: int


def dice(prediction: np.ndarray, reference: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B|) of two bool masks of equal shape; 1 when both are empty."""
    _check_shapes(prediction, reference)
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(reference))
    return 2.0 * int(np.count_nonzero(prediction & reference)) / total if total else 1.0


def iou(prediction: np.ndarray, reference: np.ndarray) -> float:
    """|A and B| / |A or B| of two bool masks of equal shape; 1 when both are empty."""
    _check_shapes(prediction, reference)
    union = int(np.count_nonzero(prediction | reference))
    return int(np.count_nonzero(prediction & reference)) / union if union else 1.0


def surface_score(
    prediction: np.ndarray, reference: np.ndarray, spacing_mm: tuple[float, float, float]
) -> SurfaceScore:
    """HD95 and NSD of two bool masks `[K, J, I]`.

    Args:
        spacing_mm: voxel sizes along I, J, K (the order of `Volume.spacing`).

    When exactly one mask is empty there is no distance: NSD is 0 and HD95 is the diagonal of the volume, the largest
    distance that could have been made, so that a lost object costs more than a bad one. Both empty: 0 mm and 1.
    """
    # Here and not above: where networks are trained on packs there is no MONAI (`hausdorff`).
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    _check_shapes(prediction, reference)
    step = tuple(float(size) for size in reversed(tuple(spacing_mm)))
    present = bool(prediction.any()), bool(reference.any())
    if present == (False, False):
        return SurfaceScore(0.0, 1.0, 1.0)
    if not all(present):
        return SurfaceScore(lost_object_mm(reference.shape, spacing_mm), 0.0, 0.0)
    cropped = [_as_batch(mask, joint_box(prediction, reference)) for mask in (prediction, reference)]
    with warnings.catch_warnings():
        # MONAI 1.4 and 1.5 call a function of their own with an argument that they deprecate.
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy", category=FutureWarning)
        hd95 = compute_hausdorff_distance(*cropped, include_background=True, percentile=95, spacing=step)
        first, second = (
            compute_surface_dice(*cropped, [tolerance], include_background=True, spacing=step, use_subvoxels=True)
            for tolerance in NSD_TOLERANCES_MM
        )
    return SurfaceScore(float(hd95), float(first), float(second))


def lost_object_mm(shape: tuple[int, ...], spacing_mm: tuple[float, float, float]) -> float:
    """The diagonal of a volume `[K, J, I]` in mm, which is HD95 where exactly one of the masks is empty."""
    return math.hypot(*(n * s for n, s in zip(shape, reversed(tuple(spacing_mm)), strict=True)))


def slice_scores(prediction: np.ndarray, reference: np.ndarray, array_axis: int) -> SliceScores:
    """Scores of the slices of two bool masks `[K, J, I]` along an array axis (0 = K). The reference must not be empty.

    Raises:
        ValueError: the reference is empty.
    """
    _check_shapes(prediction, reference)
    others = tuple(axis for axis in range(reference.ndim) if axis != array_axis)
    in_prediction = np.count_nonzero(prediction, axis=others)
    in_reference = np.count_nonzero(reference, axis=others)
    in_both = np.count_nonzero(prediction & reference, axis=others)
    held = np.flatnonzero(in_reference)
    if held.size == 0:
        raise ValueError("The reference mask is empty, so it has no slices to score.")
    values = 2.0 * in_both[held] / (in_prediction[held] + in_reference[held])
    worst = int(values.argmin())
    return SliceScores(
        worst_dice=float(values[worst]),
        worst_index=int(held[worst]),
        missed=int(np.count_nonzero(in_prediction[held] == 0)),
        leaked=int(np.count_nonzero((in_prediction > 0) & (in_reference == 0))),
    )


def slice_consistency(prediction: np.ndarray, reference: np.ndarray, array_axis: int) -> float | None:
    """How well the object of a prediction changes from slice to slice as the true one does, 0..1; 1 is best.

    For each pair of neighboring slices, the Dice of the two slices of one mask says how little that mask changes
    there. The score is 1 minus the mean absolute difference of that between prediction and reference, over the pairs
    where either mask holds something. It sees flicker, gaps and leaks past the end, and not an outline that is wrong
    in the same way on every slice, which Dice sees. Two empty slices agree on nothing (0), so a lost object scores
    low.

    Args:
        prediction: bool `[K, J, I]`.
        reference: bool, same shape.
        array_axis: across the slices (0 = K).

    Returns:
        None where there is no such pair: both masks empty, or one slice in all.
    """
    _check_shapes(prediction, reference)
    others = tuple(axis for axis in range(reference.ndim) if axis != array_axis)
    kept, held = [], []
    for mask in (prediction, reference):
        turned = np.moveaxis(mask, array_axis, 0)
        sizes = np.count_nonzero(mask, axis=others)
        totals = sizes[1:] + sizes[:-1]
        common = np.array([np.count_nonzero(a & b) for a, b in zip(turned[1:], turned[:-1], strict=True)], dtype=int)
        kept.append(2.0 * common / np.maximum(totals, 1))
        held.append(totals > 0)
    either = held[0] | held[1]
    return 1.0 - float(np.abs(kept[0] - kept[1])[either].mean()) if either.any() else None


def _check_shapes(prediction: np.ndarray, reference: np.ndarray) -> None:
    if prediction.shape != reference.shape:
        raise ValueError(f"The masks have different shapes: {prediction.shape} and {reference.shape}.")
    if prediction.dtype != bool or reference.dtype != bool:
        raise ValueError(f"Masks must be bool, not {prediction.dtype} and {reference.dtype}.")


def joint_box(prediction: np.ndarray, reference: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds both masks."""
    union = prediction | reference
    box = []
    for axis in range(union.ndim):
        filled = np.flatnonzero(union.any(axis=tuple(other for other in range(union.ndim) if other != axis)))
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return tuple(box)


def _as_batch(mask: np.ndarray, box: tuple[slice, ...]) -> torch.Tensor:
    """`[1, 1, k, j, i]` float32 with a rim of one empty voxel, so that the border of the volume is a surface too."""
    return torch.from_numpy(np.pad(mask[box], 1).astype(np.float32))[None, None]
