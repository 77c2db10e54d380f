"""How far a run is, and the learning rate there."""

from __future__ import annotations

import math

from .recipe import Stage


def learning_rate(stage: Stage, progress: float, step: int, rewarm: int = 0) -> float:
    """Cosine from `learning_rate` to `final_learning_rate` over `progress` 0..1, warmed up over the first steps.

    After a resumption without Adam's moments the warm-up starts again at step `rewarm`.
    """
    low, high = stage.final_learning_rate, stage.learning_rate
    value = low + (high - low) * 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
    return value * min(1.0, (step - rewarm + 1) / max(stage.warmup_steps, 1))


def stage_progress(stage: Stage, step: int, seconds: float) -> float:
    """How much of a stage is done, 0..1 and beyond."""
    return step / stage.steps if stage.steps is not None else seconds / (stage.minutes * 60.0)
