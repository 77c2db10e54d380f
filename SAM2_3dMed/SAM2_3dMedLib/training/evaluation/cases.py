"""The labeled volumes that a manifest names, and their objects."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...volume.images import Volume, read_volume
from ...volume.planes import SliceAxis, acquisition_axis
from ..label_names import LabelNamesError, names_in_manifest

_LOG = logging.getLogger(__name__)
_COLUMNS = ("split", "dataset", "case", "modality", "labels", "image", "label")
# Difference of voxel-to-RAS entries (mm) under which image and labels are on one grid.
_GRID_TOLERANCE_MM = 1e-2


class EvaluationError(RuntimeError):
    """A manifest or a case that cannot be evaluated; the message says which and why."""


@dataclass(frozen=True)
class EvaluationCase:
    """One labeled volume of a manifest.

    Attributes:
        labels: label value to name, background left out.
        spacing_known: False where the manifest says the spacing is not known: no mm are reported then.
    """

    split: str
    dataset: str
    case: str
    modality: str
    labels: dict[int, str]
    image: Path
    label: Path
    spacing_known: bool = True


@dataclass(frozen=True, eq=False)
class LabeledVolume:
    """A case that was read.

    Attributes:
        labels: int64 `[K, J, I]` on the volume's grid.
        axis: across the slices as they were acquired; objects are prompted and followed along it.
    """

    case: EvaluationCase
    volume: Volume
    labels: np.ndarray
    axis: SliceAxis

    def objects(self) -> Iterator[tuple[int, str, np.ndarray]]:
        """Label, name and mask (bool `[K, J, I]`) of every object, by label; labels without a voxel are left out."""
        for label, name in sorted(self.case.labels.items()):
            mask = self.labels == label
            if mask.any():
                yield label, name, mask


def read_cases(
    manifest: Path, root: Path, split: str | None = None, dataset: str | None = None
) -> tuple[EvaluationCase, ...]:
    """The cases of a manifest with the columns of the project's data manifest, those of a split or data set if given.

    Raises:
        EvaluationError: unreadable, a column or a file is missing, or nothing is left to evaluate.
    """
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise EvaluationError(f"The manifest {manifest} has no column '{missing[0]}'; it needs: {_COLUMNS}.")
            cases = [_case_of(row, root, f"line {reader.line_num} of {manifest}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"The manifest {manifest} cannot be read ({error}); give a CSV file.") from error
    chosen = [c for c in cases if split in (None, c.split) and dataset in (None, c.dataset)]
    if not chosen:
        splits = ", ".join(sorted({case.split for case in cases}))
        datasets = ", ".join(sorted({case.dataset for case in cases}))
        raise EvaluationError(f"No case of {manifest} is chosen; it has the splits {splits} and data sets {datasets}.")
    for case in chosen:
        for path in (case.image, case.label):
            if not path.exists():
                raise EvaluationError(f"The file {path} of case '{case.case}' does not exist; check --root.")
    return tuple(chosen)


def open_case(case: EvaluationCase) -> LabeledVolume:
    """Read image and labels of a case.

    Raises:
        EvaluationError: they are not on one grid.
        VolumeError: one of the files cannot be used.
    """
    volume = read_volume(case.image)
    for note in volume.notes:
        _LOG.warning("%s: %s", case.case, note)
    volume = replace(volume, modality=case.modality.split()[0] if case.modality else volume.modality)
    truth = read_volume(case.label)
    same = volume.array.shape == truth.array.shape and np.allclose(
        volume.ijk_to_ras, truth.ijk_to_ras, rtol=0, atol=_GRID_TOLERANCE_MM
    )
    if not same:
        raise EvaluationError(f"Image and labels of case '{case.case}' are not on one grid; resample the labels first.")
    labels = np.rint(np.nan_to_num(truth.array)).astype(np.int64)
    return LabeledVolume(case, volume, labels, acquisition_axis(volume.geometry))


def _case_of(row: dict[str, str], root: Path, where: str) -> EvaluationCase:
    try:
        labels = names_in_manifest(row["labels"], where)
    except LabelNamesError as error:
        raise EvaluationError(str(error)) from error
    if not row["image"] or not row["label"]:
        raise EvaluationError(f"The image or label file is missing in {where}.")
    return EvaluationCase(
        split=row["split"],
        dataset=row["dataset"],
        case=row["case"],
        modality=row["modality"],
        labels=labels,
        image=root / row["image"],
        label=root / row["label"],
        spacing_known=not (row.get("spacing_source") or "").upper().startswith("NOT KNOWN"),
    )
