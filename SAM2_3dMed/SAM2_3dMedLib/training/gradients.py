"""The gradient of a batch of clips: launched kernel by kernel, or replayed as CUDA graphs.

A step of 12 slices is some 20,000 kernels of a few microseconds each; launching them one by one takes 0.9 s whatever
the batch. Replayed as a graph they take what the device needs (NVIDIA H200, bf16, 2026-11-25: 24 clips of 12 slices of
256 px 0.20 s, 8 of 512 px 0.26 s, where they took 1.0 and 1.2 s; the same loss from the same seed).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Protocol

import torch

from ..network.model import SAM23dMed
from .batches import Batch
from .clip_forward import ClipForward, StepOutcome
from .losses import LossTerms
from .recipe import Stage
from .sampling import ClipBatch
from .scenario import Scenario

Autocast = Callable[[], torch.autocast]
_TERMS = tuple(entry.name for entry in fields(LossTerms))


class Gradients(Protocol):
    """Adds up gradients in the parameters' `grad`."""

    def clear(self) -> None:
        """Start a new sum."""

    def add(self, batch: Batch) -> StepOutcome:
        """Add the gradient of a batch's loss, divided by `stage.accumulate`; the outcome carries none itself."""


class EagerGradients:
    """Forward and backward pass, kernel by kernel; on any device, for stages of both kinds."""

    def __init__(self, forward: ClipForward, stage: Stage, autocast: Autocast) -> None:
        self.forward = forward
        self.stage = stage
        self.autocast = autocast

    def clear(self) -> None:
        for parameter in self.forward.network.parameters():
            parameter.grad = None

    def add(self, batch: Batch) -> StepOutcome:
        with self.autocast():
            if self.stage.kind == "images":
                outcome = self.forward.images(batch.clips, batch.scenario.first)
            else:
                outcome = self.forward.clip(batch.clips, batch.scenario)
        (outcome.terms.total(self.stage.losses) / self.stage.accumulate).backward()
        return _outcome_of(_facts_of(outcome))


class GraphedGradients:
    """One CUDA graph for each scenario: eager the first time, captured then and replayed from the second time on.

    All graphs add to the same `grad` tensors, made here once, and share one memory pool: they never run at the same
    time and nothing but gradients and facts outlives a replay.

    Args:
        forward: draws from the device's default generator (`generator=None`), which a graph advances at each replay.
    """

    def __init__(self, forward: ClipForward, stage: Stage, autocast: Autocast) -> None:
        if forward.generator is not None:
            raise ValueError("A graph draws from the device's default generator; give the forward pass none.")
        self._eager = EagerGradients(forward, stage, autocast)
        self._stream = torch.cuda.Stream()
        self._pool = torch.cuda.graph_pool_handle()
        self._captured: dict[Scenario, _Captured] = {}
        self._inputs: ClipBatch | None = None
        self._parameters = [entry for entry in forward.network.parameters() if entry.requires_grad]
        for parameter in self._parameters:
            parameter.grad = torch.zeros_like(parameter)

    def clear(self) -> None:
        torch._foreach_zero_([parameter.grad for parameter in self._parameters])

    def add(self, batch: Batch) -> StepOutcome:
        clips, captured = batch.clips, self._captured.get(batch.scenario)
        if captured is None:
            outcome = self._eager.add(batch)  # also fills every cache that is read on the way
            self._captured[batch.scenario] = self._capture(batch)  # runs nothing: the gradients stay as they are
            return outcome
        captured.clips.images.copy_(clips.images)
        captured.clips.masks.copy_(clips.masks)
        captured.clips.spacing_mm.copy_(clips.spacing_mm)
        captured.graph.replay()
        return _outcome_of(captured.facts)

    def _capture(self, batch: Batch) -> _Captured:
        clips, scenario = batch.clips, batch.scenario
        if self._inputs is None:
            self._inputs = clips.with_targets(
                clips.images.clone(), clips.masks.clone(), clips.real.clone(), clips.spacing_mm.clone()
            )
        inputs = self._inputs
        static = ClipBatch(inputs.images, inputs.masks, scenario.anchor, inputs.spacing_mm, inputs.real)
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        # thread_local: NCCL's watchdog asks for events from a thread of its own, which a global capture would not bear.
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            facts = _facts_of(self._eager.add(Batch(static, scenario)))
        return _Captured(graph, static, facts)


@dataclass(frozen=True)
class _Captured:
    """A graph, what it reads and what it writes besides gradients."""

    graph: torch.cuda.CUDAGraph
    clips: ClipBatch
    facts: torch.Tensor


def gradients_of(
    network: SAM23dMed, stage: Stage, generator: torch.Generator, precision: str
) -> EagerGradients | GraphedGradients:
    """What `stage` needs on the generator's device: graphs where it has a pool of scenarios and the device is CUDA."""
    device = generator.device
    graphed = stage.scenarios > 0 and device.type == "cuda"
    forward = ClipForward(network, stage.losses, None if graphed else generator, stage.prompts.srpp_mm)

    def autocast() -> torch.autocast:
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")

    return (GraphedGradients if graphed else EagerGradients)(forward, stage, autocast)


def _facts_of(outcome: StepOutcome) -> torch.Tensor:
    values = [getattr(outcome.terms, name) for name in _TERMS]
    values += [outcome.prompted_iou, outcome.tracked_iou, outcome.score_accuracy]
    return torch.stack([value.detach().float() for value in values])


def _outcome_of(facts: torch.Tensor) -> StepOutcome:
    values = list(facts.clone())
    return StepOutcome(LossTerms(*values[: len(_TERMS)]), *values[len(_TERMS) :])
