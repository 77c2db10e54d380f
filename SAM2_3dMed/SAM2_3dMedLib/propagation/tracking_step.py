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
class StepOutputs:
    """What B slices answer and leave behind.

    Attributes:
        logits: [B, 1, S/4, S/4] float32.
        scores: [B, 3] float32: predicted IoU, object score (logit), `confidence.boundary_certainties`.
        memory: [B, M, h, w] bfloat16, as SAM2VideoPredictor stores it.
        pointer: [B, C] float32.
        keys, values: [L, B, N, C], the memory projected.
    """

    logits: Tensor
    scores: Tensor
    memory: Tensor
    pointer: Tensor
    keys: Tensor
    values: Tensor

    @property
    def projected(self) -> ProjectedMemory:
        return ProjectedMemory(self.keys, self.values)

    def tensors(self) -> list[Tensor]:
        return [getattr(self, entry.name) for entry in fields(self)]


class TrackingStep:
    """The step; depends on nothing but its inputs and the network's weights."""

    def __init__(self, network: SAM23dMed, reader: MemoryReader) -> None:
        self._network = network
        self._reader = reader
        with torch.inference_mode():
            self._no_prompt = network.embed_prompts(1)

    def __call__(self, inputs: StepInputs) -> StepOutputs:
        """Run it under `SlicePredictor.running`."""
        features = inputs.features
        conditioned = self._reader.read(features.embedding, inputs.keys, inputs.values)
        prompt = self._no_prompt.expanded(len(features))
        # Without prompt SAM2 asks for three masks and takes the best.
        decoding = self._network.decode_embedded(conditioned, features, prompt, multimask=True)
        memory = self._network.encode_memory(
            features.embedding, decoding.logits, decoding.object_score, prompted=False
        ).to(torch.bfloat16)
        projected = self._reader.project(memory)
        certainty = boundary_certainties(decoding.logits)
        scores = torch.stack([decoding.iou.float(), decoding.object_score[:, 0].float(), certainty], dim=1)
        return StepOutputs(
            decoding.logits.float(), scores, memory, decoding.pointer.float(), projected.keys, projected.values
        )
