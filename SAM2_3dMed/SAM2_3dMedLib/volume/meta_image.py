"""What MetaIO does not say about an MHA or MHD file: of damaged packed voxels it makes an image, of NaN zero."""

from __future__ import annotations

import math
import re
import zlib
from pathlib import Path
from typing import BinaryIO

from .errors import VolumeError

_PLACE = ("Offset", "Position", "Origin", "ElementSpacing", "TransformMatrix", "Rotation", "Orientation")
_LONGEST_HEADER = 1 << 20  # bytes
_ZLIB_OR_GZIP = 47  # for zlib: either header, the largest window
_BLOCK = 1 << 16  # of zeros become 64 MB


def check_meta_image(path: Path, promised: int) -> None:
    """Raise VolumeError when a MetaImage file's place or spacing holds what is no finite number, or when its packed
    voxels are damaged or fewer bytes than `promised`.

    Every other file passes, and so does one whose data file is missing: reading it fails, and is told.
    """
    if path.suffix.lower() not in (".mha", ".mhd"):
        return
    with path.open("rb") as file:
        header = _header_of(file)
        if not all(_is_finite(number) for name in _PLACE for number in header.get(name, "").split()):
            raise VolumeError(
                f"Spacing or place in the header of '{path.name}' are no finite numbers; correct them or export "
                "the image again."
            )
        data = header.get("ElementDataFile", "")
        if header.get("CompressedData", "").lower() not in ("true", "t", "1") or not data or data.startswith("LIST"):
            return
        if data.upper() == "LOCAL":
            whole = _unpacks_to(file, promised)
        elif (path.parent / data).is_file():
            with (path.parent / data).open("rb") as voxels:
                whole = _unpacks_to(voxels, promised)
        else:
            return
    if not whole:
        raise VolumeError(f"The packed voxels of '{path.name}' are truncated or damaged; copy or export it again.")


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _header_of(file: BinaryIO) -> dict[str, str]:
    """Names and values, up to the line that says where the voxels are; `file` then stands behind that line."""
    found: dict[str, str] = {}
    while "ElementDataFile" not in found and file.tell() < _LONGEST_HEADER:
        line = file.readline(_LONGEST_HEADER)
        if not line:
            break
        if match := re.fullmatch(r"\s*(\w+)\s*[=:]\s*(.*?)\s*", line.decode("utf-8", "replace")):
            found[match[1]] = match[2]
    return found


def _unpacks_to(file: BinaryIO, promised: int) -> bool:
    unpacker, total = zlib.decompressobj(_ZLIB_OR_GZIP), 0
    try:
        while not unpacker.eof and (block := file.read(_BLOCK)):
            total += len(unpacker.decompress(block))
    except zlib.error:
        return False
    return unpacker.eof and total >= promised
