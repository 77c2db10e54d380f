"""One run of the inference process: lines in, messages out, the end reported once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..worker import messages as m
from .transports import Transport


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
        if self.alive:
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
        for line in lines:
            if not self.alive:
                return  # a receiver stopped or restarted the process
            if not line.strip():
                continue
            try:
                event = m.parse_line(line)
            except m.MessageError as error:
                self._log.append(str(error))
                continue
            self._on_message(event)

    def _logged(self, data: bytes) -> None:
        self._log.extend(data.decode("utf-8", "replace").splitlines())

    def _ended(self, how: str) -> None:
        if self.alive:
            self.alive = False
            self._on_ended(how)
