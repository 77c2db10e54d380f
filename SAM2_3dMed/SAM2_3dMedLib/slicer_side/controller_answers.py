"""The controller's part that takes the worker's answers: masks into the segment, one undo step for one action."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from SAM2_3dMedLib.worker import messages

from .client_events import ClientState, ClientStateChanged, UploadProgress, WorkerLost
from .controller_state import Job, JobKind, ObjectKey, Phase, Status
from .controller_writing import WritingMixin
from .review import SliceReview
from .translation import _


class AnswersMixin(WritingMixin):
    """Every answer names its request; answers to requests that were dropped (undone, deleted, left) are ignored."""

    def _init_answers(self) -> None:
        self._init_writing()
        # What slice results say beside their masks: told with the write, once for all slices of a turn.
        self._news: dict[tuple[ObjectKey, int], dict[int, SliceReview]] = {}
        self._progress: tuple[Job, Status] | None = None
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
            if prompts and self.source is not None and self._in_source(key):
                volume_id = self.client.open_volume(self.source)
                self._submit(JobKind.PREVIEW, key, self.client.set_prompts(volume_id, key.object_id, prompts))

    def _on_client_state(self, event) -> None:
        if event.state is ClientState.FAILED:
            self._loaded = None
            self._set_status(Status(Phase.FAILED, error=event.sentence))

    def _on_upload(self, event) -> None:
        if event.fraction < 1.0 and self.status.phase not in (Phase.OFF, Phase.FAILED, Phase.MISSING):
            # What waits for the volume is running: its phase stays, so that it can be canceled.
            phase = self.status.phase if self.status.running else Phase.UPLOADING
            sentence = _("Handing the volume to the engine...")
            self._set_status(Status(phase, sentence, self.status.error, event.fraction))
        elif self.status.phase is Phase.UPLOADING or self.status.running:
            self._set_running_status(fresh=True)

    def _on_notice(self, event) -> None:
        if event.kind == "prompt":
            self.prompt_note = event.sentence  # stays until the prompts change
        else:
            self.notice = event.sentence  # stays in the status line until another model is loaded
        status = self.status
        self._set_status(Status(status.phase, event.sentence, status.error, status.fraction, status.seconds_left))

    def _on_worker_lost(self, event) -> None:
        self._settle()
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
        self._push(job, int(event.axis), int(event.index), event.mask.to_mask())

    def _on_slice_result(self, event) -> None:
        job = self._jobs.get(event.request)
        if job is None or job.kind is JobKind.RESTORE:
            return
        self._push(job, int(event.axis), int(event.index), event.mask.to_mask())
        if job.kind is JobKind.PROPAGATE and event.score is not None:
            known = self._news.setdefault((job.key, int(event.axis)), {})
            known[int(event.index)] = SliceReview(float(event.score), float(event.score))
        phase = Phase.PROPAGATING if job.kind is JobKind.PROPAGATE else Phase.REFINING
        fraction = event.done / event.total if event.total else None
        sentence = _("{done} of {total} slices").format(done=event.done, total=event.total)
        self._progress = (job, Status(phase, sentence, "", fraction, event.seconds_left))
        if self._queue.empty:  # no editor to write into
            self._tell_news()

    def _tell_news(self) -> None:
        """A slice's bar, the progress: each has a view and the panel drawn again, as the write has."""
        news, self._news = self._news, {}
        for (key, axis), slices in news.items():
            self._set_confidence(key, axis, slices, replace=False)
        progress, self._progress = self._progress, None
        if progress is not None and any(job is progress[0] for job in self._jobs.values()):
            self._set_status(progress[1])

    def _forget_news(self, unwanted: Callable[[ObjectKey], bool]) -> None:
        """What was not told yet of these segments: in another scene the same names are other segments."""
        self._news = {place: slices for place, slices in self._news.items() if not unwanted(place[0])}

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
            for axis, index in sorted(job.expected):
                shape = [n for d, n in enumerate(job.source.array.shape) if d != 2 - axis]
                self._push(job, axis, index, np.zeros(shape, dtype=bool))
        self._push_end(job)

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
        job.failed = True
        self._push_end(job)
        if not event.fatal:
            self._set_running_status(event.sentence)

    def _take_back(self, job: Job) -> None:
        """The engine refused a prompt (it says why): it does not stay among the prompts."""
        segmentation = self.scene.GetNodeByID(job.key.segmentation_id)
        if segmentation is not None and job.prompts and self.stored_prompts(job.key) == job.prompts:
            self.store.pop(segmentation, job.key.segment_id)
            self.undo.prompts_changed(job.key, self.stored_prompts(job.key), self._place(job.key))
            self._prompts_changed()
