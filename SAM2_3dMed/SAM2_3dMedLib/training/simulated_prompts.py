"""Prompts as a user would give them, derived from target masks on the device, for a whole batch at once.

Masks are bool `[N, S, S]` at network resolution. Points are (x, y) in network pixels, pixel centers at integers; a box
is the outermost pixel centers it covers (docs/decisions/0001-interfaces.md). Coordinates stay float32: bfloat16 has 8
bits of mantissa, which is 2 pixels at 512.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional

POSITIVE, NEGATIVE, BOX_FIRST, BOX_SECOND, PADDING = 1, 0, 2, 3, -1
# Growing erosion steps: 8 poolings cover a depth of 66 pixels, where single steps would need 66.
_EROSION_STEPS = (1, 1, 2, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class PointPrompts:
    """P points on each of N slices: `points` float32 `[N, P, 2]`, `labels` int32 `[N, P]` (1, 0, 2, 3, -1: SAM2)."""

    points: torch.Tensor
    labels: torch.Tensor

    def joined(self, other: PointPrompts) -> PointPrompts:
        """These points, then the other's."""
        return PointPrompts(torch.cat([self.points, other.points], 1), torch.cat([self.labels, other.labels], 1))


def depth(masks: torch.Tensor) -> torch.Tensor:
    """Approximate distance to the outside (pixels, Chebyshev), float32 `[N, S, S]`; 0 outside.

    Survival under growing erosions stands in for a distance transform, which torch lacks on the device. Outside the
    image counts as outside, so that a point keeps off the border.
    """
    kept = masks.float()[:, None]
    total = torch.zeros_like(kept)
    for step in _EROSION_STEPS:
        # Pixels that fall in this erosion are shallower than `step` more; the average survival over a smaller window
        # ranks them, so that the middle of a plateau wins.
        width = 2 * step + 1  # one direction after the other: a pooling costs its window's area on the device
        soft = functional.avg_pool2d(kept, (width, 1), stride=1, padding=(step, 0))
        soft = functional.avg_pool2d(soft, (1, width), stride=1, padding=(0, step))
        total = total + step * soft * (kept > 0)
        kept = (soft > 1 - 0.5 / width**2).float()
    return (total * masks[:, None])[:, 0]


