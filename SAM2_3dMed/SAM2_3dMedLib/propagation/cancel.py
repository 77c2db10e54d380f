"""Cancelling a propagation from another thread."""

from __future__ import annotations

import threading


class CancelToken:
    """Asks a running propagation to end after the slice it is working on. Thread-safe; once canceled, it stays so."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask for the end. May be called from any thread and more than once."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether the end was asked for."""
        return self._event.is_set()
