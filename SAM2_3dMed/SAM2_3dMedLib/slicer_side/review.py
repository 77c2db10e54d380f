"""Where the result is doubtful: one value for each slice, and which slices the user has already looked at."""

from __future__ import annotations

from dataclasses import dataclass, field

# Below this a slice is shown as doubtful and "next doubtful slice" stops at it; above GOOD it is shown as certain.
DOUBTFUL = 0.6
GOOD = 0.8


@dataclass(frozen=True)
class SliceReview:
    """Confidence of one slice, all 0..1: `value` is the summary of the three others.

    score: the model's own estimate of the overlap; boundary: certainty of the outline; agreement: with the neighbors.
    None where it is not known yet (while the propagation runs only the score is).
    """

    value: float
    score: float | None = None
    boundary: float | None = None
    agreement: float | None = None


@dataclass
class ReviewState:
    """Confidence along the slice axis of one segment, and its checked slices."""

    axis: int | None = None
    slice_count: int = 0
    slices: dict[int, SliceReview] = field(default_factory=dict)
    checked: set[int] = field(default_factory=set)
    prompted: set[int] = field(default_factory=set)

    @property
    def span(self) -> tuple[int, int] | None:
        """First and last slice with a value; None before there is one."""
        if not self.slices:
            return None
        return min(self.slices), max(self.slices)

    def is_done(self, index: int) -> bool:
        """True when the user has seen to the slice: marked it, prompted it or edited it."""
        return index in self.checked or index in self.prompted

    def doubtful(self) -> list[int]:
        """Slices, in order, whose confidence is low and that nobody has checked."""
        return sorted(i for i, review in self.slices.items() if review.value < DOUBTFUL and not self.is_done(i))

    def next_doubtful(self, current: int | None) -> int | None:
        """The doubtful slice after `current`, from the first again behind the last; None when there is none left."""
        candidates = self.doubtful()
        if not candidates:
            return None
        if current is None:
            return min(candidates, key=lambda i: self.slices[i].value)
        later = [i for i in candidates if i > current]
        return later[0] if later else candidates[0]
