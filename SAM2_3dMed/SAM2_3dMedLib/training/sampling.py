"""Clips of neighboring slices drawn on the device: an affine plane through a volume, one object, one window.

One clip is one `affine_grid` and one `grid_sample` of two channels (windowed image, object), since volumes differ in
shape. Orientation and slice order are those of `volume.planes.SlicePlane` (columns toward Left or Posterior, rows
toward Posterior or Inferior, slices toward Superior, Posterior or Left); the whole slice is stretched to the square.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional

from .store import Case, CaseStore, ObjectInfo
from .windows import draw_window, window_table

SAME_SPACING = 1e-3  # relative; spacings closer than this count as equal (volume.planes)
MIN_PIXELS = 12  # an object smaller than this on the anchor slice cannot be prompted sensibly


@dataclass(frozen=True)
class SamplingSettings:
    """How clips are drawn.

    Attributes:
        size: side S of the network's input in pixels.
        slices: D, slices of a clip.
        whole_slice_share: clips that show the whole slice (as at inference) rather than a crop around the object.
        end_share: clips placed over an end of the object, so that some slices lie beyond it.
        slab_share: clips whose slices are averaged over their spacing, as thick slices are.
        tilt_degrees: standard deviation of the out-of-plane tilt.
        rotation_degrees: standard deviation of the in-plane rotation.
        flip_share: clips mirrored left to right; the slice order stays anatomical.
        dataset_weights: draws of a data set; missing ones count the square root of their number of cases.
    """

    size: int = 512
    slices: int = 8
    whole_slice_share: float = 0.5
    end_share: float = 0.45
    slab_share: float = 0.2
    tilt_degrees: float = 4.0
    rotation_degrees: float = 9.0
    flip_share: float = 0.25
    dataset_weights: dict[str, float] | None = None


@dataclass(frozen=True)
class ClipPlan:
    """Where one clip lies: `theta` `[3, 4]` maps (column, row, slice), -1..1 over the clip, to grid_sample's x, y, z.

    `spacing_mm` is the distance between neighboring slices of the clip; `slab` how many planes are averaged per slice.
    """

    case: Case
    value: int
    theta: np.ndarray
    window: tuple[float, float]
    slab: int
    spacing_mm: float


@dataclass(frozen=True)
class ClipBatch:
    """B clips in anatomical order.

    Attributes:
        images: float32 `[B, D, S, S]` in [0, 1].
        masks: bool `[B, D, S, S]`.
        anchor: index of a slice on which every clip's object is meant to be present.
        spacing_mm: float32 `[B]`, distance between neighboring slices.
        real: bool `[B]`, True where the target is a label of the data set.
    """

    images: torch.Tensor
    masks: torch.Tensor
    anchor: int
    spacing_mm: torch.Tensor
    real: torch.Tensor

    def with_targets(
        self, images: torch.Tensor, masks: torch.Tensor, real: torch.Tensor, spacing_mm: torch.Tensor
    ) -> ClipBatch:
        """The clips with other tensors (shapes as before) and the same anchor."""
        return ClipBatch(images, masks, self.anchor, spacing_mm, real)


class ClipSampler:
    """Draws clips from a store. `rng` decides everything, so the same state gives the same clips."""

    def __init__(self, store: CaseStore, settings: SamplingSettings, rng: np.random.Generator) -> None:
        self.store = store
        self.settings = settings
        self.rng = rng
        self._groups = list(store.by_dataset().items())
        given = settings.dataset_weights or {}
        weights = np.array([given.get(name, len(members) ** 0.5) for name, members in self._groups], dtype=np.float64)
        if not weights.sum() > 0:
            raise ValueError("All data set weights are zero; give at least one data set of the packs a weight.")
        self._shares = weights / weights.sum()

    def draw(self, count: int, anchor: int | None = None) -> ClipBatch:
        """`count` clips; `anchor` (slice on which the object is present) is drawn if it is None."""
        slices = self.settings.slices
        place = int(self.rng.integers(slices)) if anchor is None else anchor
        plans = [self.plan(place) for _ in range(count)]
        clips = [sample_clip(plan, slices, self.settings.size) for plan in plans]
        images = torch.stack([image for image, _ in clips])
        masks = torch.stack([mask for _, mask in clips])
        spacing = torch.tensor([plan.spacing_mm for plan in plans], dtype=torch.float32, device=images.device)
        real = masks[:, place].sum((1, 2)) >= MIN_PIXELS
        return ClipBatch(images, masks, place, spacing, real)

    def plan(self, anchor: int) -> ClipPlan:
        """Choose data set, case, object, axis, place, window and deformation of one clip."""
        rng, settings = self.rng, self.settings
        _, members = self._groups[rng.choice(len(self._groups), p=self._shares)]
        case = self.store.cases[members[rng.integers(len(members))]]
        axis = draw_axis(case, rng)
        target = case.objects[rng.integers(len(case.objects))] if case.objects else None
        step = self._draw_step(case.image.shape[axis])
        first = self._draw_first(case, target, axis, anchor, step)
        whole = rng.random() < settings.whole_slice_share
        middle = self._center(case, target, axis, first + anchor * step)
        slice_spacing = case.info.spacing_mm[axis]
        return ClipPlan(
            case=case,
            value=target.value if target else 0,
            theta=self._theta(case, axis, first, step, whole, middle),
            window=draw_window(case, rng),
            slab=3 if step > 1.4 and rng.random() < settings.slab_share * 2 else 1,
            spacing_mm=float(step * slice_spacing),
        )

    def _draw_step(self, count: int) -> float:
        slices = self.settings.slices
        step = float(self.rng.choice([1.0, 2.0, 3.0, 1.5, 0.6], p=[0.6, 0.16, 0.09, 0.08, 0.07]))
        return min(step, (count - 1) / max(slices - 1, 1)) if slices > 1 else step

    def _draw_first(self, case: Case, target: ObjectInfo | None, axis: int, anchor: int, step: float) -> float:
        rng, slices = self.rng, self.settings.slices
        count = case.image.shape[axis]
        last_start = count - 1 - (slices - 1) * step
        if target is None:
            return float(rng.uniform(0, max(last_start, 0)))
        touched = np.flatnonzero(target.areas[axis])
        if slices > 1 and rng.random() < self.settings.end_share:
            # Near an end of the object: the anchor lies at most three clip slices inside it.
            inset = round(float(rng.uniform(0, 3)) * step)
            position = (
                touched[min(inset, len(touched) - 1)] if rng.random() < 0.5 else touched[max(-1 - inset, -len(touched))]
            )
        else:
            # Anywhere, with some preference for slices where there is more of it (users start there).
            weights = target.areas[axis][touched] ** 0.5
            position = rng.choice(touched, p=weights / weights.sum())
        return float(np.clip(position - anchor * step, 0.0, max(last_start, 0.0)))

    def _center(self, case: Case, target: ObjectInfo | None, axis: int, position: float) -> tuple[float, float]:
        """Column and row (-1..1) of a random pixel of the object on the slice nearest to `position`."""
        if target is None:
            return tuple(self.rng.uniform(-0.4, 0.4, size=2))
        index = int(np.clip(round(position), 0, case.image.shape[axis] - 1))
        plane = np.take(case.label_on_host, index, axis=axis)
        rows, columns = np.nonzero(plane == target.value)
        if not len(rows):
            return 0.0, 0.0
        pixel = self.rng.integers(len(rows))
        row, column = rows[pixel], columns[pixel]
        height, width = plane.shape
        u, v = (2 * column + 1) / width - 1, (2 * row + 1) / height - 1
        return (u, v) if axis == 0 else (u, -v)

    def _theta(
        self, case: Case, axis: int, first: float, step: float, whole: bool, middle: tuple[float, float]
    ) -> np.ndarray:
        rng, settings = self.rng, self.settings
        zoom = float(np.exp(rng.normal(0.0, 0.08))) if whole else float(np.exp(rng.uniform(np.log(0.25), np.log(0.85))))
        # A crop keeps at least 28 voxels across: fewer, enlarged to the network's input, show nothing but blur.
        shortest = min(np.delete(np.array(case.info.shape), axis))
        zoom = min(max(zoom, min(1.0, 28.0 / shortest)), 1.2)
        aspect = float(np.exp(rng.normal(0.0, 0.05 if whole else 0.12)))
        angle = np.deg2rad(rng.normal(0.0, settings.rotation_degrees)) if rng.random() < 0.6 else 0.0
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        scale = np.diag([zoom * aspect, zoom / aspect])
        if rng.random() < settings.flip_share:
            scale[0, 0] *= -1
        plane = rotation @ scale
        if whole:
            shift = rng.normal(0.0, 0.03, size=2)
        else:
            shift = np.array(middle) + rng.normal(0.0, 0.25, size=2) * zoom
            shift = np.clip(shift, -1.05 + zoom * 0.5, 1.05 - zoom * 0.5)
        count = case.image.shape[axis]
        span = (settings.slices * step) / count  # half of the clip's length, in half volumes
        offset = (2 * (first + (settings.slices - 1) * step / 2) + 1) / count - 1
        tilt = np.zeros(2)
        if settings.tilt_degrees > 0 and rng.random() < 0.35:
            tilt = self._tilt(case, axis, zoom)
        by_slice = np.array([tilt[0], tilt[1], span, offset])
        columns = np.array([plane[0, 0], plane[0, 1], 0.0, shift[0]])
        rows = np.array([plane[1, 0], plane[1, 1], 0.0, shift[1]])
        if axis == 0:
            return np.stack([columns, rows, by_slice])
        if axis == 1:
            return np.stack([columns, by_slice, -rows])
        return np.stack([by_slice, columns, -rows])

    def _tilt(self, case: Case, axis: int, zoom: float) -> np.ndarray:
        lengths = np.array(case.info.spacing_mm) * np.array(case.info.shape)
        in_plane = np.delete(lengths, axis)[::-1]  # column length, row length
        slopes = np.tan(np.deg2rad(self.rng.normal(0.0, self.settings.tilt_degrees, size=2)))
        return slopes * in_plane * zoom / lengths[axis]


def acquired_axis(spacing_mm: tuple[float, float, float]) -> int:
    """Array axis `[S, P, L]` across the slices as acquired: the largest spacing, else axial.

    The rule of `volume.planes.acquisition_axis`, by which users and the evaluation travel.
    """
    spacing = np.array(spacing_mm)
    largest = np.flatnonzero(spacing >= spacing.max() * (1 - SAME_SPACING))
    return int(largest[0]) if len(largest) == 1 else 0


def draw_axis(case: Case, rng: np.random.Generator, acquired_share: float = 0.65) -> int:
    """Array axis of the slices: the acquired one for `acquired_share` of the draws, else one of the others.

    Reformatted planes of very thick slices look like nothing a user would segment on: they are drawn seldom.
    """
    spacing = np.array(case.info.spacing_mm)
    acquired = acquired_axis(case.info.spacing_mm)
    others = [axis for axis in range(3) if axis != acquired]
    coarse = spacing.max() >= 4 * spacing.min()
    return int(rng.choice(others)) if rng.random() > (0.88 if coarse else acquired_share) else acquired


def sample_clip(plan: ClipPlan, slices: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Image float32 `[D, S, S]` in [0, 1] and mask bool `[D, S, S]` of one plan, on the case's device."""
    device = plan.case.image.device
    table = window_table(plan.case, *plan.window).to(device, non_blocking=True)
    part, within = _part_seen(plan.theta, tuple(plan.case.image.shape))
    image = table[plan.case.image[part].int()]
    inside = (plan.case.label[part] == plan.value).float() if plan.value else torch.zeros_like(image)
    channels = torch.stack([image, inside])[None]
    theta = torch.as_tensor(within, dtype=torch.float32).to(device, non_blocking=True)[None]
    planes = slices * plan.slab
    grid = functional.affine_grid(theta, [1, 2, planes, size, size], align_corners=False)
    sampled = functional.grid_sample(channels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]
    if plan.slab > 1:
        sampled = sampled.view(2, slices, plan.slab, size, size).mean(dim=2)
    return sampled[0].clamp(0, 1), sampled[1] >= 0.5


def _part_seen(theta: np.ndarray, shape: tuple[int, int, int]) -> tuple[tuple[slice, ...], np.ndarray]:
    """The voxels `[S, P, L]` that a clip is interpolated from, and `theta` counted within them.

    Twelve slices are a small part of a large volume, all of which as float32 twice would be 600 MB at 512 x 512 x 300.
    """
    part, within = [slice(None)] * 3, np.array(theta, dtype=np.float64)
    for row, count in enumerate(reversed(shape)):  # theta's rows are x, y, z: the last array axis first
        reach = np.abs(theta[row, :3]).sum()
        ends = [((theta[row, 3] + side * reach + 1) * count - 1) / 2 for side in (-1, 1)]
        low = int(np.clip(np.floor(ends[0]) - 1, 0, count - 1))
        high = int(np.clip(np.ceil(ends[1]) + 1, low, count - 1))
        kept = high - low + 1
        part[2 - row] = slice(low, high + 1)
        within[row] *= count / kept
        within[row, 3] += (count - 2 * low) / kept - 1
    return tuple(part), within
