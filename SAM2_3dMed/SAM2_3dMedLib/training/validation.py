"""A quick look at held-out cases during a run: IoU on prompted and on propagated slices, always of the same clips."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..network.model import SAM23dMed
from .clip_forward import ClipForward
from .losses import LossWeights
from .sampling import ClipSampler, SamplingSettings
from .scenario import Prompting, PromptKind, Scenario
from .store import CaseStore


@dataclass(frozen=True)
class QuickScores:
    """Mean IoU at the decoder's resolution by first prompt, and on slices reached from a box; NaN for none."""

    box: float
    point: float
    tracked_from_box: float
    score_accuracy: float

    @property
    def mean(self) -> float:
        """Mean of the three IoU that are known: what the best weights are chosen by. NaN if none is."""
        known = [value for value in (self.box, self.point, self.tracked_from_box) if not math.isnan(value)]
        return sum(known) / len(known) if known else math.nan


@torch.no_grad()
def quick_validation(
    network: SAM23dMed, store: CaseStore, sampling: SamplingSettings, clips: int, bf16: bool
) -> QuickScores:
    """Score a network in evaluation mode on `clips` clips of `store`: whole slices, no augmentation, fixed seed."""
    device = store.cases[0].image.device
    plain = replace(
        sampling, slices=max(sampling.slices, 4), whole_slice_share=1.0, slab_share=0.0, tilt_degrees=0.0,
        rotation_degrees=0.0, flip_share=0.0,
    )  # fmt: skip
    sampler = ClipSampler(store, plain, np.random.default_rng(7))
    sums: dict[str, list[torch.Tensor]] = {"box": [], "point": [], "tracked": [], "score": []}
    remaining = clips
    while remaining > 0:
        batch = sampler.draw(min(8, remaining), anchor=1)
        remaining -= 8
        for kind in (PromptKind.BOX, PromptKind.POINT):
            forward = ClipForward(network, LossWeights(), torch.Generator(device).manual_seed(7))
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                outcome = forward.clip(batch, Scenario(batch.anchor, Prompting(kind, corrections=0)))
            sums[kind.name.lower()].append(outcome.prompted_iou)
            if kind is PromptKind.BOX:
                sums["tracked"].append(outcome.tracked_iou)
                sums["score"].append(outcome.score_accuracy)
    means = {name: float(torch.stack(values).nanmean()) for name, values in sums.items()}
    return QuickScores(means["box"], means["point"], means["tracked"], means["score"])
