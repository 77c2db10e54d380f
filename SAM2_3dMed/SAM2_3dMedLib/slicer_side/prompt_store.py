"""The prompts of each segment, kept in the scene: one hidden node for each segmentation, saved and loaded with it.

Keyed by segment ID, which does not change when a segment is renamed. The node refers to the segmentation and, for
each segment, to the volume that was prompted, so that MRML keeps the references right when a scene is loaded into
another.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, unquote

from ..propagation.errors import PromptError
from ..propagation.prompts import Prompt, prompt_from_json
from .slice_sums import SliceSums
from .volume_place import VolumePlace

_KIND = "SAM2_3dMed.Prompts"  # attribute that tells our nodes from other modules'
_SEGMENTATION_ROLE = "segmentation"
_VERSION = 1


@dataclass(frozen=True)
class StoredPrompt:
    """A prompt and its name in the scene; the name stays when the prompt is moved."""

    prompt_id: str
    prompt: Prompt


@dataclass(frozen=True)
class _Record:
    prompts: tuple[StoredPrompt, ...] = ()
    checked: tuple[int, ...] = ()
    sums: SliceSums | None = None
    grid: dict[str, Any] | None = None


class PromptStore:
    """All methods work on the scene as it is now; nothing is cached, so loading and closing a scene need no notice."""

    def __init__(self, scene: Any) -> None:
        self._scene = scene

    def prompts(self, segmentation_node: Any, segment_id: str) -> tuple[StoredPrompt, ...]:
        """In the order they were given."""
        return self._read(segmentation_node, segment_id).prompts

    def add(self, segmentation_node: Any, segment_id: str, volume_node: Any, prompt: Prompt) -> StoredPrompt:
        """The prompts of a segment are all in voxels of one grid, that of the volume of the first."""
        stored = StoredPrompt(uuid.uuid4().hex[:12], prompt)
        record = self._read(segmentation_node, segment_id)
        place = self.place(segmentation_node, segment_id) if record.prompts else None
        place = place or _place_of(volume_node)
        self._write(segmentation_node, segment_id, _with(record, place, (*record.prompts, stored)))
        self._set_volume(segmentation_node, segment_id, place)
        return stored

    def replace(self, segmentation_node: Any, segment_id: str, prompt_id: str, prompt: Prompt) -> None:
        """KeyError when there is no prompt of that name."""
        record = self._read(segmentation_node, segment_id)
        _index_of(record, prompt_id)
        prompts = tuple(StoredPrompt(prompt_id, prompt) if p.prompt_id == prompt_id else p for p in record.prompts)
        self._write(segmentation_node, segment_id, replace(record, prompts=prompts))

    def remove(self, segmentation_node: Any, segment_id: str, prompt_id: str) -> None:
        """KeyError when there is no prompt of that name."""
        record = self._read(segmentation_node, segment_id)
        _index_of(record, prompt_id)
        prompts = tuple(p for p in record.prompts if p.prompt_id != prompt_id)
        self._write(segmentation_node, segment_id, replace(record, prompts=prompts))

    def pop(self, segmentation_node: Any, segment_id: str) -> StoredPrompt | None:
        """Takes the last prompt away and returns it, None when there is none."""
        record = self._read(segmentation_node, segment_id)
        if not record.prompts:
            return None
        self._write(segmentation_node, segment_id, replace(record, prompts=record.prompts[:-1]))
        return record.prompts[-1]

    def set_all(
        self,
        segmentation_node: Any,
        segment_id: str,
        place: VolumePlace | None,
        prompts: Sequence[Prompt | StoredPrompt],
    ) -> None:
        """Exactly these prompts, in voxels of `place`; those given as StoredPrompt keep their names."""
        named = tuple(p if isinstance(p, StoredPrompt) else StoredPrompt(uuid.uuid4().hex[:12], p) for p in prompts)
        record = self._read(segmentation_node, segment_id)
        self._write(segmentation_node, segment_id, _with(record, place, named))
        self._set_volume(segmentation_node, segment_id, place)

    def clear(self, segmentation_node: Any, segment_id: str) -> None:
        """Forgets prompts and checked slices of a segment."""
        self._write(segmentation_node, segment_id, _Record())

    def segments(self, segmentation_node: Any) -> tuple[str, ...]:
        """The IDs of the segments that have prompts or checked slices."""
        node = self._node(segmentation_node)
        if node is None:
            return ()
        return tuple(unquote(name) for name in node.GetParameterNames() if node.GetParameter(name))

    def volume_node(self, segmentation_node: Any, segment_id: str) -> Any | None:
        """The volume that the segment was prompted on, None when it is not in the scene."""
        node = self._node(segmentation_node)
        return node.GetNodeReference(_volume_role(segment_id)) if node is not None else None

    def place(self, segmentation_node: Any, segment_id: str) -> VolumePlace | None:
        """Whose voxels the prompts are in; None: there are none, or it is not known (a scene of version 0.1.0, say)."""
        record = self._read(segmentation_node, segment_id)
        if not record.prompts:
            return None
        volume_node = self.volume_node(segmentation_node, segment_id)
        if record.grid is None:
            return _place_of(volume_node)
        try:
            return VolumePlace.from_json(volume_node.GetID() if volume_node is not None else "", record.grid)
        except (ValueError, KeyError, TypeError):
            return _place_of(volume_node)

    def checked_slices(self, segmentation_node: Any, segment_id: str) -> set[int]:
        """Slices (along the segment's axis) that the user has looked at."""
        return set(self._read(segmentation_node, segment_id).checked)

    def set_checked(self, segmentation_node: Any, segment_id: str, indices: Iterable[int]) -> None:
        record = self._read(segmentation_node, segment_id)
        checked = tuple(sorted({int(index) for index in indices}))
        self._write(segmentation_node, segment_id, replace(record, checked=checked))

    def slice_sums(self, segmentation_node: Any, segment_id: str) -> SliceSums | None:
        """Checksums that the slices had after the model's last answer; None where there are none."""
        return self._read(segmentation_node, segment_id).sums

    def set_slice_sums(self, segmentation_node: Any, segment_id: str, sums: SliceSums) -> None:
        """Kept as long as the segment has prompts or checked slices."""
        record = self._read(segmentation_node, segment_id)
        if record.prompts or record.checked:
            self._write(segmentation_node, segment_id, replace(record, sums=sums))

    def drop_missing(self) -> None:
        """Removes what belongs to segments and segmentations that are gone."""
        for node in self._nodes():
            segmentation_node = node.GetNodeReference(_SEGMENTATION_ROLE)
            if segmentation_node is None:
                self._scene.RemoveNode(node)
                continue
            for segment_id in self.segments(segmentation_node):
                if segmentation_node.GetSegmentation().GetSegment(segment_id) is None:
                    self.clear(segmentation_node, segment_id)

    def _read(self, segmentation_node: Any, segment_id: str) -> _Record:
        """The record of a segment; an entry that cannot be read (a newer version's) is left out, the others stay."""
        node = self._node(segmentation_node)
        text = node.GetParameter(quote(segment_id, safe="")) if node is not None else ""
        if not text:
            return _Record()
        try:
            data = json.loads(text)
            entries, checked = list(data["prompts"]), tuple(int(index) for index in data["checked"])
        except (ValueError, KeyError, TypeError):
            return _Record()
        prompts = []
        for entry in entries:
            try:
                prompts.append(StoredPrompt(str(entry["id"]), prompt_from_json(entry)))
            except (PromptError, KeyError, TypeError):
                continue
        return _Record(tuple(prompts), checked, _sums_of(data), data.get("grid"))

    def _write(self, segmentation_node: Any, segment_id: str, record: _Record) -> None:
        name = quote(segment_id, safe="")
        if not record.prompts and not record.checked:
            node = self._node(segmentation_node)
            if node is not None:
                node.UnsetParameter(name)
                node.SetNodeReferenceID(_volume_role(segment_id), None)
            return
        data = {
            "version": _VERSION,
            "prompts": [{"id": stored.prompt_id, **stored.prompt.to_json()} for stored in record.prompts],
            "checked": list(record.checked),
        }
        if record.sums is not None:
            data["sums"] = record.sums.to_json()
        if record.grid is not None:
            data["grid"] = record.grid
        node = self._node(segmentation_node) or self._create(segmentation_node)
        node.SetParameter(name, json.dumps(data, separators=(",", ":")))

    def _set_volume(self, segmentation_node: Any, segment_id: str, place: VolumePlace | None) -> None:
        node = self._node(segmentation_node)
        if node is not None and place is not None and place.node_id:
            node.SetNodeReferenceID(_volume_role(segment_id), place.node_id)

    def _node(self, segmentation_node: Any) -> Any | None:
        for node in self._nodes():
            if node.GetNodeReferenceID(_SEGMENTATION_ROLE) == segmentation_node.GetID():
                return node
        return None

    def _nodes(self) -> list[Any]:
        count = self._scene.GetNumberOfNodesByClass("vtkMRMLScriptedModuleNode")
        nodes = [self._scene.GetNthNodeByClass(index, "vtkMRMLScriptedModuleNode") for index in range(count)]
        return [node for node in nodes if node.GetAttribute(_KIND)]

    def _create(self, segmentation_node: Any) -> Any:
        node = self._scene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        node.SetName("SAM2-3dMed prompts")
        node.SetHideFromEditors(True)
        node.SetAttribute(_KIND, str(_VERSION))
        node = self._scene.AddNode(node)
        node.SetNodeReferenceID(_SEGMENTATION_ROLE, segmentation_node.GetID())
        return node


def _sums_of(data: dict[str, Any]) -> SliceSums | None:
    """They are a help, not the user's work: what cannot be read is as if it were not there."""
    try:
        return SliceSums.from_json(data["sums"])
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


def _place_of(volume_node: Any) -> VolumePlace | None:
    return None if volume_node is None else VolumePlace.of_node(volume_node)


def _with(record: _Record, place: VolumePlace | None, prompts: tuple[StoredPrompt, ...]) -> _Record:
    return replace(record, prompts=prompts, grid=None if place is None else place.to_json())


def _volume_role(segment_id: str) -> str:
    return f"volume-{quote(segment_id, safe='')}"


def _index_of(record: _Record, prompt_id: str) -> int:
    for index, stored in enumerate(record.prompts):
        if stored.prompt_id == prompt_id:
            return index
    raise KeyError(prompt_id)
