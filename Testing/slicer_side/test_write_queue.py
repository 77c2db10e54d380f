"""When slices are written: the first at once, those of a slow engine together, all of them when the job ends."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
from SAM2_3dMedLib.slicer_side import controller_writes
from SAM2_3dMedLib.slicer_side.controller_state import Job, JobKind
from SAM2_3dMedLib.slicer_side.controller_writes import REST_SECONDS, REST_SLICES, JobEnd, SliceWrite, WriteQueue


class Clock:
    """Time that only passes when told; calls wait in it, as in Qt's event loop."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls: list[tuple[float, object]] = []

    def monotonic(self) -> float:
        return self.now

    def call_later(self, milliseconds: int, callback) -> None:
        self.calls.append((self.now + milliseconds / 1000, callback))

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted((entry for entry in self.calls if entry[0] <= end + 1e-9), key=lambda entry: entry[0]):
            self.calls.remove(due[0])
            self.now = max(self.now, due[0][0])
            due[0][1]()
        self.now = end


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock, turns = Clock(), [[]]
    monkeypatch.setattr(
        controller_writes, "time", SimpleNamespace(monotonic=clock.monotonic, perf_counter=time.perf_counter)
    )
    queue = WriteQueue(clock, lambda item: turns[-1].append(getattr(item, "index", "end")), lambda: turns.append([]))
    return SimpleNamespace(clock=clock, queue=queue, turns=lambda: [turn for turn in turns if turn])


def slice_of(job: Job, index: int) -> SliceWrite:
    return SliceWrite(job, None, None, 2, index, np.zeros((2, 2), bool))


def test_slices_of_a_slow_engine_are_written_together(world: SimpleNamespace) -> None:
    job = Job(JobKind.PROPAGATE, None, None)
    for index in range(6):
        world.queue.push(slice_of(job, index))
        world.clock.advance(0.3)
    assert world.turns() == [[0], [1, 2], [3, 4, 5]]
    world.queue.push(slice_of(job, 6))
    world.queue.push(JobEnd(job, None, None))
    world.clock.advance(0.001)
    assert world.turns()[-1][-2:] == [6, "end"], "the end of a job does not wait"
    assert world.queue.empty


def test_a_fast_engine_does_not_wait_and_a_preview_never_does(world: SimpleNamespace) -> None:
    job = Job(JobKind.PROPAGATE, None, None)
    world.queue.push(slice_of(job, 0))
    world.clock.advance(0.001)
    for index in range(1, 1 + REST_SLICES):
        world.queue.push(slice_of(job, index))
    world.clock.advance(0.001)
    assert world.turns() == [[0], list(range(1, 1 + REST_SLICES))]
    world.queue.push(slice_of(job, 8))
    world.queue.push(slice_of(Job(JobKind.PREVIEW, None, None), 9))
    world.clock.advance(0.001)
    assert world.turns()[-1] == [8, 9], "in order: what waits goes with it"
    world.queue.push(slice_of(job, 10))
    world.queue.drop(lambda unwanted: unwanted is job)
    world.clock.advance(REST_SECONDS + 0.05)
    world.queue.push(slice_of(job, 11))
    world.clock.advance(0.001)
    assert world.turns()[-1] == [11], "a turn with nothing left to write is none: the next slice does not rest after it"
    world.clock.advance(10)
    assert len(world.turns()) == 4, "a turn that has come earlier does not come again"
