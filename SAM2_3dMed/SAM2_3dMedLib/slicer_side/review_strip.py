"""The review strip at the lower edge of a slice view: one bar a slice, colored by confidence; a click goes there."""

from __future__ import annotations

import numpy as np

from .review import DOUBTFUL, GOOD, ReviewState

HEIGHT = 14  # pixels of the user interface: enough to hit with the mouse, and the image keeps its place
MARGIN = 8
BACKGROUND = (38, 38, 42)
EMPTY = (84, 84, 90)
CERTAIN = (70, 170, 90)
MIDDLE = (225, 180, 50)
DOUBT = (215, 70, 55)
CHECKED = (120, 190, 255)
CURRENT = (255, 255, 255)


class ReviewStrip:
    """Layout of the strip in a view of `size` (width, height) device pixels."""

    def __init__(self, size: tuple[int, int], pixel_ratio: float = 1.0) -> None:
        self._left = MARGIN * pixel_ratio
        self._right = max(self._left + 1, size[0] - MARGIN * pixel_ratio)
        self._bottom = 2 * pixel_ratio
        self._top = self._bottom + HEIGHT * pixel_ratio
        self._unit = pixel_ratio

    def slice_at(self, x: float, y: float, review: ReviewState) -> int | None:
        """The slice whose bar is at a display position; None beside the strip."""
        if review.slice_count < 1 or not (self._left <= x <= self._right and 0 <= y <= self._top + 2 * self._unit):
            return None
        fraction = (x - self._left) / (self._right - self._left)
        return min(review.slice_count - 1, int(fraction * review.slice_count))

    def rectangles(self, review: ReviewState, current: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Rectangles [N,4] (x0, y0, x1, y1) and colors [N,3] uint8, in drawing order; none without a result."""
        if not review.slices or review.slice_count < 1:
            return np.zeros((0, 4)), np.zeros((0, 3), dtype=np.uint8)
        boxes = [(self._left - self._unit, self._bottom - self._unit, self._right + self._unit, self._top + self._unit)]
        colors = [BACKGROUND]
        width = (self._right - self._left) / review.slice_count
        height = self._top - self._bottom
        for index in range(review.slice_count):
            x0 = self._left + index * width
            x1 = x0 + max(width - (self._unit if width > 3 * self._unit else 0.0), 0.5)
            slice_review = review.slices.get(index)
            if slice_review is None:
                boxes.append((x0, self._bottom, x1, self._bottom + 0.15 * height))
                colors.append(EMPTY)
            else:
                # A doubtful slice gets a tall bar too (in red): short bars would hide what has to be seen.
                level = 0.45 + 0.55 * float(np.clip(slice_review.value, 0, 1))
                boxes.append((x0, self._bottom, x1, self._bottom + level * height))
                colors.append(color_of(slice_review.value))
            if review.is_done(index):
                boxes.append((x0, self._bottom, x1, self._bottom + 0.2 * height))
                colors.append(CHECKED)
        if current is not None and 0 <= current < review.slice_count:
            middle = self._left + (current + 0.5) * width
            half = max(width / 2, 1.0 * self._unit)
            boxes.append((middle - half, self._top - 0.12 * height, middle + half, self._top + self._unit))
            colors.append(CURRENT)
        return np.array(boxes), np.array(colors, dtype=np.uint8)


def color_of(value: float) -> tuple[int, int, int]:
    """Color (0..255) of a confidence 0..1."""
    if value < DOUBTFUL:
        return DOUBT
    return CERTAIN if value >= GOOD else MIDDLE
