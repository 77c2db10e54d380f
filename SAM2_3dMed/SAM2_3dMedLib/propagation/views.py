"""Reads an object's state out: updates, previews and the mask of the volume."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ..volume.planes import SliceAxis
from .prompts import PointPrompt
from .slice_features import SliceFeatureStore
from .state import ObjectState, PlaneKey
from .updates import Fields, SlicePreview, SliceUpdate

NOTHING_TO_SHOW = "The negative point is kept; give a positive point or a box to show where the object is."
ENDED_HERE = "The object is taken to have ended before this slice; a positive point here says that it goes on."


def update_of(
    object_id: str,
    state: ObjectState,
    before: ObjectState | None,
    position: int,
    store: SliceFeatureStore,
    done: int = 0,
    total: int = 0,
) -> SliceUpdate:
    """One slice along the object's axis as it is in `state`, compared with `before`."""
    plane = store.plane(state.axis)
    old = before.at(position) if before is not None and before.axis == state.axis else None
    fields = Fields.of(state.at(position), old, plane.array_shape)
    return SliceUpdate(
        object_id,
        state.axis,
        plane.order(position),
        fields.mask,
        fields.box,
        fields.score,
        fields.object_score,
        done,
        total,
    )


def slice_preview(
    object_id: str, state: ObjectState, before: ObjectState | None, position: int, store: SliceFeatureStore
) -> SlicePreview:
    """The answer on a prompted slice along the object's axis."""
    update = update_of(object_id, state, before, position, store)
    entry = state.prompted.get(position)
    note = ""
    if entry is not None and entry.result is None:
        note = NOTHING_TO_SHOW
    elif entry is not None and position in state.absent and isinstance(entry.prompts[-1], PointPrompt):
        note = ENDED_HERE
    return SlicePreview(**vars(update), note=note)


def other_previews(
    object_id: str, state: ObjectState, before: ObjectState | None, position: int | None, store: SliceFeatureStore
) -> tuple[SlicePreview, ...]:
    """The prompted slices but the one at `position` whose masks another field of view has changed."""
    if before is None or before.field == state.field:
        return ()
    previews = (slice_preview(object_id, state, before, at, store) for at in sorted(state.prompted) if at != position)
    return tuple(preview for preview in previews if preview.box is not None)


def plane_preview(
    object_id: str, state: ObjectState, before: ObjectState | None, key: PlaneKey, store: SliceFeatureStore
) -> SlicePreview:
    """The answer on a prompted slice along another axis."""
    plane = store.plane(key.axis)
    result = state.other_planes[key].result
    old = before.other_planes.get(key) if before is not None else None
    fields = Fields.of(result, None if old is None else old.result, plane.array_shape)
    note = NOTHING_TO_SHOW if result is None else ""
    index = plane.order(key.position)
    return SlicePreview(
        object_id, key.axis, index, fields.mask, fields.box, fields.score, fields.object_score, note=note
    )


def cleared_previews(object_id: str, before: ObjectState, store: SliceFeatureStore) -> list[SlicePreview]:
    """Empty previews of all slices that an object had anything on."""
    empty = ObjectState(before.axis)
    return [slice_preview(object_id, empty, before, position, store) for position in sorted(before.shown)]


def state_updates(
    object_id: str, state: ObjectState, target: ObjectState | None, store: SliceFeatureStore
) -> tuple[SliceUpdate, ...]:
    """The slices that change from `state` to `target` (None: the object is gone), along the axis of `state`."""
    after = target if target is not None else ObjectState(state.axis)
    updates = [
        update_of(object_id, after, state, position, store)
        for position in sorted({*state.shown, *after.shown})
        if state.at(position) is not after.at(position)
    ]
    return tuple(update for update in updates if update.box is not None)


def object_mask(state: ObjectState, store: SliceFeatureStore) -> np.ndarray:
    """The object's mask, bool [K, J, I]."""
    plane = store.plane(state.axis)
    volume = np.zeros(plane.shape_ijk[::-1], bool)
    stacked = np.moveaxis(volume, 2 - SliceAxis(state.axis), 0)
    for position, result in state.shown.items():
        if result.mask.area > 0:
            stacked[plane.order(position)] = result.mask.unpack()
    return volume


def object_logits(state: ObjectState, store: SliceFeatureStore) -> dict[int, Tensor]:
    """The logits that stand behind each slice's mask, by slice index; none where the object has ended."""
    plane = store.plane(state.axis)
    return {plane.order(at): result.logits for at, result in state.shown.items() if result.logits is not None}
