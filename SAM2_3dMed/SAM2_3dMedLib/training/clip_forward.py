"""One training step's forward pass: a clip goes through the network as a user's session would take it.

All slices are encoded at once; one slice (sometimes two) is prompted; from there the masks travel forward and backward
with SAM2's memory policy; some slices are corrected with clicks in the error region; every slice is supervised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as functional

from ..network.features import BoundaryMaps, MaskDecoding, SliceFeatures
from ..network.model import SAM23dMed
from . import losses
from .losses import LossTerms, LossWeights
from .sampling import ClipBatch
from .scenario import Prompting, PromptKind, Scenario
from .simulated_prompts import (
    PointPrompts,
    box_prompts,
    correction_prompts,
    mask_prompts,
    point_prompts,
)
from .travel import MAX_POINTERS, Remembered, Way, WayStep, joined, sam2_memories

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
PRESENT_PIXELS = 4  # fewer pixels than this at network resolution count as "the object is not on the slice"


@dataclass
class _Tally:
    """Sums over slices and decodings, on the device; `reached` splits IoU by prompted and propagated slices."""

    pixel: list[torch.Tensor] = field(default_factory=list)
    dice: list[torch.Tensor] = field(default_factory=list)
    iou: list[torch.Tensor] = field(default_factory=list)
    present: list[torch.Tensor] = field(default_factory=list)
    score: list[torch.Tensor] = field(default_factory=list)
    counted: list[torch.Tensor] = field(default_factory=list)
    prompted_iou: list[torch.Tensor] = field(default_factory=list)
    tracked_iou: list[torch.Tensor] = field(default_factory=list)
    score_right: list[torch.Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class StepOutcome:
    """Loss terms with gradient, and detached scalars: IoU on prompted and on propagated slices, object-score accuracy.

    An IoU is NaN where no slice of its kind showed the object.
    """

    terms: LossTerms
    prompted_iou: torch.Tensor
    tracked_iou: torch.Tensor
    score_accuracy: torch.Tensor


def normalize(images: torch.Tensor) -> torch.Tensor:
    """`[N, S, S]` in [0, 1] -> `[N, 3, S, S]` with SAM2's mean and standard deviation."""
    # Channel by channel with numbers: a tensor made from a list is a copy from the host, which no CUDA graph can hold.
    channels = [(images - mean) / std for mean, std in zip(IMAGE_MEAN, IMAGE_STD, strict=True)]
    return torch.stack(channels, dim=1)


