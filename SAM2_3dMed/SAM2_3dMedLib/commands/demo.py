"""`sam2-3dmed demo`: the main job on the bundled CT with the bundled weights, measured against its reference."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from ..volume.images import read_volume
from .engine import Device
from .errors import UserError
from .prompt_options import PromptText
from .segment import SegmentOutcome, SegmentRequest, run_segment

SAMPLE = "abdomen_ct"
# Name, value in the reference labels, box in voxels: a little wider than the organ, as a user draws it, on a slice
# where it is large.
BOXES = (
    ("liver", 6, "36,60,26,153,159,26"),
    ("spleen", 1, "150,66,20,191,126,20"),
)
COLORS = ("liver=#D55E00", "spleen=#56B4E9")


@dataclass(frozen=True)
class DemoScore:
    """Dice of one object of the demo against the reference labels."""

    name: str
    dice: float


def samples_folder() -> Path:
    """`Resources/Samples` of this checkout. Raises `UserError` where the package was installed without it."""
    folder = Path(__file__).resolve().parents[3] / "Resources" / "Samples"
    if not (folder / f"{SAMPLE}_img.nii.gz").is_file():
        raise UserError(f"The sample {SAMPLE} is not in {folder}; run the demo from a checkout of the repository.")
    return folder


def run_demo(output: Path, weights: str | None, console: Console) -> tuple[SegmentOutcome, list[DemoScore], float]:
    """Segment the sample into the folder `output`; the outcome, the scores, and the seconds it took.

    Raises:
        as `run_segment`.
    """
    folder = samples_folder()
    started = time.perf_counter()
    request = SegmentRequest(
        image=folder / f"{SAMPLE}_img.nii.gz",
        output=output / f"{SAMPLE}.seg.nrrd",
        prompts=PromptText(boxes=[f"{name}={corners}" for name, _, corners in BOXES], colors=COLORS),
        weights=weights,
        device=Device.AUTO,
    )
    outcome = run_segment(request, console)
    seconds = time.perf_counter() - started
    return outcome, scores_of(outcome, folder / f"{SAMPLE}_lab.nii.gz", [label for _, label, _ in BOXES]), seconds


def scores_of(outcome: SegmentOutcome, reference: Path, labels: Sequence[int]) -> list[DemoScore]:
    """Dice of each segment against a value of the reference labels."""
    truth = np.rint(read_volume(reference).array)
    scores = []
    for segment, found, label in zip(outcome.segments, outcome.masks, labels, strict=True):
        true = truth == label
        total = np.count_nonzero(found) + np.count_nonzero(true)
        scores.append(DemoScore(segment.name, 2.0 * np.count_nonzero(found & true) / total if total else 1.0))
    return scores
