"""Through which field of view an object is seen, from its first prompt on, and what computes it there.

An object that is small on its slice gets a field of its own (`zoom`). When a prompt lies outside of it or a mask
reaches its edge, the field is widened and all prompts are answered anew: a field never cuts an object off.
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
from .prompts import PointPrompt, Prompt
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
        """The lens for a mask of any origin, bool in array orientation."""
        region = region_of_mask(self._store.plane(axis), mask)
        return self.of(axis, self._around(axis, region))

    def holds(self, state: ObjectState, prompt: Prompt) -> bool:
        """Whether a prompt lies inside the object's field."""
        return self._inside(state.axis, state.field, prompt)

    def prompted(self, before: ObjectState | None, prompt: Prompt) -> ObjectState:
        """The object with one prompt more, answered on its own slice. Raises PromptError."""
        state = before or ObjectState(prompt.axis)
        if state.answered:
            seen = state if self.holds(state, prompt) else self._refocused(state, None)
            return self._wide_enough(self._with(seen, prompt))
        if prompt.axis != state.axis or not _says_where(prompt):
            return self._with(state, prompt)
        plane = self._store.plane(state.axis)
        if not isinstance(prompt, PointPrompt):
            field = self._around(state.axis, region_of_prompt(plane, prompt))
            return self._wide_enough(self._with(self._refocused(state, field), prompt))
        # A point says nothing of the object's size: it is looked up on the whole slice first.
        seen = self._with(state, prompt)
        shown = seen.at(plane.order(prompt.slice_index))
        region = None if shown is None else region_of_mask(plane, shown.mask.unpack())
        return self._wide_enough(self._refocused(seen, self._around(state.axis, region)))

    def replaced(self, before: ObjectState | None, prompts: Sequence[Prompt]) -> tuple[ObjectState, list[int]]:
        """As `Prompting.replaced`; the field stays while the first prompt does and all prompts lie inside."""
        axis = prompts[0].axis
        kept = before is not None and before.axis == axis and before.answered and before.prompts[:1] == prompts[:1]
        field = before.field if before is not None and kept else self._first_field(axis, prompts)
        if not all(self._inside(axis, field, prompt) for prompt in prompts):
            field = None
        if before is not None and before.axis == axis and before.field != field:
            before = ObjectState(axis, field=field, results=_bare(before))
        state, changed = self.of(axis, field).prompting.replaced(before or ObjectState(axis, field=field), prompts)
        wide = self._wide_enough(state)
        return wide, changed if wide is state else sorted({*changed, *wide.prompted})

    def settled(self, state: ObjectState) -> ObjectState:
        """All prompts answered."""
        return self._wide_enough(self.through(state).prompting.settle_all(state))

    def widened(self, state: ObjectState, results: Iterable[SliceResult]) -> ObjectState | None:
        """The object through a wider field where one of some further results reaches the edge of its own; else None."""
        if not self._reach_edge(state, results):
            return None
        return self._wide_enough(self._wider(state))

    def _inside(self, axis: SliceAxis, field: FieldOfView | None, prompt: Prompt) -> bool:
        region = None if field is None else region_of_prompt(self._store.plane(axis), prompt)
        return field is None or region is None or field.around(region)

    def _around(self, axis: SliceAxis, region: FieldOfView | None) -> FieldOfView | None:
        if self._zoom is None or region is None:
            return None
        return self._zoom.field_around(self._store.plane(axis), region)

    def _first_field(self, axis: SliceAxis, prompts: Sequence[Prompt]) -> FieldOfView | None:
        """The field that the first prompt that says where the object is asks for."""
        if self._zoom is None:
            return None
        place = next((at for at, prompt in enumerate(prompts) if _says_where(prompt)), None)
        if place is None or prompts[place].axis != axis:
            return None
        first, plane = prompts[place], self._store.plane(axis)
        if not isinstance(first, PointPrompt):
            return self._around(axis, region_of_prompt(plane, first))
        index = first.slice_index
        same = [prompt for prompt in prompts[: place + 1] if prompt.axis == axis and prompt.slice_index == index]
        answer = self.of(axis).decoder.answer(axis, plane.order(index), same, None, None)
        return self._around(axis, region_of_mask(plane, answer.mask.unpack()))

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
        fresh = ObjectState(state.axis, field=field, results=_bare(state))
        for prompt in state.prompts:
            fresh = self._with(fresh, prompt)
        return fresh

    def _wider(self, state: ObjectState) -> ObjectState:
        if self._zoom is None or state.field is None:
            return state
        return self._refocused(state, self._zoom.wider(self._plane(state), state.field))

    def _wide_enough(self, state: ObjectState) -> ObjectState:
        while self._reach_edge(state, (entry.result for entry in state.prompted.values() if entry.result is not None)):
            state = self._wider(state)
        return state

    def _reach_edge(self, state: ObjectState, results: Iterable[SliceResult]) -> bool:
        return state.field is not None and any(reaches_edge(self._plane(state), result.mask) for result in results)

    def _plane(self, state: ObjectState) -> SlicePlane:
        return self.through(state).store.plane(state.axis)


def _says_where(prompt: Prompt) -> bool:
    return not isinstance(prompt, PointPrompt) or prompt.positive


def _bare(state: ObjectState) -> dict[int, SliceResult]:
    """What was propagated, without what only has a meaning in its own field."""
    return {at: replace(result, logits=None, memory=None, inputs=None) for at, result in state.results.items()}
