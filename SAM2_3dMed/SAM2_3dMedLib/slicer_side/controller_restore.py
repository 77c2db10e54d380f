"""The controller's part that follows the editor's undo and redo: the prompts go with the voxels."""

from __future__ import annotations

from .controller_state import JobKind, ObjectKey


class RestoreMixin:
    """Called by the scene's watch when a segment stands at another of our steps than before."""

    def restore_prompts(self, key: ObjectKey, prompts: tuple) -> None:
        """The editor has undone or redone one of our actions: the prompts go with the voxels."""
        segmentation = self.scene.GetNodeByID(key.segmentation_id)
        if segmentation is None:
            return
        under_way = dict.fromkeys((*self._queue.jobs, *self._jobs.values()))
        waiting = [job for job in under_way if job.key == key and job.kind is JobKind.PREVIEW]
        unanswered = waiting and self._action is waiting[0].action and not self._action_changed
        behind = waiting[1:] if unanswered else []
        if behind:
            # The editor took back the step of the prompt that is computed now. The newest prompt, which waits behind
            # it, has no step yet, and it is the one that the user means.
            prompts = waiting[-2].prompts
            self._end_action()
            self._drop_jobs(lambda job: job is behind[-1])
        elif any(job.key == key for job in under_way):
            self.cancel_running()
            self._drop_jobs(lambda job: job.key == key)
        place = (self._place(key) if behind else self.undo.place(key)) or self._place(key) or self._source_place()
        self.store.set_all(segmentation, key.segment_id, place, prompts)
        if self.source is not None and self.engine_requested and self._in_source(key):
            volume_id = self.client.open_volume(self.source)
            # Redone before it was ever answered: its voxels are not in the editor's history, they have to be computed.
            kind = JobKind.PREVIEW if not behind and self.undo.end_waiting(key) else JobKind.RESTORE
            self._submit(kind, key, self.client.set_prompts(volume_id, key.object_id, prompts))
        self._forget_review(key)
        self._edits.remember(key)
        self._prompts_changed()
        if behind:
            self._begin_step()
        self._set_running_status()
