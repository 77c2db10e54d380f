"""The controller's part that takes what the user asks for: prompts, propagation, cancel."""

from __future__ import annotations

from .controller_state import Change, JobKind, ObjectKey, Phase, PromptRefused, Status
from .engine_sentences import in_slicer
from .translation import _


class PromptsMixin:
    """Methods return True when the request was taken; False: `status.error` says why not and what to do next."""

    @property
    def prompts(self) -> tuple:
        """The stored prompts (`StoredPrompt`) of the current segment, in the order they were given."""
        if self.key is None or self.segmentation_node is None:
            return ()
        return tuple(self.store.prompts(self.segmentation_node, self.key.segment_id))

    def stored_prompts(self, key: ObjectKey) -> tuple:
        """The prompts of a segment, without the IDs they are stored under."""
        segmentation = self.scene.GetNodeByID(key.segmentation_id)
        if segmentation is None:
            return ()
        return tuple(stored.prompt for stored in self.store.prompts(segmentation, key.segment_id))

    # ---- giving prompts ------------------------------------------------------------------------------------------
    def add_point(self, slice_node, world, positive: bool = True) -> bool:
        """A click in a slice view at a world position (mm, RAS)."""
        from SAM2_3dMedLib.propagation.prompts import PointPrompt
        from SAM2_3dMedLib.volume.planes import SliceAxis

        with self._reporting():
            where = self._ready_source().view_slice(slice_node, world)
            return self.add_prompt(PointPrompt(SliceAxis(where.axis), tuple(float(v) for v in where.ijk), positive))
        return False

    def add_box(self, slice_node, corners_world) -> bool:
        """A rectangle drawn in a slice view: world positions [4,3] of its corners, in order around it."""
        from SAM2_3dMedLib.propagation.prompts import BoxPrompt
        from SAM2_3dMedLib.volume.planes import SliceAxis

        with self._reporting():
            axis, corner_a, corner_b = self._ready_source().box_in_view(slice_node, corners_world)
            return self.add_prompt(BoxPrompt(SliceAxis(axis), tuple(map(float, corner_a)), tuple(map(float, corner_b))))
        return False

    def add_mask(self, axis: int, index: int, mask) -> bool:
        """A brush stroke, a lasso or a slice of a segment as prompt: bool, array orientation."""
        from SAM2_3dMedLib.propagation.prompts import MaskPrompt
        from SAM2_3dMedLib.volume.planes import SliceAxis

        with self._reporting():
            self._ready_source()
            if not mask.any():
                raise PromptRefused(_("Nothing is inside the volume there; draw over the image."))
            return self.add_prompt(MaskPrompt(SliceAxis(axis), index, mask))
        return False

    def subtract_mask(self, axis: int, index: int, stroke) -> bool:
        """A stroke over what does not belong to the structure: the rest of the segment's slice is the prompt."""
        with self._reporting():
            source = self._ready_source()
            if self.key is None:
                raise PromptRefused(_("Select a segment in the list first."))
            mask = self._writer.slice_mask(self.segmentation_node, self.key.segment_id, source, axis, index)
            left = mask & ~stroke
            if left.sum() == mask.sum():
                raise PromptRefused(_("The stroke meets nothing of the segment; draw over what should go."))
            if not left.any():
                raise PromptRefused(_("Nothing would be left of the segment on this slice; delete its prompts."))
            return self.add_mask(axis, index, left)
        return False

    def add_segment_mask(self, segment_id: str, axis: int, index: int) -> bool:
        """What stands in a segment on one slice, as a mask prompt for the current segment."""
        with self._reporting():
            source = self._ready_source()
            mask = self._writer.slice_mask(self.segmentation_node, segment_id, source, axis, index)
            if not mask.any():
                raise PromptRefused(_("That segment is empty on this slice; go to a slice where it is visible."))
            return self.add_mask(axis, index, mask)
        return False

    def add_prompt(self, prompt) -> bool:
        """Store the prompt, show it, and ask the worker for the mask of its slice. PromptRefused when it is none."""
        self._check(prompt)
        key = self._ensure_segment()
        self._refuse_elsewhere()
        self._refuse_unwritable(prompt)
        before = self.stored_prompts(key)
        if any(same_point(known, prompt) for known in before):
            return False  # the second click of a double click
        standing = self._standing(key, prompt, before)
        volume_node = self.scene.GetNodeByID(self.source.node_id)
        self.store.add(self.segmentation_node, key.segment_id, volume_node, prompt)
        self._prompts_changed()
        self.prompt_note = self._hidden_note(key) or self._stopped_note(key)
        if not self.start_engine():
            self._keep_for_later(key)
            return True
        volume_id = self._teach(key, before)
        for (axis, index), mask in standing.items():
            self.client.tell_slice(volume_id, key.object_id, axis, index, mask)
        request = self.client.add_prompt(volume_id, key.object_id, prompt)
        self._submit(JobKind.PREVIEW, key, request)
        self._set_status(Status(Phase.PREVIEW, _("Computing this slice...")))
        self._begin_step()
        if request not in self._jobs:  # the segmentation cannot be written, and the status says why
            self.store.pop(self.segmentation_node, key.segment_id)
            self.client.set_prompts(volume_id, key.object_id, before)
            self._prompts_changed()
            return False
        return True

    # ---- changing prompts ----------------------------------------------------------------------------------------
    def move_prompt(self, prompt_id: str, prompt) -> None:
        """A prompt was dragged to another place: its old and its new slice are computed again."""
        old = self._prompt_by_id(prompt_id)
        if old is not None:
            self.store.replace(self.segmentation_node, self.key.segment_id, prompt_id, prompt)
            self._send_prompts(slices_of([old]))

    def delete_prompt(self, prompt_id: str) -> None:
        """Take one prompt back; its slice is computed again without it."""
        old = self._prompt_by_id(prompt_id)
        if old is not None:
            self.store.remove(self.segmentation_node, self.key.segment_id, prompt_id)
            self._send_prompts(slices_of([old]))

    def _marker_moved(self, prompt_id: str, prompt) -> None:
        # The markup is still in the hands of the view that reports this; it is made anew when the view has let go.
        self.scheduler.call_later(0, lambda: self.move_prompt(prompt_id, prompt))

    def _marker_deleted(self, prompt_id: str) -> None:
        self.scheduler.call_later(0, lambda: self.delete_prompt(prompt_id))

    def delete_last_prompt(self) -> None:
        """Take the newest prompt back."""
        if self.prompts:
            self.delete_prompt(self.prompts[-1].prompt_id)

    def clear_prompts(self) -> None:
        """Delete all prompts of the current segment; the voxels stay as they are."""
        if self.key is None or not self.prompts:
            return
        self.cancel_running()
        key = self.key
        self._drop_jobs(lambda job: job.key == key)
        self.store.clear(self.segmentation_node, key.segment_id)
        if self.source is not None and self.engine_requested:
            self.client.remove_object(self.source.volume_id, key.object_id)
        self._record_prompts_now(key, ())
        self._forget_review(key)
        self._prompts_changed()

    # ---- the whole volume ----------------------------------------------------------------------------------------
    def propagate(self) -> bool:
        """Follow the structure through the volume from its prompts, in both directions, within `slice_range`."""
        with self._reporting():
            self._ready_source()
            if self.key is None or not self.prompts:
                raise PromptRefused(_("Click on the structure in a slice first."))
            self._refuse_elsewhere()
            return self._propagate(self.key)
        return False

    def _propagate(self, key: ObjectKey, follows=None) -> bool:
        if not self.start_engine():
            return False
        self.cancel_running(JobKind.PROPAGATE, JobKind.REFINE)
        volume_id = self._teach(key, self.stored_prompts(key))
        request = self.client.propagate(volume_id, key.object_id, self.slice_range if key == self.key else None)
        self._submit(JobKind.PROPAGATE, key, request, follows=follows)
        self._set_status(Status(Phase.PROPAGATING, _("Following the structure..."), fraction=0.0))
        return True

    def cancel(self) -> None:
        """Stop what runs; every slice that is done stays, and so do the prompts."""
        self.cancel_running()
        for request, job in tuple(self._jobs.items()):
            if (
                job.kind is JobKind.PREVIEW
            ):  # it may wait for the volume or the model; its answer is not wanted any more
                del self._jobs[request]
                job.cancelled = True
                self._push_end(job)
        self._set_running_status()

    def cancel_running(self, *kinds: JobKind) -> None:
        """Stop propagation and refinement (or what runs of these kinds)."""
        kinds = kinds or (JobKind.PROPAGATE, JobKind.REFINE)
        if JobKind.REFINE in kinds:
            self.stop_collecting()
        if any(job.kind in kinds and not job.finished for job in self._jobs.values()):
            self.client.cancel()

    # ---- inner ---------------------------------------------------------------------------------------------------
    def _check(self, prompt) -> None:
        """The engine's own rules, before anything is stored: a prompt refused later would leave an undo step."""
        from SAM2_3dMedLib.propagation.checks import checked_prompt
        from SAM2_3dMedLib.propagation.errors import PromptError
        from SAM2_3dMedLib.volume.planes import SlicePlane

        try:
            checked_prompt(prompt, SlicePlane.of(self.source.geometry, prompt.axis))
        except PromptError as error:
            raise PromptRefused(in_slicer(str(error))) from error

    def _hidden_note(self, key: ObjectKey) -> str:
        """What to say when the answer will not be seen; empty when it will."""
        display = self.segmentation_node.GetDisplayNode()
        if display is None or (display.GetVisibility() and display.GetSegmentVisibility(key.segment_id)):
            return ""
        return _("This segment is hidden: switch on its eye in the list to see the result.")

    def _stopped_note(self, key: ObjectKey) -> str:
        """What to say when the prompt ends the propagation of another segment; empty when it does not."""
        for job in self._jobs.values():
            if job.kind is JobKind.PROPAGATE and job.key != key and not job.finished:
                segmentation = self.scene.GetNodeByID(job.key.segmentation_id)
                segment = segmentation.GetSegmentation().GetSegment(job.key.segment_id) if segmentation else None
                if segment is not None:
                    sentence = _('"{name}" was stopped halfway: choose it and propagate again to go on with it.')
                    return sentence.format(name=segment.GetName())
        return ""

    def _ensure_segment(self) -> ObjectKey:
        """The key of the current segment; an empty segmentation gets its first segment."""
        if self.key is None:
            segmentation = self.segmentation_node.GetSegmentation()
            if segmentation.GetNumberOfSegments() > 0:
                raise PromptRefused(_("Select a segment in the list first."))
            segment_id = segmentation.AddEmptySegment()
            self._editor_node.SetSelectedSegmentID(segment_id)
            self.key = self._current_key()
            self.undo.watch(self.key, self.segmentation_node, ())
            self.listeners.tell(Change.CONTEXT)
        return self.key

    def _prompt_by_id(self, prompt_id: str):
        for stored in self.prompts:
            if stored.prompt_id == prompt_id:
                return stored.prompt
        return None

    def _teach(self, key: ObjectKey, prompts: tuple) -> str:
        """Open the volume; a worker that knows other prompts than the scene (yesterday's, say, or those of before they
        were deleted while another volume was chosen) learns them first.
        """
        volume_id = self.client.open_volume(self.source)
        if tuple(self.client.prompts(volume_id, key.object_id)) != tuple(prompts):
            self._submit(JobKind.RESTORE, key, self.client.set_prompts(volume_id, key.object_id, prompts))
        return volume_id

    def _send_prompts(self, touched: set[tuple[int, int]]) -> None:
        """Tell the worker all prompts of the segment; slices in `touched` that get no answer are cleared."""
        key = self.key
        self._prompts_changed()
        if self.source is None or not self._in_source(key) or not self.start_engine():
            self._keep_for_later(key)
            return
        volume_id = self.client.open_volume(self.source)
        request = self.client.set_prompts(volume_id, key.object_id, self.stored_prompts(key))
        self._submit(JobKind.PREVIEW, key, request, touched)
        self._set_status(Status(Phase.PREVIEW, _("Computing this slice...")))
        self._begin_step()

    def _keep_for_later(self, key: ObjectKey) -> None:
        self._unsent.add(key)
        self._record_prompts_now(key, self.stored_prompts(key))

    def _prompts_changed(self) -> None:
        self.prompt_note = ""
        self.stop_collecting()
        self._show_prompts()
        self.listeners.tell(Change.PROMPTS)
        self.listeners.tell(Change.REVIEW)

    def _show_prompts(self) -> None:
        if self._markups is None:
            return
        if self.key is None or self.source is None:
            self._markups.clear()
        else:
            self._markups.show(self.source, self.shown_prompts)


def same_point(first, second) -> bool:
    """True for two points on the same voxel with the same sign."""
    if not hasattr(first, "positive") or not hasattr(second, "positive"):
        return False
    near = all(round(a) == round(b) for a, b in zip(first.position, second.position, strict=True))
    return near and first.axis == second.axis and first.positive == second.positive


def slices_of(prompts) -> set[tuple[int, int]]:
    """(axis, slice index) of each prompt."""
    return {(int(prompt.axis), int(prompt.slice_index)) for prompt in prompts}
