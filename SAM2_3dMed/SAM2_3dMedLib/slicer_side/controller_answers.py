"""The controller's part that takes the worker's answers: masks into the segment, one undo step for one action."""

from __future__ import annotations

import numpy as np

from SAM2_3dMedLib.worker import messages

from .client_events import ClientState, ClientStateChanged, UploadProgress, WorkerLost
from .controller_state import Job, JobKind, Phase, Status
from .controller_writes import SliceWrite
from .review import SliceReview
from .translation import _


class AnswersMixin:
    """Every answer names its request; answers to requests that were dropped (undone, deleted, left) are ignored."""

    def _init_answers(self) -> None:
        self._action: Job | None = None  # the job whose undo step is open in the writer
        self._action_changed = False
        self._completing: list[Job] = []
        for event, handler in (
            (messages.EngineReady, self._on_engine_ready),
            (messages.ModelLoaded, self._on_model_loaded),
            (messages.Preview, self._on_preview),
            (messages.SliceResult, self._on_slice_result),
            (messages.ConfidenceReport, self._on_confidence),
            (messages.Finished, self._on_finished),
            (messages.Failed, self._on_failed),
            (messages.Notice, self._on_notice),
        ):
            self.client.subscribe(event, handler)
        self.client.subscribe(ClientStateChanged, self._on_client_state)
        self.client.subscribe(UploadProgress, self._on_upload)
        self.client.subscribe(WorkerLost, self._on_worker_lost)

    # ---- engine --------------------------------------------------------------------------------------------------
    def _on_engine_ready(self, event) -> None:
        if self.status.phase is Phase.STARTING:
            self._set_status(Status(Phase.STARTING, _("Loading the model...")))

    def _on_model_loaded(self, event) -> None:
        self.notice = ""
        self._model_ready = True
        if self.status.phase in (Phase.STARTING, Phase.FAILED, Phase.OFF, Phase.READY):
            self._set_ready()
        unsent, self._unsent = self._unsent, set()
        for key in unsent:
            prompts = self.stored_prompts(key)
            if prompts and self.source is not None:
                volume_id = self.client.open_volume(self.source)
                self._submit(JobKind.PREVIEW, key, self.client.set_prompts(volume_id, key.object_id, prompts))

    def _on_client_state(self, event) -> None:
        if event.state is ClientState.FAILED:
            self._loaded = None
            self._set_status(Status(Phase.FAILED, error=event.sentence))

    def _on_upload(self, event) -> None:
        if self.status.phase in (Phase.READY, Phase.UPLOADING, Phase.STARTING, Phase.PREVIEW) and event.fraction < 1.0:
            sentence = _("Handing the volume to the engine...")
            self._set_status(Status(Phase.UPLOADING, sentence, self.status.error, event.fraction))
        elif self.status.phase is Phase.UPLOADING:
            self._set_running_status()

    def _on_notice(self, event) -> None:
        if event.kind == "prompt":
            self.prompt_note = event.sentence  # stays until the prompts change
        else:
            self.notice = event.sentence  # stays in the status line until another model is loaded
        status = self.status
        self._set_status(Status(status.phase, event.sentence, status.error, status.fraction, status.seconds_left))

    def _on_worker_lost(self, event) -> None:
        self._queue.flush()
        self._end_action()
        self._jobs.clear()
        self._completing.clear()
        self._model_ready = False
        if event.restarting:
            self._set_status(Status(Phase.STARTING, error=event.sentence))
        else:
            self._loaded = None
            self._set_status(Status(Phase.FAILED, error=event.sentence))

    # ---- masks ---------------------------------------------------------------------------------------------------
    def _on_preview(self, event) -> None:
        job = self._jobs.get(event.request)
        if job is None or job.kind is JobKind.RESTORE:
            return
        job.expected.discard((int(event.axis), int(event.index)))
        self._enter_action(job)
        self._queue.push(SliceWrite(int(event.axis), int(event.index), event.mask.to_mask()))

    def _on_slice_result(self, event) -> None:
        job = self._jobs.get(event.request)
        if job is None or job.kind is JobKind.RESTORE:
            return
        self._enter_action(job)
        self._queue.push(SliceWrite(int(event.axis), int(event.index), event.mask.to_mask()))
        if job.kind is JobKind.PROPAGATE and event.score is not None:
            known = {int(event.index): SliceReview(float(event.score), float(event.score))}
            self._set_confidence(job.key, int(event.axis), known, replace=False)
        phase = Phase.PROPAGATING if job.kind is JobKind.PROPAGATE else Phase.REFINING
        fraction = event.done / event.total if event.total else None
        sentence = _("{done} of {total} slices").format(done=event.done, total=event.total)
        self._set_status(Status(phase, sentence, "", fraction, event.seconds_left))

    def _on_confidence(self, event) -> None:
        job = self._jobs.get(event.request)
        if job is None:
            return
        slices = {int(s.index): SliceReview(float(s.value), s.score, s.boundary, s.agreement) for s in event.slices}
        self._set_confidence(job.key, int(event.axis), slices, replace=True)

    def _on_finished(self, event) -> None:
        job = self._jobs.pop(event.request, None)
        if job is None:
            return
        job.finished, job.cancelled = True, bool(event.cancelled)
        if job.kind in (JobKind.RESTORE, JobKind.CONFIDENCE):
            self._set_running_status()
            return
        if job.expected and not job.cancelled:
            self._enter_action(job)
            for axis, index in sorted(job.expected):
                shape = [n for d, n in enumerate(job.source.array.shape) if d != 2 - axis]
                self._queue.push(SliceWrite(axis, index, np.zeros(shape, dtype=bool)))
        self._completing.append(job)
        if self._queue.empty:
            self._writes_done()

    def _on_failed(self, event) -> None:
        job = self._jobs.pop(event.request, None)
        if event.fatal or (job is None and event.kind in ("model", "missing_package")):
            self._loaded = None
            self._set_status(Status(Phase.FAILED, error=event.sentence))
        if job is None:
            # Model and volume are handed over without a job; "lost" is told by WorkerLost, with what happens next.
            if not event.fatal and event.kind not in ("lost", "model", "missing_package"):
                self._set_running_status(event.sentence)
            return
        if job.kind is JobKind.PREVIEW and event.kind == "prompt":
            self._take_back(job)
        if self._action is job.action:
            self._queue.flush()
            self._end_action()
        if not event.fatal:
            self._set_running_status(event.sentence)

    def _take_back(self, job: Job) -> None:
        """The engine refused a prompt (it says why): it does not stay among the prompts."""
        segmentation = self.scene.GetNodeByID(job.key.segmentation_id)
        if segmentation is not None and job.prompts and self.stored_prompts(job.key) == job.prompts:
            self.store.pop(segmentation, job.key.segment_id)
            self._prompts_changed()

    # ---- writing -------------------------------------------------------------------------------------------------
    def _enter_action(self, job: Job) -> None:
        """Open the undo step of this job, and close the one before."""
        if self._action is job.action:
            return
        self._queue.flush()
        self._end_action()
        segmentation = self.scene.GetNodeByID(job.key.segmentation_id)
        if segmentation is None or self._writer is None:
            return
        from .segment_writer import WriteMode

        try:
            mode = WriteMode.REPLACE if job.kind is JobKind.REFINE else WriteMode.ADD
            self._writer.begin_action(segmentation, job.key.segment_id, job.source, mode)
        except self._writer_errors() as error:
            self._refuse_writing(job, str(error))
            return
        self._action, self._action_changed = job.action, False

    def _write_slice(self, item: SliceWrite) -> None:
        if self._action is None or self._writer is None:
            return
        job = self._action
        self._edits.invalidate(job.key)
        self.writing = True
        try:
            changed = self._writer.write_slice(item.axis, item.index, item.mask)
            if changed and not self._action_changed:
                self._action_changed = True
                segmentation = self.scene.GetNodeByID(job.key.segmentation_id)
                self.undo.voxels_changed(job.key, segmentation, job.prompts)
        except self._writer_errors() as error:
            self._refuse_writing(job, str(error))
        finally:
            self.writing = False

    def _writes_done(self) -> None:
        """Everything that came is written: close the steps whose work is finished."""
        completing, self._completing = self._completing, []
        for job in completing:
            self._complete(job)

    def _complete(self, job: Job) -> None:
        if job.kind is JobKind.PREVIEW and self.auto_propagate and not job.cancelled and self.stored_prompts(job.key):
            newer = any(other.kind is JobKind.PREVIEW and other.key == job.key for other in self._jobs.values())
            if not newer and self.source is job.source and self._propagate(job.key, follows=job):
                return
        if self._action is job.action:
            if not self._action_changed:
                self.undo.prompts_changed(job.key, job.prompts)
            self._end_action()
        elif self._action is None:
            self.undo.prompts_changed(job.key, job.prompts)
        self._edits.remember(job.key)
        if job.kind is JobKind.PROPAGATE and self.engine_requested:
            request = self.client.read_confidence(job.source.volume_id, job.key.object_id)
            self._jobs[request] = Job(JobKind.CONFIDENCE, job.key, job.source)
        self._set_running_status()

    def _end_action(self) -> None:
        if self._action is None:
            return
        self._action = None
        self._action_changed = False
        self.writing = True
        try:
            self._writer.end_action()
        finally:
            self.writing = False

    def _refuse_writing(self, job: Job, sentence: str) -> None:
        self._queue.clear()
        self._drop_jobs(lambda other: other.key == job.key)
        self.client.cancel()
        self._end_action()
        self._set_running_status(sentence)

    def _drop_jobs(self, unwanted) -> None:
        """Ignore the answers of these jobs from now on; what they wrote stays."""
        for request, job in tuple(self._jobs.items()):
            if unwanted(job):
                del self._jobs[request]
        self._completing = [job for job in self._completing if not unwanted(job)]
        if self._action is not None and unwanted(self._action):
            self._queue.clear()
            self._end_action()
        self._set_running_status()

    def _set_running_status(self, error: str = "") -> None:
        """The status line for what still runs."""
        kinds = {job.kind for job in self._jobs.values()}
        if JobKind.PROPAGATE in kinds:
            if self.status.phase is not Phase.PROPAGATING or error:
                self._set_status(Status(Phase.PROPAGATING, _("Following the structure..."), error, 0.0))
        elif JobKind.REFINE in kinds:
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
