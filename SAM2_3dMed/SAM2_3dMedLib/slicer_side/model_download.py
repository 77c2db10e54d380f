"""Fetches a model's weights without holding up the window; only ever after the user pressed the button."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from .engine_sentences import in_slicer
from .interpreter import InterpreterNotFound, find_interpreter
from .translation import _
from .transports import QProcessTransport, Transport


class ModelDownload:
    """One download. progress(done, total) in bytes; finished(sentence): empty when the weights are there."""

    def __init__(
        self,
        name: str,
        progress: Callable[[int, int], None],
        finished: Callable[[str], None],
        transport_factory: Callable[[], Transport] = QProcessTransport,
    ) -> None:
        self._name = name
        self._progress = progress
        self._finished = finished
        self._transport_factory = transport_factory
        self._transport: Transport | None = None
        self._buffer = b""
        self._error = _("The download ended unexpectedly; press Download again, it continues where it stopped.")

    @property
    def running(self) -> bool:
        return self._transport is not None

    def start(self) -> None:
        """Returns at once."""
        try:
            command = [find_interpreter(), str(Path(__file__).with_name("download_process.py")), self._name]
            self._transport = self._transport_factory()
            self._transport.on_output = self._received
            self._transport.on_ended = self._ended
            self._transport.start(command)
        except (InterpreterNotFound, OSError) as error:
            self._transport = None
            self._finished(str(error))

    def cancel(self) -> None:
        """Stop; what was fetched is kept for the next try."""
        if self._transport is not None:
            self._error = _("The download was stopped; press Download to continue it.")
            self._transport.kill()

    def poll(self) -> None:
        """For transports that an event loop does not drive."""
        if self._transport is not None:
            self._transport.poll()

    def _received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                continue  # not ours: a warning that a library printed
            if "done" in message:
                self._progress(int(message["done"]), int(message["total"]))
            elif "error" in message:
                self._error = in_slicer(message["error"])
            elif "path" in message:
                self._error = ""

    def _ended(self, how: str) -> None:
        self._transport = None
        self._finished(self._error)
