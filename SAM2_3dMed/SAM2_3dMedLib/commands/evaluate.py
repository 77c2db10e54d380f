"""`sam2-3dmed evaluate`: simulated prompts on labeled volumes, and the tables and pictures of what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from ..training.evaluation import EvaluationCase, EvaluationError, EvaluationProcesses, join_evaluation, read_cases
from ..training.evaluation.bootstrap import RESAMPLES
from ..training.protocols import Protocol
from ..weights.manifest import resolve_weights
from ..weights.verify import sha256_of
from .engine import Device, load_predictor
from .output import require_writable
from .study import Study, study_of


@dataclass(frozen=True)
class EvaluateRequest:
    """What `evaluate` was asked for.

    Attributes:
        limit: at most this many cases of each data set, or None.
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
    device: Device = Device.AUTO


def run_evaluate(request: EvaluateRequest, console: Console) -> str | None:
    """Evaluate and write tables and pictures. The rows are on disk after every case, also when a later one fails.

    Under `torchrun` the processes share the cases; each streams rows to a file of its own until the first merges them.

    Returns:
        The report as Markdown; None on all processes but the first.

    Raises:
        EvaluationError, UserError, VolumeError, WeightsError, CheckpointError: in one sentence.
    """
    cases = _limited(read_cases(request.manifest, request.root, request.split, request.dataset), request.limit)
    require_writable(request.output)
    with join_evaluation() as processes:
        predictor, model = load_predictor(request.weights, request.device)
        study = study_of(predictor, request.protocol, request.window)
        about = _about(request, model, processes)
        if processes.first:
            console.print(f"{len(cases)} cases, protocol '{request.protocol.value}', {model}")
        streams = _evaluate_share(study, cases, processes, request.output, about, console)
        shares = processes.gather((study.share, streams))
        if shares is None:
            return None
        study.take(share for share, _ in shares)
        if not study.rows:
            raise EvaluationError(
                f"None of the {len(cases)} cases has an object to evaluate by '{request.protocol.value}'; "
                "check the column 'labels' of the manifest against the values in the label files."
            )
        page = study.write_report(request.output, {**about, "cases": len(cases), "cases_evaluated": study.case_count})
        for stream in (stream for _, streams in shares for stream in streams):
            stream.unlink(missing_ok=True)
        return page


def _evaluate_share(
    study: Study,
    cases: Sequence[EvaluationCase],
    processes: EvaluationProcesses,
    folder: Path,
    about: dict[str, str | int],
    console: Console,
) -> list[Path]:
    """Evaluate the cases of this process; the files of its own that it left, to be removed when they are merged."""
    suffix = f".rank{processes.rank}" if processes.world > 1 else ""
    written = folder / f"{study.stem}{suffix}.csv"
    mine = processes.share(cases)
    try:
        for number, case in track(mine, description="cases", console=console, disable=not processes.first):
            study.evaluate(number, case)
            if study.rows:
                study.write_rows(folder, suffix)
    except BaseException:
        # Also an interruption by the user: what is finished is reported; other processes end with this one.
        if study.rows and processes.world == 1:
            study.write_report(folder, {**about, "cases": len(cases), "cases_evaluated": study.case_count})
        raise
    return [written] if suffix else []


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
