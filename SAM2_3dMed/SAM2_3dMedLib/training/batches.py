"""Ready training batches of one stage: clips, synthetic targets for a share of them, changed appearance."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from .augment import augment
from .recipe import Stage
from .sampling import ClipBatch, ClipSampler
from .scenario import Scenario, draw_scenario
from .store import CaseStore
from .synthetic import synthesize


@dataclass(frozen=True)
class Batch:
    """Clips and what happens in them; slices on their own are prompted as the scenario's first slice."""

    clips: ClipBatch
    scenario: Scenario


class BatchMaker:
    """Draws the batches of a stage.

    The two random generators decide the clips. What happens in them follows from `scenario_seed` and the batch's number
    alone, so that a resumed run has the same, and all processes do the same at the same time: scenarios differ in
    length, and where every process had its own, all would wait for the longest in every step.

    Args:
        scenario_seed: decides the scenarios, and the stage's pool of them where it has one.
        first: the number of the first batch within the stage.
    """

    def __init__(
        self,
        store: CaseStore,
        stage: Stage,
        rng: np.random.Generator,
        generator: torch.Generator | None,
        scenario_seed: tuple[int, ...] = (0,),
        first: int = 0,
    ) -> None:
        self.stage = stage
        self.rng = rng
        self.generator = generator
        self.sampler = ClipSampler(store, stage.sampling, rng)
        # A given mask is returned as it is: for slices on their own it would leave no loss at all.
        self._prompts = replace(stage.prompts, mask=0.0) if stage.kind == "images" else stage.prompts
        self._scenario_seed = scenario_seed
        self._number = first
        pool_rng = np.random.default_rng(scenario_seed)
        self._pool = [self._draw_scenario(pool_rng) for _ in range(stage.scenarios)]

    @torch.no_grad()
    def draw(self) -> Batch:
        """One batch of `stage.batch` clips."""
        scenario = self._next_scenario()
        clips = self.sampler.draw(self.stage.batch, scenario.anchor)
        return Batch(self.finish(clips), scenario)

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

    def _next_scenario(self) -> Scenario:
        """A new one, or the next of the pool, which comes in rounds: all of it once, in an order of the round's own."""
        number, self._number = self._number, self._number + 1
        if not self._pool:
            return self._draw_scenario(np.random.default_rng((*self._scenario_seed, 1 + number)))
        round_number, place = divmod(number, len(self._pool))
        order = np.random.default_rng((*self._scenario_seed, 1 + round_number)).permutation(len(self._pool))
        return self._pool[order[place]]

    def _draw_scenario(self, rng: np.random.Generator) -> Scenario:
        return draw_scenario(self._prompts, self.stage.sampling.slices, rng)
