"""The states of all objects, and the earlier ones for undo, within a limit of memory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .errors import PromptError
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


class ObjectStates:
    """The present state of every object, and how each came about."""

    def __init__(self) -> None:
        self._present: dict[str, ObjectState] = {}
        self._histories: dict[str, History] = {}
        self._stamp = 0

    @property
    def names(self) -> tuple[str, ...]:
        """All objects, in the order they were begun."""
        return tuple(self._present)

    def get(self, object_id: str) -> ObjectState | None:
        return self._present.get(object_id)

    def known(self, object_id: str) -> ObjectState:
        """The object's state. Raises PromptError when there is no such object."""
        if object_id not in self._present:
            raise PromptError(f"There is no object '{object_id}'; give it a point, a box or a mask first.")
        return self._present[object_id]

    def commit(self, object_id: str, state: ObjectState, action: Action) -> None:
        """A new state that can be taken back."""
        self._stamp += 1
        history = self._histories.setdefault(object_id, History())
        history.push(Entry(action, self._present.get(object_id), self._stamp))
        self._present[object_id] = state

    def advance(self, object_id: str, state: ObjectState) -> None:
        """A new state that belongs to the last action."""
        self._present[object_id] = state

    def remove(self, object_id: str) -> None:
        """Forget an object and its history."""
        self.known(object_id)
        del self._present[object_id]
        del self._histories[object_id]

    def clear(self) -> None:
        self._present.clear()
        self._histories.clear()

    def last_changed(self) -> str | None:
        """The object whose last action is the most recent; None when nothing can be taken back."""
        stamps = {name: history.newest.stamp for name, history in self._histories.items() if history.newest}
        return max(stamps, key=stamps.__getitem__) if stamps else None

    def take_back(self, object_id: str, until_prompt: bool) -> Entry | None:
        """Return to before the last action (`until_prompt`: before the last prompt); None when there is none."""
        self.known(object_id)
        history = self._histories[object_id]
        entry = history.pop()
        while until_prompt and entry is not None and entry.action is not Action.PROMPT and len(history) > 0:
            entry = history.pop()
        if entry is None:
            return None
        if entry.before is None:
            self.remove(object_id)
        else:
            self._present[object_id] = entry.before
        return entry
