"""From a prompt to the next state of an object: where the prompt belongs, and what the slice answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from ..volume.planes import SliceAxis
from .click_answers import ClickAnswers
from .cross_axis import implied_by_mask, implied_by_point
from .errors import PromptError
from .memory_bank import MemoryBank, MemorySelection
from .policies import MemoryPolicy
from .prompts import MaskPrompt, PointPrompt, Prompt, says_where
from .schedule import ChainKey
from .slice_decoder import SliceDecoder
from .slice_features import SliceFeatureStore
from .state import ObjectState, PlaneKey, PromptedSlice


class Prompting:
    """Pure steps on `ObjectState`: each returns a new state."""

    def __init__(self, decoder: SliceDecoder, store: SliceFeatureStore, policy: MemoryPolicy) -> None:
        self._decoder = decoder
        self._store = store
        self._policy = policy
        self._answers = ClickAnswers(decoder) if policy.keeps_clicks else decoder

    def place(self, state: ObjectState, prompt: Prompt) -> ObjectState:
        """Put a prompt on its slice; one on another axis is answered there and handed over as the points it implies.

        Slices along the object's own axis are not decoded here: `settle` does.
        """
        position = self._store.plane(prompt.axis).order(prompt.slice_index)
        state = replace(state, prompts=(*state.prompts, prompt))
        if prompt.axis == state.axis:
            if isinstance(prompt, MaskPrompt) and not any(map(says_where, state.prompts)):
                raise PromptError("The mask is empty; paint the object on this slice, or click it.")
            return _with_round(state, position, (prompt,))
        return self._hand_over(self._answer_plane(state, position, prompt), position, prompt)

    def settle(self, state: ObjectState, position: int) -> ObjectState:
        """Answer all prompts of one slice that have no answer yet."""
        entry = state.prompted[position]
        if entry.answered == len(entry.rounds):
            return state
        selection = self.selection(state, position)
        standing, earlier = state.results.get(position), None
        if standing is not None and standing.mask.area > 0:
            earlier = standing.logits
            if earlier is None:  # seen through another field of view, or segmented before this session
                earlier = self._decoder.logits_of(state.axis, standing.mask.unpack())
        return state.with_prompted(position, self._answer_rounds(state.axis, position, entry, selection, earlier))

    def settle_all(self, state: ObjectState) -> ObjectState:
        """Answer all slices, those in the middle first: an object is clearest there, and the others then see them."""
        pending = state.pending
        for position in sorted(pending, key=lambda entry: (abs(2 * entry - min(pending) - max(pending)), entry)):
            state = self.settle(state, position)
        return state

    def replaced(self, before: ObjectState, prompts: Sequence[Prompt]) -> tuple[ObjectState, list[int]]:
        """The state with other prompts, all answered, and the positions whose prompts changed.

        Slices whose prompts are the same keep their answer; propagated slices keep their result.

        Args:
            before: the object, or an empty one; it gives the field of view.
            prompts: at least one; the first gives the axis.
        """
        state = ObjectState(prompts[0].axis, field=before.field, outgrown=before.outgrown, told=before.told)
        known = state if before.axis != state.axis else before
        state = replace(state, results=known.results)
        for prompt in prompts:
            state = self.place(state, prompt)
        for position, entry in state.prompted.items():
            old = known.prompted.get(position)
            if old is not None and old.rounds == entry.rounds:
                state = state.with_prompted(position, old)
        gone = [position for position in known.prompted if position not in state.prompted]
        return self.settle_all(state), [*state.pending, *gone]

    def selection(self, state: ObjectState, position: int) -> MemorySelection | None:
        """Memories of other slices for a prompted slice, chosen by the policy; None when no other slice is prompted.

        The chain is the one that reached the slice, or else the one that would from the nearest prompted slice.
        """
        others = {at: memory for at, memory in state.conditioning.items() if at != position}
        if not others:
            return None
        reached = state.results.get(position)
        if reached is not None and reached.chain is not None:
            key = reached.chain
        else:
            origin = min(others, key=lambda other: (abs(other - position), other))
            key = ChainKey(origin, 1 if position > origin else -1)
        passed = {
            at: result.memory
            for at, result in state.results.items()
            if result.chain == key and result.memory is not None and (position - at) * key.direction > 0
        }
        bank = MemoryBank(others, passed)
        return self._policy.select(bank, position, key.direction, self._store.plane(state.axis).slice_count)

    def _answer_rounds(
        self,
        axis: SliceAxis,
        position: int,
        entry: PromptedSlice,
        selection: MemorySelection | None,
        earlier: Tensor | None,
    ) -> PromptedSlice:
        """Answer round after round, each with the logits before it, as if the user had just given them.

        Args:
            earlier: logits that stood on the slice before its first prompt.
        """
        for answered in range(entry.answered + 1, len(entry.rounds) + 1):
            prompts = [prompt for given in entry.rounds[:answered] for prompt in given]
            previous = earlier if entry.result is None else entry.result.logits
            result = None
            # An empty mask says of its own slice what it is, if not where the object is.
            known = any(says_where(prompt) or isinstance(prompt, MaskPrompt) for prompt in prompts)
            if known or selection is not None or previous is not None:
                result = self._answers.answer(axis, position, prompts, previous, selection)
            entry = replace(entry, answered=answered, result=result or entry.result)
        return entry

    def _answer_plane(self, state: ObjectState, position: int, prompt: Prompt) -> ObjectState:
        """Answer a prompt on another axis on its own slice: no memory there; what stands in 3D is the earlier mask."""
        key = PlaneKey(prompt.axis, position)
        entry = state.other_planes.get(key, PromptedSlice(())).with_round((prompt,))
        standing, earlier = None, None
        if entry.result is None:
            told = state.told.get(key)
            standing = self.section(state, prompt.axis, prompt.slice_index) if told is None else told.unpack()
        if standing is not None and standing.any():
            earlier = self._decoder.logits_of(prompt.axis, standing)
        return state.with_plane(key, self._answer_rounds(prompt.axis, position, entry, None, earlier))

    def _hand_over(self, state: ObjectState, position: int, prompt: Prompt) -> ObjectState:
        own = self._store.plane(state.axis)
        if isinstance(prompt, PointPrompt):
            point = implied_by_point(prompt, state.axis)
            return _with_round(state, own.order(point.slice_index), (point,))
        answer = state.other_planes[PlaneKey(prompt.axis, position)].result
        if answer is None:
            return state
        implied = implied_by_mask(answer.mask.unpack(), prompt.axis, prompt.slice_index, state.axis)
        for index, points in implied.items():
            state = _with_round(state, own.order(index), points)
        return state

    def section(self, state: ObjectState, axis: SliceAxis, index: int) -> np.ndarray:
        """The object's mask on any slice, array orientation, cut from what stands along its own axis."""
        own, plane = self._store.plane(state.axis), self._store.plane(axis)
        if axis == state.axis:
            result = state.at(own.order(index))
            return np.zeros(own.array_shape, bool) if result is None else result.mask.unpack()
        section = np.zeros(plane.array_shape, bool)
        # Array orientation has the higher of the remaining IJK axes in its rows; see whether that is the cut one.
        cut_rows = max(entry for entry in SliceAxis if entry != state.axis) == axis
        own_rows = max(entry for entry in SliceAxis if entry != axis) == state.axis
        for position, result in state.shown.items():
            if result.mask.area == 0:
                continue
            mask = result.mask.unpack()
            line = mask[index] if cut_rows else mask[:, index]
            place = own.order(position)
            if own_rows:
                section[place] = line
            else:
                section[:, place] = line
        return section


def _with_round(state: ObjectState, position: int, prompts: tuple[Prompt, ...]) -> ObjectState:
    entry = state.prompted.get(position, PromptedSlice(()))
    return state.with_prompted(position, entry.with_round(prompts))
