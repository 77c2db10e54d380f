"""Synthetic targets on any clip: regions of like intensity, and painted shapes, both continuous from slice to slice.

Labeled anatomy is scarce; what a promptable network needs is the notion "the thing under the prompt, as far as its edge
shows", which any image can teach (ScribblePrompt, SynthSeg). Everything runs on the device for the whole batch.
Images are float32 `[B, D, S, S]` in [0, 1], masks bool of the same shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional

from .fields import blur, chance, smooth_noise, uniform

STRIDE = 4  # regions grow on a grid this much coarser; their outline is then redrawn at full resolution


@dataclass(frozen=True)
class SyntheticTargets:
    """Images (shapes are painted into them) and masks."""

    images: torch.Tensor
    masks: torch.Tensor


def synthesize(images: torch.Tensor, anchor: int, generator: torch.Generator | None) -> SyntheticTargets:
    """One target a clip: a grown region for about half of them, else a painted shape; never empty on slice `anchor`."""
    count = images.shape[0]
    seeds = draw_seeds(images, anchor, generator)
    regions = grow_regions(images, seeds, anchor, generator)
    large_enough = regions[:, anchor].sum((1, 2)) >= (images.shape[-1] // 48) ** 2
    as_region = chance(count, 0.55, images.device, generator) & large_enough
    shapes = draw_shapes(images.shape, seeds, anchor, images.device, generator)
    painted = paint(images, shapes, generator)
    choice = as_region.view(-1, 1, 1, 1)
    return SyntheticTargets(torch.where(choice, images, painted), torch.where(choice, regions, shapes))


def draw_seeds(images: torch.Tensor, anchor: int, generator: torch.Generator | None) -> torch.Tensor:
    """Column and row of one pixel of slice `anchor` that is not background, float32 `[B, 2]`, in pixels."""
    plane = functional.avg_pool2d(images[:, anchor : anchor + 1], STRIDE)[:, 0]
    score = torch.rand(plane.shape, device=images.device, generator=generator) + 2.0 * (plane > 0.05)
    edge = torch.ones_like(plane)
    margin = max(1, plane.shape[-1] // 16)
    edge[:, margin:-margin, margin:-margin] = 0.0
    flat = (score - edge).flatten(1).argmax(1)
    size = plane.shape[-1]
    return torch.stack([flat % size, flat // size], 1).float() * STRIDE + (STRIDE - 1) / 2


def _normalized_distance(
    shape: torch.Size, seeds: torch.Tensor, anchor: int, radii: torch.Tensor, angle: torch.Tensor, drift: torch.Tensor
) -> torch.Tensor:
    """1 on the surface of an ellipsoid around each seed, `[B, D, H, W]`.

    `radii` `[B, 3]`: in slices, then two in pixels along axes turned by `angle` `[B]`; `drift` `[B, 2]`: pixels that
    the center moves per slice. Pixels are those of `shape`.
    """
    _, depth, height, width = shape
    device = seeds.device
    slices = (torch.arange(depth, device=device) - anchor).float().view(1, -1, 1, 1)
    rows = torch.arange(height, device=device).float().view(1, 1, -1, 1)
    columns = torch.arange(width, device=device).float().view(1, 1, 1, -1)
    x = columns - seeds[:, 0].view(-1, 1, 1, 1) - drift[:, 0].view(-1, 1, 1, 1) * slices
    y = rows - seeds[:, 1].view(-1, 1, 1, 1) - drift[:, 1].view(-1, 1, 1, 1) * slices
    cosine, sine = angle.cos().view(-1, 1, 1, 1), angle.sin().view(-1, 1, 1, 1)
    along, across = x * cosine + y * sine, y * cosine - x * sine
    along, across = along / radii[:, 1].view(-1, 1, 1, 1), across / radii[:, 2].view(-1, 1, 1, 1)
    return (along**2 + across**2 + (slices / radii[:, 0].view(-1, 1, 1, 1)) ** 2).sqrt()


def grow_regions(
    images: torch.Tensor, seeds: torch.Tensor, anchor: int, generator: torch.Generator | None
) -> torch.Tensor:
    """Pixels of like smoothed intensity that are connected with the seed through the clip, inside an ellipsoid.

    The fill is 24 rounds of 3D max-pooling (5 x 5 pixels, 3 slices) within the band, on a grid coarser by `STRIDE`.
    """
    count, _, size, _ = images.shape
    device = images.device
    coarse = functional.avg_pool2d(images, STRIDE)
    smooth = blur(coarse, 0.8)
    smoother = blur(coarse, 2.0)
    smooth = torch.where(chance(count, 0.5, device, generator).view(-1, 1, 1, 1), smooth, smoother)
    cells = seeds / STRIDE - (STRIDE - 1) / (2 * STRIDE)
    column, row = cells.round().long().clamp(0, coarse.shape[-1] - 1).unbind(1)
    each = torch.arange(count, device=device)
    level = smooth[each, anchor, row, column]
    tolerance = torch.exp(uniform(count, -3.3, -1.7, device, generator))
    half = coarse.shape[-1]
    radii = torch.stack(
        [
            torch.exp(uniform(count, 0.3, 3.0, device, generator)),
            half * torch.exp(uniform(count, -3.0, -0.8, device, generator)),
            half * torch.exp(uniform(count, -3.0, -0.8, device, generator)),
        ],
        1,
    )
    still = torch.zeros(count, 2, device=device)
    turned = uniform(count, 0, 3.1416, device, generator)
    reach = _normalized_distance(coarse.shape, cells, anchor, radii, turned, still)
    reach = reach + 0.25 * smooth_noise(count, tuple(coarse.shape[1:]), (2, 6, 6), device, generator)
    band = ((smooth - level.view(-1, 1, 1, 1)).abs() < tolerance.view(-1, 1, 1, 1)) & (reach < 1)
    # max_pool3d in half precision is exact for 0 and 1.
    allowed = band.to(torch.bfloat16 if device.type == "cuda" else torch.float32)[:, None]
    filled = torch.zeros_like(allowed)
    filled[each, 0, anchor, row, column] = 1.0
    for _ in range(24):
        filled = functional.max_pool3d(filled, (3, 5, 5), stride=1, padding=(1, 2, 2)) * allowed
    grown = functional.interpolate(filled[:, 0].float(), size=(size, size), mode="bilinear", align_corners=False)
    near = functional.interpolate(
        functional.max_pool2d(filled[:, 0].float(), 3, 1, 1), size=(size, size), mode="bilinear", align_corners=False
    )
    fine = blur(images, max(0.7, size / 512))
    like = ((fine - level.view(-1, 1, 1, 1)).abs() < tolerance.view(-1, 1, 1, 1)).float()
    return blur(like * (near > 0.5) + grown, max(1.0, size / 150)) > 1.0


def draw_shapes(
    shape: torch.Size, seeds: torch.Tensor, anchor: int, device: torch.device, generator: torch.Generator | None
) -> torch.Tensor:
    """Ellipsoids, lumpy blobs, shells and thin tubes around the seeds; some with a hole or a second part."""
    count, depth, size, _ = shape
    small = (count, depth, size // 2, size // 2)
    half = size // 2
    seeds = seeds / 2 - 0.25
    tube = chance(count, 0.22, device, generator)
    wide = half * torch.exp(uniform(count, -3.7, -1.2, device, generator))
    flat = wide * torch.exp(uniform(count, -1.0, 0.0, device, generator))
    thin = half * torch.exp(uniform(count, -4.6, -3.2, device, generator))
    long = torch.exp(uniform(count, 0.2, 2.8, device, generator))
    radii = torch.stack(
        [torch.where(tube, long * 6 + 4, long), torch.where(tube, thin, wide), torch.where(tube, thin, flat)], 1
    )
    speed = torch.randn(count, 2, device=device, generator=generator) * half * 0.01
    drift = torch.where(tube[:, None], speed, speed * 0.3)
    angle = uniform(count, 0, 3.1416, device, generator)
    distance = _normalized_distance(small, seeds, anchor, radii.clamp_min(1.5), angle, drift)
    lumps = smooth_noise(count, small[1:], (3, 7, 7), device, generator)
    lumpy = uniform(count, 0.0, 0.35, device, generator) * ~tube
    # Lumps vanish at the seed, so that the anchor slice is never empty.
    distance = distance * (1 + lumpy.view(-1, 1, 1, 1) * lumps).clamp_min(0.3)
    shell = (chance(count, 0.3, device, generator) & ~tube).view(-1, 1, 1, 1)
    inner = uniform(count, 0.45, 0.85, device, generator).view(-1, 1, 1, 1)
    masks = (distance < 1) & ~(shell & (distance < inner) & (radii[:, 2] > 5).view(-1, 1, 1, 1))
    shift = torch.randn(count, 2, device=device, generator=generator) * wide[:, None] * 1.2
    second = _normalized_distance(small, seeds + shift, anchor, radii.clamp_min(1.5) * 0.7, angle, drift) < 1
    masks = masks | (second & chance(count, 0.15, device, generator).view(-1, 1, 1, 1))
    enlarged = functional.interpolate(masks.float(), size=(size, size), mode="bilinear", align_corners=False)
    return enlarged > 0.5


def paint(images: torch.Tensor, masks: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    """Give the masked voxels another intensity, with a soft edge and some of the texture that was there."""
    count, depth, size, _ = images.shape
    device = images.device
    weights = masks.float()
    soft = blur(weights, max(0.5, size / 400))
    total = weights.sum((1, 2, 3)).clamp_min(1)
    mean = (images * weights).sum((1, 2, 3)) / total
    # At least 0.08 away from what was there, on whichever side has more room or by chance.
    change = uniform(count, 0.08, 0.5, device, generator)
    up = torch.where(chance(count, 0.75, device, generator), mean < 0.5, mean >= 0.5)
    level = (mean + torch.where(up, change, -change)).clamp(0, 1)
    level = torch.where((level - mean).abs() < 0.08, torch.where(mean < 0.5, mean + change, mean - change), level)
    keep = uniform(count, 0.0, 0.7, device, generator).view(-1, 1, 1, 1)
    texture = smooth_noise(count, (depth, size, size), (3, 24, 24), device, generator)
    texture = texture * uniform(count, 0.0, 0.06, device, generator).view(-1, 1, 1, 1)
    inside = level.view(-1, 1, 1, 1) + keep * (images - mean.view(-1, 1, 1, 1)) + texture
    return (images + soft * (inside - images)).clamp(0, 1)
