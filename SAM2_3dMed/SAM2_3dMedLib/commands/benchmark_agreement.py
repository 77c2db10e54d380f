"""How far our masks are those of `SAM2VideoPredictor`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..network.model import SAM23dMed
from ..propagation.policies import Sam2MemoryPolicy
from ..propagation.predictor import SlicePredictor
from .benchmark_reference import reference_on
from .benchmark_scene import AXIS, Scene
from .benchmark_steps import follow, session_to_both_ends


@dataclass(frozen=True)
class Agreement:
    """Our masks against the reference's under SAM2's memory policy, plain SAM2 in both.

    Attributes:
        dice: of the whole volume's masks.
        worst_slice_dice: the lowest of a single slice.
        foreground: share of the reference's voxels that are foreground; near 0 or 1 the Dice says little.
        logit_error: mean absolute difference of the low-resolution logits over their standard deviation.
    """

    dice: float
    worst_slice_dice: float
    foreground: float
    logit_error: float


def agreement_of(
    network: SAM23dMed, predictor: SlicePredictor, scene: Scene, reference_dtype: torch.dtype
) -> Agreement:
    """One box, propagated in both directions by both. Each direction of the reference has a state of its own: in a
    shared one its second direction would see memories of the first.

    Args:
        network: plain SAM2, for both.
        predictor: says our device and precision.
        reference_dtype: the reference's precision.
    """
    ours = SlicePredictor(network, predictor.device, predictor.dtype)
    session = session_to_both_ends(ours, scene.volume, Sam2MemoryPolicy())
    session.add_box("object", AXIS, *scene.box)
    follow(session, "object")
    found, found_logits = session.mask("object"), session.logits("object")
    reference = reference_on(network, ours, scene, reference_dtype)
    theirs = np.zeros_like(found)
    errors: list[float] = []
    spread: list[float] = []
    for reverse in (False, True):
        state = reference.state()
        reference.add_box(state, 1, *scene.box)
        for index, mask in reference.propagate(state, reverse).items():
            theirs[index] = mask
        for index, logits in reference.logits(state).items():
            errors.append(float((logits - found_logits[index]).abs().mean()))
            spread.append(float(logits.std()))
    slices = [dice(first, second) for first, second in zip(found, theirs, strict=True)]
    session.close()
    return Agreement(
        dice(found, theirs), min(slices), float(theirs.mean()), float(np.mean(errors) / max(np.mean(spread), 1e-9))
    )


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Dice of two bool arrays; 1 when both are empty."""
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return 2.0 * int(np.count_nonzero(first & second)) / int(total) if total else 1.0
