"""What is known of one object, immutable: a change makes a new state, so that undo is keeping the old one.

Positions are slice numbers in anatomical order along the object's axis. The mappings are never changed in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field

from torch import Tensor

from ..volume.field_of_view import FieldOfView
from ..volume.planes import SliceAxis
from .confidence import SliceEvidence
from .memory_bank import Fingerprint, SliceMemory
from .packed_mask import PackedMask
from .prompts import Prompt
from .schedule import ChainKey

# Object score of a slice beyond the object's end: sigmoid(-10) is 5e-5.
_ABSENT_SCORE = -10.0


@dataclass(frozen=True, eq=False)
class SliceResult:
    """The object on one slice.

    Attributes:
        mask: in array orientation.
        iou: predicted IoU, 0..1.
        object_score: logit; above 0 the object is on the slice.
        boundary: `confidence.boundary_certainty`.
        logits: [1, 1, S/4, S/4] float32 in host memory, of the object's field of view; None beyond the object's end
            and when the object has another field since.
        memory: for later slices; None as the logits, and on other planes.
        chain: which chain computed it; None for a prompted slice.
        inputs: fingerprint of the memories it was computed from; None for a prompted slice.
        hints: negative points that it took account of without being a prompted slice's result.
    """

    mask: PackedMask
    iou: float
    object_score: float
    boundary: float
    logits: Tensor | None = None
    memory: SliceMemory | None = None
    chain: ChainKey | None = None
    inputs: Fingerprint | None = None
    hints: tuple[Prompt, ...] = ()

    @classmethod
    def beyond_end(cls, shape: tuple[int, int], chain: ChainKey) -> SliceResult:
        """A slice that a chain no longer visits because the object has ended."""
        return cls(PackedMask.empty(shape), 0.0, _ABSENT_SCORE, 1.0, chain=chain)

    @classmethod
    def unexplained(cls, mask: PackedMask) -> SliceResult:
        """A mask of any origin that the session has not made: nothing is known of how good it is."""
        return cls(mask, 0.0, 0.0, 0.0)

    @property
    def nbytes(self) -> int:
        logits = 0 if self.logits is None else self.logits.nbytes
        return self.mask.nbytes + logits + (0 if self.memory is None else self.memory.nbytes)


@dataclass(frozen=True)
class PromptedSlice:
    """A slice with prompts.

    Attributes:
        rounds: prompts in the order they were given; those that one prompt on another axis implies form one round.
        answered: how many rounds `result` takes account of.
        result: None while there is nothing to show, as after a first negative point.
    """

    rounds: tuple[tuple[Prompt, ...], ...]
    answered: int = 0
    result: SliceResult | None = None

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        return tuple(prompt for given in self.rounds for prompt in given)

    def with_round(self, given: tuple[Prompt, ...]) -> PromptedSlice:
        return replace(self, rounds=(*self.rounds, given))


@dataclass(frozen=True)
class PlaneKey:
    """A slice on an axis other than the object's."""

    axis: SliceAxis
    position: int


@dataclass(frozen=True)
class ObjectState:
    """One object.

    Attributes:
        axis: along which it is propagated: that of its first prompt.
        prompts: all that the user gave, in order.
        prompted: prompted slices by position, in the order they were first prompted.
        other_planes: prompted slices on other axes; previews only.
        results: propagated slices by position; a prompted slice's entry here is what was there before its prompt.
        field: through which the network sees the slices along `axis`; None: whole slices.
        told: what stands on slices of other axes, where the session did not make it itself.
        outgrown: whether its masks reached the edge of the field that its prompts ask for, so that `field` is wider.
    """

    axis: SliceAxis
    prompts: tuple[Prompt, ...] = ()
    prompted: Mapping[int, PromptedSlice] = dataclass_field(default_factory=dict)
    other_planes: Mapping[PlaneKey, PromptedSlice] = dataclass_field(default_factory=dict)
    results: Mapping[int, SliceResult] = dataclass_field(default_factory=dict)
    field: FieldOfView | None = None
    outgrown: bool = False
    told: Mapping[PlaneKey, PackedMask] = dataclass_field(default_factory=dict)

    @property
    def answered(self) -> bool:
        """Whether a prompt along the axis has an answer."""
        return any(entry.result is not None for entry in self.prompted.values())

    @property
    def conditioning(self) -> dict[int, SliceMemory]:
        """Memories of the prompted slices that have an answer, those that show the object first."""
        known = {
            position: entry.result.memory
            for position, entry in self.prompted.items()
            if entry.result is not None and entry.result.memory is not None
        }
        absent = self.absent
        return known if not absent else {at: known[at] for at in sorted(known, key=lambda at: at in absent)}

    @property
    def absent(self) -> frozenset[int]:
        """Prompted positions whose prompts say that the object is not there."""
        answered = ((position, entry.result) for position, entry in self.prompted.items())
        return frozenset(at for at, result in answered if result is not None and result.mask.area == 0)

    @property
    def pending(self) -> list[int]:
        """Positions with prompts that no result takes account of yet."""
        return [position for position, entry in self.prompted.items() if entry.answered < len(entry.rounds)]

    @property
    def shown(self) -> dict[int, SliceResult]:
        """What stands on each slice: the prompted slices' results before the propagated ones."""
        shown = dict(self.results)
        shown.update({at: entry.result for at, entry in self.prompted.items() if entry.result is not None})
        return shown

    def at(self, position: int) -> SliceResult | None:
        """What stands on one slice."""
        entry = self.prompted.get(position)
        return self.results.get(position) if entry is None or entry.result is None else entry.result

    @property
    def propagated(self) -> bool:
        """Whether a chain has reached a slice."""
        return any(result.chain is not None for result in self.results.values())

    def with_told(self, key: PlaneKey, mask: PackedMask) -> ObjectState:
        return replace(self, told={**self.told, key: mask})

    def with_prompted(self, position: int, entry: PromptedSlice) -> ObjectState:
        return replace(self, prompted={**self.prompted, position: entry})

    def with_plane(self, key: PlaneKey, entry: PromptedSlice) -> ObjectState:
        return replace(self, other_planes={**self.other_planes, key: entry})

    def with_results(self, results: Mapping[int, SliceResult]) -> ObjectState:
        return replace(self, results={**self.results, **results})

    def evidence(self) -> dict[int, SliceEvidence]:
        """For `confidence.confidences`."""
        prompted = {position for position, entry in self.prompted.items() if entry.result is not None}
        return {
            position: SliceEvidence(
                result.mask, result.iou, result.object_score, result.boundary, checked=position in prompted
            )
            for position, result in self.shown.items()
        }
