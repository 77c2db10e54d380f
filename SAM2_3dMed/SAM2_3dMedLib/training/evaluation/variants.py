"""The same objects prompted less and less carefully: how much does the result depend on the hand that prompts?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import numpy as np

from ...propagation.predictor import SlicePredictor
from ...propagation.prompts import BoxPrompt
from ...propagation.session import VolumeSession
from ...volume.planes import SliceAxis
from ..baselines import bounds_of_box, ellipse_in, ellipsoid_in
from ..metrics import dice
from ..prompt_variants import PromptVariant, Target, prompt_variants
from ..protocols import Protocol, slice_of
from .cases import EvaluationCase, LabeledVolume, open_case
from .objects import propagate_all
from .results import VariantResult
from .settings import DEFAULT_SETTINGS, SessionSettings


def evaluate_variants(
    predictor: SlicePredictor,
    case: EvaluationCase,
    protocol: Protocol,
    settings: SessionSettings = DEFAULT_SETTINGS,
) -> Iterator[VariantResult]:
    """Evaluate every labeled object of a case under every setting of a protocol that varies the prompt.

    Args:
        protocol: JITTER, POINT_POSITION or OFF_SLICE.
        settings: of the session.

    Raises:
        EvaluationError: image and labels are not on one grid.
        VolumeError: one of the files cannot be used.
    """
    opened = open_case(case)
    with closing(settings.open(predictor, opened.volume)) as session:
        for label, name, reference in opened.objects():
            identity = f"{case.split}/{case.dataset}/{case.case}/{label}"
            target = Target(identity, reference, opened.axis, opened.volume.geometry)
            for variant in prompt_variants(protocol, target):
                yield _evaluate(session, opened, (label, name), protocol, reference, variant)
                session.remove_object(name)


def _evaluate(
    session: VolumeSession,
    opened: LabeledVolume,
    named: tuple[int, str],
    protocol: Protocol,
    reference: np.ndarray,
    variant: PromptVariant,
) -> VariantResult:
    case, axis, name = opened.case, opened.axis, named[1]
    started = time.perf_counter()
    preview = session.add_prompt(name, variant.prompt)
    propagate_all(session, name)
    seconds = time.perf_counter() - started
    true_slice = slice_of(reference, axis, variant.index)
    ellipse = ellipsoid = None
    if isinstance(variant.prompt, BoxPrompt):
        bounds = bounds_of_box(variant.prompt)
        ellipse = dice(ellipse_in(bounds, true_slice.shape), true_slice)
        ellipsoid = dice(ellipsoid_in(bounds, axis, variant.index, reference), reference)
    return VariantResult(
        split=case.split,
        dataset=case.dataset,
        case=case.case,
        modality=case.modality,
        label=named[0],
        name=name,
        protocol=protocol.value,
        setting=variant.setting,
        axis=SliceAxis(axis).name,
        slice_index=variant.index,
        voxels=int(np.count_nonzero(reference)),
        dice=dice(session.mask(name), reference),
        prompted_slice_dice=dice(np.asarray(preview.mask, dtype=bool), true_slice),
        ellipse_slice_dice=ellipse,
        ellipsoid_dice=ellipsoid,
        seconds=seconds,
    )
