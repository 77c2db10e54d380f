"""Ways to reach the inference process: Qt's QProcess inside Slicer, subprocess where there is no Qt."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from typing import Any, Protocol

_READ_SIZE = 1 << 16


class Transport(Protocol):
    """One process. The callbacks run on the thread that runs the event loop (or calls `poll`), never on another."""

    on_output: Callable[[bytes], None]
    on_log: Callable[[bytes], None]
    on_ended: Callable[[str], None]  # how it ended, in words

    def start(self, command: list[str]) -> None:
        """Returns at once; OSError when it cannot be started and this is known at once."""

    def write(self, data: bytes) -> None: ...

    def poll(self) -> None:
        """Delivers what has arrived; does nothing where the event loop does this."""

    def close_input(self) -> None: ...

    def kill(self) -> None: ...

    def wait(self, seconds: float) -> bool:
        """Blocks until the process has ended, at most `seconds`; True when it has."""


def _ignore(*_: Any) -> None:
    return None


class QProcessTransport:
    """QProcess of the application. `qt` is Slicer's module; tests pass PySide6's QtCore, the same Qt class in
    another binding.
    """

    def __init__(self, qt: Any = None) -> None:
        if qt is None:
            import qt
        self.on_output: Callable[[bytes], None] = _ignore
        self.on_log: Callable[[bytes], None] = _ignore
        self.on_ended: Callable[[str], None] = _ignore
        self._ended = False
        self._started = False
        self._qt = qt
        self._process = qt.QProcess()
        # Kept, so that the same objects are disconnected: a connection keeps the process and this object alive.
        self._connections = [
            (self._process.readyReadStandardOutput, self._read_output),
            (self._process.readyReadStandardError, self._read_log),
            (self._process.finished, self._finished),
            (self._process.errorOccurred, self._error_occurred),
        ]
        for signal, slot in self._connections:
            signal.connect(slot)

    def start(self, command: list[str]) -> None:
        self._process.start(command[0], command[1:])
        self._started = True

    def write(self, data: bytes) -> None:
        if not self._ended:
            self._process.write(data)

    def poll(self) -> None:
        """The signals deliver everything; this looks again, so that nothing hangs on one signal of one Qt version."""
        if self._ended or not self._started:
            return
        self._read_output()
        self._read_log()
        state = self._process.state()
        if int(getattr(state, "value", state)) == 0 and not self._ended:  # NotRunning
            self._end("it is not running any more")

    def close_input(self) -> None:
        if not self._ended:
            self._process.closeWriteChannel()

    def kill(self) -> None:
        if not self._ended:
            self._process.kill()

    def wait(self, seconds: float) -> bool:
        return self._ended or bool(self._process.waitForFinished(int(seconds * 1000))) or self._ended

    def _release(self) -> None:
        for signal, slot in self._connections:
            signal.disconnect(slot)
        self._connections.clear()
        self._process.deleteLater()

    def _read_output(self, *_: Any) -> None:
        data = _to_bytes(self._process.readAllStandardOutput())
        if data:
            self.on_output(data)

    def _read_log(self, *_: Any) -> None:
        data = _to_bytes(self._process.readAllStandardError())
        if data:
            self.on_log(data)

    def _finished(self, code: int = 0, *_: Any) -> None:
        self._read_output()
        self._read_log()
        self._end(f"exit code {code}")

    def _error_occurred(self, error: Any = None, *_: Any) -> None:
        # FailedToStart (0) is the one error after which `finished` does not come; without a value, `poll` finds out.
        if error is not None and int(getattr(error, "value", error)) == 0:
            self._end("it could not be started")

    def _end(self, how: str) -> None:
        if not self._ended:
            self._ended = True
            # Not now: this may run inside a signal of the process, and Qt is not done with it. The timer keeps this
            # object alive until then, also when the client has let go of it.
            self._qt.QTimer.singleShot(0, self._release)
            self.on_ended(how)


class PopenTransport:
    """subprocess with pipes that are read without blocking, on `poll`: no thread, which would stand still inside
    Slicer.
    """

    def __init__(self) -> None:
        self.on_output: Callable[[bytes], None] = _ignore
        self.on_log: Callable[[bytes], None] = _ignore
        self.on_ended: Callable[[str], None] = _ignore
        self._process: subprocess.Popen | None = None
        self._ended = False

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    def start(self, command: list[str]) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        for stream in (self._process.stdout, self._process.stderr):
            os.set_blocking(stream.fileno(), False)  # on Windows from Python 3.12, which is Slicer's

    def write(self, data: bytes) -> None:
        if self._process is None or self._ended or self._process.stdin.closed:
            return
        try:
            view = memoryview(data)
            while view:
                view = view[self._process.stdin.write(view) :]
        except (BrokenPipeError, OSError):
            return  # the process has ended: `poll` reports it, with the reason

    def poll(self) -> None:
        if self._process is None or self._ended:
            return
        code = self._process.poll()
        self._drain(self._process.stdout, self.on_output)
        self._drain(self._process.stderr, self.on_log)
        if code is not None and not self._ended:
            self._ended = True
            self._close_pipes()
            self.on_ended(f"signal {-code}" if code < 0 else f"exit code {code}")

    def close_input(self) -> None:
        if self._process is not None and not self._process.stdin.closed:
            self._process.stdin.close()

    def kill(self) -> None:
        if self._process is not None and not self._ended:
            self._process.kill()

    def wait(self, seconds: float) -> bool:
        if self._process is None:
            return True
        limit = time.monotonic() + seconds
        while not self._ended and time.monotonic() < limit:
            self.poll()
            if not self._ended:
                time.sleep(0.01)
        return self._ended

    def _close_pipes(self) -> None:
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            stream.close()

    @staticmethod
    def _drain(stream: Any, deliver: Callable[[bytes], None]) -> None:
        while not stream.closed:
            data = stream.read(_READ_SIZE)
            if not data:
                return
            deliver(data)


def _to_bytes(data: Any) -> bytes:
    """QByteArray as bytes: its `data()` gives bytes in PythonQt (None for an empty one) and in PySide6."""
    value = data.data() if hasattr(data, "data") and not isinstance(data, (bytes, str)) else data
    if value is None:
        return b""
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)
