"""What MetaIO does not say about an MHA or MHD file: it makes an image of damaged packed voxels, too."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import BinaryIO

from .errors import VolumeError

_LONGEST_HEADER = 1 << 20  # bytes
_ZLIB_OR_GZIP = 47  # for zlib: either header, the largest window
_BLOCK = 1 << 16  # of zeros become 64 MB


def check_packed_voxels(path: Path, promised: int) -> None:
    """Raise VolumeError when the packed voxels of a MetaImage file are damaged or fewer bytes than `promised`.

    Every other file passes, and so does one whose data file is missing: reading it fails, and is told.
    """
    if path.suffix.lower() not in (".mha", ".mhd"):
        return
    with path.open("rb") as file:
        header = _header_of(file)
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
