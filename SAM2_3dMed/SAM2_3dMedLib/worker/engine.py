"""What the worker computes with: one model, the open volumes with their sessions, and the way down when memory runs out.

The engine answers each request with events (a generator), knows nothing of pipes and threads, and keeps every object's prompts, so that a
new model, smaller batches or the CPU continue where the other stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from . import messages as m
from .prompt_changes import changed_slices, common_length


class EngineError(Exception):
    """One sentence for the user; `kind` as in messages.Failed."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


class Backend(Protocol):
    """The parts of the library that the engine puts together; `library.LibraryBackend` is the real one."""

    def choose_device(self, wanted: str) -> Any: ...
    def load_predictor(self, weights: Path, device: str) -> Any: ...
    def model_facts(self, predictor: Any) -> tuple[str, int]: ...
    def move_predictor(self, predictor: Any, device: str) -> Any: ...
    def halve_batches(self, predictor: Any) -> bool: ...
    def make_volume(self, request: m.OpenVolume) -> Any: ...
    def make_session(self, predictor: Any, volume: Any) -> Any: ...
    def prompt_from_json(self, value: dict) -> Any: ...
    def prompt_to_json(self, prompt: Any) -> dict: ...
    def add_prompt(self, session: Any, object_id: str, prompt: Any) -> Any: ...
    def refine(self, session: Any, axis: int, index: int, mask: np.ndarray) -> tuple[np.ndarray, float]: ...
    def is_out_of_memory(self, error: BaseException) -> bool: ...
    def release_memory(self, device: str) -> None: ...
    def is_prompt_error(self, error: BaseException) -> bool: ...


@dataclass
class _OpenVolume:
    volume: Any
    session: Any | None
    objects: dict[str, list[Any]]  # the prompts of each object, in order
    ranges: dict[str, tuple[int, int] | None]


