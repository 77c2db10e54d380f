"""The benchmark's measurements: one user's steps, by our session and by `SAM2VideoPredictor`."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from ..network.model import SAM23dMed
from ..propagation.policies import Sam2MemoryPolicy
from ..propagation.predictor import SlicePredictor
from ..propagation.session import VolumeSession
from ..propagation.slice_features import SliceFeatureStore
from ..propagation.stopping import StopRule
from ..volume.intensity import window_from
from .benchmark_clock import MemoryWatch, median, seconds_of
from .benchmark_reference import Reference
from .benchmark_scene import AXIS, PhantomVolume, Scene, without_parts

_log = logging.getLogger(__name__)

# In the order of the table.
OPEN = "open the volume"
FIRST_CLICK = "first click on a fresh volume, to its mask"
NEXT_CLICK = "click on an encoded slice, to its mask"
PROPAGATION = "full propagation, both directions"
CORRECTION = "correction on another slice, to all masks"
SECOND_OBJECT = "second object on the same volume, to all masks"


@dataclass(frozen=True)
class StepTime:
    """Medians in seconds; None where the reference was not run or has no such step."""

    step: str
    ours: float
    reference: float | None

    @property
    def factor(self) -> float | None:
        """How many times faster ours is."""
        return None if self.reference is None or self.ours == 0 else self.reference / self.ours


@dataclass(frozen=True)
class Agreement:
    """Our masks against the reference's under SAM2's memory policy, plain SAM2 in both.

    Attributes:
        dice: of the whole volume's masks.
        worst_slice_dice: the lowest of a single slice.
        foreground: share of the reference's voxels that are foreground; near 0 or 1 the Dice says little.
        logit_error: mean absolute difference of the low-resolution logits over their standard deviation.
    """

    dice: float
    worst_slice_dice: float
    foreground: float
    logit_error: float


@dataclass(frozen=True)
class Memory:
    """Peak bytes while a volume was opened, prompted and propagated; `device` None where it is not counted."""

    device: int | None
    host: int


@dataclass(frozen=True)
class Measurement:
    """One network on one volume on one device."""

    network: str
    weights: str
    image_size: int
    volume: str
    slices: int
    device: str
    dtype: str
    steps: tuple[StepTime, ...]
    memory: Memory
    reference_memory: Memory | None
    agreement: Agreement | None
    cached_bytes: int
    tracking: str


@dataclass
class _Clock:
    """Seconds by step, ours and theirs."""

    device: torch.device
    ours: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    theirs: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def run_ours(self, step: str, work: Callable[[], object]) -> None:
        self.ours[step].append(seconds_of(work, self.device))

    def run_theirs(self, step: str, work: Callable[[], object]) -> None:
        self.theirs[step].append(seconds_of(work, self.device))

    def steps(self) -> tuple[StepTime, ...]:
        order = (OPEN, FIRST_CLICK, NEXT_CLICK, PROPAGATION, CORRECTION, SECOND_OBJECT)
        return tuple(
            StepTime(name, median(self.ours[name]), median(self.theirs[name]) if self.theirs[name] else None)
            for name in order
        )


@dataclass(frozen=True)
class Subject:
    """What is measured: a network with its origin ("random", or weights' name), on a device, in a precision."""

    network: SAM23dMed
    weights: str
    device: str
    dtype: torch.dtype | None


def measure(subject: Subject, scene: Scene, repeats: int, with_reference: bool) -> Measurement:
    """Every step, `repeats` times after one warm-up; ours and the reference take turns.

    Both follow the object to the volume's two ends (no stop rule), so that they do the same work; otherwise our session
    is as it is shipped.
    """
    predictor = SlicePredictor(subject.network, subject.device, subject.dtype)
    plain = without_parts(subject.network)
    clock, memory, reference_memory = _Clock(predictor.device), None, None
    cached = 0
    for turn in range(repeats + 1):
        if turn == 1:
            clock = _Clock(predictor.device)  # the first turn was the warm-up
        watch = MemoryWatch(predictor.device)
        cached = _our_turn(predictor, scene, clock)
        memory = Memory(watch.device_bytes, watch.host_bytes)
        if with_reference:
            watch = MemoryWatch(predictor.device)
            _reference_turn(plain, predictor, scene, clock)
            reference_memory = Memory(watch.device_bytes, watch.host_bytes)
    assert memory is not None
    agreement = agreement_of(plain, predictor, scene) if with_reference else None
    return Measurement(
        network=subject.network.config.name,
        weights=subject.weights,
        image_size=subject.network.image_size,
        volume=f"{scene.volume.name} {' x '.join(map(str, scene.volume.array.shape[::-1]))}",
        slices=scene.slice_count,
        device=device_name(predictor.device),
        dtype=str(predictor.dtype).removeprefix("torch."),
        steps=clock.steps(),
        memory=memory,
        reference_memory=reference_memory,
        agreement=agreement,
        cached_bytes=cached,
        tracking=predictor.runner.note,
    )


def device_name(device: torch.device) -> str:
    """The card's name, or the CPU with its number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type


def _session(predictor: SlicePredictor, volume: PhantomVolume, **options: object) -> VolumeSession:
    return VolumeSession(predictor, volume, stop_rule=StopRule.never(), **options)


def _our_turn(predictor: SlicePredictor, scene: Scene, clock: _Clock) -> int:
    """All steps on a fresh session; bytes of features it has kept at the end."""
    opened: list[VolumeSession] = []
    clock.run_ours(OPEN, lambda: opened.append(_session(predictor, scene.volume)))
    session = opened[0]
    clock.run_ours(FIRST_CLICK, lambda: session.add_point("clicked", AXIS, scene.click))
    clock.run_ours(NEXT_CLICK, lambda: session.add_point("clicked", AXIS, scene.box[0]))
    session.close()
    # Anew, so that the propagation pays for all its slices.
    session = _session(predictor, scene.volume)
    session.add_box("first", AXIS, *scene.box)
    clock.run_ours(PROPAGATION, lambda: _consume(session, "first"))

    def correct() -> None:
        session.add_point("first", AXIS, scene.correction)
        _consume(session, "first")

    def second() -> None:
        session.add_box("second", AXIS, *scene.second_box)
        _consume(session, "second")

    clock.run_ours(CORRECTION, correct)
    clock.run_ours(SECOND_OBJECT, second)
    cached = session.cached_bytes
    session.close()
    return cached


def _consume(session: VolumeSession, object_id: str) -> None:
    for _ in session.propagate(object_id):
        pass


def _reference_turn(network: SAM23dMed, predictor: SlicePredictor, scene: Scene, clock: _Clock) -> None:
    """The same steps; preparing all images is not counted, which the predictor does when it opens a video."""
    reference = _reference(network, predictor, scene)
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


def _reference(network: SAM23dMed, predictor: SlicePredictor, scene: Scene) -> Reference:
    return Reference(network, predictor, SliceFeatureStore(predictor, scene.volume, window_from(None, scene.volume)))


def agreement_of(network: SAM23dMed, predictor: SlicePredictor, scene: Scene) -> Agreement:
    """One box, propagated in both directions by both. Each direction of the reference has a state of its own: in a
    shared one its second direction would see memories of the first.

    Args:
        network: plain SAM2, for both.
        predictor: says device and precision.
    """
    ours = SlicePredictor(network, predictor.device, predictor.dtype)
    session = _session(ours, scene.volume, policy=Sam2MemoryPolicy())
    session.add_box("object", AXIS, *scene.box)
    _consume(session, "object")
    found, found_logits = session.mask("object"), session.logits("object")
    reference = _reference(network, ours, scene)
    theirs = np.zeros_like(found)
    errors: list[float] = []
    spread: list[float] = []
    for reverse in (False, True):
        state = reference.state()
        reference.add_box(state, 1, *scene.box)
        for index, mask in reference.propagate(state, reverse).items():
            theirs[index] = mask
        for index, logits in reference.logits(state).items():
            errors.append(float((logits - found_logits[index]).abs().mean()))
            spread.append(float(logits.std()))
    slices = [dice(first, second) for first, second in zip(found, theirs, strict=True)]
    session.close()
    return Agreement(
        dice(found, theirs), min(slices), float(theirs.mean()), float(np.mean(errors) / max(np.mean(spread), 1e-9))
    )


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Dice of two bool arrays; 1 when both are empty."""
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return 2.0 * int(np.count_nonzero(first & second)) / int(total) if total else 1.0


@dataclass(frozen=True)
class CostPoint:
    """Seconds to propagate an object that spans `spanned` slices of a volume of `slices`, the volume never seen."""

    slices: int
    spanned: int
    seconds: float
    encoded: int


def cost_of_span(predictor: SlicePredictor, scene: Scene, spanned: int, repeats: int) -> CostPoint:
    """The span is given as a slice range, so that random weights have one too."""
    first = max(0, min(scene.middle - spanned // 2, scene.slice_count - spanned))
    seconds: list[float] = []
    encoded = 0
    for _ in range(repeats):
        session = _session(predictor, scene.volume)

        def work(session: VolumeSession = session) -> None:
            session.add_box("object", AXIS, *scene.box)
            for _ in session.propagate("object", slice_range=(first, first + spanned - 1)):
                pass

        seconds.append(seconds_of(work, predictor.device))
        encoded = session.encoded_count
        session.close()
    return CostPoint(scene.slice_count, spanned, median(seconds), encoded)
