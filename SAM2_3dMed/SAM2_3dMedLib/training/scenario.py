"""What happens in one training clip, decided on the host before anything runs on the device.

Which slice is prompted and how, how often it is corrected, whether a second slice is prompted or a tracked one
corrected: these decide which kernels run. A step whose scenario is fixed is a fixed sequence of kernels, which a CUDA
graph can replay (`graphs`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class PromptKind(IntEnum):
    """How an object is first pointed at."""

    BOX = 0
    POINT = 1
    MASK = 2


@dataclass(frozen=True)
class PromptSettings:
    """Shares of prompt kinds and of what users do next.

    Attributes:
        box, point, mask: shares of the first prompt's kind.
        corrections: chances of 0, 1, 2 ... correction clicks on a prompted slice.
        second_slice: share of batches with a second prompted slice.
        later_correction: share of batches in which one propagated slice is corrected and becomes a prompted one.
        srpp_mm: SRPP counts distances in units of 5 mm instead of slices.
    """

    box: float = 0.5
    point: float = 0.35
    mask: float = 0.15
    corrections: tuple[float, ...] = (0.5, 0.25, 0.25)
    second_slice: float = 0.2
    later_correction: float = 0.25
    srpp_mm: bool = False


@dataclass(frozen=True)
class Prompting:
    """One slice's first prompt and the correction clicks that follow it."""

    kind: PromptKind
    corrections: int


@dataclass(frozen=True)
class Scenario:
    """The course of one clip; slices are numbered within the clip.

    Attributes:
        anchor: the prompted slice, from which the masks travel.
        first: how it is prompted.
        second_slice, second: a further prompted slice and how, or None.
        corrected: a tracked slice that is corrected when it is reached (nothing happens if it is a prompted one).
    """

    anchor: int
    first: Prompting
    second_slice: int | None = None
    second: Prompting | None = None
    corrected: int | None = None

    @property
    def prompted(self) -> dict[int, Prompting]:
        """The prompted slices, the anchor first."""
        places = {self.anchor: self.first}
        if self.second_slice is not None and self.second is not None:
            places[self.second_slice] = self.second
        return places


def draw_prompting(settings: PromptSettings, rng: np.random.Generator) -> Prompting:
    """A kind of prompt and a number of corrections."""
    shares = np.array([settings.box, settings.point, settings.mask])
    kind = PromptKind(int(rng.choice(3, p=shares / shares.sum())))
    return Prompting(kind, int(rng.choice(len(settings.corrections), p=settings.corrections)))


def draw_scenario(settings: PromptSettings, slices: int, rng: np.random.Generator) -> Scenario:
    """A scenario for clips of `slices` slices."""
    anchor = int(rng.integers(slices))
    first = draw_prompting(settings, rng)
    second_slice = second = None
    if slices > 2 and rng.random() < settings.second_slice:
        second_slice = int(rng.choice([place for place in range(slices) if place != anchor]))
        second = draw_prompting(settings, rng)
    corrected = int(rng.integers(slices)) if rng.random() < settings.later_correction else None
    return Scenario(anchor, first, second_slice, second, corrected)
