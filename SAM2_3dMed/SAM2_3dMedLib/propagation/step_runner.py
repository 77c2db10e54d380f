"""What tracking keeps on the device, for all sessions of a predictor: projected memories, buffers and graphs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from ..network.features import SliceFeatures
from ..network.memory_reader import MemoryReader
from ..network.model import SAM23dMed
from .memory_bank import MemorySelection, SliceMemory, next_version
from .policies import MAX_POINTERS, RECENT_MEMORIES
from .projected_memories import DevicePointers, ProjectedMemories
from .tracking_graph import GraphedStep
from .tracking_step import StepAnswers, StepInputs, StepOutputs, TrackingStep

# The slice prompted first, one at each side, and the chain's last six; the pointers of all three and of fifteen more.
_USUAL_MEMORIES = 3 + RECENT_MEMORIES
_USUAL_POINTERS = 3 + MAX_POINTERS - 1
# How many prompted slices are seen, and how many of them lie behind: beyond the first prompt, between it and a
# correction, beyond the correction.
_USUAL_PROMPTED = ((1, 1), (2, 1), (2, 2))
# Two chains of 7 memories of tiny at 1024 px take 240 MB.
_MEMORY_BYTES = 512 << 20


class StepMode(Enum):
    """How a step gets its inputs.

    DIRECT: features as they lie. STATIC: everything is first brought to where it was for the step before, as a graph
    needs it; on CUDA the step is then captured.
    """

    DIRECT = "direct"
    STATIC = "static"

    @classmethod
    def default(cls, device: torch.device) -> StepMode:
        return cls.STATIC if device.type == "cuda" else cls.DIRECT


@dataclass(frozen=True)
class TrackedBatch:
    """What a step gave, on the device, and the versions under which its memories are known."""

    outputs: StepOutputs
    versions: tuple[int, ...]


@dataclass(frozen=True)
class _Buffers:
    """Where keys, values [L, B, T, C] and features of a batch of B lie."""

    keys: Tensor
    values: Tensor
    features: SliceFeatures | None

    def hold(self, batches: Sequence[SliceFeatures]) -> SliceFeatures:
        """Copy the features of B slices here."""
        assert self.features is not None
        for row, entry in enumerate(batches):
            for kept, given in zip(self.features.maps(), entry.maps(), strict=True):
                kept[row : row + 1].copy_(given)
        return self.features


class StepRunner:
    """Runs the tracking step for slices whose memories are alike. Call under `SlicePredictor.running`."""

    def __init__(self, network: SAM23dMed, device: torch.device, mode: StepMode) -> None:
        self._reader = MemoryReader(network)
        self._device = device
        self._mode = mode
        self._memories = ProjectedMemories(self._reader, device, _MEMORY_BYTES)
        self._pointers = DevicePointers(device)
        self._buffers: dict[int, _Buffers] = {}
        self._step = TrackingStep(network, self._reader)
        self._graphed = GraphedStep(self._step) if mode is StepMode.STATIC and device.type == "cuda" else None

    @property
    def note(self) -> str:
        """For a report: how the steps run."""
        if self._graphed is None:
            return f"Tracking steps run {self._mode.value}."
        if self._graphed.refusal:
            return f"Tracking steps run without CUDA graphs: {self._graphed.refusal}"
        return f"Tracking steps run as CUDA graphs ({self._graphed.captured} captured)."

    @property
    def remembers_later(self) -> bool:
        """Whether a slice's memory is made when it is first looked at: `answer` and `remember`, not `run`.

        Where nothing works ahead it costs only what it is made for: not the slice at which an object is found to have
        ended, and not a preview that is answered once more (36 of the 62 ms of a click, two cores, 2026-11-28).
        """
        return self._mode is StepMode.DIRECT and self._device.type == "cpu"

    def run(self, selections: Sequence[MemorySelection], features: Sequence[SliceFeatures]) -> TrackedBatch:
        """Track B slices.

        Args:
            selections: what each slice sees, all of one `layout`.
            features: of each slice, batch size 1.
        """
        key, inputs = self._inputs(selections, features)
        outputs = self._step(inputs) if self._graphed is None else self._graphed(key, inputs)
        versions = tuple(next_version() for _ in features)
        self._memories.keep(versions, outputs.projected)
        self._pointers.keep(versions, outputs.pointer)
        return TrackedBatch(outputs, versions)

    def answer(self, selections: Sequence[MemorySelection], features: Sequence[SliceFeatures]) -> StepAnswers:
        """`run` without what the slices leave behind."""
        return self._step.answer(self._inputs(selections, features)[1])

    def remember(self, embedding: Tensor, answers: StepAnswers) -> Tensor:
        """What slices that `answer` answered leave behind; see `TrackingStep.remember`."""
        return self._step.remember(embedding, answers)

    def warm_up(self, features: SliceFeatures, batch: int) -> Iterator[None]:
        """Capture the graphs of a propagation and of one correction, for up to `batch` slices at once.

        One graph a step of the iterator, some 25 ms each: whoever takes the steps can stop between them. Without graphs
        there is nothing to do.

        Args:
            features: of any slice, batch size 1.
        """
        if self._graphed is None:
            return
        for size, tokens in itertools.product(range(batch, 0, -1), dict.fromkeys(self._usual_tokens())):
            buffers = self._buffers_for(tokens, [features] * size)
            held = buffers.hold([features] * size)
            inputs = StepInputs(held, buffers.keys[:, :, :tokens].zero_(), buffers.values[:, :, :tokens].zero_())
            self._graphed.prepare((size, tokens), inputs)
            yield

    def _usual_tokens(self) -> Iterator[int]:
        reader = self._reader
        for (prompted, past), passed in itertools.product(_USUAL_PROMPTED, range(MAX_POINTERS)):
            memories, pointers = prompted + min(passed, RECENT_MEMORIES), past + passed
            yield memories * reader.memory_tokens + pointers * reader.pointer_tokens

    def forget_memories(self) -> None:
        """Give back the memories of slices, as when their session ends; what others need is projected again."""
        self._memories.clear()
        self._pointers.clear()

    def release(self) -> None:
        """Give back all that can be made again."""
        self.forget_memories()
        self._buffers.clear()
        if self._graphed is not None:
            self._graphed.clear()

    def _inputs(
        self, selections: Sequence[MemorySelection], features: Sequence[SliceFeatures]
    ) -> tuple[tuple[int, int], StepInputs]:
        """A step's inputs, and what says which shapes they have."""
        first = selections[0]
        tokens = len(first.memories) * self._reader.memory_tokens + len(first.pointers) * self._reader.pointer_tokens
        buffers = self._buffers_for(tokens, features)
        keys, values = buffers.keys[:, :, :tokens], buffers.values[:, :, :tokens]
        self._fill(keys, values, selections)
        if self._mode is StepMode.STATIC:
            held = buffers.hold(features)
        else:
            held = features[0] if len(features) == 1 else SliceFeatures.stack(features)
        return (len(features), tokens), StepInputs(held, keys, values)

    def _fill(self, keys: Tensor, values: Tensor, selections: Sequence[MemorySelection]) -> None:
        """Put the memories' and pointers' keys and values one after another into `keys` and `values` [L, B, T, C]."""
        reader, start = self._reader, 0
        for number, entry in enumerate(selections[0].memories):
            projected = self._memories.get([selection.memories[number].memory for selection in selections])
            end = start + reader.memory_tokens
            torch.add(projected.keys, reader.age(entry.offset), out=keys[:, :, start:end])
            values[:, :, start:end].copy_(projected.values)
            start = end
        pointers = selections[0].pointers
        if not pointers:
            return
        stacked = self._stacked_pointers([[item.memory for item in selection.pointers] for selection in selections])
        distances = [entry.offset for entry in pointers]
        projected = reader.project_pointers(stacked, distances, selections[0].max_pointers)
        keys[:, :, start:].copy_(projected.keys)
        values[:, :, start:].copy_(projected.values)

    def _stacked_pointers(self, chains: Sequence[Sequence[SliceMemory]]) -> Tensor:
        """[P, B, C] from the P memories of each of B slices."""
        rows = [torch.cat([self._pointers.get(memory) for memory in chain]) for chain in chains]
        return torch.stack(rows, dim=1)

    def _buffers_for(self, tokens: int, features: Sequence[SliceFeatures]) -> _Buffers:
        """Those of the batch's size, made anew when they are too small."""
        batch, reader = len(features), self._reader
        kept = self._buffers.get(batch)
        if kept is None or kept.keys.shape[2] < tokens:
            usual = _USUAL_MEMORIES * reader.memory_tokens + _USUAL_POINTERS * reader.pointer_tokens
            shape = (reader.layer_count, batch, max(tokens, usual), reader.width)
            keys, values = (torch.empty(shape, dtype=reader.dtype, device=self._device) for _ in range(2))
            if kept is not None and self._graphed is not None:
                self._graphed.clear()  # its graphs read the old ones
            held = features[0].expanded(batch) if self._mode is StepMode.STATIC else None
            kept = self._buffers[batch] = _Buffers(keys, values, held)
        return kept
