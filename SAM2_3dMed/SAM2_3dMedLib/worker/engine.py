"""What the worker computes with: one model, the open volumes with their sessions, and the way down when memory runs
out.

The engine answers each request with events (a generator) and knows nothing of pipes and threads. It keeps every
object's prompts itself, so that a new model or another device continues where the last one stopped.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..network.checkpoint import CheckpointError, load_checkpoint
from ..propagation.cancel import CancelToken
from ..propagation.device_limit import default_limit, limit_device_memory
from ..propagation.errors import DeviceMemoryError, PromptError, ran_out_of_memory
from ..propagation.predictor import SlicePredictor
from ..propagation.prompts import Prompt, prompt_from_json
from ..propagation.session import VolumeSession
from ..propagation.updates import SliceUpdate
from ..volume.images import Volume, VolumeError
from . import messages as m
from .devices import DeviceChoice, choose_device, release_memory
from .errors import EngineError

WIDER_FIELD = "The structure is larger than it looked: it is followed again through a wider field of view."


@dataclass
class _OpenVolume:
    volume: Volume
    window: str
    session: VolumeSession | None = None
    objects: dict[str, tuple[Prompt, ...]] = field(default_factory=dict)


class Engine:
    """`handle(request, cancel)` yields the events of a request; what the user can do something about is an
    EngineError.
    """

    def __init__(self, wanted_device: str = "auto") -> None:
        self.device: DeviceChoice = choose_device(wanted_device)
        self._predictor: SlicePredictor | None = None
        self._warming: Iterator[None] = iter(())
        self._model_name = ""
        self._volumes: dict[str, _OpenVolume] = {}
        self._refused: dict[str, str] = {}  # why a volume was not opened, by its ID
        self._work: dict[type, Callable[[Any, CancelToken], Iterator[m.Message]]] = {
            m.LoadModel: self._load_model,
            m.OpenVolume: self._open_volume,
            m.CloseVolume: self._close_volume,
            m.AddPrompt: self._add_prompt,
            m.TellSlice: self._tell_slice,
            m.SetPrompts: self._set_prompts,
            m.Undo: self._undo,
            m.RemoveObject: self._remove_object,
            m.Propagate: self._propagate,
            m.ReadConfidence: self._read_confidence,
            m.RefineBoundary: self._refine,
        }

    def handle(self, request: m.Message, cancel: CancelToken) -> Iterator[m.Message]:
        """Events of `request`; when the device's memory is full, it is done again on the CPU."""
        while True:
            batch = self._predictor.batch_size if self._predictor is not None else 0
            try:
                yield from self._work[type(request)](request, cancel)
            except PromptError as error:
                raise EngineError("prompt", str(error)) from error
            except VolumeError as error:
                raise EngineError("volume", str(error)) from error
            except (RuntimeError, MemoryError) as error:
                if not isinstance(error, DeviceMemoryError) and not ran_out_of_memory(error):
                    raise
                notice = self._fall_back_to_cpu(request.request)
                if notice is None:
                    sentence = "The memory of this computer is full: close other programs, or crop the volume."
                    raise EngineError("memory", sentence) from error
                # Outside of the handler: the error's traceback keeps tensors alive.
            else:
                if self._predictor is not None and self._predictor.batch_size < batch:
                    sentence = "The device's memory is short: fewer slices are computed at a time."
                    yield m.Notice(request.request, "smaller_batches", sentence)
                return
            yield notice
            yield self._model_loaded(request.request)

    def rest(self) -> bool:
        """Use a moment without requests to prepare the device; False: there is nothing left to prepare."""
        try:
            return next(self._warming, self) is not self
        except Exception as error:
            # Nobody asked for this: whatever it was, it must not end the process. It is left, and what the user asks
            # for finds its own way down (`handle`).
            print(f"The device was not prepared ahead: {type(error).__name__}: {error}", file=sys.stderr)
            self._warming = iter(())
            return False

    # Model and volumes

    def _load_model(self, request: m.LoadModel, cancel: CancelToken) -> Iterator[m.Message]:
        device = choose_device(request.device)
        try:
            network, _ = load_checkpoint(Path(request.weights))
        except (CheckpointError, OSError) as error:
            raise EngineError("model", str(error)) from error
        self._end_sessions()
        self._predictor = SlicePredictor(network, device=device.device)
        limit_device_memory(self._predictor.device, default_limit(network))
        self._warming = self._predictor.warm_up()
        self._model_name, self.device = network.config.name, device
        yield self._model_loaded(request.request)

    def _model_loaded(self, number: int) -> m.ModelLoaded:
        size = int(self._predictor.image_size) if self._predictor is not None else 0
        return m.ModelLoaded(number, self._model_name, size, self.device.device, self.device.sentence)

    def _open_volume(self, request: m.OpenVolume, cancel: CancelToken) -> Iterator[m.Message]:
        if request.volume_id not in self._volumes:
            try:
                array = request.array.open_for_reading()
            except (OSError, ValueError) as error:
                sentence = f"The volume did not reach the inference process ({error}): select the source volume again."
                raise EngineError("volume", sentence) from error
            matrix = np.asarray(request.ijk_to_ras, dtype=float).reshape(4, 4)
            try:
                volume = Volume(array, matrix, request.name, request.modality)
            except VolumeError as error:
                self._refused[request.volume_id] = str(error)
                raise
            self._volumes[request.volume_id] = _OpenVolume(volume, request.window)
        yield m.VolumeOpened(request.request, request.volume_id)

    def _close_volume(self, request: m.CloseVolume, cancel: CancelToken) -> Iterator[m.Message]:
        opened = self._volumes.pop(request.volume_id, None)
        if opened is not None and opened.session is not None:
            opened.session.close()
            release_memory(self.device.device)
        yield from ()

    def _opened(self, volume_id: str) -> tuple[_OpenVolume, VolumeSession]:
        opened = self._volumes.get(volume_id)
        if opened is None:
            sentence = "The volume is not loaded for inference: select the source volume again."
            raise EngineError("volume", self._refused.get(volume_id, sentence))
        if self._predictor is None:
            raise EngineError("model", "No model is loaded: choose one in the module SAM2-3dMed.")
        if opened.session is None:
            opened.session = VolumeSession(self._predictor, opened.volume, opened.window)
            for object_id, prompts in opened.objects.items():
                opened.session.set_prompts(object_id, prompts)
        return opened, opened.session

    # Prompts

    def _add_prompt(self, request: m.AddPrompt, cancel: CancelToken) -> Iterator[m.Message]:
        opened, session = self._opened(request.volume_id)
        preview = session.add_prompt(request.object_id, prompt_from_json(request.prompt))
        opened.objects[request.object_id] = session.prompts(request.object_id)
        yield from _previews(request, [preview, *preview.others])
        if preview.note:
            yield m.Notice(request.request, "prompt", preview.note)

    def _tell_slice(self, request: m.TellSlice, cancel: CancelToken) -> Iterator[m.Message]:
        _, session = self._opened(request.volume_id)
        session.tell_slice(request.object_id, request.axis, request.index, request.mask.to_mask())
        yield from ()

    def _set_prompts(self, request: m.SetPrompts, cancel: CancelToken) -> Iterator[m.Message]:
        opened, session = self._opened(request.volume_id)
        prompts = tuple(prompt_from_json(value) for value in request.prompts)
        previews = session.set_prompts(request.object_id, prompts)
        opened.objects[request.object_id] = prompts
        if not request.quiet:
            yield from _previews(request, previews)

    def _undo(self, request: m.Undo, cancel: CancelToken) -> Iterator[m.Message]:
        opened, session = self._opened(request.volume_id)
        kept = opened.objects.get(request.object_id, ())[:-1]
        previews = session.set_prompts(request.object_id, kept)
        opened.objects[request.object_id] = kept
        yield from _previews(request, previews)

    def _remove_object(self, request: m.RemoveObject, cancel: CancelToken) -> Iterator[m.Message]:
        opened = self._volumes.get(request.volume_id)
        if opened is not None:
            opened.objects.pop(request.object_id, None)
            if opened.session is not None and request.object_id in opened.session.object_ids:
                opened.session.remove_object(request.object_id)
        yield from ()

    # Long work

    def _propagate(self, request: m.Propagate, cancel: CancelToken) -> Iterator[m.Message]:
        _, session = self._opened(request.volume_id)
        if request.object_id not in session.object_ids or not session.prompts(request.object_id):
            raise PromptError("This segment has no prompt yet: click on the structure or drag a box around it first.")
        limits = None
        if request.first is not None and request.last is not None:
            limits = (request.first, request.last)
        clock, last = _Clock(), 0
        for update in session.propagate(request.object_id, limits, cancel):
            if update.done < last:  # begun again
                clock = _Clock()
                yield m.Notice(request.request, "prompt", WIDER_FIELD)
            last = update.done
            left = clock.seconds_left(update.done, update.total)
            yield _slice_result(request, update, left)

    def _read_confidence(self, request: m.ReadConfidence, cancel: CancelToken) -> Iterator[m.Message]:
        _, session = self._opened(request.volume_id)
        if request.object_id not in session.object_ids:
            raise PromptError("This segment has no prompt, so there is no confidence to show: click on it first.")
        slices = tuple(
            m.SliceConfidenceData(int(index), float(c.value), float(c.score), float(c.boundary), float(c.agreement))
            for index, c in sorted(session.confidence(request.object_id).items())
        )
        axis = int(session.axis(request.object_id))
        yield m.ConfidenceReport(request.request, request.volume_id, request.object_id, axis, slices)

    def _refine(self, request: m.RefineBoundary, cancel: CancelToken) -> Iterator[m.Message]:
        _, session = self._opened(request.volume_id)
        clock, total = _Clock(), len(request.slices)
        for done, item in enumerate(request.slices, start=1):
            if cancel.cancelled:
                return
            mask = session.refine_boundary(request.object_id, request.axis, item.index, item.mask.to_mask())
            names = (request.request, request.volume_id, request.object_id, request.axis, item.index)
            yield m.SliceResult(*names, m.MaskCrop.of(mask), None, None, done, total, clock.seconds_left(done, total))

    # Memory

    def _end_sessions(self) -> None:
        """The sessions are made again, with the objects' prompts, when they are next needed."""
        for opened in self._volumes.values():
            if opened.session is not None:
                opened.session.close()
                opened.session = None

    def _fall_back_to_cpu(self, number: int) -> m.Notice | None:
        """None when the CPU is what ran out."""
        full = self.device.device
        self._end_sessions()
        if full == "cpu" or self._predictor is None:
            return None
        network = self._predictor.network
        self._predictor, self._warming = None, iter(())
        self._predictor = SlicePredictor(network.to("cpu").float(), device="cpu")
        release_memory(full)
        self.device = DeviceChoice("cpu", f"CPU, because the memory of {full} was full.")
        sentence = f"The memory of {full} is full: going on with the CPU, which is slower. Your prompts are kept."
        return m.Notice(number, "cpu_fallback", sentence)


class _Clock:
    """Time left from the time taken; the first slice also pays for encoding, so the estimate falls quickly at first."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def seconds_left(self, done: int, total: int) -> float:
        return round((time.monotonic() - self._start) / max(done, 1) * max(total - done, 0), 1)


def _previews(request: Any, updates: Iterable[SliceUpdate]) -> Iterator[m.Preview]:
    for u in updates:
        place = (request.request, request.volume_id, request.object_id, int(u.axis), int(u.index))
        yield m.Preview(*place, m.MaskCrop.of(u.mask), _number(u.score), _number(u.object_score))


def _slice_result(request: m.Propagate, u: SliceUpdate, left: float) -> m.SliceResult:
    place = (request.request, request.volume_id, request.object_id, int(u.axis), int(u.index))
    scores = _number(u.score), _number(u.object_score)
    return m.SliceResult(*place, m.MaskCrop.of(u.mask), *scores, int(u.done), int(u.total), left)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
