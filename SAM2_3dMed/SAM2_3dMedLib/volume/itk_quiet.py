"""ITK's own messages: kept off the terminal while a file is tried, and shortened for the user."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import SimpleITK as sitk  # noqa: N813 - its customary name


@contextmanager
def itk_errors() -> Iterator[None]:
    """Keep ITK's warnings off the terminal; its exceptions pass. What matters to the user is said by `VolumeError`."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def reason(error: RuntimeError) -> str:
    """The last meaningful line of an ITK exception, without file, line and class names."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = re.sub(r"^(sitk::|itk::)?ERROR:\s*|^\w+\(0x[0-9a-f]+\):\s*", "", lines[-1] if lines else "")
    text = re.sub(r"\w+\(0x[0-9a-f]+\):\s*", "", text)
    return text[:160].rstrip(".") or "no reason given"
