"""One object prompted several times over, each time less carefully: box jitter, point position, another slice.

Random draws are seeded by object and setting, so that they depend neither on the order of the objects nor on how many
processes share them.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..propagation.prompts import BoxPrompt, PointPrompt
from ..volume.geometry import Geometry
from ..volume.planes import SliceAxis, SlicePlane
from .baselines import bounds_of_mask
from .protocols import (
    Protocol,
    first_prompt,
    interior_pixel,
    is_single_pixel,
    largest_slice,
    pixel_spacing,
    slice_of,
    voxel_position,
)

# Sides move by up to so many pixels of the slice stretched to JITTER_SIDE squared, the input of the usual network: what
# a slip of the hand means to it. Fixed, so that networks of other input sizes face the same boxes.
JITTER_PIXELS, JITTER_SIDE = (0, 5, 10, 20), 512
POINT_POSITIONS = ("center", "random", "edge")
# Share of the way from the largest slice to the object's end; + toward Left, Posterior or Superior.
SLICE_SHARES = (-0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75)
# A click near the edge is at most so deep, as a share of the most interior pixel's depth.
EDGE_DEPTH = 0.2


@dataclass(frozen=True)
class PromptVariant:
    """One way to prompt an object: the setting's name, the slice, and the prompt on it."""

    setting: str
    index: int
    prompt: BoxPrompt | PointPrompt


@dataclass(frozen=True, eq=False)
class Target:
    """A true object to be prompted.

    Attributes:
        identity: text that no other object of the evaluation has; seeds the draws.
        mask: bool `[K, J, I]`, not empty.
        axis: across the slices.
        geometry: of the volume.
    """

    identity: str
    mask: np.ndarray
    axis: SliceAxis
    geometry: Geometry

    def draws(self, setting: str) -> np.random.Generator:
        """Random numbers of this object and setting."""
        return np.random.default_rng(zlib.crc32(f"{self.identity}/{setting}".encode()))


def settings_of(protocol: Protocol) -> tuple[str, ...]:
    """All settings of a protocol that varies the prompt, in their order."""
    return {
        Protocol.JITTER: tuple(str(pixels) for pixels in JITTER_PIXELS),
        Protocol.POINT_POSITION: POINT_POSITIONS,
        Protocol.OFF_SLICE: tuple(_slice_setting(share) for share in SLICE_SHARES),
    }[protocol]


def careful_setting(protocol: Protocol) -> str:
    """The setting that a careful user gives, to which the others are compared."""
    return {Protocol.JITTER: "0", Protocol.POINT_POSITION: "center", Protocol.OFF_SLICE: "0"}[protocol]


def prompt_variants(protocol: Protocol, target: Target) -> Iterator[PromptVariant]:
    """The prompts of one object under a protocol, in the order of `settings_of`.

    A setting that an object does not have is left out: a box around a single pixel, a slice off the largest one on a
    side where there is none.
    """
    index = largest_slice(target.mask, target.axis)
    if protocol is Protocol.OFF_SLICE:
        yield from _off_slice(target, index)
    elif protocol is Protocol.POINT_POSITION:
        for setting in POINT_POSITIONS:
            row, column = _pixel_at(target, index, setting)
            position = voxel_position(target.axis, index, row, column)
            yield PromptVariant(setting, index, PointPrompt(target.axis, position, True))
    elif not is_single_pixel(target.mask, target.axis, index):
        for pixels in JITTER_PIXELS:
            yield PromptVariant(str(pixels), index, _jittered_box(target, index, pixels))


def _jittered_box(target: Target, index: int, pixels: int) -> BoxPrompt:
    """The tight box with every side moved by an independent uniform draw, inside the slice and on whole voxels."""
    true = slice_of(target.mask, target.axis, index)
    draws = target.draws(str(pixels))
    tight = np.array(bounds_of_mask(true))  # [rows or columns, first or last]
    counts = np.array(true.shape)[:, None]
    while True:
        moved = tight + draws.uniform(-pixels, pixels, size=(2, 2)) * counts / JITTER_SIDE
        bounds = np.sort(np.clip(np.floor(moved + 0.5), 0, counts - 1).astype(int), axis=1)
        if (bounds[:, 0] != bounds[:, 1]).any():  # else a single voxel, which is no box: draw again
            break
    (top, bottom), (left, right) = bounds.tolist()
    first, last = (voxel_position(target.axis, index, *corner) for corner in ((top, left), (bottom, right)))
    return BoxPrompt(target.axis, first, last)


def _pixel_at(target: Target, index: int, setting: str) -> tuple[int, int]:
    true = slice_of(target.mask, target.axis, index)
    spacing = pixel_spacing(target.geometry, target.axis)
    if setting == "center":
        return interior_pixel(true, spacing)
    candidates = np.argwhere(true)
    if setting == "edge":
        depth = ndimage.distance_transform_edt(np.pad(true, 1), sampling=spacing)[1:-1, 1:-1]
        limit = max(EDGE_DEPTH * depth.max(), depth[true].min())
        candidates = np.argwhere(true & (depth <= limit * (1 + 1e-9)))
    row, column = candidates[target.draws(setting).integers(len(candidates))].tolist()
    return row, column


def _off_slice(target: Target, largest: int) -> Iterator[PromptVariant]:
    plane = SlicePlane.of(target.geometry, target.axis)
    array_axis = target.axis.array_axis
    held = np.flatnonzero(target.mask.any(axis=tuple(other for other in range(3) if other != array_axis)))
    positions = np.sort([plane.order(int(index)) for index in held])
    start = plane.order(largest)
    for share in SLICE_SHARES:
        end = int(positions[-1] if share > 0 else positions[0])
        way = math.floor(abs(share) * abs(end - start) + 0.5)
        wanted = start + (way if share > 0 else -way)
        # Slices in between may hold nothing of the object: the nearest one that does.
        nearest = int(positions[np.abs(positions - wanted).argmin()])
        if share and nearest == start:
            continue
        index = plane.index_at(nearest)
        prompt = first_prompt(target.mask, target.axis, index, target.geometry)
        yield PromptVariant(_slice_setting(share), index, prompt)


def _slice_setting(share: float) -> str:
    return f"{share:+.0%}".rstrip("%") if share else "0"
