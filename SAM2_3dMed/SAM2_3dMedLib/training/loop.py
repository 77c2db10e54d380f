"""The training loop: runs a recipe in chunks of limited time, each resuming where the last one stopped.

    python -m SAM2_3dMedLib.training.loop --packs DIR --recipe FILE --minutes 9 --resume DIR --output DIR

`--resume` keeps the full state on a normal disk; `--output` receives the compact state and the log (see `state`).
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from .batches import BatchMaker
from .clip_forward import ClipForward, StepOutcome
from .distributed import Processes, StepFacts, join_processes
from .losses import LossTerms
from .pack import CaseInfo, PackError
from .recipe import Recipe, RecipeError, Stage, read_recipe
from .state import STATE_FILE, StateError, TrainState
from .store import CaseStore, load_store
from .validation import quick_validation

SAVE_EVERY_SECONDS = 240.0
CLOSING_SECONDS = 20.0  # validation, two saves and the interpreter's end


class TrainingError(RuntimeError):
    """A run that cannot go on; the message says why and what to do next."""


def learning_rate(stage: Stage, progress: float, step: int, rewarm: int = 0) -> float:
    """Cosine from `learning_rate` to `final_learning_rate` over `progress` 0..1, warmed up over the first steps.

    After a resumption without Adam's moments the warm-up starts again at step `rewarm`.
    """
    low, high = stage.final_learning_rate, stage.learning_rate
    value = low + (high - low) * 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
    return value * min(1.0, (step - rewarm + 1) / max(stage.warmup_steps, 1))


def stage_progress(stage: Stage, step: int, seconds: float) -> float:
    """How much of a stage is done, 0..1 and beyond."""
    return step / stage.steps if stage.steps is not None else seconds / (stage.minutes * 60.0)


class Trainer:
    """Trains one recipe on one device. `log` receives one JSON line per logged step."""

    def __init__(
        self, recipe: Recipe, store: CaseStore, device: torch.device, log: Path, processes: Processes | None = None
    ) -> None:
        self.recipe = recipe
        self.device = device
        self.processes = processes or Processes()
        self.training, self.holdout = store.split_holdout(recipe.holdout)
        self.state = TrainState(recipe, device)
        self.log = log
        self.bad_in_a_row = 0
        self._batches: dict[str, int] = {}
        self._agreed = StepFacts(0.0, False, False)
        self._step_ended = 0.0
        self._deadline = math.inf
        self._random_before_draw: dict[str, Any] | None = None

    @property
    def finished(self) -> bool:
        """True once the last stage is done."""
        return self.state.progress.stage >= len(self.recipe.stages)

    def run(self, deadline: float, resume: Path | None = None) -> None:
        """Train until `deadline` (`time.monotonic`) or until the recipe is done, saving to `resume` now and then."""
        while not self.finished and time.monotonic() < deadline:
            self._run_stage(self.recipe.stages[self.state.progress.stage], deadline, resume)

    def step(self, batch_maker: BatchMaker, forward: ClipForward, stage: Stage, batch: Any) -> tuple[StepOutcome, Any]:
        """One update; returns its outcome and the next batch, which is drawn while the device is busy."""
        state = self.state
        progress = state.progress
        rate = learning_rate(
            stage,
            stage_progress(stage, progress.stage_step, progress.stage_seconds),
            progress.stage_step,
            progress.rewarm,
        )
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            outcome = forward.images(batch) if stage.kind == "images" else forward.clip(batch)
        total = outcome.terms.total(stage.losses)
        total.backward()
        bad = self.processes.world > 1 and not bool(torch.isfinite(total.detach()))
        now = time.monotonic()
        self._agreed = self.processes.average(
            state.network.parameters(), StepFacts(now - self._step_ended, now >= self._deadline, bad)
        )
        self._step_ended = now
        trained = [parameter for parameter in state.network.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(trained, self.recipe.gradient_clip, foreach=True)
        following = self._draw(batch_maker)
        if math.isfinite(float(norm)) and math.isfinite(float(total.detach())) and not self._agreed.bad:
            self.bad_in_a_row = 0
            state.optimizer.step()
            state.update_average()
        else:
            self._count_bad_step()
        state.optimizer.zero_grad(set_to_none=True)
        progress.step += 1
        progress.stage_step += 1
        progress.images += batch.images.shape[0] * batch.images.shape[1] * self.processes.world
        return outcome, following

    def save(self, folder: Path) -> None:
        """Save in full, with the random states of before the batch that is already drawn but not used."""
        self.state.save(folder, self._random_before_draw)

    def save_compact(self, folder: Path) -> None:
        """Save what travels (see `state`)."""
        self.state.write_compact(folder, self._random_before_draw)

    def validate(self) -> None:
        """Score the averaged weights on held-out cases and log it; nothing happens without held-out cases."""
        if not self.holdout.cases or not self.processes.first:
            return
        stage = self.recipe.stages[min(self.state.progress.stage, len(self.recipe.stages) - 1)]
        network = self.state.averaged_network()
        scores = quick_validation(
            network, self.holdout, stage.sampling, self.recipe.validation_clips, self.recipe.precision == "bf16"
        )
        self._write({"validation": asdict(scores), "step": self.state.progress.step})

    def _draw(self, batch_maker: BatchMaker) -> Any:
        self._random_before_draw = self.state.random_state()
        return batch_maker.draw()

    def _count_bad_step(self) -> None:
        self.state.progress.skipped += 1
        self.bad_in_a_row += 1
        if self.bad_in_a_row >= self.recipe.max_bad_steps:
            raise TrainingError(f"{self.bad_in_a_row} steps in a row gave no finite gradient; lower the learning rate.")

    def _run_stage(self, stage: Stage, deadline: float, resume: Path | None) -> None:
        state, progress = self.state, self.state.progress
        state.enter_stage(stage)
        stage = self._fitting(stage)
        maker = BatchMaker(self.training, stage, state.rng, state.generator)
        forward = ClipForward(state.network, stage.prompts, stage.losses, state.rng, state.generator)
        batch = self._draw(maker)
        self._step_ended = saved = logged_at = time.monotonic()
        self._deadline = deadline
        logged_images = progress.images
        quiet = not self.processes.first
        bar = tqdm(desc=stage.name, unit="step", initial=progress.stage_step, mininterval=10.0, disable=quiet)
        while stage_progress(stage, progress.stage_step, progress.stage_seconds) < 1.0:
            try:
                outcome, batch = self.step(maker, forward, stage, batch)
            except torch.cuda.OutOfMemoryError:
                batch = None
                self._shrink(stage)
                bar.close()
                return
            progress.stage_seconds += self._agreed.seconds
            now = time.monotonic()
            bar.update()
            if progress.step % self.recipe.log_every == 0:
                rate = (progress.images - logged_images) / max(now - logged_at, 1e-6)
                logged_images, logged_at = progress.images, now
                self._write(self._facts(stage, outcome, rate))
            if resume is not None and self.processes.first and now - saved > SAVE_EVERY_SECONDS:
                self.save(resume)
                saved = self._step_ended = logged_at = time.monotonic()
                logged_images = progress.images
            if self._agreed.stop:
                bar.close()
                return
        bar.close()
        self.validate()
        progress.stage += 1
        progress.stage_step, progress.stage_seconds, progress.rewarm = 0, 0.0, 0

    def _shrink(self, stage: Stage) -> None:
        """After running out of device memory: go on with three quarters of the clips; TrainingError at one clip."""
        if stage.batch == 1:
            raise TrainingError(f"Stage '{stage.name}' does not fit the device with one clip; use fewer slices.")
        self._batches[stage.name] = stage.batch * 3 // 4
        self.state.optimizer.zero_grad(set_to_none=True)
        gc.collect()
        torch.cuda.empty_cache()
        print(f"Out of device memory: stage '{stage.name}' goes on with {self._batches[stage.name]} clips a step.")

    def _fitting(self, stage: Stage) -> Stage:
        return replace(stage, batch=self._batches.get(stage.name, stage.batch))

    def _facts(self, stage: Stage, outcome: StepOutcome, images_per_second: float) -> dict[str, Any]:
        progress = self.state.progress
        terms = {
            entry.name: round(float(getattr(outcome.terms, entry.name).detach()), 5) for entry in fields(LossTerms)
        }
        memory = torch.cuda.max_memory_allocated(self.device) / 2**30 if self.device.type == "cuda" else 0.0
        return {
            "step": progress.step,
            "stage": stage.name,
            "seconds": round(progress.stage_seconds, 1),
            **terms,
            "total": round(float(outcome.terms.total(stage.losses).detach()), 5),
            "prompted_iou": round(float(outcome.prompted_iou), 4),
            "tracked_iou": round(float(outcome.tracked_iou), 4),
            "score_accuracy": round(float(outcome.score_accuracy), 4),
            "lr": self.state.optimizer.param_groups[0]["lr"],
            "images_per_second": round(images_per_second, 1),
            "skipped": progress.skipped,
            "gpu_gib": round(memory, 1),
        }

    def _write(self, facts: dict[str, Any]) -> None:
        if not self.processes.first:
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(_without_nan(facts)) + "\n")
        if "validation" in facts or facts["step"] % (10 * self.recipe.log_every) == 0:
            tqdm.write(json.dumps(facts))


def _without_nan(facts: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: a mean over nothing becomes null."""
    known = {name: _without_nan(value) if isinstance(value, dict) else value for name, value in facts.items()}
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in known.items()}


