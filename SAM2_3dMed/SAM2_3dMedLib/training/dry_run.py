"""A minute's look before a long run: are the data usable, does a step fit the device, and how long will it all take?

Every header is read, and as many volumes as fit in a third of the minute; then each stage takes a step or two on those.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from .case_reading import UnusableCaseError, check_header, read_case
from .channels import single_channel
from .config import TrainConfig
from .data_layouts import LabeledCase, LayoutError
from .prepared_data import ChosenCases
from .recipe import Recipe, Stage
from .store import CaseStore, place_case
from .trainer import Trainer
from .usable import Unusable, each_usable

READING_SECONDS = 20.0
MOST_CASES = 12
GPU_STEPS = 6
GIB = 2**30


@dataclass(frozen=True)
class StageTrial:
    """What a stage's trial steps told.

    Attributes:
        clips: clips a batch that fit; `asked` is what the recipe has.
        tried: clips a batch of the trial: one, where there is no GPU.
        seconds: of one step at `tried` clips, without the first two, which warm up and capture.
        peak_gib: device memory, volumes of the trial included; 0 where there is no GPU.
    """

    stage: Stage
    clips: int
    tried: int
    seconds: float
    peak_gib: float

    @property
    def asked(self) -> int:
        """Clips a batch in the recipe."""
        return self.stage.batch

    @property
    def minutes(self) -> float:
        """The whole stage, at the pace of the trial."""
        if self.stage.minutes is not None:
            return self.stage.minutes
        return self.stage.steps * self.seconds * self.asked / self.tried / 60.0


@dataclass(frozen=True)
class DryRun:
    """What the look found.

    Attributes:
        volumes_gib: what all cases together take on the device (image and labels, a byte a voxel each).
        tried_gib: what the cases of the trial take of it.
        free_gib: device memory that was free before; 0 where there is no GPU.
    """

    device: str
    cases: ChosenCases
    unusable: tuple[Unusable, ...]
    read: int
    volumes_gib: float
    tried_gib: float
    free_gib: float
    stages: tuple[StageTrial, ...]

    @property
    def needed_gib(self) -> float:
        """Device memory that the run will need."""
        return max((trial.peak_gib for trial in self.stages), default=0.0) - self.tried_gib + self.volumes_gib

    @property
    def fits(self) -> bool:
        """Whether the recipe runs as it is written."""
        whole = all(trial.clips == trial.asked for trial in self.stages)
        return whole and (self.free_gib == 0.0 or self.needed_gib < self.free_gib)

    def lines(self) -> list[str]:
        """For the terminal."""
        lines = [
            f"cases: {len(self.cases.train)} to train, {len(self.cases.val)} to validate, "
            f"{len(self.unusable)} that cannot be used; {self.read} were read in full",
            f"volumes: {self.volumes_gib:.2f} GiB on the device ({self.device})",
        ]
        lines += [entry.sentence for entry in self.unusable]
        for trial in self.stages:
            fitting = (
                f"{trial.clips} of {trial.asked} clips fit" if trial.clips < trial.asked else f"{trial.asked} clips"
            )
            memory = f", {trial.peak_gib:.1f} GiB" if trial.peak_gib else ""
            scaled = f" (tried with {trial.tried})" if trial.tried != trial.clips else ""
            lines.append(
                f"stage '{trial.stage.name}': {fitting}{scaled}, {trial.seconds:.2f} s a step{memory}, "
                f"about {trial.minutes:.0f} min in all"
            )
        if self.free_gib:
            lines.append(f"device memory: about {self.needed_gib:.1f} of {self.free_gib:.1f} GiB")
        lines.append(
            "The run can start."
            if self.fits
            else "The run does not fit this device; lower 'batch' and raise 'accumulate'."
        )
        return lines


def dry_run(config: TrainConfig, chosen: ChosenCases, device: torch.device, folder: Path) -> DryRun:
    """Try the run of `config` on `chosen` cases; `folder` is the run's, see `prepared_data`.

    Raises:
        LayoutError: no case can be used.
        RecipeError, CheckpointError, TrainingError: as in the run itself.
    """
    free = torch.cuda.mem_get_info(device)[0] / GIB if device.type == "cuda" else 0.0
    headers = each_usable([*chosen.train, *chosen.val], check_header, threads=8)
    bad = {entry.case.key for entry in headers.unusable}
    store, further = _some_cases([case for case in chosen.train if case.key not in bad], device, folder)
    unusable = (*headers.unusable, *further)
    if not store.cases:
        raise LayoutError(f"No training case can be used; {unusable[0].sentence}.")
    return DryRun(
        device=str(device),
        cases=chosen,
        unusable=unusable,
        read=len(store.cases),
        volumes_gib=2 * sum(headers.usable) / GIB,
        tried_gib=2 * sum(case.image.numel() for case in store.cases) / GIB,
        free_gib=free,
        stages=_trials(config.recipe, store, device),
    )


def _some_cases(cases: Sequence[LabeledCase], device: torch.device, folder: Path) -> tuple[CaseStore, list[Unusable]]:
    """Cases from all over the list, for what a data set begins with is not what it is like."""
    store, unusable = CaseStore(), []
    started = time.monotonic()
    for case in cases[:: -(-len(cases) // MOST_CASES) or 1]:
        if store.cases and time.monotonic() - started > READING_SECONDS:
            break
        try:
            store.cases.append(place_case(read_case(single_channel(case, folder / "channels")), device))
        except UnusableCaseError as error:
            unusable.append(Unusable(case, str(error)))
    return store, unusable


class _Trial:
    """Takes the facts of every step: when it ended, and the peak of device memory in its stage."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.ended: dict[str, list[float]] = {}
        self.peak: dict[str, float] = {}

    def write(self, facts: Mapping[str, Any]) -> None:
        """Note the step."""
        stage = facts["stage"]
        self.ended.setdefault(stage, []).append(time.monotonic())
        self.peak[stage] = facts["gpu_gib"]
        if self._device.type == "cuda" and len(self.ended[stage]) > 1:
            torch.cuda.reset_peak_memory_stats(self._device)


def _trials(recipe: Recipe, store: CaseStore, device: torch.device) -> tuple[StageTrial, ...]:
    on_gpu = device.type == "cuda"
    # One scenario: all but the first step replay it, which is what the run does most of the time.
    stages = tuple(
        replace(
            stage,
            steps=GPU_STEPS if on_gpu else 1,
            minutes=None,
            batch=stage.batch if on_gpu else 1,
            scenarios=min(stage.scenarios, 1),
        )
        for stage in recipe.stages
    )
    trial = _Trial(device)
    short = replace(recipe, stages=stages, log_every=1, validate_every=0)
    trainer = Trainer(short, store, device, [trial], holdout=CaseStore())
    told, began = [], time.monotonic()
    trainer.run()
    for stage in recipe.stages:
        ended = trial.ended[stage.name]
        pace = (ended[-1] - ended[1]) / (len(ended) - 2) if len(ended) > 2 else ended[-1] - began
        began = ended[-1]
        clips = trainer.batches.get(stage.name, stage.batch)
        told.append(StageTrial(stage, clips, clips if on_gpu else 1, pace, trial.peak[stage.name]))
    return tuple(told)
