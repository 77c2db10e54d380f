"""The arms of the ablation: what is switched on, how long the clips are, and by which trials an arm is judged."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..network.config import Parts
from ..propagation.policy_choice import PolicyChoice
from .packed_evaluation import PackedResult
from .recipe import Recipe, Stage

BASELINE = "plain SAM2"
START = "common start"  # what every arm starts from, evaluated as it is


@dataclass(frozen=True)
class Trial:
    """How an object is prompted and followed: `boxes` as in `evaluate_packed`."""

    policy: PolicyChoice = PolicyChoice.BRACKETED
    boxes: int = 1


# With a single prompted slice SAM2's policy and the bracketed one choose the same memories; three slices part them.
MEMORY_TRIALS = (
    Trial(PolicyChoice.CONFIDENT),
    Trial(PolicyChoice.SAM2, boxes=3),
    Trial(PolicyChoice.BRACKETED, boxes=3),
    Trial(PolicyChoice.CONFIDENT, boxes=3),
)


@dataclass(frozen=True)
class Arm:
    """One variant of network and clip.

    Attributes:
        parts: what is switched on; everything else is SAM2.
        slices: D, slices of a training clip; the batch changes with it, so that a step sees as many slices.
        trials: how it is evaluated.
    """

    name: str
    parts: Parts
    slices: int = 12
    trials: tuple[Trial, ...] = (Trial(),)


ARMS: tuple[Arm, ...] = (
    Arm(BASELINE, Parts.none(), trials=(Trial(), *MEMORY_TRIALS)),
    # The paper's own arrangement: SRPP reads the frozen encoder, nothing of it reaches the segmentation (method.md).
    Arm("SRPP, literal", Parts(srpp=True)),
    Arm("adapter", Parts(adapter=True)),
    Arm("adapter + SRPP", Parts(adapter=True, srpp=True)),
    Arm("BD", Parts(bd=True)),
    Arm("BD + fusion", Parts(bd=True, bd_fusion=True)),
    Arm("all", Parts.all(), trials=(Trial(), *MEMORY_TRIALS)),
    Arm("all, D = 6", Parts.all(), slices=6),
    Arm("all, D = 3", Parts.all(), slices=3),
)


@dataclass(frozen=True)
class Cost:
    """What a run cost.

    Attributes:
        train_seconds: training, graphs captured included.
        step_seconds: one step once all graphs are captured.
        parameters: of the network that segments; SRPP's head, which only trains, is not among them.
        trained_parameters: with a gradient, SRPP's head included.
        gpu_gib: most memory that training took; 0 on the CPU.
    """

    train_seconds: float
    step_seconds: float
    parameters: int
    trained_parameters: int
    gpu_gib: float


@dataclass(frozen=True)
class AblationRow:
    """One object of one run under one trial."""

    arm: str
    seed: int
    policy: str
    boxes: int
    split: str
    result: PackedResult
    cost: Cost


def start_recipe(base: Recipe) -> Recipe:
    """The recipe of the common start: plain SAM2 through the base's first stage."""
    return replace(base, name=f"{base.name}: start", parts=Parts.none(), stages=base.stages[:1])


def arm_recipe(base: Recipe, arm: Arm, seed: int, start: str | None, steps: int | None) -> Recipe:
    """The recipe of one run: the base's last stage with the arm's parts and as many slices a step.

    Args:
        start: weight file of the common start; None: the base's own initial weights.
        steps: instead of the base's; the warm-up then takes at most a sixth of them.
    """
    stage = base.stages[-1]
    if steps is not None:
        stage = replace(stage, steps=steps, warmup_steps=min(stage.warmup_steps, max(1, steps // 6)))
    changes = {} if start is None else {"initial_weights": start, "initial_skipped": ()}
    return replace(
        base,
        name=f"{base.name}: {arm.name}",
        parts=arm.parts,
        seed=seed,
        stages=(_with_slices(stage, arm.slices),),
        **changes,
    )


def _with_slices(stage: Stage, slices: int) -> Stage:
    clips = max(1, round(stage.batch * stage.sampling.slices / slices))
    return replace(stage, batch=clips, sampling=replace(stage.sampling, slices=slices))
