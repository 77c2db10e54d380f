"""ITK's own messages: kept off the terminal while a file is tried, and shortened for the user."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import SimpleITK as sitk  # noqa: N813 - its customary name

_STDERR = 2


class _Silence:
    """ITK's warnings off, and the process's stderr to nowhere: MetaIO and the NIfTI library, inside of ITK, print
    straight to it. Shared by all threads: the first to begin silences, the last to end gives back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._warnings = False
        self._kept: int | None = None

    def begin(self) -> None:
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            self._warnings = sitk.ProcessObject.GetGlobalWarningDisplay()
            sitk.ProcessObject.SetGlobalWarningDisplay(False)
            try:
                self._kept = os.dup(_STDERR)
            except OSError:  # there is none (Windows without a console): nothing to keep quiet
                return
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, _STDERR)
            os.close(nowhere)

    def end(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users > 0:
                return
            sitk.ProcessObject.SetGlobalWarningDisplay(self._warnings)
            if self._kept is not None:
                os.dup2(self._kept, _STDERR)
                os.close(self._kept)
                self._kept = None


_SILENCE = _Silence()


@contextmanager
def itk_errors() -> Iterator[None]:
    """Keep the messages of ITK and of the libraries in it off the terminal; its exceptions pass. What matters to the
    user is said by `VolumeError`.
    """
    _SILENCE.begin()
    try:
        yield
    finally:
        _SILENCE.end()


def words(error: RuntimeError, files: Iterable[str]) -> str:
    """What an ITK exception says, in lower case, without the names of the files: they may hold any word."""
    text = str(error)
    for name in files:
        text = text.replace(name, "")
    return re.sub(r"\S*[/\\]\S*", "", text).lower()


def reason(error: RuntimeError) -> str:
    """The last meaningful line of an ITK exception, without file, line and class names."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = re.sub(r"^(sitk::|itk::)?(ITK )?ERROR:\s*|^\w+\(0x[0-9a-f]+\):\s*", "", lines[-1] if lines else "")
    text = re.sub(r"\w+\(0x[0-9a-f]+\):\s*", "", text)
    if "determine ImageIO reader" in text:
        return "it is damaged, or in none of the known formats"
    return text[:160].rstrip(".") or "no reason given"
