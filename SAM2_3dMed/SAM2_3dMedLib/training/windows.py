"""Random display windows: raw stored voxels (uint8) -> [0, 1], as differently as users and scanners would show them."""

from __future__ import annotations

import numpy as np
import torch

from .pack import CT_LEVELS
from .store import Case

# (center, width, share) in HU: usual presets; each is jittered when it is drawn.
CT_PRESETS: tuple[tuple[float, float, float], ...] = (
    (40.0, 400.0, 0.40),  # abdomen, soft tissue
    (75.0, 400.0, 0.10),  # -125..275, the window of BTCV and of nnU-Net-style preprocessing
    (50.0, 250.0, 0.10),  # liver
    (40.0, 1000.0, 0.12),  # everything but air and dense bone
    (-500.0, 1400.0, 0.13),  # lung
    (350.0, 1600.0, 0.08),  # bone
    (40.0, 120.0, 0.07),  # brain
)


def draw_window(case: Case, rng: np.random.Generator) -> tuple[float, float]:
    """Lower and upper end of a random window; HU for CT levels, raw values otherwise."""
    if case.is_ct:
        shares = np.array([share for _, _, share in CT_PRESETS])
        center, width, _ = CT_PRESETS[rng.choice(len(CT_PRESETS), p=shares / shares.sum())]
        width *= float(np.exp(rng.normal(0.0, 0.15)))
        center += float(rng.normal(0.0, 0.06)) * width
        return center - width / 2, center + width / 2
    span = case.high - case.low
    if case.info.kind == "ct8":
        # The window is already applied: keep it half of the time, else narrow it.
        if rng.random() < 0.5:
            return 0.0, 255.0
        return float(rng.uniform(0, 70)), float(rng.uniform(170, 255))
    return case.low + span * float(rng.uniform(-0.05, 0.08)), case.high - span * float(rng.uniform(-0.15, 0.25))


def window_table(case: Case, lower: float, upper: float) -> torch.Tensor:
    """Float32 `[256]`: what each stored value becomes in [0, 1] under the window."""
    raw = np.arange(256, dtype=np.float32)
    if case.is_ct:
        raw = CT_LEVELS[np.minimum(np.arange(256), len(CT_LEVELS) - 1)]
    return torch.from_numpy(np.clip((raw - lower) / max(upper - lower, 1e-3), 0.0, 1.0).astype(np.float32))
