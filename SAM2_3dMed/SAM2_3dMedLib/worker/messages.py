"""The messages between Slicer and the inference process. Requests carry a number that their answers repeat.

Every request is answered by exactly one `Finished` or `Failed`; in between come the events it causes. `Cancel` acts
at once on every request with a smaller number. Axis, slice index, positions and masks are as `VolumeSession` takes
them: IJK axes, array orientation.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from .array_file import ArrayFile
from .mask_crop import MaskCrop
from .wire import Message, MessageError, message, nested, parse_line

__all__ = [
    "AddPrompt",
    "ArrayFile",
    "Cancel",
    "CloseVolume",
    "ConfidenceReport",
    "EngineReady",
    "Failed",
    "Finished",
    "Hello",
    "IndexedMask",
    "LoadModel",
    "MaskCrop",
    "Message",
    "MessageError",
    "ModelLoaded",
    "Notice",
    "OpenVolume",
    "Preview",
    "Propagate",
    "ReadConfidence",
    "RefineBoundary",
    "RemoveObject",
    "SetPrompts",
    "Shutdown",
    "SliceConfidenceData",
    "SliceResult",
    "Undo",
    "VolumeOpened",
    "WorkerStarted",
    "parse_line",
]


@dataclass(frozen=True)
class IndexedMask:
    """A mask and the slice it lies on."""

    index: int
    mask: MaskCrop

    def to_json(self) -> dict:
        return {"index": self.index, "mask": self.mask.to_json()}

    @classmethod
    def from_json(cls, value: dict) -> IndexedMask:
        return cls(int(value["index"]), MaskCrop.from_json(value["mask"]))


@dataclass(frozen=True)
class SliceConfidenceData:
    """How far a slice's mask can be trusted: `value` 0..1 overall, and what it is made of (None: not known)."""

    index: int
    value: float
    score: float | None
    boundary: float | None
    agreement: float | None

    def to_json(self) -> dict:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict) -> SliceConfidenceData:
        return cls(int(value["index"]), value["value"], value["score"], value["boundary"], value["agreement"])


# Requests ---------------------------------------------------------------------------------------------------------


@message
class Hello(Message):
    """First message. `import_paths`: the application's own import path, added at the end of the worker's, so that
    both see the same torch.
    """

    import_paths: tuple[str, ...]
    device: str  # "auto", "cuda", "cuda:1", "mps", "cpu"


@message
class LoadModel(Message):
    """Loads weights; open volumes keep their prompts. `device` as in Hello."""

    weights: str
    device: str


@message
class OpenVolume(Message):
    """`ijk_to_ras`: 16 numbers, row by row; `modality` "CT", "MR" or None; `window`: name, "center/width" or "auto"."""

    volume_id: str
    array: ArrayFile = nested(ArrayFile)
    ijk_to_ras: tuple[float, ...]
    name: str
    modality: str | None
    window: str


@message
class CloseVolume(Message):
    volume_id: str


@message
class AddPrompt(Message):
    """`prompt`: the JSON of a prompt of `propagation.prompts`. Answered by a Preview of its slice."""

    volume_id: str
    object_id: str
    prompt: dict


@message
class TellSlice(Message):
    """What stands in the segment on a slice that a correction is about to be given on. No events."""

    volume_id: str
    object_id: str
    axis: int
    index: int
    mask: MaskCrop = nested(MaskCrop)


@message
class SetPrompts(Message):
    """The whole list of an object's prompts. Previews follow for each slice whose prompts changed, unless `quiet`
    (a restart).
    """

    volume_id: str
    object_id: str
    prompts: tuple[dict, ...]
    quiet: bool


@message
class Undo(Message):
    """Takes back the object's last prompt."""

    volume_id: str
    object_id: str


@message
class RemoveObject(Message):
    volume_id: str
    object_id: str


@message
class Propagate(Message):
    """Both directions; `first` and `last` (inclusive, along the object's axis) limit the slices, None: the end of
    the volume.
    """

    volume_id: str
    object_id: str
    first: int | None
    last: int | None


@message
class Cancel(Message):
    """Ends every long request with a smaller number, also one that still waits; what is done stays."""


@message
class ReadConfidence(Message):
    volume_id: str
    object_id: str


@message
class RefineBoundary(Message):
    """Moves the outlines of the given masks onto the boundary that the model sees. Answered by a SliceResult for
    each slice.
    """

    volume_id: str
    object_id: str
    axis: int
    slices: tuple[IndexedMask, ...] = nested(IndexedMask, many=True)


@message
class Shutdown(Message):
    """The worker ends; closing its standard input does the same."""


# Events -----------------------------------------------------------------------------------------------------------


@message
class WorkerStarted(Message):
    """The process runs; torch is not imported yet."""

    pid: int
    python: str


@message
class EngineReady(Message):
    """torch is imported. `device`: "cuda", "cuda:0", "mps", "cpu"; `sentence`: which device and why; `free_memory`
    in bytes (0: not known).
    """

    device: str
    sentence: str
    torch_version: str
    free_memory: int


@message
class ModelLoaded(Message):
    name: str
    image_size: int
    device: str
    sentence: str


@message
class VolumeOpened(Message):
    volume_id: str


@message
class Preview(Message):
    volume_id: str
    object_id: str
    axis: int
    index: int
    mask: MaskCrop = nested(MaskCrop)
    score: float | None
    object_score: float | None


@message
class SliceResult(Message):
    """One slice of a propagation or of a boundary refinement; `done` of `total` slices, `seconds_left` estimated."""

    volume_id: str
    object_id: str
    axis: int
    index: int
    mask: MaskCrop = nested(MaskCrop)
    score: float | None
    object_score: float | None
    done: int
    total: int
    seconds_left: float


@message
class ConfidenceReport(Message):
    volume_id: str
    object_id: str
    axis: int
    slices: tuple[SliceConfidenceData, ...] = nested(SliceConfidenceData, many=True)


@message
class Finished(Message):
    """The request is done, or was canceled. `kind`: the type name of the request."""

    kind: str
    volume_id: str
    object_id: str
    cancelled: bool


@message
class Failed(Message):
    """The request could not be done: one sentence for the user.

    `kind`: "prompt" (outside the volume ...), "memory", "model", "volume", "missing_package", "lost" (the process
    ended), "internal".
    """

    kind: str
    sentence: str
    fatal: bool
    volume_id: str
    object_id: str


@message
class Notice(Message):
    """Something the user should know while the work goes on. `kind`: "smaller_batches", "cpu_fallback", "prompt" (of
    interest until the prompts change).
    """

    kind: str
    sentence: str
