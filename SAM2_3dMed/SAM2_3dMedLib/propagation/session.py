"""The session: one volume, any number of objects, prompts in, masks out. Every front end works with this object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..volume.field_of_view import FieldOfView
from ..volume.intensity import Window, window_from
from ..volume.planes import SliceAxis
from .cancel import CancelToken
from .checks import checked_axis, checked_mask, checked_prompt, checked_range
from .confidence import SliceConfidence, confidences
from .errors import PromptError
from .features_cache import CacheBudget
from .following import Following
from .history import Action, ObjectStates
from .lenses import Lenses
from .packed_mask import PackedMask
from .policies import BracketedMemoryPolicy, MemoryPolicy
from .predictor import SlicePredictor
from .prompts import BoxPrompt, PointPrompt, Prompt, prompts_from_json, prompts_to_json
from .slice_features import SliceFeatureStore
from .state import ObjectState, PlaneKey, SliceResult
from .stopping import StopRule
from .updates import SlicePreview, SliceUpdate
from .views import (
    cleared_previews,
    object_logits,
    object_mask,
    other_previews,
    plane_preview,
    slice_preview,
    state_updates,
)
from .zoom import Zoom

if TYPE_CHECKING:  # a session takes any volume; the module that reads files needs SimpleITK
    from torch import Tensor

    from ..volume.images import Volume


_ZOOM = Zoom()


class VolumeSession:
    """Interactive segmentation of one volume.

    Positions are voxels (i, j, k), masks are in array orientation, slice indices in the volume's own order. A call that
    raises leaves the session as it was. Not thread-safe; only a `CancelToken` may be used from another thread.
    """

    def __init__(
        self,
        predictor: SlicePredictor,
        volume: Volume,
        window: Window | str | None = None,
        policy: MemoryPolicy | None = None,
        stop_rule: StopRule | None = None,
        cache_budget: CacheBudget | None = None,
        zoom: Zoom | None = _ZOOM,
    ) -> None:
        """
        Args:
            predictor: the network on its device; may serve several sessions.
            volume: read with `volume.images.read_volume`, or made of an array.
            window: `Window`, or what `window_from` understands; None is automatic.
            policy, stop_rule, cache_budget: defaults `BracketedMemoryPolicy()`, `StopRule()`, and by device.
            zoom: how near small objects are looked at; None: all on whole slices, as SAM2 does.

        Raises:
            VolumeError: unknown window, or nothing finite in the volume.
        """
        self.predictor = predictor
        self.volume = volume
        self.window = window_from(window, volume)
        self._rule = stop_rule or StopRule()
        self._store = SliceFeatureStore(predictor, volume, self.window, cache_budget)
        self._lenses = Lenses(predictor, self._store, policy or BracketedMemoryPolicy(), zoom)
        self._states = ObjectStates()
        self._following = Following(self._states, self._lenses, self._store)

    def add_point(
        self, object_id: str, axis: SliceAxis | int, position: Sequence[float], positive: bool = True
    ) -> SlicePreview:
        """A click on the slice along `axis` through a voxel (i, j, k). Raises PromptError."""
        return self.add_prompt(object_id, PointPrompt(checked_axis(axis), tuple(position), positive))

    def add_box(
        self, object_id: str, axis: SliceAxis | int, corner_a: Sequence[float], corner_b: Sequence[float]
    ) -> SlicePreview:
        """A box on one slice: two opposite voxels, both inside it, equal along `axis`. Raises PromptError."""
        return self.add_prompt(object_id, BoxPrompt(checked_axis(axis), tuple(corner_a), tuple(corner_b)))

    def add_mask(self, object_id: str, axis: SliceAxis | int, index: int, mask: np.ndarray) -> SlicePreview:
        """The object's whole mask on one slice; it is the slice's result as it is. Raises PromptError."""
        return self.add_prompt(object_id, checked_mask(checked_axis(axis), index, mask))

    def add_prompt(self, object_id: str, prompt: Prompt) -> SlicePreview:
        """Any prompt; the answer on its own slice, at once. An unknown `object_id` begins a new object.

        Raises:
            PromptError: the prompt does not fit the volume.
        """
        prompt = self._checked(prompt)
        before = self._states.get(object_id)
        state = self._lenses.prompted(before, prompt)
        position = self._store.plane(prompt.axis).order(prompt.slice_index)
        self._states.commit(object_id, state, Action.PROMPT)
        if prompt.axis == state.axis:
            preview = slice_preview(object_id, state, before, position, self._store)
        else:
            preview = plane_preview(object_id, state, before, PlaneKey(prompt.axis, position), self._store)
            position = None
        return replace(preview, others=other_previews(object_id, state, before, position, self._store))

    def set_prompts(self, object_id: str, prompts: Sequence[Prompt]) -> list[SlicePreview]:
        """Replace an object's prompts, as when some were moved or deleted; one step for undo.

        Slices whose prompts stay the same keep their answer, and propagated slices keep their mask until the next
        propagation. No prompts at all removes the object's prompts and results.

        Returns:
            Previews of the slices whose prompts changed.

        Raises:
            PromptError: a prompt does not fit the volume.
        """
        checked = [self._checked(prompt) for prompt in prompts]
        before = self._states.get(object_id)
        if not checked:
            if before is not None:
                self._states.commit(object_id, ObjectState(before.axis), Action.PROMPT)
            return [] if before is None else cleared_previews(object_id, before, self._store)
        state, changed = self._lenses.replaced(before, checked)
        self._states.commit(object_id, state, Action.PROMPT)
        return [slice_preview(object_id, state, before, position, self._store) for position in changed]

    def tell_slice(self, object_id: str, axis: SliceAxis | int, index: int, mask: np.ndarray) -> None:
        """What stands on a slice that was segmented before this session: a correction there starts from it.

        No step for undo. Ignored where the session knows better: on slices that it has answered or reached itself, on
        other axes when it has propagated, and for unknown objects.

        Args:
            object_id: an object with prompts.
            axis, index: the slice.
            mask: bool, array orientation, the whole slice.

        Raises:
            PromptError: the mask does not fit the slice.
        """
        prompt = self._checked(checked_mask(checked_axis(axis), index, mask))
        state, position = self._states.get(object_id), self._store.plane(prompt.axis).order(prompt.slice_index)
        if state is None or not prompt.mask.any():
            return
        mask = PackedMask.of(prompt.mask)
        if prompt.axis != state.axis:
            if not state.propagated:
                self._states.advance(object_id, state.with_told(PlaneKey(prompt.axis, position), mask))
        elif state.at(position) is None:
            self._states.advance(object_id, state.with_results({position: SliceResult.unexplained(mask)}))

    def prompts(self, object_id: str) -> tuple[Prompt, ...]:
        """All prompts of an object, in order. Raises PromptError for an unknown object."""
        return self._states.known(object_id).prompts

    def export_prompts(self) -> dict[str, Any]:
        """All objects' prompts as a JSON document; see `prompts.prompts_to_json`."""
        return prompts_to_json({name: self.prompts(name) for name in self.object_ids})

    def restore_prompts(self, data: Mapping[str, Any]) -> dict[str, list[SlicePreview]]:
        """Set the prompts of the objects in an exported document. Raises PromptError before anything is changed."""
        read = prompts_from_json(data)
        for prompts in read.values():
            for prompt in prompts:
                self._checked(prompt)
        return {name: self.set_prompts(name, prompts) for name, prompts in read.items()}

    def propagate(
        self, object_id: str, slice_range: tuple[int, int] | None = None, cancel: CancelToken | None = None
    ) -> Iterator[SliceUpdate]:
        """Carry the object through the volume from its prompted slices, in both directions, nearest slices first.

        Yields the prompted slices, then every slice that had to be computed. Closing the iterator or cancelling keeps
        what is finished. It ends by itself when the object is prompted, undone or removed meanwhile.

        Args:
            object_id: a prompted object.
            slice_range: first and last slice index along the object's axis, inclusive. It overrides the stop rule: all
                slices in it are computed, and those outside of it stay as they are; prompted ones among them are
                answered anew if the object turns out to need a wider field of view.
            cancel: checked between slices.

        Raises:
            PromptError: unknown object, nothing that says where it is, or a range out of bounds or without prompt.
            DeviceMemoryError: from the iterator.
        """
        state = self._states.known(object_id)
        plane = self._store.plane(state.axis)
        span = checked_range(slice_range, plane)
        if not state.conditioning and not state.pending:
            raise PromptError("Nothing says where the object is yet; give a positive point, a box or a mask first.")
        first, last = span or (0, plane.slice_count - 1)
        if not any(first <= position <= last for position in state.prompted):
            raise PromptError(
                "The slice range holds no prompted slice; widen it to one, or give a prompt inside the range."
            )
        rule = self._rule if span is None else StopRule.never()
        return self._following.updates(object_id, (first, last), rule, cancel)

    @property
    def object_ids(self) -> tuple[str, ...]:
        """All objects, in the order they were begun."""
        return self._states.names

    def axis(self, object_id: str) -> SliceAxis:
        """Along which an object is propagated: the axis of its first prompt."""
        return self._states.known(object_id).axis

    def mask(self, object_id: str) -> np.ndarray:
        """The object's mask, bool [K, J, I], a new array."""
        return object_mask(self._states.known(object_id), self._store)

    def logits(self, object_id: str) -> dict[int, Tensor]:
        """Logits [1, 1, S/4, S/4] before they became masks, by slice index, in the network's orientation and of its
        field of view (`field_of_view`).
        """
        return object_logits(self._states.known(object_id), self._store)

    def field_of_view(self, object_id: str) -> FieldOfView | None:
        """The part of the slices along `axis(object_id)` that the network sees; None: all. Canonical pixels."""
        return self._states.known(object_id).field

    def slice_mask(self, object_id: str, axis: SliceAxis | int, index: int) -> np.ndarray:
        """A slice of `mask`, bool in array orientation, a new array."""
        state, axis = self._states.known(object_id), checked_axis(axis)
        checked_range((index, index), self._store.plane(axis))
        return self._lenses.of(state.axis).prompting.section(state, axis, index)

    def confidence(self, object_id: str) -> dict[int, SliceConfidence]:
        """Confidence by slice index along `axis(object_id)`, ascending; only slices that were prompted or reached."""
        state = self._states.known(object_id)
        plane = self._store.plane(state.axis)
        by_position = confidences(state.evidence())
        return {plane.order(position): by_position[position] for position in sorted(by_position, key=plane.order)}

    def refine_boundary(self, object_id: str, axis: SliceAxis | int, index: int, mask: np.ndarray) -> np.ndarray:
        """A mask with its edge drawn by the network, for a segmentation of any origin; nothing of the session changes.

        What the object's other prompted slices remember is used where the axis is the object's.

        Args:
            object_id: may be unknown to the session.
            axis, index: the slice.
            mask: bool, array orientation, the whole slice.

        Raises:
            PromptError: the mask does not fit the slice.
        """
        prompt = self._checked(checked_mask(checked_axis(axis), index, mask))
        position = self._store.plane(prompt.axis).order(prompt.slice_index)
        state = self._states.get(object_id)
        if state is None or state.axis != prompt.axis or not self._lenses.holds(state, prompt):
            return self._lenses.for_mask(prompt.axis, prompt.mask).decoder.refine(
                prompt.axis, position, prompt.mask, None
            )
        lens = self._lenses.through(state)
        return lens.decoder.refine(prompt.axis, position, prompt.mask, lens.prompting.selection(state, position))

    def undo(self, object_id: str | None = None) -> tuple[SliceUpdate, ...]:
        """Take back the last prompt or propagation of an object (None: of whichever object was changed last).

        Returns:
            The slices whose masks changed by it; empty when there was nothing to take back.
        """
        object_id = object_id if object_id is not None else self._states.last_changed()
        return () if object_id is None else self._take_back(object_id, until_prompt=False)

    def undo_prompt(self, object_id: str) -> tuple[SliceUpdate, ...]:
        """Take back the last prompt of an object and what was propagated since. Returns as `undo`."""
        return self._take_back(object_id, until_prompt=True)

    def remove_object(self, object_id: str) -> None:
        """Forget an object, its prompts and its history. Raises PromptError for an unknown object."""
        self._states.remove(object_id)

    def close(self) -> None:
        """Give back all memory. The session must not be used afterwards."""
        self._states.clear()
        self._store.close()
        self.predictor.runner.forget_memories()

    @property
    def encoded_count(self) -> int:
        """How many slices the image encoder has run on, repeats included."""
        return self._store.encoded_count

    @property
    def cached_bytes(self) -> int:
        """Bytes of features kept now."""
        return self._store.cached_bytes

    def _checked(self, prompt: Prompt) -> Prompt:
        return checked_prompt(prompt, self._store.plane(checked_axis(prompt.axis)))

    def _take_back(self, object_id: str, until_prompt: bool) -> tuple[SliceUpdate, ...]:
        state = self._states.known(object_id)
        entry = self._states.take_back(object_id, until_prompt)
        return () if entry is None else state_updates(object_id, state, entry.before, self._store)
