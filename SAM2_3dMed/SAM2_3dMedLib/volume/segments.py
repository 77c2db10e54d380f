"""What a segment is to a file: its value, name and color; and how overlapping masks become one label map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Distinct on gray and for color-blind readers (the palette of Okabe and Ito, black left out).
DEFAULT_COLORS: tuple[tuple[float, float, float], ...] = (
    (0.90, 0.62, 0.00),
    (0.34, 0.71, 0.91),
    (0.00, 0.62, 0.45),
    (0.94, 0.89, 0.26),
    (0.00, 0.45, 0.70),
    (0.84, 0.37, 0.00),
    (0.80, 0.47, 0.65),
)


@dataclass(frozen=True)
class SegmentInfo:
    """One segment: its value in the label map (1..65535), its name, its color (red, green, blue in 0..1).

    ValueError for others.
    """

    label: int
    name: str
    color: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not 1 <= self.label <= np.iinfo(np.uint16).max:
            raise ValueError(f"A segment's label must be 1 to 65535, not {self.label}.")
        if len(self.color) != 3 or not all(0 <= part <= 1 for part in self.color):
            raise ValueError(f"A segment's color is three numbers from 0 to 1, not {self.color}.")


def default_color(number: int) -> tuple[float, float, float]:
    """The color of the segment `number` (from 0) where the user has chosen none; repeats after seven."""
    return DEFAULT_COLORS[number % len(DEFAULT_COLORS)]


def label_dtype(highest: int) -> type[np.unsignedinteger]:
    """The smallest label map dtype for a highest label: uint8 or uint16."""
    return np.uint8 if highest <= np.iinfo(np.uint8).max else np.uint16


def combine_masks(
    masks: Sequence[npt.NDArray[np.bool_]], segments: Sequence[SegmentInfo]
) -> npt.NDArray[np.unsignedinteger]:
    """Masks [K, J, I], one a segment, as one label map [K, J, I] (uint8 or uint16).

    Where they overlap, the later one wins.
    """
    labels = np.zeros(masks[0].shape, dtype=label_dtype(max(segment.label for segment in segments)))
    for mask, segment in zip(masks, segments, strict=True):
        labels[mask] = segment.label
    return labels


def share_layers(masks: Sequence[npt.NDArray[np.bool_]]) -> list[int]:
    """The layer of each mask [K, J, I], such that masks of one layer do not overlap: each goes into the first layer
    that is free where it lies.
    """
    taken: list[npt.NDArray[np.bool_]] = []
    layers = []
    for mask in masks:
        layer = next((number for number, used in enumerate(taken) if not (used & mask).any()), len(taken))
        if layer == len(taken):
            taken.append(mask.copy())
        else:
            taken[layer] |= mask
        layers.append(layer)
    return layers
