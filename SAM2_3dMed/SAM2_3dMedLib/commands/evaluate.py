"""`sam2-3dmed evaluate`: simulated prompts on labeled volumes, and the tables of what came out."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from rich.console import Console
from rich.progress import track

from ..training.evaluation import EvaluationCase, ObjectResult, evaluate_case, read_cases
from ..training.protocols import Protocol
from ..weights.manifest import resolve_weights
from ..weights.verify import sha256_of
from .engine import Device, load_predictor
from .output import require_writable, write_whole
from .summary import Summary, markdown_of, summarize

OBJECTS_FILE, SUMMARY_FILE, REPORT_FILE = "objects.csv", "summary.json", "summary.md"


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


def run_evaluate(request: EvaluateRequest, console: Console) -> Summary:
    """Evaluate and write the tables; after every case they are complete for the cases so far.

    Raises:
        EvaluationError, UserError, VolumeError, WeightsError, CheckpointError: in one sentence.
    """
    cases = _limited(read_cases(request.manifest, request.root, request.split, request.dataset), request.limit)
    require_writable(request.output)
    predictor, model = load_predictor(request.weights, request.device)
    weights, _ = resolve_weights(request.weights)
    about = {
        "model": model,
        "weights": weights.name,
        "weights_sha256": sha256_of(weights),
        "protocol": request.protocol.value,
        "split": request.split or "all",
        "dataset": request.dataset or "all",
        "cases": len(cases),
    }
    console.print(f"{len(cases)} cases, protocol '{request.protocol.value}', {model}")
    results: list[ObjectResult] = []
    summary = summarize(results, about)
    for case in track(cases, description="cases", console=console):
        results.extend(evaluate_case(predictor, case, request.protocol, request.window))
        summary = summarize(results, about)
        write_tables(request.output, results, summary)
    return summary


def write_tables(folder: Path, results: Sequence[ObjectResult], summary: Summary) -> None:
    """Write the per-object CSV, the summary as JSON and as Markdown; each file appears whole."""
    tables: dict[str, Callable[[Path], None]] = {
        OBJECTS_FILE: lambda path: _write_csv(path, results),
        SUMMARY_FILE: lambda path: (
            path.write_text(json.dumps(asdict(summary), indent=2) + "\n", encoding="utf-8") and None
        ),
        REPORT_FILE: lambda path: path.write_text(markdown_of(summary), encoding="utf-8") and None,
    }
    for name, write in tables.items():
        write_whole(folder / name, write)


def _write_csv(path: Path, results: Sequence[ObjectResult]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([field.name for field in fields(ObjectResult)])
        for result in results:
            writer.writerow([_cell(value) for value in asdict(result).values()])


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}"
    return " ".join(f"{entry:.4f}" for entry in value) if isinstance(value, tuple) else str(value)


def _limited(cases: Sequence[EvaluationCase], limit: int | None) -> list[EvaluationCase]:
    taken: dict[tuple[str, str], int] = {}
    chosen = []
    for case in cases:
        group = (case.split, case.dataset)
        taken[group] = taken.get(group, 0) + 1
        if limit is None or taken[group] <= limit:
            chosen.append(case)
    return chosen
