"""Keeps the prompts in step with the Segment Editor's undo and redo.

The editor's history holds the voxels and the metadata of the segments, not our prompts, and offers Python no event. But
it saves and restores the tags of each segment, and the segment writer gives every action that changes voxels a new name
in a tag. When the tag shows another action than the last one seen, the editor has gone back or forth, and the prompts
of that action are the ones that belong to the voxels.
"""

from __future__ import annotations

from collections import OrderedDict

from .controller_state import ObjectKey
from .volume_place import VolumePlace
from .written_voxels import read_step

# The editor keeps 10 states by default; users can raise it. Prompts are small, so there is room for many.
MAXIMUM_STEPS = 200


def step_of(segmentation_node, segment_id: str) -> str | None:
    """Name of the action the segment stands at: '' before our first, None when the segment does not exist."""
    segment = segmentation_node.GetSegmentation().GetSegment(segment_id)
    return None if segment is None else read_step(segment)


class UndoMapping:
    """The prompts that belong to each step of each segment, and the volume (`place`) in whose voxels they are."""

    def __init__(self) -> None:
        self._prompts: OrderedDict[tuple[ObjectKey, str], tuple[tuple, VolumePlace | None]] = OrderedDict()
        self._current: dict[ObjectKey, str] = {}
        self._unanswered: set[tuple[ObjectKey, str]] = set()

    def watch(self, key: ObjectKey, segmentation_node, prompts: tuple, place: VolumePlace | None = None) -> None:
        """Start to follow a segment, at the step it stands at; `prompts` are the ones that belong to it now."""
        step = step_of(segmentation_node, key.segment_id)
        if step is None or key in self._current:
            return
        self._current[key] = step
        self._remember(key, step, prompts, place)

    def voxels_changed(
        self, key: ObjectKey, segmentation_node, prompts: tuple, place: VolumePlace | None = None
    ) -> None:
        """Our action changed voxels: the segment is at a new step, the one that its tag names now."""
        step = step_of(segmentation_node, key.segment_id)
        if step is not None:
            self._current[key] = step
            self._remember(key, step, prompts, place)

    def prompts_changed(self, key: ObjectKey, prompts: tuple, place: VolumePlace | None = None) -> None:
        """The prompts changed and the voxels did not: the same step, with these prompts."""
        if key in self._current:
            self._remember(key, self._current[key], prompts, place)

    def prompts(self, key: ObjectKey) -> tuple | None:
        """The prompts that belong to the step the segment stands at; None when it is not followed."""
        return self._known(key)[0]

    def place(self, key: ObjectKey) -> VolumePlace | None:
        """In whose voxels those prompts are; None when it is not known."""
        return self._known(key)[1]

    def begin_waiting(self, key: ObjectKey) -> None:
        """The step the segment stands at is that of a prompt whose answer is still to come."""
        self._unanswered.add((key, self._current[key]))

    def end_waiting(self, key: ObjectKey) -> bool:
        """No answer is to come for the step the segment stands at (any more); True when one was awaited."""
        place = (key, self._current.get(key, ""))
        waited = place in self._unanswered
        self._unanswered.discard(place)
        return waited

    def stepped(self, key: ObjectKey, segmentation_node) -> tuple | None:
        """The prompts to restore when the editor has undone or redone our action; None when it has not."""
        if key not in self._current:
            return None
        step = step_of(segmentation_node, key.segment_id)
        if step is None or step == self._current[key]:
            return None
        self._current[key] = step
        return self._known(key)[0]

    def keys(self, segmentation_id: str) -> tuple[ObjectKey, ...]:
        """The segments of a segmentation that are followed."""
        return tuple(key for key in self._current if key.segmentation_id == segmentation_id)

    def forget(self, segmentation_id: str | None = None) -> None:
        """Drop what belongs to a segmentation, or everything."""
        for key in tuple(self._current):
            if segmentation_id is None or key.segmentation_id == segmentation_id:
                del self._current[key]
        for key, step in tuple(self._prompts):
            if segmentation_id is None or key.segmentation_id == segmentation_id:
                del self._prompts[(key, step)]
        self._unanswered = {place for place in self._unanswered if place[0] in self._current}

    def _known(self, key: ObjectKey) -> tuple[tuple | None, VolumePlace | None]:
        return self._prompts.get((key, self._current.get(key, "")), (None, None))

    def _remember(self, key: ObjectKey, step: str, prompts: tuple, place: VolumePlace | None) -> None:
        self._prompts[(key, step)] = (tuple(prompts), place)
        self._prompts.move_to_end((key, step))
        while len(self._prompts) > MAXIMUM_STEPS:
            self._prompts.popitem(last=False)
