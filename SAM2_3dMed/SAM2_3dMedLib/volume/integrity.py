"""What ITK does not say about a NIfTI file: it reads missing voxels of a truncated file, and NaN, as zeros."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .errors import VolumeError
from .geometry import NO_GRID

_MOST_PACKED = 1032  # bytes from one byte of deflate, https://zlib.net/zlib_tech.html
_NIFTI1_SIZE, _NIFTI2_SIZE = 348, 540


def check_header(path: Path) -> None:
    """Raise VolumeError when a NIfTI file's spacing or place holds NaN or infinity: ITK carries on, with complaints
    of its own on the terminal. Files that are no NIfTI, or too short for its header, pass.
    """
    if not _is_nifti(path):
        return
    try:
        numbers = _grid_numbers(_start(_header_and_data(path)[0]))
    except (OSError, EOFError, zlib.error, struct.error):
        return  # what is wrong with it is told when it is read
    if not np.isfinite(numbers).all():
        raise VolumeError(
            f"The spacing or the directions in the header of '{path.name}' are no finite numbers; correct them or "
            "export the image again."
        )


def check_packed_size(path: Path, promised: int) -> None:
    """Raise VolumeError when an NRRD or MHA file is too short to hold the bytes of voxels that its header promises,
    however well they are packed. ITK sets up all of the memory before it finds out.
    """
    if path.suffix.lower() in (".nrrd", ".mha") and promised > _MOST_PACKED * path.stat().st_size:
        raise VolumeError(f"'{path.name}' is truncated: it cannot hold its voxels; copy or export it again.")


def physical_memory() -> float:
    """Bytes of memory of this computer; infinite where the system does not say (Windows)."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return float("inf")


def check_whole_file(path: Path) -> None:
    """Raise VolumeError when a NIfTI file (.nii, .nii.gz, .hdr/.img) ends before its last voxel, or has a spacing of
    zero, for which ITK takes 1 mm without a word.

    Other formats: SimpleITK reports it itself.
    """
    if not _is_nifti(path):
        return
    header_path, data_path = _header_and_data(path)
    try:
        header = _start(header_path)
        expected = _promised_bytes(header)
        whole = expected is None or _holds(data_path, expected)
    except (OSError, EOFError, zlib.error, struct.error, ValueError, OverflowError) as error:
        raise VolumeError(f"'{path.name}' is truncated or damaged; copy or export it again.") from error
    if not whole:
        raise VolumeError(f"'{path.name}' is truncated: it ends before its last slice; copy or export it again.")
    if 0.0 in _grid_numbers(header)[:3]:  # the spacing
        raise VolumeError(NO_GRID)


def has_finite_values(path: Path) -> bool:
    """Whether a NIfTI file of floats stores at least one finite value; True for every other file.

    For volumes that ITK reads as all zeros: NIfTI's library replaces NaN and infinity by zero.
    """
    if not _is_nifti(path):
        return True
    header_path, data_path = _header_and_data(path)
    header = _start(header_path)
    for order in "<>":
        (size,) = struct.unpack_from(f"{order}i", header)
        if size in (_NIFTI1_SIZE, _NIFTI2_SIZE):
            (kind,) = struct.unpack_from(f"{order}h", header, 70 if size == _NIFTI1_SIZE else 12)
            place = ("f", 108) if size == _NIFTI1_SIZE else ("q", 168)
            (offset,) = struct.unpack_from(f"{order}{place[0]}", header, place[1])
            dtype = {16: f"{order}f4", 64: f"{order}f8"}.get(kind)
            return dtype is None or _any_finite(data_path, int(offset), np.dtype(dtype))
    return True


def _grid_numbers(header: bytes) -> tuple[float, ...]:
    """The numbers that say where the voxels of a NIfTI image are: spacing, and those of qform and sform in use."""
    for order in "<>":
        (size,) = struct.unpack_from(f"{order}i", header)
        if size == _NIFTI1_SIZE:
            spacing, codes, qform, sform = ("3f", 80), ("2h", 252), ("6f", 256), ("12f", 280)
        elif size == _NIFTI2_SIZE:
            spacing, codes, qform, sform = ("3d", 112), ("2i", 344), ("6d", 352), ("12d", 400)
        else:
            continue
        in_use = struct.unpack_from(order + codes[0], header, codes[1])
        fields = [spacing, *(field for field, code in zip((qform, sform), in_use, strict=True) if code > 0)]
        return tuple(number for kind, place in fields for number in struct.unpack_from(order + kind, header, place))
    return ()


def _any_finite(path: Path, offset: int, dtype: np.dtype) -> bool:
    with _open(path) as file:
        file.seek(offset)
        while block := file.read(1 << 22):
            whole = len(block) // dtype.itemsize * dtype.itemsize
            if np.isfinite(np.frombuffer(block[:whole], dtype)).any():
                return True
    return False


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz"))


def _header_and_data(path: Path) -> tuple[Path, Path]:
    """The file itself twice, or the .hdr and .img of a pair."""
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return path, path
    zipped = path.name[-3:] if name.endswith(".gz") else ""
    stem = path.with_suffix("").with_suffix("") if zipped else path.with_suffix("")
    return Path(f"{stem}.hdr{zipped}"), Path(f"{stem}.img{zipped}")


def _open(path: Path) -> BinaryIO:
    return gzip.open(path) if _is_gzip(path) else path.open("rb")  # type: ignore[return-value]


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _start(path: Path) -> bytes:
    with _open(path) as file:
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
        if offset < 0:
            raise ValueError("the voxels begin before the file")
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
