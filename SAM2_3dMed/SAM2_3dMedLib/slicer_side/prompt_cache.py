"""The prompt store with a memory: views ask for prompts at every mouse move, and reading them means parsing JSON."""

from __future__ import annotations

from .volume_place import VolumePlace

_CHANGES = ("add", "replace", "remove", "pop", "set_all", "clear", "set_checked", "drop_missing")


class PromptCache:
    """Same methods as `prompt_store.PromptStore`. `forget` when the scene changed by another hand (load, close)."""

    def __init__(self, store) -> None:
        self._store = store
        self._prompts: dict[tuple[str, str], tuple] = {}
        self._checked: dict[tuple[str, str], frozenset[int]] = {}
        self._places: dict[tuple[str, str], VolumePlace | None] = {}

    def prompts(self, segmentation_node, segment_id: str) -> tuple:
        key = (segmentation_node.GetID(), segment_id)
        if key not in self._prompts:
            self._prompts[key] = tuple(self._store.prompts(segmentation_node, segment_id))
        return self._prompts[key]

    def checked_slices(self, segmentation_node, segment_id: str) -> frozenset[int]:
        key = (segmentation_node.GetID(), segment_id)
        if key not in self._checked:
            self._checked[key] = frozenset(self._store.checked_slices(segmentation_node, segment_id))
        return self._checked[key]

    def place(self, segmentation_node, segment_id: str) -> VolumePlace | None:
        key = (segmentation_node.GetID(), segment_id)
        if key not in self._places:
            self._places[key] = self._store.place(segmentation_node, segment_id)
        return self._places[key]

    def forget(self) -> None:
        """Read everything again from the scene when it is asked for."""
        self._places.clear()
        self._prompts.clear()
        self._checked.clear()

    def __getattr__(self, name: str):
        method = getattr(self._store, name)
        if name not in _CHANGES:
            return method

        def change(*arguments):
            self.forget()
            return method(*arguments)

        return change
