"""Random smooth fields and blurs on the device, the material of synthetic targets and of augmentation.

MONAI's transforms for these (RandBiasField, RandGaussianSmooth, ...) draw per sample on the host and loop over the
batch; a clip batch of 200 slices needs one kernel each, hence plain torch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional


def uniform(
    count: int, low: float, high: float, device: torch.device, generator: torch.Generator | None
) -> torch.Tensor:
    """`[count]` float32, uniform in low..high."""
    return low + (high - low) * torch.rand(count, device=device, generator=generator)


def chance(count: int, share: float, device: torch.device, generator: torch.Generator | None) -> torch.Tensor:
    """`[count]` bool, True with probability `share`."""
    return torch.rand(count, device=device, generator=generator) < share


def smooth_noise(
    count: int,
    shape: tuple[int, int, int],
    cells: tuple[int, int, int],
    device: torch.device,
    generator: torch.Generator | None,
) -> torch.Tensor:
    """Normal noise on a coarse `cells` grid, interpolated to `shape` `[D, H, W]`: float32 `[count, D, H, W]`."""
    coarse = torch.randn(count, 1, *cells, device=device, generator=generator)
    return functional.interpolate(coarse, size=shape, mode="trilinear", align_corners=False)[:, 0]


def blur(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur in the plane, `[N, D, H, W]`, the same sigma (pixels) for all; the border is replicated."""
    radius = max(1, int(2.5 * sigma + 0.5))
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    flat = images.flatten(0, 1)[:, None]
    flat = functional.pad(flat, (radius, radius, radius, radius), mode="replicate")
    flat = functional.conv2d(flat, kernel.view(1, 1, 1, -1))
    return functional.conv2d(flat, kernel.view(1, 1, -1, 1))[:, 0].view(images.shape)


def lookup(images: torch.Tensor, curves: torch.Tensor) -> torch.Tensor:
    """Pass `[N, D, H, W]` in [0, 1] through one piecewise linear curve each, `[N, K]` values at equal steps."""
    steps = curves.shape[1] - 1
    position = images.clamp(0, 1) * steps
    lower = position.floor().clamp(max=steps - 1)
    index = lower.long().flatten(1)
    low = curves.gather(1, index).view(images.shape)
    high = curves.gather(1, index + 1).view(images.shape)
    return low + (high - low) * (position - lower)
