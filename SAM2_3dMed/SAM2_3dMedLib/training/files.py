"""Files that appear whole or not at all: a run may be killed at any moment, also while it saves."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

PARTIAL = ".partial-"  # begins the names of files that are not whole yet


def write_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a temporary file beside `path`, put it on the disk, and give it its name; returns `path`.

    The folder is made where it is missing. Nothing is left behind when `write` fails; OSError passes through.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=PARTIAL, dir=path.parent, suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())  # else the name may reach the disk before the content does
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def write_text_whole(path: Path, text: str) -> Path:
    """Write UTF-8 text by `write_whole`."""
    return write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_bytes_whole(path: Path, data: bytes) -> Path:
    """Write bytes by `write_whole`."""
    return write_whole(path, lambda temporary: temporary.write_bytes(data))


def remove_partial(folder: Path) -> None:
    """Remove what a killed process left half-written in `folder`, of which this process is the only writer."""
    for path in folder.glob(f"{PARTIAL}*"):
        path.unlink(missing_ok=True)
