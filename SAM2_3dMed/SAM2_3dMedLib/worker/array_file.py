"""A volume's voxels handed to the inference process: a memory-mapped file in a private folder.

Why not multiprocessing.shared_memory: before Python 3.13 every process that attaches registers the block with a
resource tracker, which (a) removes a block that others still use and (b) is started with `sys.executable`; in an
application that embeds Python that may be the application itself. A file behaves the same on Linux, macOS and
Windows and on Python 3.10-3.13. On Linux it lies in /dev/shm when there is room, so that no disk is touched. The
side that creates a file removes it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER_PREFIX = "sam2-3dmed-"
_STALE_AFTER_S = 24 * 3600.0
_SPARE_BYTES = 256 * 1024 * 1024  # /dev/shm is left to others when less than this would remain free


@dataclass(frozen=True)
class ArrayFile:
    """Where a volume's array [K, J, I] lies: `dtype` as numpy writes it with byte order, e.g. '<i2'."""

    path: str
    shape: tuple[int, int, int]
    dtype: str

    def open_for_reading(self) -> NDArray:
        """The array, read-only; OSError or ValueError when the file is gone or too short."""
        return np.memmap(self.path, dtype=np.dtype(self.dtype), mode="r", shape=self.shape)

    def to_json(self) -> dict:
        return {"path": self.path, "shape": list(self.shape), "dtype": self.dtype}

    @classmethod
    def from_json(cls, value: dict) -> ArrayFile:
        k, j, i = (int(n) for n in value["shape"])
        return cls(str(value["path"]), (k, j, i), str(value["dtype"]))


class ArrayFolder:
    """The private folder (mode 0700) of one Slicer for its array files; `close` removes it with all it holds."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._count = 0

    def create(self, shape: tuple[int, int, int], dtype: np.dtype) -> tuple[ArrayFile, np.memmap]:
        """An empty file of the right size and its writable map; OSError when no place has room."""
        size = int(np.prod(shape)) * dtype.itemsize
        folder = self._ready(size)
        self._count += 1
        path = folder / f"volume-{self._count}.raw"
        array = np.memmap(path, dtype=dtype, mode="w+", shape=shape)
        return ArrayFile(str(path), shape, dtype.str), array

    def remove(self, file: ArrayFile) -> bool:
        """Removes a file. False where the system keeps mapped files (Windows): it then goes with `close`."""
        try:
            Path(file.path).unlink(missing_ok=True)
        except OSError:
            return False
        return True

    def close(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _ready(self, size: int) -> Path:
        if self._folder is None or not self._folder.is_dir():
            parent = _parent_with_room(size)
            _remove_stale(parent)
            self._folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-", dir=parent))
        return self._folder


def _parent_with_room(size: int) -> Path:
    shared = Path("/dev/shm")
    if shared.is_dir() and os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > size + _SPARE_BYTES:
        return shared
    return Path(tempfile.gettempdir())


def _remove_stale(parent: Path) -> None:
    """Folders that a crashed Slicer left behind: empty ones (a file goes when the worker has it) of a process that is
    gone, others after a day (a running one touches its folder with every volume).
    """
    for folder in parent.glob(f"{FOLDER_PREFIX}*"):
        try:
            if time.time() - folder.stat().st_mtime > _STALE_AFTER_S:
                shutil.rmtree(folder, ignore_errors=True)
            elif _is_gone(folder.name.removeprefix(FOLDER_PREFIX).split("-")[0]):
                folder.rmdir()
        except OSError:
            continue  # another user's, not empty, or removed meanwhile


def _is_gone(process: str) -> bool:
    """Whether no process has this number; False where that cannot be asked (signal 0 ends a process on Windows)."""
    if os.name != "posix" or not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass  # another user's, or no number of a process at all
    return False
