"""Answers that have piled up are handed on in portions, in order, and none is lost when the process ends."""

from collections import deque

import pytest
from SAM2_3dMedLib.slicer_side import worker_process
from SAM2_3dMedLib.worker import messages as m


class Transport:
    """A transport whose output a test writes."""

    def poll(self):
        pass


@pytest.fixture
def process(monkeypatch):
    monkeypatch.setattr(worker_process, "DELIVERY_SECONDS", 0.0)  # one message a portion
    made = worker_process.WorkerProcess(Transport(), deque(), lambda event: made.got.append(event.request), print)
    made.got = []
    return made


def lines(*numbers):
    return "".join(m.VolumeOpened(number, "volume").to_line() for number in numbers).encode()


def test_messages_come_in_order_and_one_portion_at_a_time(process):
    data = lines(1, 2, 3, 4)
    process._transport.on_output(data[:-10])
    assert process.got == [1]
    process._transport.on_output(data[-10:])
    assert process.got == [1, 2]
    process.poll()
    process.poll()
    assert process.got == [1, 2, 3, 4]


def test_the_end_of_the_process_comes_after_its_last_message(process):
    order = process.got
    process._on_ended = lambda how: order.append(how)
    process._transport.on_output(lines(1, 2, 3))
    process._transport.on_ended("exit code 0")
    assert order == [1, 2, 3, "exit code 0"]
