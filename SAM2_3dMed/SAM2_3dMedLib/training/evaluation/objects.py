"""One box, one point, or a box and corrections for every labeled object: what came out, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch

from ...propagation.predictor import SlicePredictor
from ...propagation.prompts import Prompt
from ...propagation.session import VolumeSession
from ...volume.images import Volume
from ...volume.intensity import Window
from ...volume.planes import SliceAxis
from ..baselines import bounds_of_mask, ellipse_in, ellipsoid_in
from ..metrics import dice, iou, slice_consistency, slice_scores, surface_score
from ..protocols import (
    MAX_CORRECTIONS,
    Protocol,
    correction_prompt,
    first_prompt,
    largest_slice,
    point_prompt,
    slice_of,
)
from .cases import EvaluationCase, LabeledVolume, open_case
from .results import ObjectResult
from .settings import DEFAULT_SETTINGS, SessionSettings


@dataclass(frozen=True, eq=False)
class ObjectEvaluation:
    """A result and what it was made from, for pictures.

    Attributes:
        prompts: all that were given, in order.
        prediction, reference: bool `[K, J, I]`.
    """

    result: ObjectResult
    volume: Volume
    window: Window
    prompts: tuple[Prompt, ...]
    prediction: np.ndarray
    reference: np.ndarray


@dataclass(frozen=True, eq=False)
class _Outcome:
    """What a session answered: the preview on the prompted slice, the final mask, and Dice and seconds on the way."""

    prompts: tuple[Prompt, ...]
    preview: np.ndarray
    prediction: np.ndarray
    dice_by_clicks: tuple[float, ...]
    seconds_to_preview: float
    seconds: float


def evaluate_case(
    predictor: SlicePredictor,
    case: EvaluationCase,
    protocol: Protocol,
    settings: SessionSettings = DEFAULT_SETTINGS,
) -> Iterator[ObjectEvaluation]:
    """Evaluate every labeled object of a case, in the order of the labels; labels without a voxel are left out.

    Args:
        protocol: BOX, POINT or CORRECTIONS.
        settings: of the session.

    Raises:
        EvaluationError: image and labels are not on one grid.
        VolumeError: one of the files cannot be used.
    """
    opened = open_case(case)
    on_cuda = predictor.device.type == "cuda"
    with closing(settings.open(predictor, opened.volume)) as session:
        for label, name, reference in opened.objects():
            if on_cuda:
                torch.cuda.reset_peak_memory_stats(predictor.device)
            outcome = _interact(session, opened, name, reference, protocol)
            memory = torch.cuda.max_memory_allocated(predictor.device) / 2**20 if on_cuda else None
            session.remove_object(name)
            result = _result(opened, (label, name), protocol, reference, outcome, memory)
            yield ObjectEvaluation(
                result, opened.volume, session.window, outcome.prompts, outcome.prediction, reference
            )


def _interact(
    session: VolumeSession, opened: LabeledVolume, name: str, reference: np.ndarray, protocol: Protocol
) -> _Outcome:
    axis, geometry = opened.axis, opened.volume.geometry
    index = largest_slice(reference, axis)
    choose = point_prompt if protocol is Protocol.POINT else first_prompt
    prompts: list[Prompt] = [choose(reference, axis, index, geometry)]
    started = time.perf_counter()
    preview = session.add_prompt(name, prompts[0])
    to_preview = time.perf_counter() - started
    propagate_all(session, name)
    seconds = time.perf_counter() - started

    prediction = session.mask(name)
    by_clicks = [dice(prediction, reference)]
    while protocol is Protocol.CORRECTIONS and len(by_clicks) <= MAX_CORRECTIONS:
        click = correction_prompt(prediction, reference, axis, geometry)
        if click is None:
            break
        prompts.append(click)
        started = time.perf_counter()
        session.add_prompt(name, click)
        propagate_all(session, name)
        seconds += time.perf_counter() - started
        prediction = session.mask(name)
        by_clicks.append(dice(prediction, reference))
    shown = np.asarray(preview.mask, dtype=bool)
    return _Outcome(tuple(prompts), shown, prediction, tuple(by_clicks), to_preview, seconds)


def _result(
    opened: LabeledVolume,
    named: tuple[int, str],
    protocol: Protocol,
    reference: np.ndarray,
    outcome: _Outcome,
    memory_mib: float | None,
) -> ObjectResult:
    case, axis, prediction = opened.case, opened.axis, outcome.prediction
    index = largest_slice(reference, axis)
    true_slice = slice_of(reference, axis, index)
    bounds = bounds_of_mask(true_slice)
    surface = surface_score(prediction, reference, opened.volume.spacing) if case.spacing_known else None
    slices = slice_scores(prediction, reference, axis.array_axis)
    return ObjectResult(
        split=case.split,
        dataset=case.dataset,
        case=case.case,
        modality=case.modality,
        label=named[0],
        name=named[1],
        protocol=protocol.value,
        axis=SliceAxis(axis).name,
        slice_index=index,
        voxels=int(np.count_nonzero(reference)),
        dice=outcome.dice_by_clicks[-1],
        iou=iou(prediction, reference),
        hd95_mm=surface.hd95_mm if surface else None,
        nsd_1mm=surface.nsd_1mm if surface else None,
        nsd_2mm=surface.nsd_2mm if surface else None,
        worst_slice_dice=slices.worst_dice,
        worst_slice=slices.worst_index,
        slices_missed=slices.missed,
        slices_leaked=slices.leaked,
        prompted_slice_dice=dice(outcome.preview, true_slice),
        ellipse_slice_dice=dice(ellipse_in(bounds, true_slice.shape), true_slice),
        dice_by_clicks=outcome.dice_by_clicks,
        seconds_to_preview=outcome.seconds_to_preview,
        seconds=outcome.seconds,
        ellipsoid_dice=dice(ellipsoid_in(bounds, axis, index, reference), reference),
        slice_consistency=slice_consistency(prediction, reference, axis.array_axis),
        gpu_memory_mib=memory_mib,
    )


def propagate_all(session: VolumeSession, object_id: str) -> None:
    """Propagate an object to the end."""
    for _ in session.propagate(object_id):
        pass
