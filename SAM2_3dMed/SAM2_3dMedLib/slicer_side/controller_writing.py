"""The controller's part that brings masks into the segment: one undo step for one action, in the queue's portions."""

from __future__ import annotations

import numpy as np

from .controller_state import Job, JobKind, ObjectKey, Phase, Status
from .controller_writes import JobEnd, SliceWrite
from .translation import _


class WritingMixin:
    """An undo step is open in the writer while the queue hands over items of one action."""

    def _init_writing(self) -> None:
        self._action: Job | None = None  # the job whose undo step is open in the writer
        self._action_writer = None
        self._action_changed = False

    # ---- writing -------------------------------------------------------------------------------------------------
    def _push(self, job: Job, axis: int, index: int, mask: np.ndarray) -> None:
        node = self.scene.GetNodeByID(job.key.segmentation_id)
        if node is not None and self._writer is not None:
            self._queue.push(SliceWrite(job, node, self._writer, axis, index, mask))

    def _push_end(self, job: Job) -> None:
        node = self.scene.GetNodeByID(job.key.segmentation_id)
        if node is not None and self._writer is not None and job.kind.writes:
            self._queue.push(JobEnd(job, node, self._writer))

    def _settle(self) -> None:
        """No answer comes any more; what has come is written, in the queue's portions."""
        for job in self._jobs.values():
            job.cancelled = True
            self._push_end(job)
        self._jobs.clear()

    def _work(self, item: JobEnd) -> None:
        """One item of the queue; what was made for a segmentation that is gone is dropped with its job."""
        if self.scene.GetNodeByID(item.job.key.segmentation_id) is not item.node:
            self._drop_jobs(lambda job: job.action is item.job.action)
        elif isinstance(item, SliceWrite):
            self._write_slice(item)
        else:
            self._complete(item)

    def _enter_action(self, item: JobEnd) -> bool:
        """Open the undo step of this job, and close the one before; False: not possible, and said."""
        action = item.job.action
        if self._action is action:
            return True
        self._end_action()
        from .segment_writer import WriteMode

        try:
            mode = WriteMode.REPLACE if item.job.kind is JobKind.REFINE else WriteMode.ADD
            item.writer.begin_action(item.node, action.key.segment_id, item.job.source, mode)
        except self._writer_errors() as error:
            self._refuse_writing(item.job, str(error))
            return False
        self._action, self._action_writer, self._action_changed = action, item.writer, False
        return True

    def _write_slice(self, item: SliceWrite) -> None:
        if not self._enter_action(item):
            return
        job = self._action
        self._edits.invalidate(job.key)
        self.writing = True
        try:
            if item.writer.overtaken:  # undone while the rest was still waiting, after the effect was left
                self._drop_jobs(lambda other: other.action is job)
                return
            changed = item.writer.write_slice(item.axis, item.index, item.mask)
            if changed and not self._action_changed:
                self._action_changed = True
                self.undo.end_waiting(job.key)
                self.undo.voxels_changed(job.key, item.node, job.prompts, self._place(job.key))
        except self._writer_errors() as error:
            self._refuse_writing(job, str(error))
        finally:
            self.writing = False

    def _begin_step(self) -> None:
        """Open the undo step of the prompt that is answered next: Ctrl+Z before the answer takes back that prompt and
        not the action before it.

        Not while something of an earlier action is still to come or to be written: it belongs to a step of its own.
        """
        job = next((job for job in self._jobs.values() if job.kind.writes), None)
        if job is None or job.kind is not JobKind.PREVIEW or not self._queue.empty or self._writer is None:
            return
        node = self.scene.GetNodeByID(job.key.segmentation_id)
        if node is not None and self._record_prompts(JobEnd(job, node, self._writer)):
            self.undo.begin_waiting(job.key)

    def _complete(self, item: JobEnd) -> None:
        """Everything of a job is written: the next prompt that waits gets its undo step."""
        self._tell_news()
        self._close(item)
        self._begin_step()

    def _close(self, item: JobEnd) -> None:
        """Close a job's undo step, unless a propagation goes on in it."""
        job, here = item.job, item.writer is self._writer
        automatic = job.kind is JobKind.PREVIEW and self.auto_propagate and not job.cancelled and not job.failed
        if here and automatic and self.stored_prompts(job.key):
            newer = any(other.kind is JobKind.PREVIEW and other.key == job.key for other in self._jobs.values())
            if not newer and self.source is job.source and self._propagate(job.key, follows=job):
                return
        if self._action is job.action:
            self.undo.end_waiting(job.key)
        if not job.failed:
            self._record_prompts(item)
        if self._action is job.action:
            self._end_action()
        if job.failed:
            return
        if here:
            self._edits.remember(job.key)
            if job.kind is JobKind.PROPAGATE and self.engine_requested:
                request = self.client.read_confidence(job.source.volume_id, job.key.object_id)
                self._jobs[request] = Job(JobKind.CONFIDENCE, job.key, job.source)
        self._set_running_status()

    def _record_prompts(self, item: JobEnd) -> bool:
        """An undo step for prompts that changed no voxel (yet): True when one was made, which is not the case when the
        step the segment stands at holds these prompts already.
        """
        key, prompts = item.job.key, item.job.prompts
        if self.undo.prompts(key) == prompts or not self._enter_action(item):
            return False
        self.writing = True
        try:
            item.writer.mark_step()
            self.undo.voxels_changed(key, item.node, prompts, self._place(key))
        except self._writer_errors() as error:
            self._refuse_writing(item.job, str(error))
            return False
        finally:
            self.writing = False
        return True

    def _record_prompts_now(self, key: ObjectKey, prompts: tuple) -> None:
        """As above, for prompts that the engine has no answer to give to."""
        node = self.scene.GetNodeByID(key.segmentation_id)
        if self.source is None or self._writer is None or node is None:
            self.undo.prompts_changed(key, prompts, self._place(key))
            return
        item = JobEnd(Job(JobKind.PREVIEW, key, self.source, prompts), node, self._writer)
        self._record_prompts(item)
        if self._action is item.job:
            self._end_action()

    def _end_action(self) -> None:
        if self._action is None:
            return
        writer, self._action, self._action_writer = self._action_writer, None, None
        self._action_changed = False
        self.writing = True
        try:
            writer.end_action()
        finally:
            self.writing = False

    def _refuse_writing(self, job: Job, sentence: str) -> None:
        self._drop_jobs(lambda other: other.key == job.key)
        self.client.cancel()
        self._set_running_status(sentence)

    def _drop_jobs(self, unwanted) -> None:
        """Ignore the answers of these jobs from now on; what they wrote stays."""
        for request, job in tuple(self._jobs.items()):
            if unwanted(job):
                del self._jobs[request]
        self._queue.drop(unwanted)
        if self._action is not None and unwanted(self._action):
            self._end_action()
        self._set_running_status()

    def _set_running_status(self, error: str = "", fresh: bool = False) -> None:
        """The status line for what still runs; `fresh`: also when the one that stands there is of the same phase."""
        kinds = {job.kind for job in self._jobs.values()}
        if JobKind.PROPAGATE in kinds:
            if self.status.phase is not Phase.PROPAGATING or error or fresh:
                self._set_status(Status(Phase.PROPAGATING, _("Following the structure..."), error, 0.0))
        elif JobKind.REFINE in kinds or self.collecting:
            self._set_status(Status(Phase.REFINING, _("Refining the boundary..."), error, self.status.fraction))
        elif JobKind.PREVIEW in kinds:
            self._set_status(Status(Phase.PREVIEW, _("Computing this slice..."), error))
        elif self.status.phase not in (Phase.FAILED, Phase.MISSING, Phase.STARTING):
            self._set_ready(error)

    @staticmethod
    def _writer_errors() -> tuple[type[Exception], ...]:
        from .segment_writer import TargetGone, WriteRefused
        from .volume_source import VolumeSourceError

        return (TargetGone, WriteRefused, VolumeSourceError)
