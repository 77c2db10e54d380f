"""Between requests the worker prepares the device, and never makes anyone wait for all of it."""

import io
import queue
import threading

import pytest
from SAM2_3dMedLib.worker import messages as m
from SAM2_3dMedLib.worker.engine import Engine
from SAM2_3dMedLib.worker.server import Server


class _Source:
    """Lines that arrive when they are put here; ends with None."""

    def __init__(self) -> None:
        self.lines: queue.Queue[bytes | None] = queue.Queue()

    def __iter__(self):
        return iter(self.lines.get, None)


class _Engine:
    """Has much to prepare; `resting` counts how much of it was done before each request."""

    def __init__(self, pieces: int) -> None:
        self.left, self.done_before, self.enough = pieces, [], threading.Event()

    def rest(self) -> bool:
        self.left -= 1
        if self.left < 990:
            self.enough.wait(0.001)
        return self.left > 0

    def handle(self, request: m.Message, cancel):
        self.done_before.append(1000 - self.left)
        return iter(())


def test_a_request_waits_for_one_piece_of_preparation_at_most() -> None:
    source, engine = _Source(), _Engine(1000)
    ready = m.EngineReady(1, "cpu", "CPU", "2.13", 0)
    server = Server(source, io.BytesIO(), lambda hello: (engine, ready))
    thread = threading.Thread(target=server.run)
    source.lines.put(m.Hello(1, (), "cpu").to_line().encode())
    thread.start()
    while engine.left > 980:
        engine.enough.wait(0.001)
    source.lines.put(m.CloseVolume(2, "v").to_line().encode())
    source.lines.put(m.Shutdown(3).to_line().encode())
    thread.join(20)
    assert not thread.is_alive()
    assert 20 <= engine.done_before[0] < 900, "some was prepared, and not all"


@pytest.mark.parametrize("kind", [RuntimeError, MemoryError, AssertionError, OSError])
def test_what_cannot_be_prepared_costs_nobody_a_request(capsys, kind: type[Exception]) -> None:
    engine = Engine("cpu")

    def failing():
        yield
        raise kind("CUDA error: no kernel image")

    engine._warming = failing()
    assert engine.rest()
    assert not engine.rest()
    assert "no kernel image" in capsys.readouterr().err
    assert not engine.rest()
    list(engine.handle(m.CloseVolume(1, "v"), None))
