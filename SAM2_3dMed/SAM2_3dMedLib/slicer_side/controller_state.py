"""What the controller knows and tells: which segment is worked on, what is going on, who wants to hear of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto


@dataclass(frozen=True)
class ObjectKey:
    """A segment: the node ID of its segmentation and its own ID in it.

    Segment IDs are unique in one segmentation only; `object_id` is unique in the scene and is the name the worker uses.
    """

    segmentation_id: str
    segment_id: str

    @property
    def object_id(self) -> str:
        return f"{self.segmentation_id}/{self.segment_id}"


class Phase(Enum):
    """What the tool is doing, for the status line and for the buttons that are enabled."""

    OFF = auto()  # the effect is not active
    MISSING = auto()  # packages have to be installed first
    STARTING = auto()  # the worker starts, loads torch and the model
    UPLOADING = auto()  # the volume goes to the worker
    READY = auto()
    PREVIEW = auto()  # one slice is being computed
    PROPAGATING = auto()
    REFINING = auto()
    FAILED = auto()  # the engine cannot run; `Status.error` says why


@dataclass(frozen=True)
class Status:
    """One line for the user: `sentence` is what happens, `error` what went wrong and what to do next (or empty).

    `fraction` is 0..1 for a progress bar, None where the end is not known; `seconds_left` is None where not known.
    """

    phase: Phase = Phase.OFF
    sentence: str = ""
    error: str = ""
    fraction: float | None = None
    seconds_left: float | None = None

    @property
    def running(self) -> bool:
        """True while there is something that Cancel stops."""
        return self.phase in (Phase.PREVIEW, Phase.PROPAGATING, Phase.REFINING)


class PromptRefused(Exception):  # noqa: N818 - a refusal, not a defect
    """Something that cannot be done now; the message is for the user and says what to do next."""


class Change(Enum):
    """What changed; a listener asks the controller for the new value."""

    STATUS = auto()
    PROMPTS = auto()
    REVIEW = auto()
    CONTEXT = auto()  # segmentation, segment or volume


Listener = Callable[[Change], None]


@dataclass
class Listeners:
    """Those who want to hear of changes. One that fails must not keep the others from hearing."""

    callbacks: list[Listener] = field(default_factory=list)

    def add(self, callback: Listener) -> Callable[[], None]:
        """Add a listener; the function that is returned removes it (calling it twice is harmless)."""
        self.callbacks.append(callback)

        def remove() -> None:
            if callback in self.callbacks:
                self.callbacks.remove(callback)

        return remove

    def tell(self, change: Change) -> None:
        for callback in tuple(self.callbacks):
            try:
                callback(change)
            except Exception:  # a panel of an editor that is being deleted, say; the traceback goes to the log
                logging.exception("SAM2-3dMed: a receiver of %s failed", change.name)


class JobKind(Enum):
    """What a request to the worker is for; decides what is done with its answers."""

    @property
    def writes(self) -> bool:
        """True when its answers go into the segment."""
        return self in (JobKind.PREVIEW, JobKind.PROPAGATE, JobKind.REFINE)

    PREVIEW = auto()  # answers are written to the segment
    RESTORE = auto()  # the worker learns prompts whose result already stands in the segment: answers are dropped
    PROPAGATE = auto()
    REFINE = auto()
    CONFIDENCE = auto()


@dataclass(eq=False)
class Job:
    """A request on its way.

    `source` is the VolumeSource it works on, `prompts` the prompts of the segment when it was sent. `expected` are the
    (axis, slice index) to clear if no answer comes for them. `follows` is the job whose undo step it belongs to.
    """

    kind: JobKind
    key: ObjectKey
    source: object
    prompts: tuple = ()
    expected: set[tuple[int, int]] = field(default_factory=set)
    follows: Job | None = None
    finished: bool = False
    cancelled: bool = False
    failed: bool = False

    @property
    def action(self) -> Job:
        """The job that began the undo step."""
        return self.follows.action if self.follows is not None else self
