"""What a propagation costs by the number of slices that the object spans."""

from __future__ import annotations

from dataclasses import dataclass

from ..propagation.predictor import SlicePredictor
from ..propagation.session import VolumeSession
from .benchmark_clock import median, seconds_of
from .benchmark_scene import AXIS, Scene
from .benchmark_steps import follow, session_to_both_ends


@dataclass(frozen=True)
class CostPoint:
    """Seconds to propagate an object that spans `spanned` slices of a volume of `slices`, the volume never seen."""

    slices: int
    spanned: int
    seconds: float
    encoded: int


def cost_of_span(predictor: SlicePredictor, scene: Scene, spanned: int, repeats: int) -> CostPoint:
    """The span is given as a slice range, so that random weights have one too."""
    first = max(0, min(scene.middle - spanned // 2, scene.slice_count - spanned))
    seconds: list[float] = []
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
