"""The table of a trained fold: each structure's mean over the validation cases, and the mean of the structures."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .markdown import row_of
from .tables import write_csv, write_text

MEAN_ROW = "mean of structures"


@dataclass(frozen=True)
class TableRow:
    """Means over the cases that have the structure; None where no case has the value.

    Attributes:
        protocol: how the simulated user prompted, e.g. "box".
        objects: cases that have the structure.
        dice_std: standard deviation over the cases; of the structures' means in the last row.
        hd95_mm, nsd_1mm, nsd_2mm: in the original spacing.
        unreached: cases without an HD95, because nothing was found; they are not in its mean.
    """

    protocol: str
    structure: str
    objects: int
    dice: float
    dice_std: float
    iou: float
    hd95_mm: float | None
    nsd_1mm: float | None
    nsd_2mm: float | None
    unreached: int


_SCORES = ("dice", "iou", "hd95_mm", "nsd_1mm", "nsd_2mm")


def table_rows(protocol: str, objects: Sequence[Path]) -> list[TableRow]:
    """Rows from the `objects.csv` of one fold or several: the structures in alphabetical order, then their mean."""
    results = []
    for path in objects:
        with path.open(newline="", encoding="utf-8") as stream:
            results += csv.DictReader(stream)
    structures = sorted({result["name"] for result in results})
    rows = [_row(protocol, name, [r for r in results if r["name"] == name]) for name in structures]
    if len(rows) > 1:
        rows.append(_mean_row(protocol, rows))
    return rows


def _row(protocol: str, structure: str, results: Sequence[Mapping[str, str]]) -> TableRow:
    columns = {name: [float(r[name]) for r in results if r[name] != ""] for name in _SCORES}
    means = {name: float(np.mean(values)) if values else None for name, values in columns.items()}
    return TableRow(
        protocol=protocol,
        structure=structure,
        objects=len(results),
        dice_std=float(np.std(columns["dice"])),
        unreached=len(results) - len(columns["hd95_mm"]),
        **means,
    )


def _mean_row(protocol: str, rows: Sequence[TableRow]) -> TableRow:
    values = {name: [getattr(row, name) for row in rows] for name in _SCORES}
    means = {name: float(np.mean(v)) if None not in v else None for name, v in values.items()}
    return TableRow(
        protocol=protocol,
        structure=MEAN_ROW,
        objects=sum(row.objects for row in rows),
        dice_std=float(np.std(values["dice"])),
        unreached=sum(row.unreached for row in rows),
        **means,
    )


def write_table(folder: Path, rows: Sequence[TableRow], about: Mapping[str, str | int]) -> str:
    """Write `table.csv` and `table.md` into `folder`; the latter's text.

    Raises:
        UserError: they cannot be written.
    """
    write_csv(folder / "table.csv", TableRow, rows)
    head = ["prompt", "structure", "cases", "Dice", "IoU", "HD95 mm", "NSD 1 mm", "NSD 2 mm", "without HD95"]
    lines = [f"- {name}: {value}" for name, value in about.items()]
    lines += ["", "Means over cases, Dice with its standard deviation; distances in the original spacing.", ""]
    lines += [row_of(head), "|---|---|" + "---:|" * (len(head) - 2)]
    lines += [row_of(_cells(row)) for row in rows]
    text = "\n".join(lines) + "\n"
    write_text(folder / "table.md", text)
    return text


def _cells(row: TableRow) -> list[str]:
    def shown(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    return [
        row.protocol,
        row.structure,
        str(row.objects),
        f"{row.dice:.4f} ± {row.dice_std:.4f}",
        shown(row.iou, 4),
        shown(row.hd95_mm, 2),
        shown(row.nsd_1mm, 4),
        shown(row.nsd_2mm, 4),
        str(row.unreached),
    ]
