"""A part of every slice along one axis: what the network looks at when an object is small."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FieldOfView:
    """Rows `top`..`bottom` and columns `left`..`right` of a canonical slice, ends excluded; never empty."""

    top: int
    bottom: int
    left: int
    right: int

    def __post_init__(self) -> None:
        if not (0 <= self.top < self.bottom and 0 <= self.left < self.right):
            raise ValueError(f"A field of view holds at least one pixel, not {self}.")

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.bottom - self.top, self.right - self.left

    @property
    def area(self) -> int:
        """Pixels."""
        rows, columns = self.shape
        return rows * columns

    def around(self, other: FieldOfView) -> bool:
        """Whether `other` lies inside."""
        return (
            self.top <= other.top
            and other.bottom <= self.bottom
            and self.left <= other.left
            and other.right <= self.right
        )
