"""What a propagation costs by the number of slices that the object spans."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch

from ..propagation.predictor import SlicePredictor
from ..propagation.session import VolumeSession
from .benchmark_clock import Seconds, median, seconds_of
from .benchmark_scene import AXIS, Scene
from .benchmark_steps import follow, session_to_both_ends


class CostAxis(Enum):
    """Which seconds a plot shows: the wall clock's, or on a processor that others use too, its own."""

    WALL = "s"
    PROCESSOR = "s of processors"

    @classmethod
    def on(cls, device: torch.device) -> CostAxis:
        return cls.PROCESSOR if device.type == "cpu" else cls.WALL

    def of(self, seconds: Seconds) -> float:
        return seconds.wall if self is CostAxis.WALL else seconds.processor


@dataclass(frozen=True)
class CostPoint:
    """What it takes to propagate an object that spans `spanned` slices of a volume of `slices` that was never seen."""

    slices: int
    spanned: int
    seconds: Seconds
    encoded: int


def cost_of_span(predictor: SlicePredictor, scene: Scene, spanned: int, repeats: int) -> CostPoint:
    """The span is given as a slice range, so that random weights have one too."""
    first = max(0, min(scene.middle - spanned // 2, scene.slice_count - spanned))
    seconds: list[Seconds] = []
    encoded = 0
    for _ in range(repeats):
        session = session_to_both_ends(predictor, scene.volume)

        def work(session: VolumeSession = session) -> None:
            session.add_box("object", AXIS, *scene.box)
            follow(session, "object", (first, first + spanned - 1))

        seconds.append(seconds_of(work, predictor.device))
        encoded = session.encoded_count
        session.close()
    return CostPoint(scene.slice_count, spanned, median(seconds), encoded)
