"""The tensors that pass between the network's stages, as frozen data classes instead of SAM2's dictionaries.

B is the number of slices, C the hidden width, S the input side; all maps are square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class BoundaryMaps:
    """What the boundary branch found.

    Attributes:
        features: [B, C/8, S/4, S/4], what the fusion adds to the decoder.
        logits: [B, 1, S/4, S/4], boundary logits before the sigmoid.
    """

    features: Tensor
    logits: Tensor


@dataclass(frozen=True)
class SliceFeatures:
    """Image features of B slices.

    Attributes:
        embedding: [B, C, S/16, S/16].
        high_res_s1: [B, C/4, S/8, S/8], SAM2's decoder skip, already projected by `conv_s1`.
        high_res_s0: [B, C/8, S/4, S/4], likewise by `conv_s0`.
        boundary: maps of the boundary branch; None when it is off or has not run.
    """

    embedding: Tensor
    high_res_s1: Tensor
    high_res_s0: Tensor
    boundary: BoundaryMaps | None = None

    def __len__(self) -> int:
        return self.embedding.shape[0]

    @property
    def nbytes(self) -> int:
        """Memory of all maps in bytes."""
        return sum(entry.nbytes for entry in self.maps())

    def select(self, index: int | slice | Tensor) -> SliceFeatures:
        """The features of some slices of the batch; an integer keeps the batch dimension."""
        if isinstance(index, int):
            index = slice(index, index + 1) if index != -1 else slice(-1, None)
        return self._map(lambda entry: entry[index])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> SliceFeatures:
        """The same features on another device."""
        return self._map(lambda entry: entry.to(device, non_blocking=non_blocking))

    def maps(self) -> list[Tensor]:
        """All maps, in a fixed order."""
        boundary = [] if self.boundary is None else [self.boundary.features, self.boundary.logits]
        return [self.embedding, self.high_res_s1, self.high_res_s0, *boundary]

    def expanded(self, count: int) -> SliceFeatures:
        """New memory for the features of `count` slices, filled with those of the first."""
        return self._map(lambda entry: entry[:1].repeat(count, 1, 1, 1))

    def _map(self, change) -> SliceFeatures:
        boundary = self.boundary and BoundaryMaps(change(self.boundary.features), change(self.boundary.logits))
        return SliceFeatures(
            change(self.embedding), change(self.high_res_s1), change(self.high_res_s0), boundary or None
        )

    @staticmethod
    def stack(batches: Sequence[SliceFeatures]) -> SliceFeatures:
        """One batch from several. Either all or none must have boundary maps."""
        boundaries = [entry.boundary for entry in batches if entry.boundary is not None]
        if boundaries and len(boundaries) != len(batches):
            raise ValueError("Some slices have boundary maps and some have none; run detect_boundary on all or none.")
        boundary = None
        if boundaries:
            boundary = BoundaryMaps(
                torch.cat([entry.features for entry in boundaries]), torch.cat([entry.logits for entry in boundaries])
            )
        return SliceFeatures(
            torch.cat([entry.embedding for entry in batches]),
            torch.cat([entry.high_res_s1 for entry in batches]),
            torch.cat([entry.high_res_s0 for entry in batches]),
            boundary,
        )


@dataclass(frozen=True)
class PromptEmbedding:
    """What the mask decoder reads of the prompts of B slices, float32.

    Attributes:
        sparse: [B, T, C], points and box corners.
        dense: [B, C, S/16, S/16], an earlier mask.
        position: [1, C, S/16, S/16], places on the map.
    """

    sparse: Tensor
    dense: Tensor
    position: Tensor

    def expanded(self, count: int) -> PromptEmbedding:
        """The same prompts for `count` slices; B must be 1."""
        return PromptEmbedding(self.sparse.expand(count, -1, -1), self.dense.expand(count, -1, -1, -1), self.position)


@dataclass(frozen=True)
class MaskDecoding:
    """What the mask decoder answers for B slices.

    Attributes:
        logits: [B, 1, S/4, S/4], the chosen mask's logits, float32; -1024 everywhere where the object score says that
            the object is not on the slice (SAM2's rule).
        candidates: [B, M, S/4, S/4], logits of all M masks asked for, before that rule (M is 1 or 3).
        candidate_ious: [B, M], predicted IoU in [0, 1].
        iou: [B], predicted IoU of the chosen mask.
        pointer: [B, C], object pointer for the memory.
        object_score: [B, 1], logit; above 0 the object is on the slice.
    """

    logits: Tensor
    candidates: Tensor
    candidate_ious: Tensor
    iou: Tensor
    pointer: Tensor
    object_score: Tensor


@dataclass(frozen=True)
class MemoryItem:
    """A spatial memory of one slice.

    Attributes:
        features: [B, M, S/16, S/16] from `encode_memory`.
        slot: 0 for a prompted (conditioning) slice; else how many slices back along the direction of travel,
            1 to num_maskmem - 1.
    """

    features: Tensor
    slot: int


@dataclass(frozen=True)
class PointerItem:
    """An object pointer of one slice.

    Attributes:
        pointer: [B, C].
        distance: slices from it to the current one along the direction of travel; negative when it lies ahead.
    """

    pointer: Tensor
    distance: int
