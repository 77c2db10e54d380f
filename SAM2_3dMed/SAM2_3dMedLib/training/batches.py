"""Ready training batches of one stage: clips, synthetic targets for a share of them, changed appearance."""

from __future__ import annotations

import numpy as np
import torch

from .augment import augment
from .recipe import Stage
from .sampling import ClipBatch, ClipSampler
from .store import CaseStore
from .synthetic import synthesize


class BatchMaker:
    """Draws the batches of a stage; the two random generators decide everything."""

    def __init__(
        self, store: CaseStore, stage: Stage, rng: np.random.Generator, generator: torch.Generator | None
    ) -> None:
        self.stage = stage
        self.rng = rng
        self.generator = generator
        self.sampler = ClipSampler(store, stage.sampling, rng)

    @torch.no_grad()
    def draw(self) -> ClipBatch:
        """One batch of `stage.batch` clips."""
        clips = self.sampler.draw(self.stage.batch)
        return self.finish(clips)

    def finish(self, clips: ClipBatch) -> ClipBatch:
        """Synthetic targets for a share of the clips, augmentation, and a random order."""
        expected = self.stage.synthetic_share * len(clips.images)
        count = int(expected) + int(self.rng.random() < expected - int(expected))
        images, masks, real = clips.images, clips.masks, clips.real
        if count:
            made = synthesize(images[:count], clips.anchor, self.generator)
            images = torch.cat([made.images, images[count:]])
            masks = torch.cat([made.masks, masks[count:]])
            real = torch.cat([torch.zeros_like(real[:count]), real[count:]])
        images = augment(images, self.stage.augment, self.rng, self.generator)
        order = torch.randperm(len(images), device=images.device, generator=self.generator)
        return clips.with_targets(images[order], masks[order], real[order], clips.spacing_mm[order])