class ClipForward:
    """Runs clips through a network and collects the losses.

    What happens is decided before (`scenario`); `generator` draws where prompts lie, on the device (None: its default
    generator). `srpp_mm`: SRPP counts distances in units of 5 mm instead of slices.
    """

    def __init__(
        self,
        network: SAM23dMed,
        weights: LossWeights,
        generator: torch.Generator | None,
        srpp_mm: bool = False,
    ) -> None:
        self.network = network
        self.weights = weights
        self.generator = generator
        self.srpp_mm = srpp_mm

    # -- the two kinds of step ----------------------------------------------------------------------------------------

    def images(self, clips: ClipBatch, prompting: Prompting) -> StepOutcome:
        """Every slice on its own: prompted, no memory. Slices without the object are not counted.

        A given mask is returned as it is and would leave no loss: prompt with boxes or points.
        """
        features, context = self._encode(clips)
        every = replace(features, embedding=context.flatten(0, 1))
        masks = clips.masks.flatten(0, 1)
        tally = _Tally()
        self._answer_prompts(prompting, every, masks, tally, count_absent=False)
        return self._outcome(tally, clips, features, context)

    def clip(self, clips: ClipBatch, scenario: Scenario) -> StepOutcome:
        """Prompt slice `clips.anchor`, propagate both ways with memory, supervise every slice.

        Raises:
            ValueError: the scenario's anchor is not that of the clips.
        """
        if scenario.anchor != clips.anchor:
            raise ValueError(f"The scenario starts on slice {scenario.anchor}, the clips on {clips.anchor}.")
        features, context = self._encode(clips)
        per_slice = _per_slice(features, context)
        tally = _Tally()
        prompted: dict[int, Remembered] = {}
        for place, prompting in scenario.prompted.items():
            chosen = per_slice[place]
            decoding = self._answer_prompts(prompting, chosen, clips.masks[:, place], tally, count_absent=True)
            prompted[place] = self._remember(chosen, decoding, prompted=True)
        self._travel(per_slice, clips, prompted, scenario.corrected, tally)
        return self._outcome(tally, clips, features, context)

    # -- parts --------------------------------------------------------------------------------------------------------

    def _encode(self, clips: ClipBatch) -> tuple[SliceFeatures, torch.Tensor]:
        """Features of all B * D slices (boundary maps included) and the adapted embeddings `[B, D, C, h, w]`."""
        batch, slices = clips.images.shape[:2]
        features = self.network.encode(normalize(clips.images.flatten(0, 1)))
        raw = features.embedding.unflatten(0, (batch, slices))
        valid = torch.ones(batch, slices, dtype=torch.bool, device=raw.device)
        context = self.network.contextualize(raw, valid)
        boundary = self.network.detect_boundary(context.flatten(0, 1), features)
        return replace(features, boundary=boundary), context

    def _travel(
        self,
        per_slice: Sequence[SliceFeatures],
        clips: ClipBatch,
        prompted: dict[int, Remembered],
        corrected: int | None,
        tally: _Tally,
    ) -> None:
        """Both directions outward from the anchor, step by step and as one batch where they see alike memories.

        A step is bound by launches (docs/training.md), so that two directions in one batch cost hardly more than one.
        """
        ways = [Way(direction, dict(prompted)) for direction in (1, -1)]
        for distance in range(1, len(per_slice)):
            steps = []
            for way in ways:
                place = clips.anchor + way.direction * distance
                if 0 <= place < len(per_slice) and place not in way.prompted:
                    seen = sam2_memories(way.prompted, way.tracked, place, way.direction, self.network.num_maskmem)
                    steps.append(WayStep(way, place, *seen))
            groups = [steps] if len(steps) == 2 and steps[0].alike(steps[1]) else [[step] for step in steps]
            for group in groups:
                self._advance(group, per_slice, clips, corrected, tally)

    def _advance(
        self,
        group: Sequence[WayStep],
        per_slice: Sequence[SliceFeatures],
        clips: ClipBatch,
        corrected: int | None,
        tally: _Tally,
    ) -> None:
        """Decode the slices of one or two directions from alike memories, supervise them, and remember them."""
        chosen = SliceFeatures.stack([per_slice[step.place] for step in group])
        memories, pointers = joined(group)
        conditioned = self.network.condition(chosen.embedding, memories, pointers, MAX_POINTERS)
        decoding = self.network.decode(conditioned, chosen)
        masks = torch.cat([clips.masks[:, step.place] for step in group])
        self._count(decoding, masks, tally, tracked=True)
        memory, pointer = self._remember(chosen, decoding, prompted=False)
        count = len(clips.masks)
        for number, step in enumerate(group):
            rows = slice(number * count, (number + 1) * count)
            if step.place != corrected:
                step.way.tracked[step.place] = (memory[rows], pointer[rows])
                continue
            before = replace(decoding, logits=decoding.logits[rows])
            clicks = self._clicks(before, masks[rows])
            again = self._decode_again(conditioned[rows], chosen.select(rows), clicks, before)
            self._count(again, masks[rows], tally, tracked=False)
            step.way.prompted[step.place] = self._remember(chosen.select(rows), again, prompted=True)

    def _remember(self, chosen: SliceFeatures, decoding: MaskDecoding, prompted: bool) -> Remembered:
        memory = self.network.encode_memory(chosen.embedding, decoding.logits, decoding.object_score, prompted)
        return memory, decoding.pointer

    def _answer_prompts(
        self,
        prompting: Prompting,
        chosen: SliceFeatures,
        masks: torch.Tensor,
        tally: _Tally,
        count_absent: bool,
    ) -> MaskDecoding:
        """Prompts of one kind for the whole batch, with their corrections; the final decoding.

        One kind a batch keeps the decoder's calls few and large: with three kinds side by side there were three times
        as many, and at these sizes the device waits for launches (H200: 1.2 steps/s with 20 clips of 8 slices).
        """
        network, generator = self.network, self.generator
        present = _present(masks)
        conditioned = network.condition(chosen.embedding, [], [])
        if prompting.kind is PromptKind.MASK:
            given = mask_prompts(masks, generator)
            decoding = network.mask_as_output(chosen.embedding, chosen, given[:, None].float())
            clicks = None
        else:
            clicks = (box_prompts if prompting.kind is PromptKind.BOX else point_prompts)(masks, generator)
            # A slice without the object gets no prompt at all: padding points.
            clicks = replace(clicks, labels=torch.where(present[:, None], clicks.labels, -1))
            decoding = network.decode(conditioned, chosen, clicks.points, clicks.labels)
            self._count(decoding, masks, tally, tracked=False, count_absent=count_absent)
        for _ in range(prompting.corrections):
            further = self._clicks(decoding, masks)
            clicks = further if clicks is None else clicks.joined(further)
            decoding = self._decode_again(conditioned, chosen, clicks, decoding)
            self._count(decoding, masks, tally, tracked=False, count_absent=count_absent)
        return decoding

    def _clicks(self, decoding: MaskDecoding, masks: torch.Tensor) -> PointPrompts:
        with torch.no_grad():
            size = masks.shape[-1]
            enlarged = functional.interpolate(decoding.logits, size=(size, size), mode="bilinear", align_corners=False)
            return correction_prompts(enlarged[:, 0] > 0, masks, self.generator)

    def _decode_again(
        self, conditioned: torch.Tensor, chosen: SliceFeatures, clicks: PointPrompts, before: MaskDecoding
    ) -> MaskDecoding:
        earlier = before.logits.detach().clamp(-losses.LOGIT_LIMIT, losses.LOGIT_LIMIT)
        return self.network.decode(conditioned, chosen, clicks.points, clicks.labels, mask_prompt=earlier)

    def _count(
        self, decoding: MaskDecoding, masks: torch.Tensor, tally: _Tally, tracked: bool, count_absent: bool = True
    ) -> None:
        present = _present(masks)
        result = losses.candidate_losses(
            decoding.candidates, decoding.candidate_ious, losses.stride4_targets(masks), self.weights
        )
        tally.pixel.append(result.pixel)
        tally.dice.append(result.dice)
        tally.iou.append(result.iou)
        tally.present.append(present)
        tally.score.append(losses.object_score_loss(decoding.object_score, present))
        tally.counted.append(present | count_absent)
        right = ((decoding.object_score[:, 0] > 0) == present).float()
        tally.score_right.append(right.detach())
        reached = torch.where(decoding.object_score[:, 0] > 0, result.reached, torch.zeros_like(result.reached))
        reached = torch.where(present, reached, torch.full_like(reached, torch.nan)).detach()
        (tally.tracked_iou if tracked else tally.prompted_iou).append(reached)

    def _outcome(self, tally: _Tally, clips: ClipBatch, features: SliceFeatures, context: torch.Tensor) -> StepOutcome:
        present, counted = torch.cat(tally.present).float(), torch.cat(tally.counted).float()
        zero = present.sum() * 0.0
        srpp = bd = zero
        if self.network.config.parts.srpp and context.shape[1] > 1:
            step = clips.spacing_mm / 5.0 if self.srpp_mm else None
            srpp = losses.srpp_loss(self.network.relative_positions(context), step)
        if features.boundary is not None:
            bd = losses.boundary_loss(features.boundary.logits, losses.boundary_targets(clips.masks.flatten(0, 1)))
        terms = LossTerms(
            pixel=_mean(tally.pixel, present),
            dice=_mean(tally.dice, present),
            iou=_mean(tally.iou, present),
            object_score=_mean(tally.score, counted),
            srpp=srpp,
            bd=bd,
        )
        return StepOutcome(
            terms=terms,
            prompted_iou=torch.cat(tally.prompted_iou).nanmean() if tally.prompted_iou else zero * torch.nan,
            tracked_iou=torch.cat(tally.tracked_iou).nanmean() if tally.tracked_iou else zero * torch.nan,
            score_accuracy=_mean(tally.score_right, counted),
        )


def _present(masks: torch.Tensor) -> torch.Tensor:
    return masks.sum((1, 2)) >= PRESENT_PIXELS


def _mean(values: Sequence[torch.Tensor], weights: torch.Tensor) -> torch.Tensor:
    if not values:
        return weights.sum() * 0.0
    return (torch.cat(list(values)) * weights).sum() / weights.sum().clamp_min(1)


def _per_slice(features: SliceFeatures, context: torch.Tensor) -> list[SliceFeatures]:
    """Features of every slice of the clips, with the adapted embedding in place of the raw one: D batches of B."""
    batch, slices = context.shape[:2]

    def parted(maps: torch.Tensor) -> Sequence[torch.Tensor]:
        return maps.unflatten(0, (batch, slices)).unbind(1)

    s1, s0, embeddings = parted(features.high_res_s1), parted(features.high_res_s0), context.unbind(1)
    boundaries: Sequence[BoundaryMaps | None] = [None] * slices
    if features.boundary is not None:
        pairs = zip(parted(features.boundary.features), parted(features.boundary.logits), strict=True)
        boundaries = [BoundaryMaps(maps, logits) for maps, logits in pairs]
    return [SliceFeatures(embeddings[n], s1[n], s0[n], boundaries[n]) for n in range(slices)]
