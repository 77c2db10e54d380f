"""Checksums of a segment's slices: they tell later whether a hand has changed a slice meanwhile."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class SliceSums:
    """`values`: slice index along the IJK `axis` -> checksum of its mask."""

    axis: int
    values: dict[int, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"axis": self.axis, "values": {str(index): value for index, value in sorted(self.values.items())}}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SliceSums:
        """ValueError, KeyError, TypeError or AttributeError when it is not one."""
        return cls(int(data["axis"]), {int(index): int(value) for index, value in data["values"].items()})


def checksum_of(mask: NDArray[np.bool_]) -> int:
    """Checksum of a slice (bool [rows, columns])."""
    return zlib.crc32(np.packbits(mask).tobytes())
