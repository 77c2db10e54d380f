"""Watches the scene for the controller: nodes that go, scenes that close, segments that change by another hand."""

from __future__ import annotations

import vtk

from .controller_state import Change


class SceneWatch:
    """Observers on the scene, the editor node and the segmentation in use.

    `stop` removes those of the editor. The scene is watched on until `close`: what is remembered of a segment is found
    by its ID, and after a scene was closed in another module, the next one gives the same IDs again.
    """

    def __init__(self, controller) -> None:
        self._controller = controller
        self._tags: list[tuple[object, int]] = []
        self._scene_tags: list[int] = []
        self._volume = None
        self._volume_tags: list[int] = []
        self._segmentation = None
        self._segmentation_tags: list[int] = []
        self._check_scheduled = False
        self._volume_scheduled = False
        self._names: tuple = ()

    def start(self, editor_node) -> None:
        self._watch_scene()
        self._observe(editor_node, vtk.vtkCommand.ModifiedEvent, self._on_editor_modified)
        self.follow(editor_node.GetSegmentationNode())

    def stop(self) -> None:
        self.follow(None)
        self.follow_volume(None)
        for subject, tag in self._tags:
            subject.RemoveObserver(tag)
        self._tags.clear()

    def close(self) -> None:
        """The application ends."""
        self.stop()
        for tag in self._scene_tags:
            self._controller.scene.RemoveObserver(tag)
        self._scene_tags.clear()

    def _watch_scene(self) -> None:
        if self._scene_tags:
            return
        scene = self._controller.scene
        for event, callback in (
            (scene.NodeAboutToBeRemovedEvent, self._on_node_about_to_be_removed),
            (scene.StartCloseEvent, self._on_start_close),
            (scene.EndImportEvent, self._on_end_import),
        ):
            self._scene_tags.append(scene.AddObserver(event, callback))

    def follow(self, segmentation_node) -> None:
        """Watch the segments of this segmentation node, and no longer those of the one before."""
        if segmentation_node is self._segmentation:
            return
        for tag in self._segmentation_tags:
            self._segmentation.RemoveObserver(tag)
        self._segmentation_tags.clear()
        self._segmentation = segmentation_node
        if segmentation_node is None:
            return
        segmentation = segmentation_node.GetSegmentation()
        for event in (segmentation.SegmentModified, segmentation.SegmentAdded):
            self._segmentation_tags.append(segmentation_node.AddObserver(event, self._on_segment_modified))
        removed = segmentation_node.AddObserver(segmentation.SegmentRemoved, self._on_segment_removed)
        moved = segmentation_node.AddObserver(segmentation_node.TransformModifiedEvent, self._on_segmentation_moved)
        self._segmentation_tags += [removed, moved]

    def follow_volume(self, volume_node) -> None:
        """Watch this volume's voxels and transforms, and no longer those of the one before."""
        if volume_node is self._volume:
            return
        for tag in self._volume_tags:
            self._volume.RemoveObserver(tag)
        self._volume_tags.clear()
        self._volume = volume_node
        if volume_node is not None:
            for event in (volume_node.TransformModifiedEvent, volume_node.ImageDataModifiedEvent):
                self._volume_tags.append(volume_node.AddObserver(event, self._on_volume_changed))

    def _on_volume_changed(self, node, event) -> None:
        # Interactive transforms send many of these; one look after them is enough.
        if not self._volume_scheduled:
            self._volume_scheduled = True
            self._controller.scheduler.call_later(50, self._volume_changed)

    def _volume_changed(self) -> None:
        self._volume_scheduled = False
        self._controller.volume_changed()

    def _observe(self, subject, event, callback) -> None:
        self._tags.append((subject, subject.AddObserver(event, callback)))

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_about_to_be_removed(self, scene, event, node) -> None:
        if node.IsA("vtkMRMLSegmentationNode"):
            if node is self._segmentation:
                self.follow(None)
            self._controller.segmentation_removed(node)
        elif node.IsA("vtkMRMLScalarVolumeNode"):
            self._controller.volume_removed(node)
        elif node is self._controller.editor_node:
            self._controller.detach()

    def _on_start_close(self, scene, event) -> None:
        self._controller.scene_closing()

    def _on_end_import(self, scene, event) -> None:
        self._controller.scene_loaded()

    def _on_editor_modified(self, node, event) -> None:
        self.follow(node.GetSegmentationNode())
        self._controller.refresh_context()

    def _on_segmentation_moved(self, node, event) -> None:
        self._controller.segmentation_moved()

    def _on_segment_removed(self, node, event) -> None:
        self._schedule_check()

    def _on_segment_modified(self, node, event) -> None:
        if not self._controller.writing:
            self._schedule_check()

    def _schedule_check(self) -> None:
        # An undo changes a segment in several steps, each with an event; look at it when the editor is done.
        if not self._check_scheduled:
            self._check_scheduled = True
            self._controller.scheduler.call_later(0, self._check)

    def _check(self) -> None:
        self._check_scheduled = False
        if self._segmentation is None:
            return
        segmentation_id = self._segmentation.GetID()
        segmentation = self._segmentation.GetSegmentation()
        for key in self._controller.undo.keys(segmentation_id):
            if segmentation.GetSegment(key.segment_id) is None:
                self._controller.segment_removed(key)
                continue
            prompts = self._controller.undo.stepped(key, self._segmentation)
            if prompts is not None:
                self._controller.restore_prompts(key, prompts)
        self._controller.refresh_context()
        ids = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
        names = tuple((segment_id, segmentation.GetSegment(segment_id).GetName()) for segment_id in ids)
        if names != self._names:  # the list of segments that can serve as prompt
            self._names = names
            self._controller.listeners.tell(Change.CONTEXT)
