"""Slices followed from memory, several at once, without waiting for the device."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor

from ..network.features import SliceFeatures
from ..volume.planes import SliceAxis, SlicePlane
from .memory_bank import MemorySelection, SliceMemory
from .packed_mask import PackedMask
from .predictor import SlicePredictor
from .schedule import ChainKey
from .slice_features import SliceFeatureStore
from .state import SliceResult
from .tracking_step import StepAnswers


@dataclass(frozen=True)
class SliceWork:
    """A slice to follow the object to: what it sees, and for which chain."""

    position: int
    selection: MemorySelection
    chain: ChainKey


@dataclass(frozen=True)
class StartedSlice:
    """A slice that the device works on.

    Attributes:
        memory: later slices may see it at once; its tensors can be read when `finish` has returned.
        finish: waits for the device; the slice's result, the same at each call.
    """

    memory: SliceMemory
    finish: Callable[[], SliceResult]


class SliceTracker:
    """Tracks slices of one volume. Positions are in anatomical order; results are in array orientation."""

    def __init__(self, predictor: SlicePredictor, store: SliceFeatureStore) -> None:
        self._predictor = predictor
        self._store = store
        # The memory of a slice on its way is nowhere but on the device: when that has to be given back, it must arrive
        # first, or later slices would look at memory that was never filled.
        under_way: weakref.WeakSet[Callable[[], SliceResult]] = weakref.WeakSet()
        self._under_way = under_way
        weakref.finalize(self, predictor.on_low_memory(lambda: _finish_all(under_way)))

    def start(self, axis: SliceAxis, batch: Sequence[SliceWork]) -> list[StartedSlice]:
        """Begin with slices whose selections have one layout.

        Raises:
            DeviceMemoryError: the device's memory does not suffice.
        """
        plane = self._store.plane(axis)
        features = [self._store.features(axis, work.position) for work in batch]
        if self._predictor.runner.remembers_later:
            return self._answered(plane, batch, features)

        def step() -> tuple[tuple[int, ...], list[Tensor]]:
            tracked = self._predictor.runner.run([work.selection for work in batch], features)
            outputs = tracked.outputs
            pictures = self._predictor.masks_at_slice_size(outputs.logits, plane.shape)
            return tracked.versions, [outputs.memory, outputs.pointer, outputs.logits, outputs.scores, pictures]

        versions, tensors = self._predictor.run(step)
        transfer = _Transfer(tensors)
        started = [
            _started(plane, work, version, transfer, row)
            for row, (work, version) in enumerate(zip(batch, versions, strict=True))
        ]
        self._under_way.update(entry.finish for entry in started)
        return started

    def _answered(
        self, plane: SlicePlane, batch: Sequence[SliceWork], features: Sequence[SliceFeatures]
    ) -> list[StartedSlice]:
        """`start` where the answers are there at once and memories are made later."""

        def step() -> tuple[StepAnswers, Tensor]:
            answers = self._predictor.runner.answer([work.selection for work in batch], features)
            return answers, self._predictor.masks_at_slice_size(answers.logits, plane.shape)

        answers, pictures = self._predictor.run(step)
        started = []
        for row, (work, seen) in enumerate(zip(batch, features, strict=True)):
            own = answers.of(row)
            unmade = self._predictor.unmade(seen.embedding, partial(self._predictor.runner.remember, answers=own))
            memory = SliceMemory.of(unmade, own.pointer, own.scores)
            result = _result(plane, work, own.logits, own.scores, pictures[row : row + 1], memory)
            started.append(StartedSlice(memory, lambda result=result: result))
        return started


class _Transfer:
    """Tensors on their way to host memory, through page-locked memory from CUDA."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        # Elsewhere a transfer that does not block may be read before it is done.
        asynchronous = tensors[0].is_cuda
        self._host = [tensor.to("cpu", non_blocking=asynchronous) for tensor in tensors]
        self._done: torch.cuda.Event | None = None
        if asynchronous:
            self._done = torch.cuda.current_stream(tensors[0].device).record_event()

    def row(self, number: int) -> list[Tensor]:
        """Row `number` of each tensor, when it has arrived."""
        if self._done is not None:
            self._done.synchronize()
        return [tensor[number : number + 1] for tensor in self._host]

    def empty_row(self, tensor: int) -> Tensor:
        """Ordinary memory for a row of one of the tensors: page-locked memory is scarce and slow to get."""
        return torch.empty_like(self._host[tensor][:1], pin_memory=False)


def _finish_all(under_way: Iterable[Callable[[], SliceResult]]) -> None:
    for finish in list(under_way):
        finish()


def _started(plane: SlicePlane, work: SliceWork, version: int, transfer: _Transfer, row: int) -> StartedSlice:
    memory = SliceMemory(transfer.empty_row(0), transfer.empty_row(1), transfer.empty_row(3), version)

    @cache
    def finish() -> SliceResult:
        features, pointer, logits, scores, picture = transfer.row(row)
        memory.features.copy_(features)
        memory.pointer.copy_(pointer)
        memory.scores.copy_(scores)
        return _result(plane, work, logits.clone(), scores, picture, memory)

    return StartedSlice(memory, finish)


def _result(
    plane: SlicePlane, work: SliceWork, logits: Tensor, scores: Tensor, picture: Tensor, memory: SliceMemory
) -> SliceResult:
    iou, object_score, boundary = scores[0].tolist()
    return SliceResult(
        mask=PackedMask.of(plane.restore(_numpy(picture))),
        iou=iou,
        object_score=object_score,
        boundary=boundary,
        logits=logits,
        memory=memory,
        chain=work.chain,
        inputs=work.selection.fingerprint,
    )


def _numpy(picture: Tensor) -> np.ndarray:
    """[1, rows, columns] bool to an array [rows, columns]."""
    return picture[0].numpy()
