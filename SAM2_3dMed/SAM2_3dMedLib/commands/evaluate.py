"""`sam2-3dmed evaluate`: simulated prompts on labeled volumes, and the tables and pictures of what came out."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from ..propagation.policy_choice import PolicyChoice
from ..propagation.zoom import FieldChoice
from ..training.bootstrap import RESAMPLES
from ..training.evaluation import (
    EvaluationCase,
    EvaluationError,
    EvaluationProcesses,
    SessionSettings,
    join_evaluation,
    read_cases,
)
from ..training.protocols import Protocol
from ..volume.intensity import check_window
from ..weights.manifest import resolve_weights
from ..weights.verify import sha256_of
from .engine import Device, load_predictor
from .errors import sentence_for
from .output import require_writable
from .study import Share, Study, study_of


@dataclass(frozen=True)
class EvaluateRequest:
    """What `evaluate` was asked for.

    Attributes:
        limit: at most this many cases of each data set, or None.
        memory: which memories a slice is decoded with.
        field: how near small objects are looked at.
    """

    manifest: Path
    root: Path
    output: Path
    protocol: Protocol
    weights: str | None = None
    split: str | None = None
    dataset: str | None = None
    limit: int | None = None
    window: str = "auto"
    memory: PolicyChoice = PolicyChoice.BRACKETED
    field: FieldChoice = FieldChoice.NEAR
    device: Device = Device.AUTO


@dataclass(frozen=True)
class Finished:
    """What one process hands to the first one.

    Attributes:
        stream: the file of rows that it left.
        failure: what ended its share before its last case; the other processes finish theirs.
    """

    share: Share
    stream: Path
    failure: Exception | KeyboardInterrupt | None


def run_evaluate(request: EvaluateRequest, console: Console) -> str | None:
    """Evaluate and write tables and pictures. The rows are on disk after every case; the report is also written when a
    case fails or the user interrupts, on what is finished.

    Under `torchrun` the processes share the cases; each streams rows to a file of its own until the first merges them.

    Returns:
        The report as Markdown; None on all processes but the first, which also raises what ended another.

    Raises:
        EvaluationError, UserError, VolumeError, WeightsError, CheckpointError: in one sentence.
    """
    check_window(request.window)
    cases = _limited(read_cases(request.manifest, request.root, request.split, request.dataset), request.limit)
    require_writable(request.output)
    with join_evaluation() as processes:
        predictor, model = load_predictor(request.weights, request.device)
        settings = SessionSettings(request.window, request.memory.policy(), request.field)
        study = study_of(predictor, request.protocol, settings)
        about = _about(request, model, processes)
        if processes.first:
            console.print(f"{len(cases)} cases, protocol '{request.protocol.value}', {model}")
        finished = processes.gather(_evaluate_share(study, processes, cases, request.output, console))
        if finished is None:
            return None
        study.take(part.share for part in finished)
        page = None
        if study.rows:
            about |= {"cases": len(cases), "cases_evaluated": study.case_count}
            page = study.write_report(request.output, about)
            _remove_streams([part.stream for part in finished], kept=study.rows_path(request.output))
        failure = next((part.failure for part in finished if part.failure is not None), None)
        if failure is not None:
            raise failure
        if page is None:
            raise EvaluationError(
                f"None of the {len(cases)} cases has an object to evaluate by '{request.protocol.value}'; "
                "check the column 'labels' of the manifest against the values in the label files."
            )
        return page


def _evaluate_share(
    study: Study, processes: EvaluationProcesses, cases: Sequence[EvaluationCase], folder: Path, console: Console
) -> Finished:
    """Evaluate the cases of this process, rows on disk after each."""
    alone = processes.world == 1
    stream = study.rows_path(folder, "" if alone else f".rank{processes.rank}")
    failure: Exception | KeyboardInterrupt | None = None
    progress = {"description": "cases", "console": console, "disable": not processes.first}
    try:
        for number, case in track(processes.share(cases), **progress):
            study.evaluate(number, case)
            if study.rows:
                study.write_rows(stream)
    except Exception as error:
        failure = error
        if not alone and sentence_for(error) is None:
            traceback.print_exception(error)  # a defect: its traceback does not travel to the first process
    except KeyboardInterrupt as interruption:
        if not alone:
            raise  # the others are interrupted too, and nobody waits for this one
        failure = interruption
    return Finished(study.share, stream, failure)


def _remove_streams(streams: Sequence[Path], kept: Path) -> None:
    for stream in streams:
        if stream != kept:
            stream.unlink(missing_ok=True)


def _about(request: EvaluateRequest, model: str, processes: EvaluationProcesses) -> dict[str, str | int]:
    weights, _ = resolve_weights(request.weights)
    return {
        "model": model,
        "weights": weights.name,
        "weights_sha256": sha256_of(weights),
        "protocol": request.protocol.value,
        "split": request.split or "all",
        "dataset": request.dataset or "all",
        "window": request.window,
        "memory": request.memory.value,
        "field": request.field.value,
        "torch": torch.__version__,
        "processes": processes.world,
        "bootstrap_resamples": RESAMPLES,
    }


def _limited(cases: Sequence[EvaluationCase], limit: int | None) -> list[EvaluationCase]:
    taken: dict[tuple[str, str], int] = {}
    chosen = []
    for case in cases:
        group = (case.split, case.dataset)
        taken[group] = taken.get(group, 0) + 1
        if limit is None or taken[group] <= limit:
            chosen.append(case)
    return chosen
