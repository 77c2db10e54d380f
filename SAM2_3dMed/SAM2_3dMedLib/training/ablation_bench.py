"""One process of the ablation: data on its device, the common start, and the runs of arms."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ..network.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from ..network.model import SAM23dMed
from ..propagation.predictor import SlicePredictor
from ..propagation.step_runner import StepMode
from .ablation_arms import ARMS, START, AblationRow, Arm, Cost, Trial, arm_recipe, start_recipe
from .initial import first_network
from .pack import PackedCase, read_pack
from .packed_evaluation import evaluate_packed
from .recipe import Recipe
from .store import CaseStore
from .trainer import Trainer

START_FILE = "start.safetensors"
LOG_EVERY = 6  # steps; the pace is read from them
TRIAL_STEPS = 24


@dataclass
class KeptFacts:
    """A sink that keeps what a trainer tells."""

    facts: list[dict[str, Any]] = field(default_factory=list)

    def write(self, facts: Mapping[str, Any]) -> None:
        self.facts.append(dict(facts))


@dataclass(frozen=True)
class ArmRun:
    """What a run left: its rows, and what the trainer told every `LOG_EVERY` steps."""

    arm: str
    seed: int
    rows: list[AblationRow]
    facts: list[dict[str, Any]]
    seconds: float


@dataclass(frozen=True)
class Bench:
    """Everything that runs share.

    Attributes:
        base: the recipe; its first stage is the common start where it has two.
        tests: packed cases by split.
        start: folder of the common start.
    """

    base: Recipe
    store: CaseStore
    tests: Mapping[str, Sequence[PackedCase]]
    device: torch.device
    start: Path

    @property
    def start_file(self) -> Path | None:
        """None where the recipe has no stage for a common start."""
        return self.start / START_FILE if len(self.base.stages) > 1 else None

    def make_start(self) -> None:
        """Train the common start, if there is to be one and it is not there."""
        path = self.start_file
        if path is None or path.is_file():
            return
        recipe = replace(start_recipe(self.base), log_every=LOG_EVERY)
        trainer = Trainer(recipe, self.store, self.device, holdout=CaseStore())
        trainer.run()
        path.parent.mkdir(parents=True, exist_ok=True)
        notes = f"{trainer.state.progress.step} steps as plain SAM2"
        save_checkpoint(path, trainer.state.averaged_network(), CheckpointMetadata(recipe.name, notes=notes))

    def sample(self) -> Bench:
        """The same with one case of each data set to evaluate on."""
        first: dict[str, list[PackedCase]] = {}
        for split, cases in self.tests.items():
            by_dataset = {case.info.dataset: case for case in reversed(cases)}
            first[split] = list(by_dataset.values())
        return replace(self, tests=first)

    def rows_of_start(self, mode: StepMode) -> list[AblationRow]:
        """The common start as it is; it cost nothing here."""
        network = load_checkpoint(self.start_file)[0] if self.start_file else first_network(start_recipe(self.base))
        cost = Cost(0.0, 0.0, _segmenting(network), 0, 0.0)
        return list(self._judged(START, 0, SlicePredictor(network, self.device, step_mode=mode), [Trial()], cost))

    def trial_run(self) -> Cost:
        """Some steps of the arm with everything, for its pace."""
        everything = next(arm for arm in ARMS if arm.name == "all")
        steps = self.base.stages[-1].scenarios + TRIAL_STEPS
        return self._trained(everything, self.base.seed, steps, KeptFacts())[1]

    def run(self, arm: Arm, seed: int, steps: int | None, mode: StepMode) -> ArmRun:
        """Train one arm with one seed and evaluate its averaged weights by each of its trials."""
        started = time.monotonic()
        kept = KeptFacts()
        network, cost = self._trained(arm, seed, steps, kept)
        predictor = SlicePredictor(network, self.device, step_mode=mode)
        rows = list(self._judged(arm.name, seed, predictor, arm.trials, cost))
        return ArmRun(arm.name, seed, rows, kept.facts, time.monotonic() - started)

    def _trained(self, arm: Arm, seed: int, steps: int | None, kept: KeptFacts) -> tuple[SAM23dMed, Cost]:
        start = str(self.start_file) if self.start_file else None
        recipe = replace(arm_recipe(self.base, arm, seed, start, steps), log_every=LOG_EVERY)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        started = time.monotonic()
        trainer = Trainer(recipe, self.store, self.device, [kept], holdout=CaseStore())
        trainer.run()
        network = trainer.state.averaged_network()  # waits for the device
        seconds = time.monotonic() - started
        stage = recipe.stages[0]
        trained = sum(entry.numel() for entry in trainer.state.network.parameters() if entry.requires_grad)
        paces = [facts["images_per_second"] for facts in kept.facts]
        later = paces[len(paces) // 2 :]
        slices = stage.batch * stage.sampling.slices * stage.accumulate
        step_seconds = slices / statistics.median(later) if later else seconds / max(1, trainer.state.progress.step)
        memory = 0.0
        if self.device.type == "cuda":
            memory = torch.cuda.max_memory_allocated(self.device) / 2**30
            del trainer
            gc.collect()
            torch.cuda.empty_cache()  # of the graphs' pools, before the next run captures its own
        return network, Cost(seconds, step_seconds, _segmenting(network), trained, memory)

    def _judged(
        self, arm: str, seed: int, predictor: SlicePredictor, trials: Sequence[Trial], cost: Cost
    ) -> Iterator[AblationRow]:
        for trial in trials:
            policy = trial.policy.policy()
            for split, cases in self.tests.items():
                for case in cases:
                    for result in evaluate_packed(predictor, case, policy, trial.boxes):
                        yield AblationRow(arm, seed, trial.policy.value, trial.boxes, split, result, cost)


def chosen_tests(folders: Sequence[Path], per_dataset: int) -> dict[str, list[PackedCase]]:
    """At most so many cases of each data set, by the name of the folder that they come from."""
    tests: dict[str, list[PackedCase]] = {}
    for folder in folders:
        cases = [case for path in sorted(folder.glob("*.npz")) for case in read_pack(path)]
        cases.sort(key=lambda case: (case.info.dataset, case.info.case))
        taken: dict[str, int] = {}
        for case in cases:
            taken[case.info.dataset] = taken.get(case.info.dataset, 0) + 1
            if taken[case.info.dataset] <= per_dataset:
                tests.setdefault(folder.name, []).append(case)
    return tests


def _segmenting(network: SAM23dMed) -> int:
    return sum(entry.numel() for name, entry in network.named_parameters() if "slice_position" not in name)