def chosen_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one, with TF32 for what autocast leaves in float32."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else torch.device(name)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    # No cudnn.benchmark: prompt kinds make other batch sizes in every step, and each new one would be tuned anew.
    # cuDNN's attention builds a graph for every new shape too, and its backward pass failed on an H200 with torch 2.11
    # (mha_graph.execute); flash attention does neither.
    torch.backends.cuda.enable_cudnn_sdp(False)
    return device


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of `python -m SAM2_3dMedLib.training.loop`. Exit code 2 for input that cannot be used."""
    started = time.monotonic()
    options = _parser().parse_args(arguments)
    try:
        recipe = read_recipe(options.recipe)
        processes, device = join_processes(chosen_device(options.device))
        packs = sorted(options.packs.glob("*.npz"))

        def keep(info: CaseInfo) -> bool:
            return not recipe.datasets or info.dataset in recipe.datasets

        store = load_store(packs, device, keep)
        log = options.output / "log.jsonl"
        if log.is_file() and not options.resume:
            log.unlink()
        trainer = Trainer(recipe, store, device, log, processes)
        if options.resume and ((options.resume / STATE_FILE).is_file() or any(options.resume.glob("compact.0*"))):
            trainer.state.load(options.resume)
        trainer.state.part_from(processes.rank)
        loaded = time.monotonic() - started
        print(f"{len(store.cases)} cases loaded after {loaded:.0f} s, step {trainer.state.progress.step}")
        deadline = started + options.minutes * 60.0 - min(CLOSING_SECONDS, options.minutes * 6.0)
        trainer.run(deadline, options.resume)
        if options.resume and processes.first:
            trainer.save(options.resume)
        if processes.first:
            trainer.save_compact(options.output)
        if not trainer.finished:
            trainer.validate()
        processes.close()
    except (PackError, RecipeError, StateError, TrainingError) as error:
        print(error)
        return 2
    done = "done" if trainer.finished else "to be continued"
    print(f"step {trainer.state.progress.step}, {done}, {time.monotonic() - started:.0f} s")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train a network by a recipe, for a limited time.")
    parser.add_argument("--packs", type=Path, required=True, help="folder of *.npz written by training.pack")
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument(
        "--minutes", type=float, default=9.0, help="wall-clock limit of this chunk, loading and saving included"
    )
    parser.add_argument("--resume", type=Path, help="folder of the full state: continued if it has one, and written")
    parser.add_argument("--output", type=Path, required=True, help="folder for the compact state and the log")
    parser.add_argument("--device", default="auto")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
