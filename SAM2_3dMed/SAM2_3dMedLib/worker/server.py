"""The worker's two threads: one reads requests (and acts on Cancel at once), the main one works on them in order."""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from ..propagation.cancel import CancelToken
from . import messages as m
from .errors import EngineError

if TYPE_CHECKING:
    from .engine import Engine

# How long the work in progress may take to notice that Slicer is gone before the process ends anyway.
_GRACE_AFTER_END_OF_INPUT_S = 5.0
_CANCELABLE = (m.Propagate, m.RefineBoundary)


class Server:
    """Serves one Slicer until its input ends. `make_engine(hello)` imports torch: it is called after
    `WorkerStarted` is sent.
    """

    def __init__(
        self, source: BinaryIO, sink: BinaryIO, make_engine: Callable[[m.Hello], tuple[Engine, m.EngineReady]]
    ) -> None:
        self._source = source
        self._sink = sink
        self._make_engine = make_engine
        self._queue: queue.SimpleQueue[m.Message | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._sink_lock = threading.Lock()
        self._current: tuple[int, CancelToken] | None = None
        self._cancel_below = 0

    def run(self) -> int:
        """Returns the exit code: 0 after Shutdown or the end of input, 1 when the engine cannot start."""
        self._send(m.WorkerStarted(0, os.getpid(), sys.version.split()[0]))
        threading.Thread(target=self._read, name="requests", daemon=True).start()
        hello = self._queue.get()
        if not isinstance(hello, m.Hello):
            return 0
        try:
            engine, ready = self._make_engine(hello)
        except ImportError as error:
            ours = (error.name or "").startswith("SAM2_3dMedLib")
            remedy = "install the extension again" if ours else "install what is missing in the module SAM2-3dMed"
            text = f"The inference process cannot start ({error}): {remedy}."
            self._send(m.Failed(hello.request, "missing_package", text, True, "", ""))
            return 1
        self._send(ready)
        self._send(m.Finished(hello.request, "Hello", "", "", False))
        while True:
            while self._queue.empty() and engine.rest():
                pass
            request = self._queue.get()
            if request is None or isinstance(request, m.Shutdown):
                return 0
            self._serve(engine, request)

    def _serve(self, engine: Engine, request: m.Message) -> None:
        volume_id, object_id = getattr(request, "volume_id", ""), getattr(request, "object_id", "")
        flag = self._begin(request)
        try:
            if not (flag.cancelled and isinstance(request, _CANCELABLE)):
                for event in engine.handle(request, flag):
                    self._send(event)
            # Only long work can be canceled; Cancel may come while anything else is worked on, which then is done.
            cancelled = flag.cancelled and isinstance(request, _CANCELABLE)
            self._send(m.Finished(request.request, request.kind_name, volume_id, object_id, cancelled))
        except EngineError as error:
            self._send(m.Failed(request.request, error.kind, str(error), False, volume_id, object_id))
        except Exception as error:
            # One broken request must not end the process: the sentence goes to the user, the rest to the log.
            traceback.print_exc(file=sys.stderr)
            sentence = (
                f"The inference process could not do this ({type(error).__name__}: {error}). See the log for details."
            )
            self._send(m.Failed(request.request, "internal", sentence, False, volume_id, object_id))
        finally:
            with self._lock:
                self._current = None

    def _begin(self, request: m.Message) -> CancelToken:
        flag = CancelToken()
        with self._lock:
            self._current = (request.request, flag)
            if isinstance(request, _CANCELABLE) and request.request < self._cancel_below:
                flag.cancel()
        return flag

    def _cancel(self, below: int) -> None:
        with self._lock:
            self._cancel_below = max(self._cancel_below, below)
            if self._current is not None and self._current[0] < below:
                self._current[1].cancel()

    def _send(self, event: m.Message) -> None:
        try:
            with self._sink_lock:
                self._sink.write(event.to_line().encode("ascii"))
                self._sink.flush()
        except (BrokenPipeError, OSError):
            os._exit(0)  # nobody listens any more

    def _read(self) -> None:
        for line in self._source:
            if not line.strip():
                continue
            try:
                request = m.parse_line(line)
            except m.MessageError as error:
                self._send(
                    m.Failed(
                        0,
                        "internal",
                        f"The inference process got a line it does not understand: {error}",
                        False,
                        "",
                        "",
                    )
                )
                continue
            if isinstance(request, m.Cancel):
                self._cancel(request.request)
                self._send(m.Finished(request.request, "Cancel", "", "", False))
            else:
                self._queue.put(request)
        self._queue.put(None)
        self._cancel(sys.maxsize)
        timer = threading.Timer(_GRACE_AFTER_END_OF_INPUT_S, os._exit, args=(0,))
        timer.daemon = True
        timer.start()
