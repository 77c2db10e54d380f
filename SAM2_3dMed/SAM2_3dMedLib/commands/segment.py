"""`sam2-3dmed segment`: prompts on a volume to a segmentation file and a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..propagation.predictor import SlicePredictor
from ..propagation.session import VolumeSession
from ..volume.geometry import Geometry
from ..volume.images import SegmentInfo, Volume, read_volume
from ..volume.intensity import Window, window_from
from ..volume.label_detection import is_label_map
from ..volume.label_maps import write_segments
from ..volume.planes import SliceAxis
from .engine import Device, load_predictor
from .errors import UserError
from .output import (
    behind_links,
    check_picture_path,
    check_segmentation_path,
    require_not_an_input,
    require_writable,
    stem_of,
    write_whole,
)
from .picture import Sheet, draw_contact_sheet
from .prompt_options import PromptedObject, PromptText, read_axis, read_prompts, read_slice_range
from .upright_copy import upright_copy


@dataclass(frozen=True)
class SegmentRequest:
    """What `segment` was asked for; texts are as typed.

    Attributes:
        picture: None puts the picture beside the output.
        slice_range: `FIRST:LAST` along each object's axis, or None.
    """

    image: Path
    output: Path
    prompts: PromptText
    weights: str | None = None
    axis: str = "auto"
    window: str = "auto"
    device: Device = Device.AUTO
    slice_range: str | None = None
    picture: Path | None = None


@dataclass(frozen=True)
class SegmentOutcome:
    """What `segment` wrote.

    Attributes:
        masks: bool `[K, J, I]`, one a segment; they may overlap.
        segments: label, name and color of each.
        model: name and device, for the user.
    """

    output: Path
    picture: Path
    volume: Volume
    masks: tuple[np.ndarray, ...]
    segments: tuple[SegmentInfo, ...]
    model: str

    def size_of(self, mask: np.ndarray) -> tuple[int, float]:
        """Voxels and milliliters of a mask."""
        voxels = int(np.count_nonzero(mask))
        cubic_mm = abs(float(np.linalg.det(np.asarray(self.volume.ijk_to_ras)[:3, :3])))
        return voxels, voxels * cubic_mm / 1000.0


def run_segment(request: SegmentRequest, console: Console) -> SegmentOutcome:
    """Segment and write. Everything that can be refused is refused before anything is computed or written.

    Raises:
        UserError, VolumeError, WeightsError, CheckpointError, PromptError: input that cannot be used, in one sentence.
    """
    check_segmentation_path(request.output)
    picture = request.picture or request.output.with_name(stem_of(request.output) + ".png")
    check_picture_path(picture)
    for output in (request.output, picture):
        require_not_an_input(output, (request.image, request.prompts.file))
    volume = read_volume(request.image)
    _require_image(volume, request)
    window = window_from(request.window, volume)
    axis = read_axis(request.axis, volume.geometry)
    objects = read_prompts(request.prompts, volume.geometry, axis)
    for prompted in objects:
        _reach(request, prompted, volume.geometry)
    for output in (request.output, picture):
        require_writable(behind_links(output).parent)
    predictor, model = load_predictor(request.weights, request.device)
    size = " x ".join(map(str, volume.shape_ijk))
    for line in (f"{volume.name or request.image.name}: {size} voxels; {model}", *volume.notes):
        # Names of files and objects are no markup: "[/b]" is a legal one.
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    masks = _masks(request, volume, window, predictor, objects, console)
    segments = tuple(prompted.segment for prompted in objects)
    drawn = draw_contact_sheet(_sheet(volume, window, masks, objects))
    write_segments(request.output, masks, volume.geometry, segments)
    try:
        write_whole(picture, lambda temporary: drawn.save(temporary, format="PNG"))
    except UserError as error:
        raise UserError(f"The segmentation {request.output} is written whole, but not its picture: {error}") from error
    return SegmentOutcome(request.output, picture, volume, masks, segments, model)


def _require_image(volume: Volume, request: SegmentRequest) -> None:
    """Raises `UserError` for a label map; a window that was chosen says that values alone are no reason."""
    if volume.declared_labels or (request.window.strip().lower() == "auto" and is_label_map(volume)):
        way_out = "" if volume.declared_labels else ", or --window full if it is one after all"
        raise UserError(f"'{request.image.name}' is a label map, not an image; give the image itself{way_out}.")


def _reach(request: SegmentRequest, prompted: PromptedObject, geometry: Geometry) -> tuple[int, int] | None:
    """The slice range along the object's axis, or None. Raises `UserError` when no prompt says anything inside it."""
    axis = prompted.prompts[0].axis
    reach = read_slice_range(request.slice_range, axis, geometry)
    # A box or mask on another axis crosses slices of this one; which, is known when it has been answered.
    known = [prompt for prompt in prompted.prompts if prompt.axis == axis]
    if (
        reach
        and len(known) == len(prompted.prompts)
        and not any(reach[0] <= prompt.slice_index <= reach[1] for prompt in known)
    ):
        raise UserError(
            f"The slice range {request.slice_range} holds no prompt of '{prompted.segment.name}' (slice "
            f"{known[0].slice_index}); widen it, or give a prompt inside it."
        )
    return reach


def _masks(
    request: SegmentRequest,
    volume: Volume,
    window: Window,
    predictor: SlicePredictor,
    objects: Sequence[PromptedObject],
    console: Console,
) -> tuple[np.ndarray, ...]:
    """The objects' masks, bool `[K, J, I]`, on the volume's grid."""
    # Slices that the user has named are those of the file.
    named = request.slice_range is not None or request.axis.strip().lower() in ("i", "j", "k")
    copy = None if named else upright_copy(volume, [prompted.prompts for prompted in objects])
    if copy is None:
        session = VolumeSession(predictor, volume, window=window)
        return tuple(
            _segment_object(session, prompted, _reach(request, prompted, volume.geometry), console)
            for prompted in objects
        )
    console.print(
        "The image was resampled onto an oblique grid; the network sees it along the patient's axes (--axis K: as it "
        "is).",
        highlight=False,
        soft_wrap=True,
    )
    session = VolumeSession(predictor, copy.volume, window=window)
    moved = [replace(prompted, prompts=copy.prompts(prompted.prompts)) for prompted in objects]
    return tuple(copy.mask_in_file(_segment_object(session, prompted, None, console)) for prompted in moved)


def _segment_object(
    session: VolumeSession, prompted: PromptedObject, reach: tuple[int, int] | None, console: Console
) -> np.ndarray:
    name = prompted.segment.name
    for prompt in prompted.prompts:
        session.add_prompt(name, prompt)
    with _progress(console, name) as show:
        for update in session.propagate(name, slice_range=reach):
            show(update.done, update.total)
    return np.asarray(session.mask(name), dtype=bool)


@contextmanager
def _progress(console: Console, name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar of slices; calls to what it yields move it."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TextColumn("slices"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task(name, total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield show
        state = progress.tasks[task]
        progress.update(task, total=state.completed)  # the object may end before the last slice


def _sheet(volume: Volume, window: Window, masks: Sequence[np.ndarray], objects: list[PromptedObject]) -> Sheet:
    axes = [prompt.axis for prompted in objects for prompt in prompted.prompts]
    most_used = max(SliceAxis, key=axes.count)
    return Sheet(
        volume=volume,
        window=window,
        masks=masks,
        segments=tuple(prompted.segment for prompted in objects),
        prompts=tuple((prompted.segment, prompt) for prompted in objects for prompt in prompted.prompts),
        axis=SliceAxis(most_used),
    )
