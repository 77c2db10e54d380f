"""The controller's part for "Refine boundary": the segment's masks go to the worker, its outlines come back."""

from __future__ import annotations

import time
from collections.abc import Iterator

from SAM2_3dMedLib.worker.mask_crop import MaskCrop

from .controller_state import JobKind, ObjectKey, Phase, PromptRefused, Status
from .translation import _

TURN_SECONDS = 0.015
PAUSE_MS = 5


class RefineMixin:
    """Reading all slices of a segment takes some 100 ms, so it is done in steps; `collecting` is True meanwhile."""

    def _init_refine(self) -> None:
        self._collection: Iterator | None = None

    @property
    def collecting(self) -> bool:
        return self._collection is not None

    def stop_collecting(self) -> None:
        """Cancel, and whatever else ends a refinement that has not reached the worker yet."""
        self._collection = None

    def refine(self, axis: int, index: int | None) -> bool:
        """Draw the outline of the current segment again along the image's edges: one slice, or all (index None)."""
        with self._reporting():
            source = self._ready_source()
            if self.key is None:
                raise PromptRefused(_("Select a segment first."))
            if index is None:
                self._collect(self.key, source, int(axis))
                return True
            mask = self._writer.slice_mask(self.segmentation_node, self.key.segment_id, source, axis, index)
            return self._refine_masks(self.key, source, int(axis), {index: MaskCrop.of(mask)} if mask.any() else {})
        return False

    def _collect(self, key: ObjectKey, source, axis: int) -> None:
        self.cancel_running(JobKind.PROPAGATE, JobKind.REFINE)
        writer, masks = self._writer, {}
        count = source.array.shape[2 - axis]
        steps = writer.slice_steps(self.segmentation_node, key.segment_id, source, axis)
        self._collection = steps

        def turn() -> None:
            if self._collection is not steps:
                return
            if not self._still_there(key, source, writer):
                self.stop_collecting()
                self._set_running_status()
                return
            end = time.perf_counter() + TURN_SECONDS
            with self._reporting():
                for index, mask in steps:
                    if mask.any():
                        masks[index] = MaskCrop.of(mask)
                    if time.perf_counter() > end:
                        fraction = (index + 1) / count
                        self._set_status(Status(Phase.REFINING, _("Reading the segment..."), fraction=fraction))
                        self.scheduler.call_later(PAUSE_MS, turn)
                        return
                self.stop_collecting()
                self._set_running_status()
                self._refine_masks(key, source, axis, masks)
            # An error that `_reporting` has said ends the collection, too.
            if self._collection is steps:
                self.stop_collecting()
                self._set_running_status(self.status.error)

        self._set_status(Status(Phase.REFINING, _("Reading the segment..."), fraction=0.0))
        self.scheduler.call_later(0, turn)

    def _refine_masks(self, key: ObjectKey, source, axis: int, masks: dict[int, MaskCrop]) -> bool:
        if not masks:
            raise PromptRefused(_("The segment is empty here: nothing to refine."))
        if not self.start_engine():
            return False
        self.cancel_running(JobKind.PROPAGATE, JobKind.REFINE)
        volume_id = self.client.open_volume(source)
        self._submit(JobKind.REFINE, key, self.client.refine_boundary(volume_id, key.object_id, axis, masks))
        self._set_status(Status(Phase.REFINING, _("Refining the boundary..."), fraction=0.0))
        return True

    def _still_there(self, key: ObjectKey, source, writer) -> bool:
        """False when the segment, the volume or the editor that a step-by-step reading is about is gone."""
        segmentation = self.scene.GetNodeByID(key.segmentation_id)
        if segmentation is None or segmentation.GetSegmentation().GetSegment(key.segment_id) is None:
            return False
        return self.source is source and self._writer is writer and self._transform_is_linear()
