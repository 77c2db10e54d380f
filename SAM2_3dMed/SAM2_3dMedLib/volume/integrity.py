"""Whether a file holds all the voxels its header promises, where ITK does not check: a truncated NIfTI is read as
zeros without a word.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

from .errors import VolumeError

_NIFTI1_SIZE, _NIFTI2_SIZE = 348, 540


def check_whole_file(path: Path) -> None:
    """Raise VolumeError when a NIfTI file (.nii, .nii.gz, .hdr/.img) ends before its last voxel.

    Other formats: SimpleITK reports it itself.
    """
    name = path.name.lower()
    if not name.endswith((".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz")):
        return
    stem = path.with_suffix("").with_suffix("") if name.endswith(".gz") else path.with_suffix("")
    zipped = ".gz" if name.endswith(".gz") else ""
    pair = not name.endswith((".nii", ".nii.gz"))
    header_path, data_path = (Path(f"{stem}.hdr{zipped}"), Path(f"{stem}.img{zipped}")) if pair else (path, path)
    try:
        expected = _promised_bytes(_start(header_path))
        whole = expected is None or _holds(data_path, expected)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise VolumeError(f"'{path.name}' is truncated or damaged; copy or export it again.") from error
    if not whole:
        raise VolumeError(f"'{path.name}' is truncated: it ends before its last slice; copy or export it again.")


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _start(path: Path) -> bytes:
    with gzip.open(path) if _is_gzip(path) else path.open("rb") as file:
        return file.read(_NIFTI2_SIZE)


def _promised_bytes(header: bytes) -> int | None:
    """Offset of the last voxel's end in the data file; None where this is no NIfTI header (Analyze, or an .img of
    another kind).
    """
    for order in "<>":
        (size,) = struct.unpack_from(f"{order}i", header)
        if size == _NIFTI1_SIZE and header[344:347] in (b"n+1", b"ni1"):
            dims = struct.unpack_from(f"{order}8h", header, 40)
            (bits,) = struct.unpack_from(f"{order}h", header, 72)
            (offset,) = struct.unpack_from(f"{order}f", header, 108)
        elif size == _NIFTI2_SIZE:
            (bits,) = struct.unpack_from(f"{order}h", header, 14)
            dims = struct.unpack_from(f"{order}8q", header, 16)
            (offset,) = struct.unpack_from(f"{order}q", header, 168)
        else:
            continue
        voxels = 1
        for count in dims[1 : dims[0] + 1]:
            voxels *= max(1, count)
        return int(offset) + voxels * bits // 8
    return None


def _holds(path: Path, expected: int) -> bool:
    if not _is_gzip(path):
        return path.stat().st_size >= expected
    # The last four bytes of a gzip file are its length modulo 2^32. They settle it at once, except for files of
    # several members or with data after the image.
    with path.open("rb") as file:
        file.seek(-4, 2)
        if struct.unpack("<I", file.read(4))[0] == expected % 2**32:
            return True
    total = 0
    with gzip.open(path) as file:
        while block := file.read(1 << 22):
            total += len(block)
    return total >= expected