def _argmax_points(scores: torch.Tensor) -> torch.Tensor:
    flat = scores.flatten(1).argmax(dim=1)
    size = scores.shape[-1]
    return torch.stack([flat % size, flat // size], dim=-1).float()


def interior_points(masks: torch.Tensor, generator: torch.Generator | None, center_bias: float = 1.0) -> torch.Tensor:
    """One random point inside each mask, float32 `[N, 2]`; a larger `center_bias` keeps nearer to the middle.

    The chance of a pixel goes with depth^center_bias (Gumbel trick). An empty mask gives an arbitrary point.
    """
    return _random_points(masks, depth(masks), generator, center_bias)


def _random_points(
    masks: torch.Tensor, depths: torch.Tensor, generator: torch.Generator | None, center_bias: float
) -> torch.Tensor:
    drawn = torch.rand(masks.shape, device=masks.device, generator=generator).clamp_(1e-7, 1 - 1e-7)
    weights = center_bias * torch.log(depths.clamp_min(1e-3)) - torch.log(-torch.log(drawn))
    return _argmax_points(torch.where(masks, weights, torch.full_like(weights, -torch.inf)))


def center_points(masks: torch.Tensor) -> torch.Tensor:
    """The most interior pixel of each mask, float32 `[N, 2]`; an empty mask gives (0, 0)."""
    return _argmax_points(depth(masks))


def point_prompts(masks: torch.Tensor, generator: torch.Generator | None) -> PointPrompts:
    """One positive point inside each mask: its center for about a third of the masks, else random."""
    count = masks.shape[0]
    central = torch.rand(count, device=masks.device, generator=generator) < 0.35
    depths = depth(masks)
    points = torch.where(central[:, None], _argmax_points(depths), _random_points(masks, depths, generator, 1.0))
    return PointPrompts(points[:, None], torch.full((count, 1), POSITIVE, dtype=torch.int32, device=masks.device))


def tight_boxes(masks: torch.Tensor) -> torch.Tensor:
    """x0, y0, x1, y1 of the outermost pixels of each mask, float32 `[N, 4]`; an empty mask gives the whole image."""
    size = masks.shape[-1]
    columns, rows = masks.any(dim=1).int(), masks.any(dim=2).int()
    low = torch.stack([columns.argmax(1), rows.argmax(1)], 1)
    high = size - 1 - torch.stack([columns.flip(1).argmax(1), rows.flip(1).argmax(1)], 1)
    return torch.cat([low, high], dim=1).float()


def box_prompts(masks: torch.Tensor, generator: torch.Generator | None, jitter: float = 0.05) -> PointPrompts:
    """A box around each mask as SAM2's two corner points: tight for half of them, else with jittered sides.

    `jitter` is the standard deviation of each side as a share of the box's length there (SAM uses 0.1, up to 20 px).
    """
    boxes = tight_boxes(masks)
    count, size = masks.shape[0], masks.shape[-1]
    lengths = (boxes[:, 2:] - boxes[:, :2] + 1).repeat(1, 2)
    noise = torch.randn(boxes.shape, device=masks.device, generator=generator) * jitter * lengths
    noise = noise.clamp(-size / 25, size / 25)
    exact = torch.rand(count, 1, device=masks.device, generator=generator) < 0.5
    moved = torch.where(exact, boxes, boxes + noise).clamp(0, size - 1)
    corners = moved.view(count, 2, 2)
    low, high = corners.amin(dim=1), corners.amax(dim=1)
    labels = torch.arange(BOX_FIRST, BOX_SECOND + 1, dtype=torch.int32, device=masks.device).expand(count, 2)
    return PointPrompts(torch.stack([low, high], dim=1), labels.contiguous())


def mask_prompts(masks: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    """Masks as a user would hand them over, bool `[N, S, S]`: half exact, half with a shifted, roughened outline.

    A mask that the roughening would remove is returned as it was.
    """
    count, size = masks.shape[0], masks.shape[-1]
    device = masks.device
    coarse = torch.randn(count, 1, 12, 12, device=device, generator=generator)
    rough = functional.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    width = 2 * max(1, size // 100) + 1
    soft = functional.avg_pool2d(masks.float()[:, None], width, stride=1, padding=width // 2)
    changed = (soft + 0.25 * rough)[:, 0] > 0.5
    changed &= functional.max_pool2d(masks.float()[:, None], width, 1, width // 2)[:, 0] > 0
    exact = (torch.rand(count, 1, 1, device=device, generator=generator) < 0.5) | ~changed.flatten(1).any(1)[
        :, None, None
    ]
    return torch.where(exact, masks, changed)


def correction_prompts(predicted: torch.Tensor, masks: torch.Tensor, generator: torch.Generator | None) -> PointPrompts:
    """One click a slice in the larger error region: positive where the object was missed, else negative.

    `predicted` and `masks` are bool `[N, S, S]`. The click is the region's most interior pixel for half of the slices,
    a random one with a pull to the middle otherwise. A slice without an error gets a padding point.
    """
    missed, extra = masks & ~predicted, predicted & ~masks
    missed_depth, extra_depth = depth(missed), depth(extra)
    positive = missed_depth.flatten(1).amax(1) >= extra_depth.flatten(1).amax(1)
    region = torch.where(positive[:, None, None], missed, extra)
    region_depth = torch.where(positive[:, None, None], missed_depth, extra_depth)
    central = torch.rand(len(masks), device=masks.device, generator=generator) < 0.5
    points = torch.where(
        central[:, None], _argmax_points(region_depth), _random_points(region, region_depth, generator, 2.0)
    )
    labels = torch.where(positive, POSITIVE, NEGATIVE).to(torch.int32)
    labels = torch.where(region.flatten(1).any(1), labels, torch.full_like(labels, PADDING))
    return PointPrompts(points[:, None], labels[:, None])
