"""The end of a training: its weights on the cases that were held out, and their table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ..training.config import EvaluationSection
from ..training.data_layouts import LabeledCase
from ..training.distributed import Processes
from ..training.protocols import Protocol
from .engine import Device
from .evaluate import EvaluateRequest, run_evaluate
from .tables import write_text
from .train_table import TableRow, table_rows, write_table

BEST_FILE, FINAL_FILE, MANIFEST_FILE = "best.safetensors", "final.safetensors", "val.csv"
_COLUMNS = ("split", "dataset", "case", "modality", "labels", "spacing_source", "image", "label")


def write_manifest(folder: Path, cases: Sequence[LabeledCase]) -> None:
    """Write the held-out cases as `folder/val.csv`, for `sam2-3dmed evaluate` too.

    Raises:
        UserError: it cannot be written.
    """
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(_COLUMNS)
    for case in cases:
        labels = json.dumps({str(value): name for value, name in case.labels.items()})
        files = [str(case.image.absolute()), str(case.label.absolute())]
        writer.writerow(["val", case.dataset, case.case, case.modality, labels, case.spacing_source, *files])
    write_text(folder / MANIFEST_FILE, table.getvalue())


def evaluate_fold(
    folder: Path,
    cases: Sequence[LabeledCase],
    section: EvaluationSection,
    device: Device,
    console: Console,
    processes: Processes,
) -> str | None:
    """Evaluate a run's weights on the cases of its manifest; every process takes its share of them.

    Beside the folds' folders a further table has all folds that have been evaluated so far.

    Returns:
        The table as Markdown; None on all processes but the first.

    Raises:
        EvaluationError, UserError, VolumeError, CheckpointError: in one sentence.
    """
    best = section.weights == "best" and (folder / BEST_FILE).is_file()  # a validation that met no object leaves none
    weights = folder / (BEST_FILE if best else FINAL_FILE)
    for protocol in section.protocols:
        request = EvaluateRequest(
            manifest=folder / MANIFEST_FILE,
            root=Path(),
            output=(folder / _objects(protocol)).parent,
            protocol=Protocol(protocol),
            weights=str(weights),
            limit=section.limit,
            window=section.window,
            device=device,
        )
        run_evaluate(request, console)
    if not processes.first:
        return None
    evaluated = len(cases) if section.limit is None else min(section.limit, len(cases))
    write_table_of_folds(folder.parent, section.protocols)
    return write_table(folder, _rows([folder], section.protocols), {"weights": weights.name, "cases": evaluated})


def write_table_of_folds(output: Path, protocols: Sequence[str]) -> None:
    """`table.md` and `.csv` of all folds evaluated so far: each case is in one of them, so five are about all cases.

    Raises:
        UserError: they cannot be written.
    """
    folds = sorted({path.parents[2] for path in output.glob(f"fold[0-9]/{_objects('*')}")})
    if folds:
        names = ", ".join(fold.name.removeprefix("fold") for fold in folds)
        write_table(output, _rows(folds, protocols), {"folds": names})


def _rows(folds: Sequence[Path], protocols: Sequence[str]) -> list[TableRow]:
    rows: list[TableRow] = []
    for protocol in protocols:
        files = [fold / _objects(protocol) for fold in folds]
        rows += table_rows(protocol, [file for file in files if file.is_file()])
    return rows


def _objects(protocol: str) -> str:
    return f"evaluation/{protocol}/objects.csv"
