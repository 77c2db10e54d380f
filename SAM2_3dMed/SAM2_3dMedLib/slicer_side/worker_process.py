"""One run of the inference process: lines in, messages out, the end reported once."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from ..worker import messages as m
from .transports import Transport

# Answers that have piled up while the window was busy are taken in portions.
DELIVERY_SECONDS = 0.015


class WorkerProcess:
    """Messages over a transport. After `end`, nothing more is delivered, whatever the pipes still hold."""

    def __init__(
        self,
        transport: Transport,
        log: deque[str],
        on_message: Callable[[m.Message], None],
        on_ended: Callable[[str], None],
    ) -> None:
        self._transport = transport
        self._log = log
        self._on_message = on_message
        self._on_ended = on_ended
        self._buffer = b""
        self._lines: deque[bytes] = deque()
        self.alive = True
        transport.on_output = self._received
        transport.on_log = self._logged
        transport.on_ended = self._ended

    def start(self, command: list[str]) -> None:
        """Returns at once; OSError when it is known at once that it cannot be started."""
        self._transport.start(command)

    def send(self, request: m.Message) -> None:
        if self.alive:
            self._transport.write(request.to_line().encode("ascii"))

    def poll(self) -> None:
        """Delivers what waits, and what the transport has got meanwhile."""
        if self.alive:
            self._deliver(DELIVERY_SECONDS)
            self._transport.poll()

    def end(self, farewell: m.Message, timeout_s: float) -> None:
        """Asks the process to end and waits at most `timeout_s` (0: not at all), then kills it."""
        self.send(farewell)
        self.alive = False
        self._transport.close_input()
        if timeout_s <= 0 or not self._transport.wait(timeout_s):
            self._transport.kill()
            self._transport.wait(1.0)

    def _received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        self._lines.extend(lines)
        self._deliver(DELIVERY_SECONDS)

    def _deliver(self, seconds: float) -> None:
        """Hands on what has arrived, one message at least; what is left when the time is up waits for `poll`."""
        end = time.perf_counter() + seconds
        while self._lines and self.alive:  # a receiver may stop or restart the process
            line = self._lines.popleft()
            if line.strip():
                self._hand_on(line)
            if time.perf_counter() > end:
                return

    def _hand_on(self, line: bytes) -> None:
        try:
            event = m.parse_line(line)
        except m.MessageError as error:
            self._log.append(str(error))
        else:
            self._on_message(event)

    def _logged(self, data: bytes) -> None:
        self._log.extend(data.decode("utf-8", "replace").splitlines())

    def _ended(self, how: str) -> None:
        self._deliver(math.inf)
        if self.alive:
            self.alive = False
            self._on_ended(how)
