"""The tool behind the effect and the module: prompts in, masks into the segment, one line of status for the user.

No widget and no Qt here: the effect and the panels call the methods and listen to changes. Everything runs on the main
thread in short steps; the model runs in the worker process (`worker_client`).
"""

from __future__ import annotations

import contextlib

from .controller_answers import AnswersMixin
from .controller_engine import EngineMixin
from .controller_places import PlacesMixin
from .controller_prompts import PromptsMixin
from .controller_refine import RefineMixin
from .controller_restore import RestoreMixin
from .controller_review import ReviewMixin
from .controller_scene import SceneWatch
from .controller_state import Change, Job, JobKind, Listeners, ObjectKey, Phase, PromptRefused, Status
from .controller_undo import UndoMapping
from .controller_writes import WriteQueue
from .prompt_cache import PromptCache
from .translation import _


class Controller(EngineMixin, PlacesMixin, PromptsMixin, RestoreMixin, RefineMixin, AnswersMixin, ReviewMixin):
    """One for the application. `attach` when an editor's effect becomes active, `detach` when it is left.

    scene: vtkMRMLScene. client: `worker_client.WorkerClient`. scheduler: `.call_later(ms, callback)`.
    store: `prompt_store.PromptStore`. markups_factory: called with (on_moved, on_deleted), gives a
    `prompt_markups.PromptMarkups`; None: no control points in the views. missing: gives the requirements that are not
    installed (empty when the engine can run).
    """

    def __init__(self, scene, client, scheduler, store, markups_factory=None, missing=lambda: ()) -> None:
        self.scene = scene
        self.client = client
        self.scheduler = scheduler
        self.store = PromptCache(store)
        self.listeners = Listeners()
        self.undo = UndoMapping()
        self.status = Status()
        self.auto_propagate = False
        self.slice_range: tuple[int, int] | None = None  # along the axis of the segment; None: as far as it goes
        self.key: ObjectKey | None = None
        self.source = None  # VolumeSource of the editor's source volume
        self.notice = ""  # what the engine had to change: smaller batches, another device
        self.prompt_note = ""  # what the engine said about the newest prompt (it shows nothing yet, say)
        self.writing = False  # True while we change the segmentation ourselves
        self._editor_node = None
        self._writer = None
        self._jobs: dict[int, Job] = {}
        self._unsent: set[ObjectKey] = set()
        self._markups = markups_factory(self._marker_moved, self._marker_deleted) if markups_factory else None
        self._watch = SceneWatch(self)
        self._queue = WriteQueue(scheduler, self._work, self._tell_news)
        self._init_engine(missing)
        self._init_answers()
        self._init_review()
        self._init_refine()

    # ---- the editor that is in use -------------------------------------------------------------------------------
    @property
    def attached(self) -> bool:
        """True while the effect is active in an editor."""
        return self._editor_node is not None

    @property
    def editor_node(self):
        return self._editor_node

    @property
    def segmentation_node(self):
        return self._editor_node.GetSegmentationNode() if self._editor_node is not None else None

    def attach(self, editor_node, writer) -> None:
        """The effect became active in an editor: `writer` is the SegmentWriter of that editor."""
        if self._editor_node is editor_node and self._writer is writer:
            return
        if self.attached:
            self.detach()
        self._editor_node, self._writer = editor_node, writer
        self._watch.start(editor_node)
        self._set_status(Status(Phase.READY, self.client.device_sentence))
        self.refresh_context()
        if self.source is None and not self.status.error:
            self._set_status(Status(Phase.READY, _("Select a source volume to begin.")))

    def detach(self) -> None:
        """The effect is left: what runs is canceled, what is done stays, and nothing of ours is left in the views.

        Answers that wait for their turn are written after this returns, as before in portions of some ms.
        """
        if not self.attached:
            return
        self.cancel_running()
        self._settle()
        if self._queue.empty:
            self._end_action()
        self._watch.stop()
        self._edits.stop()
        if self._markups is not None:
            self._markups.clear()
        self._editor_node = self._writer = None
        self.key = self.source = None
        self._set_status(Status(Phase.OFF))
        self.listeners.tell(Change.CONTEXT)

    def shutdown(self) -> None:
        """The application or the module ends: bounded, and nothing is left running."""
        self.detach()
        self.write_waiting()
        self._watch.close()
        if self._markups is not None:
            self._markups.close()
        self.client.stop()
        self._loaded = None

    def write_waiting(self) -> None:
        """An editor or the application goes away now: write what waits, all at once."""
        self._queue.flush()
        self._end_action()

    # ---- what is edited ------------------------------------------------------------------------------------------
    def refresh_context(self) -> None:
        """Follow the editor to another segment, segmentation or source volume; costs nothing when nothing changed."""
        if not self.attached or self.writing:
            return
        old = (self.key, self.source)
        self._refresh_source()
        self.key = self._current_key()
        if self.key is not None:
            self.undo.watch(self.key, self.segmentation_node, self.stored_prompts(self.key), self._place(self.key))
        if self.key != old[0] or self.source is not old[1]:
            self.slice_range = None
            self.prompt_note = ""
            if self.key is not None and self.source is not None and not self.elsewhere:
                self._edits.compare(self.key)
            if self.source is not None:
                self._set_running_status(self.elsewhere)
            self._show_prompts()
            self.listeners.tell(Change.CONTEXT)
            self.listeners.tell(Change.REVIEW)

    def volume_changed(self) -> None:
        """Voxels or transforms of the source volume changed: new voxels are encoded anew, prompts move along."""
        if not self.attached:
            return
        if self.source is not None and not self._transform_is_linear():
            self.source = None  # said by `_refresh_source`
        self.refresh_context()
        self._show_prompts()
        self.listeners.tell(Change.CONTEXT)

    def _transform_is_linear(self) -> bool:
        from .volume_source import VolumeSourceError

        try:
            self.source.ijk_to_world_matrix()
        except VolumeSourceError:
            return False
        return True

    def _refresh_source(self) -> None:
        from .volume_source import VolumeSourceError, is_current, read_volume_source

        volume_node = self._editor_node.GetSourceVolumeNode()
        self._watch.follow_volume(volume_node)
        if volume_node is None:
            self.source = None
            return
        if self.source is not None and self.source.node_id == volume_node.GetID() and is_current(self.source):
            return
        self.source = None
        try:
            self.source = read_volume_source(volume_node)
        except VolumeSourceError as error:
            self._set_status(Status(Phase.FAILED, error=str(error)))
            return
        # torch and the model load in the worker while the user looks at the image
        if self.start_engine():
            self.client.open_volume(self.source)
            if self.status.phase is not Phase.STARTING:
                self._set_ready()

    def _current_key(self) -> ObjectKey | None:
        segmentation = self.segmentation_node
        segment_id = self._editor_node.GetSelectedSegmentID() if segmentation is not None else None
        if not segment_id or segmentation.GetSegmentation().GetSegment(segment_id) is None:
            return None
        return ObjectKey(segmentation.GetID(), segment_id)

    def _ready_source(self):
        """The VolumeSource to work on; PromptRefused with a sentence when something is not selected."""
        if not self.attached:
            raise PromptRefused(_("Activate the SAM2-3dMed effect first."))
        self.refresh_context()
        if self.segmentation_node is None:
            raise PromptRefused(_("Select a segmentation in the Segment Editor first."))
        if self.source is None:
            raise PromptRefused(self.status.error or _("Select a source volume in the Segment Editor first."))
        return self.source

    # ---- the scene changes under us ------------------------------------------------------------------------------
    def scene_closing(self) -> None:
        """The scene is about to be emptied: stop, and forget what belonged to it."""
        self.detach()
        self._queue.clear()
        self._end_action()
        self.undo.forget()
        self._edits.forget(None)
        self._forget_reviews(None)
        self._unsent.clear()
        self.store.forget()

    def scene_loaded(self) -> None:
        """A scene was loaded into this one: its prompts may be among ours."""
        self.store.forget()
        self.refresh_context()
        self._prompts_changed()

    def segmentation_moved(self) -> None:
        """The segmentation is under another transform: that the one before was refused need not be said any more."""
        from .volume_source import not_linear

        if self.attached and self.status.error == not_linear(self.segmentation_node):
            self._set_running_status(self.elsewhere)

    def segmentation_removed(self, node) -> None:
        """A segmentation is about to go."""
        if self.segmentation_node is node:
            self.cancel_running()
            self._drop_jobs(lambda job: job.key.segmentation_id == node.GetID())
        self.undo.forget(node.GetID())
        self._edits.forget(node.GetID())
        self._forget_reviews(node.GetID())
        if self._writer is not None:
            self._writer.forget(node)
        if self.key is not None and self.key.segmentation_id == node.GetID():
            self.key = None
            self._show_prompts()
            self.listeners.tell(Change.CONTEXT)

    def volume_removed(self, node) -> None:
        """A volume is about to go: its prompts stay in the scene, its copy in the worker is dropped."""
        if self.source is None or self.source.node_id != node.GetID():
            self.client.close_volumes_of(node.GetID())
            return
        self.cancel_running()
        volume_id = self.source.volume_id
        self._drop_jobs(lambda job: job.source.volume_id == volume_id)
        self._watch.follow_volume(None)
        self.source = None
        self.client.close_volumes_of(node.GetID())
        self._set_running_status(_("The source volume was deleted: select another one."))
        self._show_prompts()
        self.listeners.tell(Change.CONTEXT)

    def segment_removed(self, key: ObjectKey) -> None:
        """A segment was removed. Its prompts stay stored: the editor's undo can bring it back."""
        if any(job.key == key for job in self._jobs.values()):
            self.cancel_running()
            self._drop_jobs(lambda job: job.key == key)

    # ---- inner ---------------------------------------------------------------------------------------------------
    def _submit(self, kind: JobKind, key: ObjectKey, request: int, expected=(), follows: Job | None = None) -> None:
        self._jobs[request] = Job(kind, key, self.source, self.stored_prompts(key), set(expected), follows)

    def _set_status(self, status: Status) -> None:
        if status != self.status:
            self.status = status
            self.listeners.tell(Change.STATUS)

    def _set_ready(self, error: str = "") -> None:
        if not self.attached:
            self._set_status(Status(Phase.OFF))
        elif self._loaded is not None and not self._model_ready:
            self._set_status(Status(Phase.STARTING, _("Loading the model..."), error))
        else:
            self._set_status(Status(Phase.READY, self.prompt_note or self.notice or self.client.device_sentence, error))

    @contextlib.contextmanager
    def _reporting(self):
        """Errors the user can do something about become the status line; all others are defects and are raised."""
        from .segment_writer import TargetGone, WriteRefused
        from .volume_source import PromptOutside, VolumeSourceError

        try:
            yield
        except (PromptRefused, PromptOutside, VolumeSourceError, TargetGone, WriteRefused) as error:
            now = self.status
            phase = now.phase if now.phase is not Phase.OFF else Phase.READY
            self._set_status(Status(phase, now.sentence, str(error), now.fraction, now.seconds_left))