class Engine:
    """`handle(request, cancel)` yields the events of a request; errors of the user's making are EngineError."""

    def __init__(self, backend: Backend, wanted_device: str = "auto") -> None:
        self._backend = backend
        self._device = backend.choose_device(wanted_device)
        self._weights: Path | None = None
        self._predictor: Any | None = None
        self._volumes: dict[str, _OpenVolume] = {}

    @property
    def device(self) -> Any:
        return self._device

    def handle(self, request: m.Message, cancel: Any) -> Iterator[m.Message]:
        """Events of `request`; when memory runs out it is tried again with less (smaller batches, then the CPU)."""
        work = self._work_for(request)
        while True:
            try:
                yield from work(request, cancel)
                return
            except Exception as error:
                if self._backend.is_out_of_memory(error):
                    notice = self._with_less_memory(request.request)
                    if notice is None:
                        raise EngineError(
                            "memory", "The memory of this computer is full: close other programs or crop the volume."
                        ) from error
                elif self._backend.is_prompt_error(error):
                    raise EngineError("prompt", str(error)) from error
                else:
                    raise
            yield notice

    def _work_for(self, request: m.Message) -> Callable[[Any, Any], Iterator[m.Message]]:
        table: dict[type, Callable[[Any, Any], Iterator[m.Message]]] = {
            m.LoadModel: self._load_model,
            m.OpenVolume: self._open_volume,
            m.CloseVolume: self._close_volume,
            m.AddPrompt: self._add_prompt,
            m.SetPrompts: self._set_prompts,
            m.Undo: self._undo,
            m.RemoveObject: self._remove_object,
            m.Propagate: self._propagate,
            m.ReadConfidence: self._read_confidence,
            m.RefineBoundary: self._refine,
        }
        return table[type(request)]

    # Model and volumes

    def _load_model(self, request: m.LoadModel, cancel: Any) -> Iterator[m.Message]:
        weights = Path(request.weights)
        device = self._backend.choose_device(request.device)
        self._predictor = self._backend.load_predictor(weights, device.device)
        self._weights, self._device = weights, device
        for opened in self._volumes.values():
            opened.session = None
        yield self._model_loaded(request.request)

    def _model_loaded(self, number: int) -> m.ModelLoaded:
        name, size = self._backend.model_facts(self._predictor)
        return m.ModelLoaded(number, name, size, self._device.device, self._device.sentence)

    def _open_volume(self, request: m.OpenVolume, cancel: Any) -> Iterator[m.Message]:
        if request.volume_id not in self._volumes:
            volume = self._backend.make_volume(request)
            self._volumes[request.volume_id] = _OpenVolume(volume, None, {}, {})
        yield m.VolumeOpened(request.request, request.volume_id)

    def _close_volume(self, request: m.CloseVolume, cancel: Any) -> Iterator[m.Message]:
        if self._volumes.pop(request.volume_id, None) is not None:
            self._backend.release_memory(self._device.device)
        yield from ()

    def _opened(self, volume_id: str) -> _OpenVolume:
        opened = self._volumes.get(volume_id)
        if opened is None:
            raise EngineError(
                "volume", "The volume is not loaded in the inference process: select the source volume again."
            )
        if self._predictor is None:
            raise EngineError("model", "No model is loaded: choose one in the module SAM2-3dMed.")
        if opened.session is None:
            opened.session = self._backend.make_session(self._predictor, opened.volume)
            for object_id, prompts in opened.objects.items():
                for prompt in prompts:
                    self._backend.add_prompt(opened.session, object_id, prompt)
        return opened

    # Prompts

    def _add_prompt(self, request: m.AddPrompt, cancel: Any) -> Iterator[m.Message]:
        opened = self._opened(request.volume_id)
        prompt = self._backend.prompt_from_json(request.prompt)
        preview = self._backend.add_prompt(opened.session, request.object_id, prompt)
        opened.objects.setdefault(request.object_id, []).append(prompt)
        yield _preview(request, preview)

    def _set_prompts(self, request: m.SetPrompts, cancel: Any) -> Iterator[m.Message]:
        opened = self._opened(request.volume_id)
        new = [self._backend.prompt_from_json(value) for value in request.prompts]
        yield from self._replace(request, opened, new, quiet=request.quiet)

    def _undo(self, request: m.Undo, cancel: Any) -> Iterator[m.Message]:
        opened = self._opened(request.volume_id)
        kept = opened.objects.get(request.object_id, [])[:-1]
        yield from self._replace(request, opened, kept, quiet=False)

    def _replace(self, request: Any, opened: _OpenVolume, new: Sequence[Any], quiet: bool) -> Iterator[m.Message]:
        """Makes `new` the object's prompts: takes back what differs, from the end, and adds what follows."""
        object_id, session = request.object_id, opened.session
        old = opened.objects.get(object_id, [])
        old_json = [self._backend.prompt_to_json(prompt) for prompt in old]
        new_json = [self._backend.prompt_to_json(prompt) for prompt in new]
        same = common_length(old_json, new_json)
        previews: dict[tuple[int, int], Any] = {}
        if same == 0 and old:
            session.remove_object(object_id)
        else:
            for _ in range(len(old) - same):
                session.undo(object_id)
        opened.objects[object_id] = list(old[:same])
        for prompt in new[same:]:
            preview = self._backend.add_prompt(session, object_id, prompt)
            opened.objects[object_id].append(prompt)
            previews[(int(preview.axis), int(preview.index))] = preview
        if not new:
            opened.objects.pop(object_id, None)
        if quiet:
            return
        for axis, index in changed_slices(old[same:], new[same:]):
            preview = previews.get((axis, index))
            if preview is not None:
                yield _preview(request, preview)
            else:
                mask = self._mask_without_prompt(opened, object_id, axis, index)
                yield m.Preview(
                    request.request, request.volume_id, object_id, axis, index, m.MaskCrop.of(mask), None, None
                )

    def _mask_without_prompt(self, opened: _OpenVolume, object_id: str, axis: int, index: int) -> np.ndarray:
        """What the session says on a slice that lost its prompts: nothing when the object has none left."""
        if object_id in opened.objects:
            return np.asarray(opened.session.slice_mask(object_id, _axis(axis), index), dtype=bool)
        return np.zeros(np.delete(np.asarray(opened.volume.array.shape), 2 - axis), dtype=bool)

    def _remove_object(self, request: m.RemoveObject, cancel: Any) -> Iterator[m.Message]:
        opened = self._volumes.get(request.volume_id)
        if (
            opened is not None
            and opened.objects.pop(request.object_id, None) is not None
            and opened.session is not None
        ):
            opened.session.remove_object(request.object_id)
        yield from ()

    # Long work

    def _propagate(self, request: m.Propagate, cancel: Any) -> Iterator[m.Message]:
        opened = self._opened(request.volume_id)
        if not opened.objects.get(request.object_id):
            raise EngineError(
                "prompt", "This segment has no prompt yet: click on the structure or drag a box around it first."
            )
        limits = None
        if request.first is not None and request.last is not None:
            limits = (request.first, request.last)
        clock = _Clock()
        for update in opened.session.propagate(request.object_id, slice_range=limits, cancel=cancel):
            yield m.SliceResult(
                request.request,
                request.volume_id,
                request.object_id,
                int(update.axis),
                int(update.index),
                m.MaskCrop.of(update.mask),
                _number(update.score),
                _number(update.object_score),
                int(update.done),
                int(update.total),
                clock.seconds_left(int(update.done), int(update.total)),
            )

    def _read_confidence(self, request: m.ReadConfidence, cancel: Any) -> Iterator[m.Message]:
        opened = self._opened(request.volume_id)
        if not opened.objects.get(request.object_id):
            raise EngineError(
                "prompt", "This segment has no prompt, so there is no confidence to show: click on the structure first."
            )
        values = opened.session.confidence(request.object_id)
        slices = tuple(
            m.SliceConfidenceData(
                int(index), float(item.value), _number(item.score), _number(item.boundary), _number(item.agreement)
            )
            for index, item in sorted(values.items())
        )
        axis = int(opened.session.axis(request.object_id))
        yield m.ConfidenceReport(request.request, request.volume_id, request.object_id, axis, slices)

    def _refine(self, request: m.RefineBoundary, cancel: Any) -> Iterator[m.Message]:
        opened = self._opened(request.volume_id)
        clock, total = _Clock(), len(request.slices)
        for done, item in enumerate(request.slices, start=1):
            if cancel.cancelled:
                return
            mask, score = self._backend.refine(opened.session, request.axis, item.index, item.mask.to_mask())
            left = clock.seconds_left(done, total)
            crop = m.MaskCrop.of(mask)
            yield m.SliceResult(
                request.request,
                request.volume_id,
                request.object_id,
                request.axis,
                item.index,
                crop,
                score,
                None,
                done,
                total,
                left,
            )

    # Memory

    def _with_less_memory(self, number: int) -> m.Notice | None:
        """Smaller batches, then the CPU; None when neither is left. Sessions are made again from their prompts."""
        for opened in self._volumes.values():
            opened.session = None
        if self._predictor is None:
            return None
        device = self._device.device
        self._backend.release_memory(device)
        if self._backend.halve_batches(self._predictor):
            return m.Notice(
                number,
                "smaller_batches",
                "Memory ran out: going on with fewer slices at a time. Your prompts are kept.",
            )
        if device == "cpu":
            return None
        self._device = self._backend.choose_device("cpu")
        self._predictor = self._backend.move_predictor(self._predictor, "cpu")
        self._backend.release_memory(device)
        return m.Notice(
            number,
            "cpu_fallback",
            f"The memory of {device} is full: going on with the CPU, which is slower. Your prompts are kept.",
        )


class _Clock:
    """Time left from the time taken; the first slice also pays for encoding, so the estimate falls quickly at first."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def seconds_left(self, done: int, total: int) -> float:
        return round((time.monotonic() - self._start) / max(done, 1) * max(total - done, 0), 1)


def _preview(request: Any, preview: Any) -> m.Preview:
    return m.Preview(
        request.request,
        request.volume_id,
        request.object_id,
        int(preview.axis),
        int(preview.index),
        m.MaskCrop.of(preview.mask),
        _number(preview.score),
        _number(preview.object_score),
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _axis(axis: int) -> Any:
    from ..volume.planes import SliceAxis

    return SliceAxis(axis)
