"""Reads safetensors files without the package `safetensors`.

Slicer does not bring that package, and one package less to install before the first click is worth these lines: the
format is an 8-byte length, a JSON header, and the tensors' bytes. Files are written with the package itself; a test
compares both readings.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch

_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_LONGEST_HEADER = 100_000_000  # the format's own limit


class SafetensorsError(ValueError):
    """The file is no whole safetensors file."""


def read_header(path: Path | str) -> tuple[dict[str, str], dict[str, Any], int]:
    """Metadata, description of the tensors, and where their bytes begin.

    Raises:
        SafetensorsError: not the format.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= _LONGEST_HEADER:
            raise SafetensorsError("its first 8 bytes are no header length")
        text = stream.read(length)
    if len(text) < length:
        raise SafetensorsError("it ends within its header")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:  # the last: brackets without end
        raise SafetensorsError("its header is not JSON") from error
    if not isinstance(header, dict):
        raise SafetensorsError("its header is no table")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise SafetensorsError("its metadata is no table")
    return metadata, header, 8 + length


def read_tensors(path: Path | str) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Metadata and all tensors, on the CPU in their stored types.

    Raises:
        as `read_header`; also SafetensorsError for a truncated file or a description that does not fit its bytes.
    """
    metadata, header, start = read_header(path)
    content = bytearray(Path(path).read_bytes())
    tensors, end = {}, start
    for name, entry in header.items():
        try:
            kind, shape = _TYPES[entry["dtype"]], [int(length) for length in entry["shape"]]
            first, last = (int(offset) for offset in entry["data_offsets"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise SafetensorsError(f"its tensor '{name}' is not described as the format asks") from error
        count = math.prod(shape)
        if first < 0 or min(shape, default=0) < 0 or last - first != count * kind.itemsize:
            raise SafetensorsError(f"its tensor '{name}' does not have the bytes that its shape needs")
        if start + last > len(content):
            raise SafetensorsError("it is truncated")
        end = max(end, start + last)
        if count == 0:
            tensors[name] = torch.empty(shape, dtype=kind)
            continue
        tensors[name] = torch.frombuffer(content, dtype=kind, count=count, offset=start + first).reshape(shape).clone()
    if end < len(content):
        raise SafetensorsError("it goes on after its last tensor")
    return metadata, tensors
