"""What can be asked of the inference process. Each method remembers what a next process has to know.

The numbers that they return are those of the answers' `request`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..worker import messages as m


class RequestsMixin:
    """Part of `worker_client.WorkerClient`, which has the memory and sends."""

    def load_model(self, weights: Path, device: str = "auto") -> int:
        self.start()
        self._memory.model = (Path(weights), device)
        self._device = device
        return self._send(m.LoadModel(self._next_number(), str(weights), device))

    def open_volume(self, source: Any) -> str:
        self.start()
        known = source.volume_id in self._memory.open_volumes
        for volume_id in self._memory.use_volume(source):
            self._forget_volume(volume_id)
        if not known:
            self._queue_volume(source)
            self._pump()
        return source.volume_id

    def close_volume(self, volume_id: str) -> None:
        if self._memory.close_volume(volume_id):
            self._forget_volume(volume_id)

    def close_volumes_of(self, node_id: str) -> None:
        """All that is open of a volume node: as it is, and as it was before its voxels changed."""
        for source in tuple(self._memory.open_volumes.values()):
            if source.node_id == node_id:
                self.close_volume(source.volume_id)

    def add_prompt(self, volume_id: str, object_id: str, prompt: Any) -> int:
        self.start()
        self._cancel_running()
        self._memory.add_prompt(volume_id, object_id, prompt)
        number = self._next_number()
        self._sent_prompts[number] = prompt
        return self._send(m.AddPrompt(number, volume_id, object_id, prompt.to_json()))

    def tell_slice(self, volume_id: str, object_id: str, axis: int, index: int, mask: NDArray[np.bool_]) -> int:
        """What stands in the segment on a slice, before a correction there; the worker may not know."""
        return self._send(m.TellSlice(self._next_number(), volume_id, object_id, axis, index, m.MaskCrop.of(mask)))

    def set_prompts(self, volume_id: str, object_id: str, prompts: Sequence[Any]) -> int:
        self.start()
        self._cancel_running()
        self._memory.set_prompts(volume_id, object_id, tuple(prompts))
        values = tuple(prompt.to_json() for prompt in prompts)
        return self._send(m.SetPrompts(self._next_number(), volume_id, object_id, values, False))

    def undo(self, volume_id: str, object_id: str) -> int:
        self._cancel_running()
        self._memory.set_prompts(volume_id, object_id, self._memory.prompts(volume_id, object_id)[:-1])
        return self._send(m.Undo(self._next_number(), volume_id, object_id))

    def remove_object(self, volume_id: str, object_id: str) -> int:
        self._cancel_running()
        self._memory.set_prompts(volume_id, object_id, ())
        return self._send(m.RemoveObject(self._next_number(), volume_id, object_id))

    def propagate(self, volume_id: str, object_id: str, slice_range: tuple[int, int] | None = None) -> int:
        first, last = slice_range if slice_range is not None else (None, None)
        return self._send(m.Propagate(self._next_number(), volume_id, object_id, first, last))

    def read_confidence(self, volume_id: str, object_id: str) -> int:
        return self._send(m.ReadConfidence(self._next_number(), volume_id, object_id))

    def refine_boundary(self, volume_id: str, object_id: str, axis: int, masks: Mapping[int, Any]) -> int:
        """`masks`: bool arrays, or `MaskCrop` where they were packed before, in steps."""
        crops = {int(i): mask if isinstance(mask, m.MaskCrop) else m.MaskCrop.of(mask) for i, mask in masks.items()}
        slices = tuple(m.IndexedMask(index, crop) for index, crop in sorted(crops.items()))
        return self._send(m.RefineBoundary(self._next_number(), volume_id, object_id, int(axis), slices))
