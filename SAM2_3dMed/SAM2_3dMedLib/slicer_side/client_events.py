"""What the client itself reports, beside the worker's events, and the list of those who listen."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class ClientState(enum.Enum):
    STOPPED = "stopped"
    STARTING = "starting"
    LOADING = "loading"
    IDLE = "idle"
    BUSY = "busy"
    FAILED = "failed"


@dataclass(frozen=True)
class ClientStateChanged:
    state: ClientState
    sentence: str


@dataclass(frozen=True)
class UploadProgress:
    """`fraction` of the volume that has been handed over, 0..1."""

    volume_id: str
    fraction: float


@dataclass(frozen=True)
class WorkerLost:
    """The process ended by itself. `restarting`: a new one is on its way and gets all prompts; `log`: its last
    lines.
    """

    sentence: str
    restarting: bool
    log: str


class Subscribers:
    """Callbacks by the class of the event."""

    def __init__(self) -> None:
        self._callbacks: dict[type, list[Callable[[Any], None]]] = {}

    def add(self, event_class: type, callback: Callable[[Any], None]) -> Callable[[], None]:
        """Returns the function that ends the subscription; calling it twice does no harm."""
        callbacks = self._callbacks.setdefault(event_class, [])
        callbacks.append(callback)

        def remove() -> None:
            if callback in callbacks:
                callbacks.remove(callback)

        return remove

    def send(self, event: Any) -> None:
        """Calls every subscriber; one that fails is logged with its traceback and does not keep the others from
        hearing.
        """
        for callback in tuple(self._callbacks.get(type(event), ())):
            try:
                callback(event)
            except Exception:
                logging.exception("SAM2-3dMed: a receiver of %s failed", type(event).__name__)
