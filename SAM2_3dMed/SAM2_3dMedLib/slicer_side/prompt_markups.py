"""Prompts shown in the views as markups that can be dragged and deleted.

Points: two fiducial lists, one for each sign; boxes: one closed curve each. Without slice projection, markups are
seen on the slices they lie on and not on the others. The nodes are temporary: hidden from lists, never saved (the
prompt store is what is saved).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from ..propagation.prompts import BoxPrompt, PointPrompt, Prompt
from .prompt_store import StoredPrompt
from .volume_source import VolumeSource, VolumeSourceError

POSITIVE_COLOR = (0.25, 0.85, 0.35)
NEGATIVE_COLOR = (0.95, 0.25, 0.2)
BOX_COLOR = (1.0, 0.8, 0.2)
_POINT_SIZE = 2.5  # percent of the view
_BOX_CORNERS = 4
_MOVED_MM = 1e-3


@dataclass(frozen=True)
class _Shown:
    """A point of a list (`control_id`), or a whole curve."""

    stored: StoredPrompt
    control_id: str
    positions: NDArray[np.float64]  # world, [N, 3]


class PromptMarkups:
    """Shows the prompts of one segment. `on_moved(prompt_id, prompt)` and `on_deleted(prompt_id)` after the user's
    action, not after ours.
    """

    def __init__(self, scene: Any, on_moved: Callable[[str, Prompt], None], on_deleted: Callable[[str], None]) -> None:
        self._scene = scene
        self._on_moved = on_moved
        self._on_deleted = on_deleted
        self._source: VolumeSource | None = None
        self._lists: dict[bool, Any] = {}
        self._points: dict[bool, list[_Shown]] = {True: [], False: []}
        self._boxes: list[tuple[Any, _Shown]] = []
        self._observers: list[tuple[Any, int]] = []
        self._updating = False
        self._locked = False

    def show(self, source: VolumeSource, stored_prompts: Sequence[StoredPrompt]) -> None:
        """Replaces what is shown; mask prompts have no markup (the segment shows them)."""
        self._source = source
        self._updating = True
        try:
            for sign in (True, False):
                points = [s for s in stored_prompts if isinstance(s.prompt, PointPrompt) and s.prompt.positive is sign]
                self._show_points(sign, points)
            self._remove_boxes()
            for stored in stored_prompts:
                if isinstance(stored.prompt, BoxPrompt):
                    self._show_box(stored)
        finally:
            self._updating = False

    def clear(self) -> None:
        """Nothing is shown any more."""
        self._updating = True
        try:
            for node, tag in self._observers:
                node.RemoveObserver(tag)
            self._observers.clear()
            for node in (*self._lists.values(), *(node for node, _ in self._boxes)):
                self._remove(node)
            self._lists.clear()
            self._boxes.clear()
            self._points = {True: [], False: []}
        finally:
            self._updating = False

    def close(self) -> None:
        self.clear()
        self._source = None

    def owns(self, node: Any) -> bool:
        return any(node is mine for mine in (*self._lists.values(), *(box for box, _ in self._boxes)))

    def set_locked(self, locked: bool) -> None:
        """Locked markups cannot be dragged (while the mouse draws something else)."""
        self._locked = locked
        for node in (*self._lists.values(), *(box for box, _ in self._boxes)):
            node.SetLocked(locked)

    # Making nodes

    def _show_points(self, sign: bool, stored_prompts: Sequence[StoredPrompt]) -> None:
        node = self._lists.get(sign)
        if node is not None and node.GetScene() is None:
            node = None  # the scene was closed, or somebody removed it
        if node is None:
            if not stored_prompts:
                self._lists.pop(sign, None)
                self._points[sign] = []
                return
            name = "SAM2-3dMed positive points" if sign else "SAM2-3dMed negative points"
            node = self._make("vtkMRMLMarkupsFiducialNode", name, POSITIVE_COLOR if sign else NEGATIVE_COLOR)
            self._lists[sign] = node
        node.RemoveAllControlPoints()
        shown = []
        for stored in stored_prompts:
            world = self._source.ijk_to_world(np.array([stored.prompt.position]))
            index = node.AddControlPointWorld(*world[0])
            node.SetNthControlPointLabel(index, "+" if sign else "-")
            shown.append(_Shown(stored, node.GetNthControlPointID(index), world))
        self._points[sign] = shown

    def _show_box(self, stored: StoredPrompt) -> None:
        world = self._source.ijk_to_world(box_outline(stored.prompt))
        node = self._make("vtkMRMLMarkupsClosedCurveNode", "SAM2-3dMed box", BOX_COLOR)
        node.SetCurveTypeToLinear()
        for position in world:
            node.AddControlPointWorld(*position)
        self._boxes.append((node, _Shown(stored, "", world)))

    def _make(self, class_name: str, name: str, color: tuple[float, float, float]) -> Any:
        node = self._scene.CreateNodeByClass(class_name)
        node.UnRegister(None)
        node.SetName(name)
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        with _place_node_kept(self._scene):
            node = self._scene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        node.SetLocked(self._locked)
        display = node.GetDisplayNode()
        display.SetSaveWithScene(False)
        display.SetColor(*color)
        display.SetSelectedColor(*color)
        display.SetActiveColor(*(min(1.0, value + 0.2) for value in color))
        display.SetGlyphScale(_POINT_SIZE)
        display.SetPointLabelsVisibility(False)
        display.SetPropertiesLabelVisibility(False)
        display.SetSliceProjection(False)
        display.SetVisibility3D(False)
        for event, method in (
            (slicer.vtkMRMLMarkupsNode.PointEndInteractionEvent, self._moved),
            (slicer.vtkMRMLMarkupsNode.PointRemovedEvent, self._removed),
        ):
            self._observers.append((node, node.AddObserver(event, method)))
        return node

    def _remove_boxes(self) -> None:
        boxes, self._boxes = self._boxes, []
        for node, _ in boxes:
            for _, tag in (entry for entry in self._observers if entry[0] is node):
                node.RemoveObserver(tag)
            self._observers = [entry for entry in self._observers if entry[0] is not node]
            self._remove(node)

    def _remove(self, node: Any) -> None:
        """A node with its display nodes, which the scene would keep."""
        if node.GetScene() is None:
            return
        displays = [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
        self._scene.RemoveNode(node)
        for display in displays:
            if display is not None and display.GetScene() is not None:
                self._scene.RemoveNode(display)

    # The user's actions

    def _moved(self, node: Any, _event: str) -> None:
        if self._updating or self._source is None:
            return
        if any(curve is node for curve, _ in self._boxes) and node.GetNumberOfControlPoints() != _BOX_CORNERS:
            self._put_back()  # the user has put a point into the outline (Ctrl-click): a box has four corners
            return
        for stored, prompt in self._changes(node):
            if prompt is None:
                self._put_back()
            else:
                self._on_moved(stored.prompt_id, prompt)
            return

    def _changes(self, node: Any) -> list[tuple[StoredPrompt, Prompt | None]]:
        """Prompts whose markup was moved, with their new form (None: moved out of the volume, or the volume is
        gone).
        """
        try:
            for curve, shown in self._boxes:
                if curve is node:
                    moved = [i for i in range(4) if np.linalg.norm(_world(node, i) - shown.positions[i]) > _MOVED_MM]
                    corners = np.array([_world(node, i) for i in range(4)])
                    return [(shown.stored, self._moved_box(shown.stored.prompt, corners, moved))] if moved else []
            for sign, markups in self._lists.items():
                if markups is node:
                    return [
                        (shown.stored, self._moved_point(shown.stored.prompt, _world(node, index)))
                        for index, shown in enumerate(self._points[sign])
                        if np.linalg.norm(_world(node, index) - shown.positions[0]) > _MOVED_MM
                    ]
        except VolumeSourceError:
            return []  # deleted or warped meanwhile: the controller says so when it notices the same
        return []

    def _moved_point(self, prompt: PointPrompt, world: NDArray[np.float64]) -> PointPrompt | None:
        ijk = self._source.world_to_ijk(world.reshape(1, 3))[0]
        if not self._source.contains(ijk):
            return None
        return replace(prompt, position=tuple(float(value) for value in ijk))

    def _moved_box(
        self, prompt: BoxPrompt, corners_world: NDArray[np.float64], moved: Sequence[int]
    ) -> BoxPrompt | None:
        """One corner dragged: the opposite one stays. All dragged: the box that holds them. The slice stays."""
        ijk = self._source.world_to_ijk(corners_world)
        if len(moved) == 1:
            ijk = ijk[[moved[0], (moved[0] + 2) % 4]]
        last = np.asarray(self._source.shape_ijk, dtype=float) - 1.0
        low, high = np.clip(ijk.min(axis=0), 0.0, last), np.clip(ijk.max(axis=0), 0.0, last)
        low[prompt.axis] = high[prompt.axis] = prompt.slice_index
        if np.any(np.delete(high - low, prompt.axis) < 1.0):
            return None
        return replace(prompt, corner_a=tuple(float(v) for v in low), corner_b=tuple(float(v) for v in high))

    def _put_back(self) -> None:
        """All markups to where their prompts are."""
        stored = [shown.stored for sign in (True, False) for shown in self._points[sign]]
        stored += [shown.stored for _, shown in self._boxes]
        self.show(self._source, stored)

    def _removed(self, node: Any, _event: str) -> None:
        if self._updating:
            return
        for curve, shown in self._boxes:
            if curve is node:
                self._on_deleted(shown.stored.prompt_id)
                return
        for sign, markups in self._lists.items():
            if markups is node:
                left = {node.GetNthControlPointID(i) for i in range(node.GetNumberOfControlPoints())}
                gone = [shown.stored.prompt_id for shown in self._points[sign] if shown.control_id not in left]
                self._points[sign] = [shown for shown in self._points[sign] if shown.control_id in left]
                for prompt_id in gone:
                    self._on_deleted(prompt_id)
                return


@contextlib.contextmanager
def _place_node_kept(scene: Any) -> Iterator[None]:
    """The application makes every markup that is added the one that the next placed point goes to: not ours, and what
    the user had chosen stays chosen.
    """
    selection = scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    before = (selection.GetActivePlaceNodeClassName(), selection.GetActivePlaceNodeID()) if selection else None
    yield
    if before is not None:
        selection.SetReferenceActivePlaceNodeClassName(before[0])
        selection.SetReferenceActivePlaceNodeID(before[1])


def box_outline(prompt: BoxPrompt) -> NDArray[np.float64]:
    """The four corners of a box in voxels, [4, 3], in order round it."""
    a, b = np.array(prompt.corner_a), np.array(prompt.corner_b)
    low, high = np.minimum(a, b), np.maximum(a, b)
    first, second = (axis for axis in (0, 1, 2) if axis != prompt.axis)
    corners = np.tile(low, (4, 1))
    corners[1:3, first] = high[first]
    corners[2:4, second] = high[second]
    return corners


def _world(node: Any, index: int) -> NDArray[np.float64]:
    position = [0.0, 0.0, 0.0]
    node.GetNthControlPointPositionWorld(index, position)
    return np.array(position)
