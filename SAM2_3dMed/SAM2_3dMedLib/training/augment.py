"""Appearance changes of clips on the device: what scanners, sequences and windows do to the same anatomy.

All functions take float32 images `[B, D, S, S]` in [0, 1] and return the same. Each change has its own probability per
clip; the draws of one batch share the parameters that a kernel needs fixed (blur width, low resolution), which vary
from step to step. Plain torch for the reason given in `fields`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional

from .fields import blur, chance, lookup, smooth_noise, uniform


@dataclass(frozen=True)
class AugmentSettings:
    """Probability of each change per clip."""

    gamma: float = 0.4
    curve: float = 0.2
    invert: float = 0.06
    bias: float = 0.25
    blur: float = 0.15
    low_resolution: float = 0.15
    noise: float = 0.3
    cutout: float = 0.05


def augment(
    images: torch.Tensor, settings: AugmentSettings, rng: np.random.Generator, generator: torch.Generator | None
) -> torch.Tensor:
    """Apply all changes in the order in which a scanner and a viewer would cause them."""
    images = change_contrast(images, settings, generator)
    images = add_bias(images, settings.bias, rng, generator)
    images = soften(images, settings, rng, generator)
    images = add_noise(images, settings.noise, generator)
    return cut_out(images, settings.cutout, generator)


def _choose(selected: torch.Tensor, changed: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    return torch.where(selected.view(-1, 1, 1, 1), changed, images)


def change_contrast(images: torch.Tensor, settings: AugmentSettings, generator: torch.Generator | None) -> torch.Tensor:
    """Gamma, random tone curves (half of them not monotone, as between MR sequences) and inversion, in one look-up."""
    count, device = images.shape[0], images.device
    steps = torch.linspace(0, 1, 33, device=device).expand(count, -1)
    exponent = torch.exp(uniform(count, -0.6, 0.6, device, generator))[:, None]
    gamma = chance(count, settings.gamma, device, generator)[:, None]
    curves = torch.where(gamma, steps**exponent, steps)
    knots = torch.rand(count, 1, 7, device=device, generator=generator)
    rising = knots.cumsum(2)
    rising = (rising - rising[..., :1]) / (rising[..., -1:] - rising[..., :1]).clamp_min(1e-3)
    free = chance(count, 0.5, device, generator).view(-1, 1, 1)
    drawn = functional.interpolate(torch.where(free, knots, rising), size=33, mode="linear", align_corners=True)[:, 0]
    curves = torch.where(chance(count, settings.curve, device, generator)[:, None], drawn, curves)
    inverted = chance(count, settings.invert, device, generator)[:, None]
    return lookup(images, torch.where(inverted, 1 - curves, curves))


def add_bias(
    images: torch.Tensor, share: float, rng: np.random.Generator, generator: torch.Generator | None
) -> torch.Tensor:
    """Multiply some clips by a smooth field, as coils and cone beams do."""
    count, depth, height, width = images.shape
    cells = int(rng.integers(2, 5))
    field = smooth_noise(count, (depth, height, width), (2, cells, cells), images.device, generator)
    strength = uniform(count, 0.1, 0.4, images.device, generator).view(-1, 1, 1, 1)
    changed = (images * torch.exp(field * strength)).clamp(0, 1)
    return _choose(chance(count, share, images.device, generator), changed, images)


def soften(
    images: torch.Tensor, settings: AugmentSettings, rng: np.random.Generator, generator: torch.Generator | None
) -> torch.Tensor:
    """Blur some clips, and show others at a lower resolution, as far views and thin files do."""
    count, size = images.shape[0], images.shape[-1]
    device = images.device
    sigma = float(rng.uniform(0.6, 2.2)) * size / 512
    images = _choose(chance(count, settings.blur, device, generator), blur(images, max(sigma, 0.4)), images)
    smaller = max(16, int(size * rng.uniform(0.18, 0.6)))
    low = functional.interpolate(images, size=(smaller, smaller), mode="bilinear", align_corners=False, antialias=True)
    back = functional.interpolate(low, size=(size, size), mode="bilinear", align_corners=False)
    return _choose(chance(count, settings.low_resolution, device, generator), back, images)


def add_noise(images: torch.Tensor, share: float, generator: torch.Generator | None) -> torch.Tensor:
    """Add noise, partly correlated between pixels as reconstructed noise is."""
    count, size = images.shape[0], images.shape[-1]
    device = images.device
    fine = torch.randn(images.shape, device=device, generator=generator)
    half = torch.randn(*images.shape[:2], size // 2, size // 2, device=device, generator=generator)
    coarse = functional.interpolate(half, size=(size, size), mode="bilinear", align_corners=False) * 1.5
    grain = torch.where(chance(count, 0.6, device, generator).view(-1, 1, 1, 1), coarse, fine)
    level = uniform(count, 0.005, 0.09, device, generator) * chance(count, share, device, generator)
    return (images + grain * level.view(-1, 1, 1, 1)).clamp(0, 1)


def cut_out(images: torch.Tensor, share: float, generator: torch.Generator | None) -> torch.Tensor:
    """Gray out a rectangle of some clips on all slices: what lies there must be inferred from its surroundings."""
    count, size = images.shape[0], images.shape[-1]
    device = images.device
    low = torch.rand(count, 2, device=device, generator=generator) * 0.85 * size
    extent = (0.03 + 0.12 * torch.rand(count, 2, device=device, generator=generator)) * size
    pixels = torch.arange(size, device=device)
    columns = (pixels >= low[:, :1]) & (pixels < low[:, :1] + extent[:, :1])
    rows = (pixels >= low[:, 1:]) & (pixels < low[:, 1:] + extent[:, 1:])
    inside = (rows[:, :, None] & columns[:, None, :] & chance(count, share, device, generator)[:, None, None])[:, None]
    gray = torch.rand(count, 1, 1, 1, device=device, generator=generator)
    return torch.where(inside, gray, images)
