"""One tracked slice as a function of tensors: the shapes say everything, nothing waits for the device.

Memory attention, mask decoder, memory encoder and the projection of the new memory, for a batch of slices whose
memories are alike. What is written here can be captured as a CUDA graph (`tracking_graph`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..network.features import SliceFeatures
from ..network.memory_reader import MemoryReader, ProjectedMemory
from ..network.model import SAM23dMed
from .confidence import boundary_certainties


@dataclass(frozen=True)
class StepInputs:
    """A batch of B slices and what each sees.

    Attributes:
        features: of the slices.
        keys, values: [L, B, T, C] of all memories and pointers, T tokens.
    """

    features: SliceFeatures
    keys: Tensor
    values: Tensor


@dataclass(frozen=True)
class StepAnswers:
    """What B slices answer.

    Attributes:
        logits: [B, 1, S/4, S/4] float32.
        scores: [B, 3] float32: predicted IoU, object score (logit), `confidence.boundary_certainties`.
        pointer: [B, C] float32.
    """

    logits: Tensor
    scores: Tensor
    pointer: Tensor

    def of(self, row: int) -> StepAnswers:
        """Those of one slice, tensors of their own."""
        mine = slice(row, row + 1)
        return StepAnswers(self.logits[mine].clone(), self.scores[mine].clone(), self.pointer[mine].clone())


@dataclass(frozen=True)
class StepOutputs(StepAnswers):
    """What B slices answer and leave behind.

    Attributes:
        memory: [B, M, h, w] bfloat16, as SAM2VideoPredictor stores it.
        keys, values: [L, B, N, C], the memory projected.
    """

    memory: Tensor
    keys: Tensor
    values: Tensor

    @property
    def projected(self) -> ProjectedMemory:
        return ProjectedMemory(self.keys, self.values)

    def tensors(self) -> list[Tensor]:
        return [getattr(self, entry.name) for entry in fields(self)]


class TrackingStep:
    """The step; depends on nothing but its inputs and the network's weights. Run it under `SlicePredictor.running`."""

    def __init__(self, network: SAM23dMed, reader: MemoryReader) -> None:
        self._network = network
        self._reader = reader
        with torch.inference_mode():
            self._no_prompt = network.embed_prompts(1)

    def __call__(self, inputs: StepInputs) -> StepOutputs:
        """All of it."""
        answers = self.answer(inputs)
        memory = self.remember(inputs.features.embedding, answers)
        projected = self._reader.project(memory)
        return StepOutputs(answers.logits, answers.scores, answers.pointer, memory, projected.keys, projected.values)

    def answer(self, inputs: StepInputs) -> StepAnswers:
        """The first part."""
        features = inputs.features
        conditioned = self._reader.read(features.embedding, inputs.keys, inputs.values)
        prompt = self._no_prompt.expanded(len(features))
        # Without prompt SAM2 asks for three masks and takes the best.
        decoding = self._network.decode_embedded(conditioned, features, prompt, multimask=True)
        certainty = boundary_certainties(decoding.logits)
        scores = torch.stack([decoding.iou.float(), decoding.object_score[:, 0].float(), certainty], dim=1)
        return StepAnswers(decoding.logits.float(), scores, decoding.pointer.float())

    def remember(self, embedding: Tensor, answers: StepAnswers) -> Tensor:
        """The second part: `StepOutputs.memory` of slices with this embedding [B, C, h, w]."""
        memory = self._network.encode_memory(embedding, answers.logits, answers.scores[:, 1:2], prompted=False)
        return memory.to(torch.bfloat16)
