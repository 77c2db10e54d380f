"""Evaluation of a model on labeled volumes: every labeled object, simulated prompts, one result an object."""

from __future__ import annotations

import csv
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..propagation.predictor import SlicePredictor
from ..propagation.session import VolumeSession
from ..volume.images import Volume, read_volume
from ..volume.intensity import window_from
from ..volume.planes import SliceAxis, acquisition_axis
from .metrics import dice, iou, slice_scores, surface_score
from .protocols import (
    MAX_CORRECTIONS,
    Protocol,
    box_prompt,
    correction_prompt,
    inscribed_ellipse,
    is_single_pixel,
    largest_slice,
    point_prompt,
    slice_of,
)

_LOG = logging.getLogger(__name__)
_COLUMNS = ("split", "dataset", "case", "modality", "labels", "image", "label")
# Relative difference of voxel-to-RAS entries (mm) under which image and labels are on one grid.
_GRID_TOLERANCE_MM = 1e-2


class EvaluationError(RuntimeError):
    """A manifest or a case that cannot be evaluated; the message says which and why."""


@dataclass(frozen=True)
class EvaluationCase:
    """One labeled volume of a manifest.

    Attributes:
        labels: label value to name.
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


@dataclass(frozen=True)
class ObjectResult:
    """What one object of one case scored. Lengths in mm; None where the spacing is not known.

    Attributes:
        slice_index: the prompted slice along `axis` (I, J or K).
        prompted_slice_dice: Dice of the preview on the prompted slice, before anything propagates.
        ellipse_slice_dice: Dice there of the ellipse inscribed in the tight box: what a box alone gives.
        dice_by_clicks: 3D Dice after 0, 1, 2 ... correction clicks; the other scores are of the last.
        seconds_to_preview: first prompt to first preview, the encoding of that slice included.
        seconds: all prompts and propagations; objects of a case share encoded slices, so the first pays for most.
    """

    split: str
    dataset: str
    case: str
    modality: str
    label: int
    name: str
    protocol: str
    axis: str
    slice_index: int
    voxels: int
    dice: float
    iou: float
    hd95_mm: float | None
    nsd_1mm: float | None
    nsd_2mm: float | None
    worst_slice_dice: float
    worst_slice: int
    slices_missed: int
    slices_leaked: int
    prompted_slice_dice: float
    ellipse_slice_dice: float
    dice_by_clicks: tuple[float, ...]
    seconds_to_preview: float
    seconds: float


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


def _case_of(row: dict[str, str], root: Path, where: str) -> EvaluationCase:
    try:
        labels = {int(value): str(name) for value, name in json.loads(row["labels"]).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise EvaluationError(f"The labels in {where} are not a JSON table of numbers and names.") from error
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


def evaluate_case(
    predictor: SlicePredictor, case: EvaluationCase, protocol: Protocol, window: str = "auto"
) -> Iterator[ObjectResult]:
    """Evaluate every labeled object of a case, in the order of the labels; labels without a voxel are left out.

    Args:
        window: as `volume.intensity.window_from`.

    Raises:
        EvaluationError: image and labels are not on one grid.
        VolumeError: one of the files cannot be used.
    """
    volume = read_volume(case.image)
    for note in volume.notes:
        _LOG.warning("%s: %s", case.case, note)
    volume = replace(volume, modality=case.modality.split()[0] if case.modality else volume.modality)
    truth = read_volume(case.label)
    _check_grid(case, volume, truth)
    labels = np.rint(truth.array).astype(np.int64)
    session = VolumeSession(predictor, volume, window=window_from(window, volume))
    for label, name in sorted(case.labels.items()):
        reference = labels == label
        if reference.any():
            yield _evaluate_object(session, volume, reference, case, (label, name), protocol)
            session.remove_object(name)


def _check_grid(case: EvaluationCase, volume: Volume, truth: Volume) -> None:
    same = volume.array.shape == truth.array.shape and np.allclose(
        volume.ijk_to_ras, truth.ijk_to_ras, rtol=0, atol=_GRID_TOLERANCE_MM
    )
    if not same:
        raise EvaluationError(f"Image and labels of case '{case.case}' are not on one grid; resample the labels first.")


def _evaluate_object(
    session: VolumeSession,
    volume: Volume,
    reference: np.ndarray,
    case: EvaluationCase,
    named: tuple[int, str],
    protocol: Protocol,
) -> ObjectResult:
    label, name = named
    axis = acquisition_axis(volume.geometry)
    index = largest_slice(reference, axis)
    started = time.perf_counter()
    if protocol is Protocol.POINT or is_single_pixel(reference, axis, index):
        point = point_prompt(reference, axis, index, volume.geometry)
        preview = session.add_point(name, axis, point.position, True)
    else:
        box = box_prompt(reference, axis, index)
        preview = session.add_box(name, axis, box.corner_a, box.corner_b)
    to_preview = time.perf_counter() - started
    _propagate(session, name)
    seconds = time.perf_counter() - started

    prediction = session.mask(name)
    by_clicks = [dice(prediction, reference)]
    while protocol is Protocol.CORRECTIONS and len(by_clicks) <= MAX_CORRECTIONS:
        click = correction_prompt(prediction, reference, axis, volume.geometry)
        if click is None:
            break
        started = time.perf_counter()
        session.add_point(name, axis, click.position, click.positive)
        _propagate(session, name)
        seconds += time.perf_counter() - started
        prediction = session.mask(name)
        by_clicks.append(dice(prediction, reference))

    surface = surface_score(prediction, reference, volume.spacing) if case.spacing_known else None
    slices = slice_scores(prediction, reference, 2 - axis)
    true_slice = slice_of(reference, axis, index)
    return ObjectResult(
        split=case.split,
        dataset=case.dataset,
        case=case.case,
        modality=case.modality,
        label=label,
        name=name,
        protocol=protocol.value,
        axis=SliceAxis(axis).name,
        slice_index=index,
        voxels=int(np.count_nonzero(reference)),
        dice=by_clicks[-1],
        iou=iou(prediction, reference),
        hd95_mm=surface.hd95_mm if surface else None,
        nsd_1mm=surface.nsd_1mm if surface else None,
        nsd_2mm=surface.nsd_2mm if surface else None,
        worst_slice_dice=slices.worst_dice,
        worst_slice=slices.worst_index,
        slices_missed=slices.missed,
        slices_leaked=slices.leaked,
        prompted_slice_dice=dice(np.asarray(preview.mask, dtype=bool), true_slice),
        ellipse_slice_dice=dice(inscribed_ellipse(true_slice), true_slice),
        dice_by_clicks=tuple(by_clicks),
        seconds_to_preview=to_preview,
        seconds=seconds,
    )


def _propagate(session: VolumeSession, object_id: str) -> None:
    for _ in session.propagate(object_id):
        pass
