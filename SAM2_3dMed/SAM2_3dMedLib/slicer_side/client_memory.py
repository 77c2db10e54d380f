"""What the client remembers, so that a new process can continue where the last one stopped: model, volumes, prompts."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

# The encoded slices of the last two volumes are kept, so that going back and forth between two costs nothing.
KEPT_VOLUMES = 2


class ClientMemory:
    """Volumes in order of use, newest last; prompts of each (volume, object) in order."""

    def __init__(self) -> None:
        self.model: tuple[Path, str] | None = None
        self.open_volumes: OrderedDict[str, Any] = OrderedDict()  # volume_id -> VolumeSource
        self._prompts: dict[tuple[str, str], list[Any]] = {}

    def use_volume(self, source: Any) -> list[str]:
        """Marks a volume as used now; returns the volumes that have to be closed for it."""
        self.open_volumes[source.volume_id] = source
        self.open_volumes.move_to_end(source.volume_id)
        closed = []
        while len(self.open_volumes) > KEPT_VOLUMES:
            volume_id, _ = self.open_volumes.popitem(last=False)
            closed.append(volume_id)
        return closed

    def close_volume(self, volume_id: str) -> bool:
        """Forgets the volume and its prompts; True when it was open."""
        for key in [key for key in self._prompts if key[0] == volume_id]:
            del self._prompts[key]
        return self.open_volumes.pop(volume_id, None) is not None

    def prompts(self, volume_id: str, object_id: str) -> tuple[Any, ...]:
        return tuple(self._prompts.get((volume_id, object_id), ()))

    def objects(self, volume_id: str) -> tuple[str, ...]:
        return tuple(object_id for volume, object_id in self._prompts if volume == volume_id)

    def add_prompt(self, volume_id: str, object_id: str, prompt: Any) -> None:
        self._prompts.setdefault((volume_id, object_id), []).append(prompt)

    def set_prompts(self, volume_id: str, object_id: str, prompts: tuple[Any, ...]) -> None:
        if prompts:
            self._prompts[(volume_id, object_id)] = list(prompts)
        else:
            self._prompts.pop((volume_id, object_id), None)

    def drop_prompt(self, volume_id: str, object_id: str, prompt: Any) -> None:
        """Takes back a prompt that the worker refused."""
        prompts = self._prompts.get((volume_id, object_id), [])
        if prompts and prompts[-1] is prompt:
            self.set_prompts(volume_id, object_id, tuple(prompts[:-1]))
