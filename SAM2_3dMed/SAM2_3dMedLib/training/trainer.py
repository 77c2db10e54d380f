"""The training loop of one process: runs a recipe's stages step by step, and says, scores and saves on the way."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from ..network.checkpoint import CheckpointMetadata, save_checkpoint
from .batches import Batch, BatchMaker
from .clip_forward import StepOutcome
from .distributed import Processes, StepFacts
from .gradients import Gradients, gradients_of
from .losses import LossTerms
from .recipe import Recipe, Stage
from .run_log import FactSink, StageBar, say
from .schedule import learning_rate, stage_progress
from .state import RATE, TrainState
from .store import CaseStore
from .validation import quick_validation


class TrainingError(RuntimeError):
    """A run that cannot go on; the message says why and what to do next."""


@dataclass(frozen=True)
class RunFolders:
    """Where a run leaves files while it goes on; None: not at all.

    Attributes:
        state: folder of the full state, written every `recipe.save_every_seconds`.
        best: weight file of the best validation so far.
    """

    state: Path | None = None
    best: Path | None = None


@dataclass(frozen=True)
class Step:
    """What an update left.

    Attributes:
        outcome: of the last batch.
        loss: scalar on the device, mean over the batches.
        following: the next step's first batch, drawn while the device was busy.
    """

    outcome: StepOutcome
    loss: torch.Tensor
    following: Batch


class Trainer:
    """Trains one recipe on one device; `sinks` receive the facts of every logged step.

    Args:
        store: the cases to train on.
        holdout: the cases to validate on; None: the recipe's share of `store`.

    Raises:
        RecipeError, CheckpointError: see `TrainState`.
    """

    def __init__(
        self,
        recipe: Recipe,
        store: CaseStore,
        device: torch.device,
        sinks: Sequence[FactSink] = (),
        processes: Processes | None = None,
        holdout: CaseStore | None = None,
        folders: RunFolders | None = None,
    ) -> None:
        self.recipe = recipe
        self.device = device
        self.processes = processes or Processes()
        self.training, self.holdout = store.split_holdout(recipe.holdout) if holdout is None else (store, holdout)
        self.state = TrainState(recipe, device, self.training.description())
        self.sinks = list(sinks)
        self.folders = folders or RunFolders()
        self.stop_requested = False
        self.bad_in_a_row = 0
        self.batches: dict[str, int] = {}  # of stages that did not fit the device as the recipe has them
        self._agreed = StepFacts(0.0)
        self._step_ended = 0.0
        self._saved_at = 0.0
        self._deadline = math.inf
        self._random_before_draw: dict[str, Any] | None = None

    @property
    def finished(self) -> bool:
        """True once the last stage is done."""
        return self.state.progress.stage >= len(self.recipe.stages)

    def run(self, deadline: float = math.inf) -> None:
        """Train until `deadline` (`time.monotonic`), until `stop_requested`, or until the recipe is done.

        Raises:
            TrainingError: the loss is not finite many times in a row, or one clip does not fit the device.
        """
        self._deadline = deadline
        while not self.finished and not self._agreed.stop:  # the clock is asked within a step, where all agree on it
            self._run_stage(self.recipe.stages[self.state.progress.stage])

    def step(self, batch_maker: BatchMaker, gradients: Gradients, stage: Stage, batch: Batch) -> Step:
        """One update of `stage.accumulate` batches, of which `batch` is the first."""
        state, progress = self.state, self.state.progress
        done = stage_progress(stage, progress.stage_step, progress.stage_seconds)
        rate = learning_rate(stage, done, progress.stage_step, progress.rewarm)
        for group in state.optimizer.param_groups:
            group["lr"] = rate * group[RATE]
        gradients.clear()
        total = torch.zeros((), device=self.device)
        for number in range(stage.accumulate):
            if number > 0:
                batch = batch_maker.draw()
            outcome = gradients.add(batch)
            total += outcome.terms.total(stage.losses) / stage.accumulate
            clips, slices = batch.clips.images.shape[:2]
            progress.images += clips * slices * self.processes.world
        following = self._draw(batch_maker)  # while the device is busy: what the processes agree on waits for it
        self._agree(total)
        trained = [parameter for parameter in state.network.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(trained, self.recipe.gradient_clip, foreach=True)
        if math.isfinite(float(norm)) and math.isfinite(float(total)) and not self._agreed.bad:
            self.bad_in_a_row = 0
            state.optimizer.step()
            state.update_average()
        else:
            self._count_bad_step()
        progress.step += 1
        progress.stage_step += 1
        return Step(outcome, total, following)

    def save(self, folder: Path) -> None:
        """Save in full, with the random states of before the batch that is already drawn but not used.

        Every process has to call it; the first one writes.
        """
        states = self._gathered_random_states()
        if self.processes.first:
            self.state.save(folder, states)
        self._saved_at = self._step_ended = time.monotonic()

    def save_compact(self, folder: Path) -> None:
        """Save what travels (see `state`); every process has to call it."""
        states = self._gathered_random_states()
        if self.processes.first:
            self.state.write_compact(folder, states)

    def validate(self) -> None:
        """Score the averaged weights on held-out cases, log it, and keep the weights if they are the best so far.

        Nothing happens without held-out cases. Always at the last stage's image size, so that scores compare.
        """
        if not self.holdout.cases or not self.processes.first:
            return
        progress, recipe = self.state.progress, self.recipe
        sampling = recipe.stages[-1].sampling
        network = self.state.averaged_network(sampling.size)
        with self.state.randomness.aside():
            scores = quick_validation(
                network, self.holdout, sampling, recipe.validation_clips, recipe.precision == "bf16"
            )
        progress.validated = progress.step
        if not math.isnan(scores.mean) and (progress.best is None or scores.mean > progress.best):
            progress.best, progress.best_step = scores.mean, progress.step
            if self.folders.best is not None:
                notes = f"step {progress.step}, mean IoU of the validation clips {scores.mean:.4f}"
                self.folders.best.parent.mkdir(parents=True, exist_ok=True)
                save_checkpoint(self.folders.best, network, CheckpointMetadata(recipe.name, licence="", notes=notes))
        self._tell({"validation": {**asdict(scores), "mean": scores.mean}, "step": progress.step})
        self._step_ended = time.monotonic()

    def _agree(self, total: torch.Tensor) -> None:
        """Average the gradients over the processes and decide together what happens next."""
        bad = self.processes.world > 1 and not bool(torch.isfinite(total))
        now = time.monotonic()
        due = self.folders.state is not None and now - self._saved_at > self.recipe.save_every_seconds
        facts = StepFacts(
            seconds=now - self._step_ended,
            stop=now >= self._deadline or self.stop_requested,
            bad=bad,
            save=due and self.processes.first,
        )
        self._agreed = self.processes.average(self.state.network.parameters(), facts)
        self._step_ended = now

    def _draw(self, batch_maker: BatchMaker) -> Batch:
        self._random_before_draw = self.state.randomness.snapshot()
        return batch_maker.draw()

    def _gathered_random_states(self) -> list[dict[str, Any]]:
        return self.processes.gather(self._random_before_draw or self.state.randomness.snapshot())

    def _count_bad_step(self) -> None:
        self.state.progress.skipped += 1
        self.bad_in_a_row += 1
        if self.bad_in_a_row >= self.recipe.max_bad_steps:
            raise TrainingError(f"{self.bad_in_a_row} steps in a row gave no finite gradient; lower the learning rate.")

    def _run_stage(self, stage: Stage) -> None:
        state, progress = self.state, self.state.progress
        state.enter_stage(stage)
        stage = replace(stage, batch=self.batches.get(stage.name, stage.batch))
        scenario_seed = (self.recipe.seed, 1 + progress.stage)
        drawn = progress.stage_step * stage.accumulate
        maker = BatchMaker(self.training, stage, state.rng, state.generator, scenario_seed, drawn)
        gradients = gradients_of(state.network, stage, state.generator, self.recipe.precision)
        batch = self._draw(maker)
        self._step_ended = time.monotonic()
        self._saved_at = self._saved_at or self._step_ended
        bar = StageBar(self.recipe.stages, progress.stage, progress, quiet=not self.processes.first)
        pace = _Pace(progress.images)
        try:
            while stage_progress(stage, progress.stage_step, progress.stage_seconds) < 1.0:
                step = self.step(maker, gradients, stage, batch)
                batch = step.following
                progress.stage_seconds += self._agreed.seconds
                loss = None
                if progress.step % self.recipe.log_every == 0:
                    loss = float(step.loss)
                    self._tell(self._facts(stage, step.outcome, loss, pace.images_per_second(progress.images)))
                bar.update(progress, loss)
                if self.recipe.validate_every and progress.step % self.recipe.validate_every == 0:
                    self.validate()
                if self._agreed.save:
                    self.save(self.folders.state)
                if self._agreed.stop:
                    return
        except torch.cuda.OutOfMemoryError:
            batch = step = gradients = None
            self._shrink(stage)
            return
        finally:
            bar.close()
        if progress.validated != progress.step:
            self.validate()
        progress.stage += 1
        progress.stage_step, progress.stage_seconds, progress.rewarm = 0, 0.0, 0

    def _shrink(self, stage: Stage) -> None:
        """After running out of device memory: go on with three quarters of the clips; TrainingError at one clip."""
        if stage.batch == 1:
            raise TrainingError(f"Stage '{stage.name}' does not fit the device with one clip; use fewer slices.")
        self.batches[stage.name] = stage.batch * 3 // 4
        self.state.optimizer.zero_grad(set_to_none=True)
        gc.collect()
        torch.cuda.empty_cache()
        say(f"Out of device memory: stage '{stage.name}' goes on with {self.batches[stage.name]} clips a batch.")

    def _facts(self, stage: Stage, outcome: StepOutcome, loss: float, images_per_second: float) -> dict[str, Any]:
        progress = self.state.progress
        terms = {entry.name: float(getattr(outcome.terms, entry.name).detach()) for entry in fields(LossTerms)}
        memory = torch.cuda.max_memory_allocated(self.device) / 2**30 if self.device.type == "cuda" else 0.0
        group = self.state.optimizer.param_groups[0]
        return {
            "step": progress.step,
            "stage": stage.name,
            "seconds": round(progress.stage_seconds, 1),
            **{name: round(value, 5) for name, value in terms.items()},
            "total": round(loss, 5),
            "prompted_iou": round(float(outcome.prompted_iou), 4),
            "tracked_iou": round(float(outcome.tracked_iou), 4),
            "score_accuracy": round(float(outcome.score_accuracy), 4),
            "lr": group["lr"] / group[RATE],
            "images_per_second": round(images_per_second, 1),
            "skipped": progress.skipped,
            "gpu_gib": round(memory, 1),
        }

    def _tell(self, facts: Mapping[str, Any]) -> None:
        if self.processes.first:
            for sink in self.sinks:
                sink.write(facts)


class _Pace:
    """Images per second between two questions."""

    def __init__(self, images: int) -> None:
        self._images, self._asked = images, time.monotonic()

    def images_per_second(self, images: int) -> float:
        now = time.monotonic()
        pace = (images - self._images) / max(now - self._asked, 1e-6)
        self._images, self._asked = images, now
        return pace
