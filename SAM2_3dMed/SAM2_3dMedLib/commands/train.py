"""`sam2-3dmed train`: from a data set to weights and to the table of the fold that was held out."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from rich.console import Console

from ..network.checkpoint import CheckpointMetadata, save_checkpoint
from ..training.config import DEFAULT_WEIGHTS, TrainConfig, find_config, read_config
from ..training.distributed import Processes, join_processes
from ..training.dry_run import DryRun, dry_run
from ..training.loop import CLOSING_SECONDS, chosen_device
from ..training.prepared_data import ChosenCases, PackedFile, chosen_cases, prepare
from ..training.protocols import Protocol
from ..training.recipe import RecipeError
from ..training.resuming import take_up
from ..training.run_log import LOG_FILE, RunLog, TensorBoardLog, say
from ..training.state_files import has_state
from ..training.store import CaseStore, load_store
from ..training.trainer import RunFolders, Trainer
from ..weights.manifest import resolve_weights
from .engine import Device
from .errors import UserError
from .output import require_writable
from .tables import write_text
from .train_evaluation import BEST_FILE, FINAL_FILE, evaluate_fold, write_manifest


@dataclass(frozen=True)
class TrainRequest:
    """What `train` was asked for.

    Attributes:
        config: file, or name of a recipe that comes with this software.
        output: folder of the data's packs and folds; the run itself lies in a folder of its fold in there.
        data, fold, weights: replace the configuration's data.path, data.fold and recipe.initial_weights.
        minutes: wall-clock limit of this call, loading and saving included; None: until the recipe is done.
        resume: go on with the run that `output` holds, if it holds one.
    """

    config: str
    output: Path
    data: Path | None = None
    fold: int | None = None
    weights: str | None = None
    minutes: float | None = None
    resume: bool = False
    device: Device = Device.AUTO


@dataclass(frozen=True)
class TrainOutcome:
    """How a call ended.

    Attributes:
        finished: the recipe is done; else another call with `resume` goes on.
        first: whether this process of several speaks for all.
        table: the evaluation's table as Markdown; None without one.
    """

    folder: Path
    finished: bool
    step: int
    seconds: float
    first: bool = True
    table: str | None = None

    def lines(self) -> list[str]:
        """For the terminal."""
        end = "done" if self.finished else "to be continued with --resume"
        found = [self.folder / name for name in (BEST_FILE, FINAL_FILE) if (self.folder / name).is_file()]
        lines = [f"step {self.step}, {end}, {self.seconds:.0f} s", *(f"weights: {path}" for path in found)]
        return lines + ([self.table.rstrip(), f"table: {self.folder / 'table.md'}"] if self.table else [])


def run_dry(request: TrainRequest) -> DryRun:
    """Check data and memory without training; what an archive holds is unpacked, nothing else is written.

    Raises:
        UserError and every error that `run_train` raises: in one sentence.
    """
    config = _config_of(request)
    _require_device(request.device)
    require_writable(request.output)
    device = chosen_device(request.device.value)
    return dry_run(config, _chosen(config, request.output), device, request.output)


def run_train(request: TrainRequest, console: Console) -> TrainOutcome:
    """Prepare the data, train, export the weights, evaluate them on the fold that was held out.

    Raises:
        UserError, RecipeError, LayoutError, SplitError, PackError, StateError, CheckpointError, TrainingError,
        EvaluationError, WeightsError: in one sentence.
    """
    started = time.monotonic()
    config = _config_of(request)
    _require_device(request.device)
    folder = request.output / ("all" if config.data.fold is None else f"fold{config.data.fold}")
    if has_state(folder / "state") and not request.resume:
        raise UserError(f"{folder} holds a run already; give --resume to go on with it, or another --output.")
    require_writable(folder)
    processes, device = join_processes(chosen_device(request.device.value))
    chosen, trainer = _trainer(request, config, folder, processes, device)
    with _stopping(trainer):
        limit = None if request.minutes is None else request.minutes * 60.0
        trainer.run(float("inf") if limit is None else started + limit - min(CLOSING_SECONDS, limit / 10))
    trainer.save(folder / "state")
    step, finished = trainer.state.progress.step, trainer.finished
    if processes.first:
        _write_final(trainer, folder, config, chosen)
        write_manifest(folder, chosen.val)
    _close(trainer)
    processes.wait()
    processes.close()
    del trainer  # the evaluation wants the device's memory
    if device.type == "cuda":
        torch.cuda.empty_cache()
    table = None
    if finished and chosen.val and config.evaluation.protocols:
        table = evaluate_fold(folder, chosen.val, config.evaluation, request.device, console, processes)
    return TrainOutcome(folder, finished, step, time.monotonic() - started, processes.first, table)


def _config_of(request: TrainRequest) -> TrainConfig:
    config = read_config(find_config(request.config))
    data = config.data
    if request.data is not None:
        data = replace(data, path=str(request.data))
    if request.fold is not None:
        data = replace(data, fold=request.fold)
    recipe = config.recipe
    weights = request.weights or recipe.initial_weights
    if weights is not None:
        path, _ = resolve_weights(None if weights == DEFAULT_WEIGHTS else weights)
        recipe = replace(recipe, initial_weights=str(path))
    for protocol in config.evaluation.protocols:
        known = [Protocol.BOX.value, Protocol.POINT.value, Protocol.CORRECTIONS.value]
        if protocol not in known:
            raise RecipeError(f"evaluation.protocols may hold {', '.join(known)}, not '{protocol}'.")
    return replace(config, data=data, recipe=recipe)


def _chosen(config: TrainConfig, output: Path) -> ChosenCases:
    """The cases of the data sets that the recipe names, or of all."""
    chosen = chosen_cases(config.data, output)
    wanted = config.recipe.datasets
    if not wanted:
        return chosen
    found = {case.dataset for case in (*chosen.train, *chosen.val)}
    missing = sorted(set(wanted) - found)
    if missing:
        raise RecipeError(f"The data have no data set '{missing[0]}' of recipe.datasets; they have {', '.join(found)}.")
    parts = (tuple(case for case in part if case.dataset in wanted) for part in (chosen.train, chosen.val))
    return ChosenCases(*parts)


def _require_device(device: Device) -> None:
    if device is Device.CUDA and not torch.cuda.is_available():
        raise UserError("This torch sees no CUDA device; use --device auto, or install a torch that fits the driver.")
    if device is Device.MPS:
        raise UserError("Training runs on CUDA or the CPU; use --device auto.")


def _trainer(
    request: TrainRequest, config: TrainConfig, folder: Path, processes: Processes, device: torch.device
) -> tuple[ChosenCases, Trainer]:
    """The cases that can be used, and a trainer that stands where the run is."""
    if not processes.first_of_host:
        processes.wait()
    chosen = _chosen(config, request.output)
    prepared = prepare(chosen, request.output, quiet=not processes.first)
    if processes.first_of_host:
        processes.wait()
    folders = RunFolders(state=folder / "state", best=folder / BEST_FILE)
    log = RunLog(folder / LOG_FILE)
    store = load_store([entry.path for entry in prepared.train], device)
    trainer = Trainer(config.recipe, store, device, [log], processes, _held_out(prepared.val, device), folders)
    take_up(trainer, folder / "state", log)
    progress = trainer.state.progress
    if processes.first:
        if progress.step == 0:  # what a run left that never came to save
            for former in (log.path, folder / BEST_FILE, folder / FINAL_FILE):
                former.unlink(missing_ok=True)
        write_text(folder / "config.json", json.dumps(asdict(config), indent=1) + "\n")
        held = f"{len(prepared.val)} to validate" if prepared.val else "none to validate, so there will be no table"
        say(f"{len(prepared.train)} cases to train, {held}, on {device}; step {progress.step}")
        try:
            trainer.sinks.append(TensorBoardLog(folder / "tensorboard", progress.step))
        except ModuleNotFoundError:
            say("TensorBoard is not installed (pip install 'sam2-3dmed[train]'); the losses stand in log.jsonl alone.")
    return ChosenCases(*(tuple(e.case for e in part) for part in (prepared.train, prepared.val))), trainer


def _held_out(cases: tuple[PackedFile, ...], device: torch.device) -> CaseStore:
    return load_store([entry.path for entry in cases], device) if cases else CaseStore()


@contextmanager
def _stopping(trainer: Trainer) -> Iterator[None]:
    """Ctrl-C and SIGTERM (a cluster's end of time) stop after the step and save; a second Ctrl-C stops at once.

    Does nothing outside of the main thread, where Python takes no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _frame: object) -> None:
        if trainer.stop_requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        trainer.stop_requested = True
        if trainer.processes.first:
            say("The run stops after this step and is saved.")

    former = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _write_final(trainer: Trainer, folder: Path, config: TrainConfig, chosen: ChosenCases) -> None:
    """The averaged weights of now as a weight file; best.safetensors beside it was chosen by validations."""
    data = sorted({case.dataset for case in chosen.train})
    metadata = CheckpointMetadata(
        name=config.recipe.name,
        training_data=tuple(data),
        licence="",
        notes=f"step {trainer.state.progress.step}; {len(chosen.train)} cases; fold {config.data.fold}",
    )
    size = config.recipe.stages[-1].sampling.size
    save_checkpoint(folder / FINAL_FILE, trainer.state.averaged_network(size), metadata)


def _close(trainer: Trainer) -> None:
    for sink in trainer.sinks:
        if isinstance(sink, TensorBoardLog):
            sink.close()
