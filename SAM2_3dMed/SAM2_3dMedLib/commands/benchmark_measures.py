"""The benchmark's measurements: one user's steps, by our session and by `SAM2VideoPredictor`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from ..network.model import SAM23dMed
from ..propagation.device_limit import default_limit, limit_device_memory
from ..propagation.predictor import SlicePredictor
from ..propagation.session import VolumeSession
from .benchmark_agreement import Agreement, agreement_of
from .benchmark_clock import MemoryWatch, Seconds, median, seconds_of
from .benchmark_reference import Reference, reference_on
from .benchmark_scene import AXIS, Scene, without_parts
from .benchmark_steps import follow, session_to_both_ends

# In the order of the table.
OPEN = "open the volume"
FIRST_CLICK = "first click on a fresh volume, to its mask"
NEXT_CLICK = "click on an encoded slice, to its mask"
PROPAGATION = "full propagation, both directions"
CORRECTION = "correction on another slice, to all masks"
SECOND_OBJECT = "second object on the same volume, to all masks"
AS_SHIPPED = "box on a fresh volume, to the whole object (ours ends where the object ends)"


@dataclass(frozen=True)
class StepTime:
    """Medians; None where the reference was not run or has no such step."""

    step: str
    ours: Seconds
    reference: Seconds | None

    @property
    def factor(self) -> float | None:
        """How many times faster ours is by the wall clock."""
        return None if self.reference is None else self.reference.wall / self.ours.wall

    @property
    def processor_factor(self) -> float | None:
        """How many times less processor time ours takes."""
        return None if self.reference is None else self.reference.processor / self.ours.processor


@dataclass(frozen=True)
class Memory:
    """Peak bytes while a volume was opened, prompted and propagated; `device` None where it is not counted."""

    device: int | None
    host: int


@dataclass(frozen=True)
class Measurement:
    """One network on one volume on one device.

    `warm_up_seconds`: `SlicePredictor.warm_up`, which the worker does while the user looks at the image.
    """

    network: str
    weights: str
    image_size: int
    volume: str
    slices: int
    device: str
    dtype: str
    reference_dtype: str
    steps: tuple[StepTime, ...]
    memory: Memory
    reference_memory: Memory | None
    agreement: Agreement | None
    cached_bytes: int
    tracking: str
    warm_up_seconds: float


@dataclass
class _Clock:
    """Seconds by step, ours and theirs."""

    device: torch.device
    ours: dict[str, list[Seconds]] = field(default_factory=lambda: defaultdict(list))
    theirs: dict[str, list[Seconds]] = field(default_factory=lambda: defaultdict(list))

    def run_ours(self, step: str, work: Callable[[], object]) -> None:
        self.ours[step].append(seconds_of(work, self.device))

    def run_theirs(self, step: str, work: Callable[[], object]) -> None:
        self.theirs[step].append(seconds_of(work, self.device))

    def steps(self) -> tuple[StepTime, ...]:
        order = (OPEN, FIRST_CLICK, NEXT_CLICK, PROPAGATION, CORRECTION, SECOND_OBJECT, AS_SHIPPED)
        return tuple(
            StepTime(name, median(self.ours[name]), median(self.theirs[name]) if self.theirs[name] else None)
            for name in order
        )


@dataclass(frozen=True)
class Subject:
    """What is measured: a network with its origin ("random", or weights' name), on a device, in a precision.

    `dtype` None: the device's own; `reference_dtype` None: the same as ours.
    """

    network: SAM23dMed
    weights: str
    device: str
    dtype: torch.dtype | None
    reference_dtype: torch.dtype | None = None


def measure(subject: Subject, scene: Scene, repeats: int, with_reference: bool) -> Measurement:
    """Every step, `repeats` times after one warm-up; ours and the reference take turns.

    Both follow the object to the volume's two ends (no stop rule), so that they do the same work; in the last step our
    session is as it is shipped.
    """
    predictor = SlicePredictor(subject.network, subject.device, subject.dtype)
    # As the worker runs; the reference keeps all images on the card and needs more.
    limit_device_memory(predictor.device, None if with_reference else default_limit(subject.network))
    plain = without_parts(subject.network)
    reference_dtype = subject.reference_dtype or predictor.dtype
    warm_up = seconds_of(lambda: list(predictor.warm_up()), predictor.device).wall
    # The first turn warms up the rest. Its memory is watched: later ones have both networks beside them.
    clock, watch = _Clock(predictor.device), MemoryWatch(predictor.device)
    cached = _our_turn(predictor, scene, clock)
    memory, reference_memory = Memory(watch.device_bytes, watch.host_bytes), None
    if with_reference:
        watch = MemoryWatch(predictor.device)
        _reference_turn(reference_on(plain, predictor, scene, reference_dtype), scene, clock)
        reference_memory = Memory(watch.device_growth, watch.host_bytes)
    clock = _Clock(predictor.device)
    for _ in range(repeats):
        _our_turn(predictor, scene, clock)
        if with_reference:
            _reference_turn(reference_on(plain, predictor, scene, reference_dtype), scene, clock)
    agreement = agreement_of(plain, predictor, scene, reference_dtype) if with_reference else None
    return Measurement(
        network=subject.network.config.name,
        weights=subject.weights,
        image_size=subject.network.image_size,
        volume=f"{scene.volume.name} {' x '.join(map(str, scene.volume.array.shape[::-1]))}",
        slices=scene.slice_count,
        device=device_name(predictor.device),
        dtype=str(predictor.dtype).removeprefix("torch."),
        reference_dtype=str(reference_dtype).removeprefix("torch."),
        steps=clock.steps(),
        memory=memory,
        reference_memory=reference_memory,
        agreement=agreement,
        cached_bytes=cached,
        tracking=predictor.runner.note,
        warm_up_seconds=warm_up,
    )


def device_name(device: torch.device) -> str:
    """The card's name, or the CPU with its number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type


def _our_turn(predictor: SlicePredictor, scene: Scene, clock: _Clock) -> int:
    """All steps on a fresh session; bytes of features it has kept at the end."""
    opened: list[VolumeSession] = []
    clock.run_ours(OPEN, lambda: opened.append(session_to_both_ends(predictor, scene.volume)))
    session = opened[0]
    clock.run_ours(FIRST_CLICK, lambda: session.add_point("clicked", AXIS, scene.click))
    clock.run_ours(NEXT_CLICK, lambda: session.add_point("clicked", AXIS, scene.box[0]))
    session.close()
    # Anew, so that the propagation pays for all its slices.
    session = session_to_both_ends(predictor, scene.volume)
    session.add_box("first", AXIS, *scene.box)
    clock.run_ours(PROPAGATION, lambda: follow(session, "first"))

    def correct() -> None:
        session.add_point("first", AXIS, scene.correction)
        follow(session, "first")

    def second() -> None:
        session.add_box("second", AXIS, *scene.second_box)
        follow(session, "second")

    clock.run_ours(CORRECTION, correct)
    clock.run_ours(SECOND_OBJECT, second)
    cached = session.cached_bytes
    session.close()
    shipped = VolumeSession(predictor, scene.volume)

    def box() -> None:
        shipped.add_box("object", AXIS, *scene.box)
        follow(shipped, "object")

    clock.run_ours(AS_SHIPPED, box)
    shipped.close()
    return cached


def _reference_turn(reference: Reference, scene: Scene, clock: _Clock) -> None:
    """The same steps; preparing all images is not counted, which the predictor does when it opens a video."""
    state = reference.state()
    clock.run_theirs(FIRST_CLICK, lambda: reference.add_click(state, 1, scene.click))
    clock.run_theirs(NEXT_CLICK, lambda: reference.add_click(state, 1, scene.box[0]))
    state = reference.state()
    reference.add_box(state, 1, *scene.box)

    def both() -> None:
        reference.propagate(state, reverse=False)
        reference.propagate(state, reverse=True)

    clock.run_theirs(PROPAGATION, both)

    def correct() -> None:
        reference.add_click(state, 1, scene.correction)
        both()

    def second() -> None:
        reference.add_box(state, 2, *scene.second_box)
        both()

    clock.run_theirs(CORRECTION, correct)
    clock.run_theirs(SECOND_OBJECT, second)
    state = reference.state()

    def box() -> None:
        reference.add_box(state, 1, *scene.box)
        both()

    clock.run_theirs(AS_SHIPPED, box)
