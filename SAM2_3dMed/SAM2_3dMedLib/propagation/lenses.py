"""Through which field of view an object is seen, from its first prompt on, and what computes it there.

An object that is small on its slice gets a field of its own (`zoom`). When a prompt that shows it lies outside or a
mask reaches the edge, the field is widened and all prompts are answered anew: a field never cuts an object off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..volume.field_of_view import FieldOfView
from ..volume.planes import SliceAxis, SlicePlane
from .policies import MemoryPolicy
from .predictor import SlicePredictor
from .prompting import Prompting
from .prompts import PointPrompt, Prompt, says_where
from .slice_decoder import SliceDecoder
from .slice_features import SliceFeatureStore
from .state import ObjectState, SliceResult
from .tracking import Tracker
from .zoom import Zoom, reaches_edge, region_of_mask, region_of_prompt


@dataclass(frozen=True)
class Lens:
    """What computes slices seen through one field of view. Shared by all objects that have it; holds no state."""

    store: SliceFeatureStore
    decoder: SliceDecoder
    prompting: Prompting
    tracker: Tracker


class Lenses:
    """Pure steps on `ObjectState`, as `Prompting`'s, that also choose the object's field of view."""

    def __init__(
        self, predictor: SlicePredictor, store: SliceFeatureStore, policy: MemoryPolicy, zoom: Zoom | None
    ) -> None:
        """`zoom` None: whole slices only, as SAM2."""
        self._predictor = predictor
        self._store = store
        self._policy = policy
        self._zoom = zoom
        self._made: dict[tuple[SliceAxis, FieldOfView | None], Lens] = {}

    def of(self, axis: SliceAxis, field: FieldOfView | None = None) -> Lens:
        """The lens of a field along `axis`; None: of whole slices."""
        if (axis, field) not in self._made:
            store = self._store.narrowed(axis, field)
            decoder = SliceDecoder(self._predictor, store)
            prompting = Prompting(decoder, store, self._policy)
            tracker = Tracker(self._predictor, decoder, store, self._policy)
            self._made[axis, field] = Lens(store, decoder, prompting, tracker)
        return self._made[axis, field]

    def through(self, state: ObjectState) -> Lens:
        """The lens that an object is seen through."""
        return self.of(state.axis, state.field)

    def for_mask(self, axis: SliceAxis, mask: np.ndarray) -> Lens:
        """The lens for a mask of any origin, bool in array orientation; much the same masks have the same."""
        plane = self._store.plane(axis)
        region = region_of_mask(plane, mask)
        return self.of(axis, None if self._zoom is None or region is None else self._zoom.shared(plane, region))

    def holds(self, state: ObjectState, prompt: Prompt) -> bool:
        """Whether a prompt lies inside the object's field."""
        return self._holding(state.axis, state.field, (prompt,)) == state.field

    def prompted(self, before: ObjectState | None, prompt: Prompt) -> ObjectState:
        """The object with one prompt more, answered on its own slice. Raises PromptError."""
        state = before or ObjectState(prompt.axis)
        if state.answered:
            field = self._holding(state.axis, state.field, (prompt,))
            return self._wide_enough(self._with(self._refocused(state, field), prompt))
        if prompt.axis != state.axis or not says_where(prompt) or any(map(says_where, state.prompts)):
            return self._with(state, prompt)
        if not isinstance(prompt, PointPrompt):
            return self._wide_enough(self._with(self._refocused(state, self._first_field(state, prompt)), prompt))
        # A point says nothing of the object's size: it is looked up on the whole slice first.
        seen = self._with(state, prompt)
        return self._wide_enough(self._refocused(seen, self._first_field(seen, prompt)))

    def replaced(self, before: ObjectState | None, prompts: Sequence[Prompt]) -> tuple[ObjectState, list[int]]:
        """As `Prompting.replaced`, through the field that the prompts ask for when they are given one after the other;
        an object that had outgrown it keeps its own while its first prompt stays.
        """
        axis = prompts[0].axis
        if before is None or before.axis != axis:
            before = ObjectState(axis)
        outgrown = before.outgrown and before.prompts[:1] == tuple(prompts[:1])
        field = self._holding(axis, before.field, prompts) if outgrown else self._asked(axis, prompts)
        anew = [] if before.field == field else list(before.prompted)
        if before.field != field:
            before = ObjectState(axis, field=field, results=_bare(before), told=before.told)
        before = replace(before, outgrown=outgrown)
        state, changed = self.of(axis, field).prompting.replaced(before, prompts)
        wide = self._wide_enough(state)
        return wide, sorted({*changed, *anew, *(() if wide is state else wide.prompted)})

    def settled(self, state: ObjectState) -> ObjectState:
        """All prompts answered."""
        return self._wide_enough(self.through(state).prompting.settle_all(state))

    def widened(self, state: ObjectState, results: Iterable[SliceResult]) -> ObjectState | None:
        """The object through a wider field where one of some further results reaches the edge of its own; else None."""
        if not self._reach_edge(state, results):
            return None
        return self._wide_enough(self._wider(state))

    def _holding(self, axis: SliceAxis, field: FieldOfView | None, prompts: Iterable[Prompt]) -> FieldOfView | None:
        """The field, wide enough for all prompts but negative points: nothing stands there."""
        plane = self._store.plane(axis)
        for prompt in prompts:
            region = region_of_prompt(plane, prompt) if says_where(prompt) else None
            if self._zoom is not None and field is not None and region is not None:
                field = self._zoom.holding(plane, field, region)
        return field

    def _first_field(self, state: ObjectState, first: Prompt) -> FieldOfView | None:
        """The field of an object that `first` is the first to show; a point was answered already."""
        plane = self._store.plane(state.axis)
        region = region_of_prompt(plane, first)
        if isinstance(first, PointPrompt):
            shown = state.at(plane.order(first.slice_index))
            region = None if shown is None else region_of_mask(plane, shown.mask.unpack())
        if self._zoom is None or region is None:
            return None
        return self._holding(state.axis, self._zoom.field_around(plane, region), state.prompts)

    def _asked(self, axis: SliceAxis, prompts: Sequence[Prompt]) -> FieldOfView | None:
        """The field that an object has when these prompts are given, as far as its masks do not outgrow it."""
        place = next((at for at, prompt in enumerate(prompts) if says_where(prompt)), None)
        if self._zoom is None or place is None or prompts[place].axis != axis:
            return None
        first, state = prompts[place], ObjectState(axis, prompts=tuple(prompts[:place]))
        if isinstance(first, PointPrompt):
            state = ObjectState(axis)
            for prompt in prompts[: place + 1]:
                state = self._with(state, prompt)
        return self._holding(axis, self._first_field(state, first), prompts[place + 1 :])

    def _with(self, state: ObjectState, prompt: Prompt) -> ObjectState:
        lens = self.through(state)
        state = lens.prompting.place(state, prompt)
        if prompt.axis != state.axis:
            return state
        return lens.prompting.settle(state, lens.store.plane(state.axis).order(prompt.slice_index))

    def _refocused(self, state: ObjectState, field: FieldOfView | None) -> ObjectState:
        """The object through another field: its prompts given once more, what was propagated kept as masks only."""
        if state.field == field:
            return state
        fresh = ObjectState(state.axis, field=field, results=_bare(state), outgrown=state.outgrown, told=state.told)
        for prompt in state.prompts:
            fresh = self._with(fresh, prompt)
        return fresh

    def _wider(self, state: ObjectState) -> ObjectState:
        if self._zoom is None or state.field is None:
            return state
        wider = self._refocused(state, self._zoom.wider(self._plane(state), state.field))
        return replace(wider, outgrown=True)

    def _wide_enough(self, state: ObjectState) -> ObjectState:
        while self._reach_edge(state, (entry.result for entry in state.prompted.values() if entry.result is not None)):
            state = self._wider(state)
        return state

    def _reach_edge(self, state: ObjectState, results: Iterable[SliceResult]) -> bool:
        return state.field is not None and any(reaches_edge(self._plane(state), result.mask) for result in results)

    def _plane(self, state: ObjectState) -> SlicePlane:
        return self.through(state).store.plane(state.axis)


def _bare(state: ObjectState) -> dict[int, SliceResult]:
    """What was propagated, without what only has a meaning in its own field."""
    return {at: replace(result, logits=None, memory=None, inputs=None) for at, result in state.results.items()}
