"""One slice, decoded: from prompts, from memory, or from a mask whose edge is to be sharpened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..network.features import MaskDecoding, SliceFeatures
from ..volume.planes import SliceAxis, SlicePlane
from .confidence import boundary_certainties
from .memory_bank import MemorySelection, SliceMemory, UnmadeFeatures
from .packed_mask import PackedMask, bounding_box
from .predictor import SlicePredictor
from .prompts import BoxPrompt, MaskPrompt, PointPrompt, Position, Prompt, nearest_index
from .schedule import ChainKey
from .slice_features import SliceFeatureStore
from .state import SliceResult

# SAM2VideoPredictor clamps earlier logits before it gives them back to the decoder.
_PREVIOUS_LIMIT = 32.0
# Object score (logit) at which the object counts as there: 0.5 and more.
_PRESENT = 1e-3


@dataclass(frozen=True)
class Candidate:
    """A mask that a slice could be answered with.

    Attributes:
        mask: array orientation.
        iou: predicted.
        finish: the result that it makes, memory and all.
    """

    mask: np.ndarray
    iou: float
    finish: Callable[[], SliceResult]


@dataclass(frozen=True)
class Answer:
    """What the prompts of a slice ask for.

    Attributes:
        others: the masks among which the network chose it; they cost no decoding of their own.
        with_mask: the answer with another mask, array orientation, that is nearly the same object: its pointer stays.
    """

    result: SliceResult
    others: Callable[[], list[Candidate]]
    with_mask: Callable[[np.ndarray], SliceResult]


class SliceDecoder:
    """Decodes slices of one volume. Positions are in anatomical order; results are in array orientation."""

    def __init__(self, predictor: SlicePredictor, store: SliceFeatureStore) -> None:
        self._predictor = predictor
        self._network = predictor.network
        self._store = store

    def answer(
        self,
        axis: SliceAxis,
        position: int,
        prompts: Sequence[Prompt],
        previous: Tensor | None,
        selection: MemorySelection | None,
    ) -> SliceResult:
        """The mask that the prompts of one slice ask for.

        A mask prompt is the answer itself. Otherwise the points and the latest box since the last mask prompt are
        decoded, box first (SAM2VideoPredictor.add_new_points_or_box).

        Args:
            prompts: all prompts of the slice, in order, all on `axis`.
            previous: [1, 1, S/4, S/4] logits that stood on the slice before the last prompt.
            selection: memories of other slices; None for a slice on its own.
        """
        return self.full_answer(axis, position, prompts, previous, selection).result

    def full_answer(
        self,
        axis: SliceAxis,
        position: int,
        prompts: Sequence[Prompt],
        previous: Tensor | None,
        selection: MemorySelection | None,
    ) -> Answer:
        """`answer`, and what else its decoding can tell."""
        last = prompts[-1]
        if isinstance(last, MaskPrompt):
            return Answer(self.given(axis, position, last.mask), list, partial(self.given, axis, position))
        features, plane = self._store.features(axis, position), self._store.plane(axis)
        conditioned = self._predictor.run(lambda: self._condition(features, selection))
        decoding = self._predictor.run(self._decoding(plane, features, prompts, previous, conditioned))
        result = self._result(plane, features, lambda: decoding, prompted=True)
        others = partial(self._candidates_of, axis, features, decoding)
        return Answer(result, others, partial(self._with_mask, plane, features, decoding))

    def given(self, axis: SliceAxis, position: int, mask: np.ndarray) -> SliceResult:
        """A mask in array orientation as the answer itself (SAM2's `_use_mask_as_output`)."""
        features, plane = self._store.features(axis, position), self._store.plane(axis)
        canonical = plane.to_canonical(mask)

        def step() -> MaskDecoding:
            return self._network.mask_as_output(features.embedding, features, self._predictor.resize_mask(canonical))

        return self._result(plane, features, step, prompted=True, mask=PackedMask.of(mask))

    def candidates(
        self,
        axis: SliceAxis,
        position: int,
        prompts: Sequence[Prompt],
        earlier: Sequence[Tensor | None],
        selection: MemorySelection | None,
    ) -> list[Candidate]:
        """What `answer` could have answered as well, whether or not the object is thought there: from each of some
        `earlier` logits (None: without any) three masks and one.
        """
        features, plane = self._store.features(axis, position), self._store.plane(axis)
        conditioned = self._predictor.run(lambda: self._condition(features, selection))
        found = []
        for previous in earlier:
            for multimask in (True, False):
                decode = self._decoding(plane, features, prompts, previous, conditioned, multimask)
                found += self._candidates_of(axis, features, self._predictor.run(decode))
        return found

    def _candidates_of(self, axis: SliceAxis, features: SliceFeatures, decoding: MaskDecoding) -> list[Candidate]:
        """All masks of one decoding, brought to the host together."""
        plane = self._store.plane(axis)
        with self._predictor.running():
            logits = decoding.candidates.transpose(0, 1)
            pictures = self._predictor.masks_at_slice_size(logits, plane.shape).cpu().numpy()
            ious = decoding.candidate_ious[0].tolist()
            present = decoding.object_score.clamp(min=_PRESENT)  # the user says so
        found = []
        for number, (picture, iou) in enumerate(zip(pictures, ious, strict=True)):
            chosen = replace(
                decoding,
                logits=decoding.candidates[:, number : number + 1],
                iou=decoding.candidate_ious[:, number],
                object_score=present,
            )
            finish = partial(self._result, plane, features, lambda chosen=chosen: chosen, prompted=True)
            found.append(Candidate(plane.restore(picture), float(iou), finish))
        return found

    def _with_mask(
        self, plane: SlicePlane, features: SliceFeatures, decoding: MaskDecoding, mask: np.ndarray
    ) -> SliceResult:
        canonical = plane.to_canonical(mask)

        def step() -> MaskDecoding:
            logits = self._low_resolution(self._predictor.resize_mask(canonical))
            return replace(decoding, logits=logits, object_score=decoding.object_score.clamp(min=_PRESENT))

        return self._result(plane, features, step, prompted=True, mask=PackedMask.of(mask))

    def mask_of(self, axis: SliceAxis, logits: Tensor) -> np.ndarray:
        """A slice's mask in array orientation from its logits [1, 1, S/4, S/4] on any device."""
        plane = self._store.plane(axis)
        with self._predictor.running():
            picture = self._predictor.masks_at_slice_size(logits.to(self._predictor.device), plane.shape)[0]
            return plane.restore(picture.cpu().numpy())

    def _decoding(
        self,
        plane: SlicePlane,
        features: SliceFeatures,
        prompts: Sequence[Prompt],
        previous: Tensor | None,
        conditioned: Tensor,
        multimask: bool | None = None,
    ) -> Callable[[], MaskDecoding]:
        """A step that decodes prompts; `multimask` None: SAM2's rule."""
        points, labels = self._points(plane, prompts)

        def decode() -> MaskDecoding:
            mask_prompt = None
            if previous is not None:
                mask_prompt = previous.to(self._predictor.device).clamp(-_PREVIOUS_LIMIT, _PREVIOUS_LIMIT)
            return self._network.decode(conditioned, features, points, labels, mask_prompt, multimask)

        return decode

    def track(
        self,
        axis: SliceAxis,
        position: int,
        selection: MemorySelection,
        chain: ChainKey,
        hints: tuple[Prompt, ...] = (),
    ) -> SliceResult:
        """The object on a slice from memories, by SAM2's own way; `SliceTracker` gives the same, several at once.

        Args:
            hints: prompts that do not say where the object is (negative points), but where it is not.
        """
        features = self._store.features(axis, position)
        plane = self._store.plane(axis)
        points, labels = self._points(plane, hints)

        def decode() -> MaskDecoding:
            return self._network.decode(self._condition(features, selection), features, points, labels)

        result = self._result(plane, features, decode, prompted=False)
        return replace(result, chain=chain, inputs=selection.fingerprint, hints=hints)

    def logits_of(self, axis: SliceAxis, mask: np.ndarray) -> Tensor:
        """Low-resolution logits of a mask in array orientation: -10 and 10 (SAM2's `_use_mask_as_output`)."""
        canonical = self._store.plane(axis).to_canonical(mask)
        with self._predictor.running():
            return self._low_resolution(self._predictor.resize_mask(canonical)).cpu()

    def _low_resolution(self, mask: Tensor) -> Tensor:
        """Logits [1, 1, S/4, S/4] of a mask [1, 1, S, S] of 0 and 1."""
        return functional.interpolate(
            mask * 20.0 - 10.0, scale_factor=0.25, mode="bilinear", align_corners=False, antialias=True
        )

    def refine(self, axis: SliceAxis, position: int, mask: np.ndarray, selection: MemorySelection | None) -> np.ndarray:
        """A mask (array orientation) with its edge drawn by the network; its inside and outside stay.

        The mask is given as mask prompt with its box and its most interior point.
        """
        # Here, since it needs scipy, which a machine that only propagates may lack.
        from .boundary_refinement import implied_prompts, with_refined_edge

        if bounding_box(mask) is None:
            return mask.copy()
        plane = self._store.plane(axis)
        features = self._store.features(axis, position)
        previous = self.logits_of(axis, mask)
        points, labels = self._points(plane, implied_prompts(plane, position, mask))

        def decode() -> MaskDecoding:
            conditioned = self._condition(features, selection)
            mask_prompt = previous.to(self._predictor.device)
            return self._network.decode(conditioned, features, points, labels, mask_prompt)

        refined = self._result(plane, features, decode, prompted=True).mask.unpack()
        return with_refined_edge(mask, refined)

    def _condition(self, features: SliceFeatures, selection: MemorySelection | None) -> Tensor:
        if selection is None:
            return self._network.condition(features.embedding, [], [])
        device = self._predictor.device
        return self._network.condition(
            features.embedding,
            selection.memory_items(device, self._predictor.dtype),
            selection.pointer_items(device),
            selection.max_pointers,
        )

    def _points(self, plane: SlicePlane, prompts: Sequence[Prompt]) -> tuple[Tensor | None, Tensor | None]:
        """SAM2's points [1, P, 2] and labels [1, P]: the latest box's corners (2, 3), then the points (1, 0).

        Negative points outside of the plane's field say nothing there; None and None where that leaves no point.
        """
        size = self._predictor.image_size
        coordinates: list[tuple[float, float]] = []
        labels: list[int] = []
        start = max((place + 1 for place, entry in enumerate(prompts) if isinstance(entry, MaskPrompt)), default=0)
        boxes = [entry for entry in prompts[start:] if isinstance(entry, BoxPrompt)]
        if boxes:
            corner_a, corner_b = (_voxel(corner) for corner in (boxes[-1].corner_a, boxes[-1].corner_b))
            x0, y0, x1, y1 = plane.box_to_network(corner_a, corner_b, size)
            coordinates += [(x0, y0), (x1, y1)]
            labels += [2, 3]
        clicks = [entry for entry in prompts[start:] if isinstance(entry, PointPrompt)]
        if clicks:
            placed = plane.to_network(np.array([entry.position for entry in clicks]), size)
            seen = ((placed >= 0) & (placed <= size)).all(axis=1)
            kept = [place for place, entry in enumerate(clicks) if entry.positive or seen[place]]
            coordinates += [(float(placed[place, 0]), float(placed[place, 1])) for place in kept]
            labels += [int(clicks[place].positive) for place in kept]
        if not labels:
            return None, None
        device = self._predictor.device
        return (
            torch.tensor([coordinates], dtype=torch.float32, device=device),
            torch.tensor([labels], dtype=torch.int32, device=device),
        )

    def _result(
        self,
        plane: SlicePlane,
        features: SliceFeatures,
        decode: Callable[[], MaskDecoding],
        *,
        prompted: bool,
        mask: PackedMask | None = None,
    ) -> SliceResult:
        """Run the decoder, encode its mask into a memory, now or later, and bring all to host memory."""

        def step() -> tuple[MaskDecoding, Tensor | UnmadeFeatures, np.ndarray]:
            decoding, seen = decode(), features.embedding
            remember = partial(
                self._network.encode_memory,
                logits=decoding.logits,
                object_score=decoding.object_score,
                prompted=prompted,
            )
            later = self._predictor.runner.remembers_later
            memory = self._predictor.unmade(seen, remember) if later else remember(seen)
            picture = self._predictor.masks_at_slice_size(decoding.logits, plane.shape)[0]
            return decoding, memory, picture.cpu().numpy()

        decoding, memory, picture = self._predictor.run(step)
        logits = decoding.logits.float().cpu()
        iou, object_score = float(decoding.iou[0]), float(decoding.object_score[0, 0])
        boundary = float(boundary_certainties(logits))
        return SliceResult(
            mask=PackedMask.of(plane.restore(picture)) if mask is None else mask,
            iou=iou,
            object_score=object_score,
            boundary=boundary,
            logits=logits,
            memory=SliceMemory.of(memory, decoding.pointer, torch.tensor([[iou, object_score, boundary]])),
        )


def _voxel(position: Position) -> np.ndarray:
    return np.array([nearest_index(value) for value in position])
