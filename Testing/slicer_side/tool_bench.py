"""The whole tool without the desktop: scene, editor node and logic, views, controller, session; a worker to choose."""

from __future__ import annotations

import mrml
import numpy as np
import slice_views
import slicer
from SAM2_3dMedLib.slicer_side.controller import Controller
from SAM2_3dMedLib.slicer_side.effect_session import EffectSession
from SAM2_3dMedLib.slicer_side.prompt_markups import PromptMarkups
from SAM2_3dMedLib.slicer_side.prompt_store import PromptStore
from SAM2_3dMedLib.slicer_side.scheduling import ManualScheduler
from SAM2_3dMedLib.slicer_side.segment_targets import EditorLogicTarget
from SAM2_3dMedLib.slicer_side.segment_writer import SegmentWriter
from SAM2_3dMedLib.slicer_side.slice_view import SliceView
from SAM2_3dMedLib.slicer_side.volume_source import read_volume_source

SHAPE = (20, 48, 64)  # K, J, I
OBLIQUE = np.array([[0.9, 0.2, 0.1, -30.0], [-0.15, 0.95, 0.3, -25.0], [0.05, -0.25, 2.2, -20.0], [0, 0, 0, 1.0]])


def smooth_volume(shape=SHAPE) -> np.ndarray:
    """A bright ball on a dark ground, int16."""
    k, j, i = np.mgrid[: shape[0], : shape[1], : shape[2]]
    distance = ((k - shape[0] / 2) / 6) ** 2 + ((j - shape[1] / 2) / 12) ** 2 + ((i - shape[2] / 2) / 14) ** 2
    return (200 * (distance < 1)).astype(np.int16)


class ToolBench:
    """`views`: by orientation. `run(until)` is the event loop."""

    def __init__(
        self, worker, array=None, ijk_to_ras=mrml.AXIAL_LPS, segments=("A", "B"), transform=None, markups=True
    ):
        self.kept = mrml.new_scene()
        self.scene, self.application = self.kept[0], self.kept[1]
        slice_views.prepare(self.application)
        self.scheduler = ManualScheduler()
        self.client = worker(self.scheduler)
        self.volume = mrml.add_volume(smooth_volume() if array is None else array, ijk_to_ras)
        if transform is not None:
            self.volume.SetAndObserveTransformNodeID(mrml.add_linear_transform(transform).GetID())
        self.segmentation, self.segments = mrml.add_segmentation(*segments, reference=self.volume)
        first = self.segments[0] if self.segments else ""
        self.editor = mrml.add_editor_node(self.segmentation, self.volume, first)
        self.target = EditorLogicTarget(self.editor)
        self.target.logic.SetMaximumNumberOfUndoStates(20)
        self.writer = SegmentWriter(self.target)
        factory = (lambda moved, deleted: PromptMarkups(self.scene, moved, deleted)) if markups else None
        self.controller = Controller(self.scene, self.client, self.scheduler, PromptStore(self.scene), factory)
        self.views: dict[str, slice_views.OffscreenView] = {}
        self.session = EffectSession(self.controller, lambda: [self.as_slice_view(v) for v in self.views.values()])
        self.errors: list[str] = []
        self.controller.listeners.add(self._keep_error)

    def add_view(self, orientation: str, through=None, node_change=None, name="") -> slice_views.OffscreenView:
        """`name`: of the view, where one orientation is shown twice."""
        view = slice_views.make_view(self.application, self.volume, name or orientation, orientation, through)
        if node_change is not None:
            node_change(view.node)
        self.views[name or orientation] = view
        wrapped = self.as_slice_view(view)
        view.first = lambda interactor, event_id: self.session.handle_event(wrapped, interactor, event_id)
        return view

    @staticmethod
    def as_slice_view(view) -> SliceView:
        return SliceView(view.node, view.renderer, lambda: None)

    def activate(self) -> None:
        """What the effect does when it is chosen in the editor."""
        self.session.activate()
        self.controller.attach(self.editor, self.writer)
        self.session.refresh_views()

    def leave(self) -> None:
        self.session.deactivate()
        self.controller.detach()

    def run(self, until=None, timeout_s: float = 20.0) -> None:
        """Let the event loop run until the condition holds, or until nothing is under way any more."""
        done = self.scheduler.run(until or (lambda: self.idle), timeout_s)
        assert done, f"still {self.controller.status} after {timeout_s} s"

    @property
    def idle(self) -> bool:
        controller = self.controller
        return not controller._jobs and controller._queue.empty and not self.scheduler._heap

    def voxels(self, segment: str) -> np.ndarray:
        return mrml.segment_array(self.segmentation, segment, self.volume)

    def world(self, i, j, k) -> tuple[float, float, float]:
        return tuple(read_volume_source(self.volume).ijk_to_world(np.array([[i, j, k]], dtype=float))[0])

    def undo(self) -> None:
        """Ctrl+Z in the editor."""
        self.target.undo()
        self.run()

    def redo(self) -> None:
        self.target.redo()
        self.run()

    def close(self) -> None:
        self.session.deactivate()
        self.controller.shutdown()
        self.scene.Clear(True)

    def _keep_error(self, change) -> None:
        error = self.controller.status.error
        if error and (not self.errors or self.errors[-1] != error):
            self.errors.append(error)


def add_oblique_view(bench: ToolBench, angle_degrees: float, through) -> slice_views.OffscreenView:
    """An axial view turned about the left-right axis."""

    def turn(node) -> None:
        angle = np.radians(angle_degrees)
        matrix = np.eye(4)
        matrix[:3, 0] = (-1, 0, 0)
        matrix[:3, 1] = (0, np.cos(angle), np.sin(angle))
        matrix[:3, 2] = np.cross(matrix[:3, 0], matrix[:3, 1])
        matrix[:3, 3] = through
        node.GetSliceToRAS().DeepCopy(matrix.ravel())
        node.UpdateMatrices()

    view = bench.add_view("Oblique", through, turn)
    slicer_node = view.node
    assert isinstance(slicer_node, slicer.vtkMRMLSliceNode)
    return view


def active_bench(worker, views=("Axial",)) -> ToolBench:
    """A bench whose effect is active, with these views through the middle of the volume."""
    made = ToolBench(worker)
    made.activate()
    for orientation in views:
        made.add_view(orientation, made.world(SHAPE[2] // 2, SHAPE[1] // 2, SHAPE[0] // 2))
    made.session.refresh_views()
    made.run()
    return made
