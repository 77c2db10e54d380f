"""A volume's voxels copied to the worker's file in steps short enough for the main thread."""

from __future__ import annotations

import time
from typing import Any

from ..worker.array_file import ArrayFile, ArrayFolder


class VolumeUpload:
    """Copies `source.array` slice by slice; 512 x 512 x 600 int16 (300 MB) takes about 100 ms in all, in steps of
    the caller's budget.
    """

    def __init__(self, source: Any, folder: ArrayFolder) -> None:
        self.source = source
        self.file: ArrayFile
        self.file, self._target = folder.create(tuple(source.array.shape), source.array.dtype)
        self._next = 0

    @property
    def done(self) -> bool:
        return self._next >= self.file.shape[0]

    @property
    def fraction(self) -> float:
        return self._next / self.file.shape[0]

    def step(self, budget_ms: float) -> bool:
        """Copies at least one slice, then goes on until `budget_ms` is used up; True when all are copied."""
        limit = time.perf_counter() + budget_ms / 1000
        while not self.done:
            self._target[self._next] = self.source.array[self._next]
            self._next += 1
            if time.perf_counter() >= limit:
                break
        if self.done:
            self._target = None  # closes the map, so that Windows can remove the file later
        return self.done
