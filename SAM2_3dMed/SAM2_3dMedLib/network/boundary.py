"""BD: the boundary detection branch, parallel to the mask decoder, and its fusion (method.md)."""

from __future__ import annotations

import torch
from sam2.modeling.sam2_utils import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .features import BoundaryMaps, SliceFeatures


class BoundaryBranch(nn.Module):
    """One boundary map a slice from its embedding Z, at a quarter of the input resolution.

    Queries come from boundary features Z_bd (two 3x3 convolutions on Z: ours), keys and values from Z (stated); two
    upsampling steps with SAM2's high-resolution skips lead to stride 4 (ours).

    Args:
        channels: C of the embedding.
        width: inner width of the branch.
        heads: attention heads.
    """

    def __init__(self, channels: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.extract = nn.Sequential(
            nn.Conv2d(channels, width, kernel_size=3, padding=1),
            LayerNorm2d(width),
            nn.GELU(),
            nn.Conv2d(width, width, kernel_size=3, padding=1),
            LayerNorm2d(width),
        )
        self.query = nn.Conv2d(width, width, kernel_size=1)
        self.key_value = nn.Conv2d(channels, 2 * width, kernel_size=1)
        self.attended = nn.Conv2d(width, width, kernel_size=1)
        self.up_s1 = nn.ConvTranspose2d(width, channels // 4, kernel_size=2, stride=2)
        self.norm_s1 = LayerNorm2d(channels // 4)
        self.up_s0 = nn.ConvTranspose2d(channels // 4, channels // 8, kernel_size=2, stride=2)
        self.refine = nn.Conv2d(channels // 8, channels // 8, kernel_size=3, padding=1)
        self.classify = nn.Conv2d(channels // 8, 1, kernel_size=1)

    def forward(self, embedding: Tensor, features: SliceFeatures) -> BoundaryMaps:
        """Boundary maps of B slices.

        Args:
            embedding: [B, C, h, w], after the adapter.
            features: of the same slices; only the two high-resolution maps are used.
        """
        boundary = self.extract(embedding)
        query = self._tokens(self.query(boundary))
        key, value = (self._tokens(part) for part in self.key_value(embedding).chunk(2, dim=1))
        attended = F.scaled_dot_product_attention(query, key, value)
        attended = attended.transpose(2, 3).reshape(boundary.shape)
        boundary = boundary + self.attended(attended)
        mid = F.gelu(self.norm_s1(self.up_s1(boundary) + features.high_res_s1))
        fine = F.gelu(self.up_s0(mid) + features.high_res_s0)
        fine = F.gelu(self.refine(fine))
        return BoundaryMaps(features=fine, logits=self.classify(fine))

    def _tokens(self, maps: Tensor) -> Tensor:
        """[B, H*c, h, w] to [B, H, h*w, c]."""
        batch, width = maps.shape[:2]
        return maps.view(batch, self.heads, width // self.heads, -1).transpose(2, 3)


class BoundaryFusion(nn.Module):
    """Adds the boundary features to the mask decoder's upscaled map (the paper's 'BD fusion'; its form is ours).

    SAM2's decoder ends with `gelu(upscaled + high_res_s0)`. The gated residual is added to `high_res_s0`, which puts it
    on the upscaled map without touching SAM2's decoder. The gate starts at zero: exact SAM2 at the start.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels // 8, channels // 8, kernel_size=1)
        self.gate = nn.Parameter(torch.zeros(channels // 8))

    def forward(self, high_res_s0: Tensor, boundary: BoundaryMaps) -> Tensor:
        """[B, C/8, S/4, S/4] with the residual added."""
        return high_res_s0 + self.gate.view(1, -1, 1, 1) * self.project(boundary.features)
