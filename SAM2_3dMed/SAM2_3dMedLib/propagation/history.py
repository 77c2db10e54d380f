"""Earlier states of one object, for undo, within a limit of memory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .state import ObjectState


class Action(Enum):
    """What led away from an earlier state."""

    PROMPT = "prompt"
    PROPAGATION = "propagation"


@dataclass(frozen=True)
class Entry:
    """The state before an action; None before the object's first prompt. `stamp` orders actions across objects."""

    action: Action
    before: ObjectState | None
    stamp: int


class History:
    """The last actions on one object, newest last. States share the results they have in common."""

    def __init__(self, limit_entries: int = 50, limit_bytes: int = 1 << 30) -> None:
        self._limit_entries = limit_entries
        self._limit_bytes = limit_bytes
        self._entries: list[Entry] = []

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def newest(self) -> Entry | None:
        return self._entries[-1] if self._entries else None

    def push(self, entry: Entry) -> None:
        """Keep the state before an action; the oldest go when there are too many. The newest always stays."""
        self._entries.append(entry)
        del self._entries[: -self._limit_entries]
        self._trim()

    def pop(self) -> Entry | None:
        return self._entries.pop() if self._entries else None

    def _trim(self) -> None:
        counted: set[int] = set()
        total = 0
        for place in range(len(self._entries) - 1, -1, -1):
            state = self._entries[place].before
            for result in [] if state is None else state.shown.values():
                if id(result) not in counted:
                    counted.add(id(result))
                    total += result.nbytes
            if total > self._limit_bytes and place < len(self._entries) - 1:
                del self._entries[: place + 1]
                return
