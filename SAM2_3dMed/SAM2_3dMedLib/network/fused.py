"""Norms, rotary encoding and the sum of attention's parts in inference: one kernel each on a CUDA card that has Triton,
PyTorch's own elsewhere.

Triton comes with torch for CUDA on Linux and compiles its kernels when they are first used, for which it needs a C
compiler. So it is tried once, on small tensors beside PyTorch's own result, and left alone for good where anything of
that fails.
"""

from __future__ import annotations

import logging
from functools import cache
from types import ModuleType

import torch
from sam2.modeling.sam2_utils import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

_log = logging.getLogger(__name__)


class FusedLayerNorm2d(LayerNorm2d):
    """SAM2's norm over the channels of [B, C, H, W], with the precision of its input; inference only."""

    def forward(self, x: Tensor) -> Tensor:
        kernels = _kernels(x.device) if x.is_cuda else None
        if kernels is None:
            return super().forward(x)
        return kernels.normalize_channels(x, self.weight, self.bias, self.eps)


class FusedLayerNorm(nn.LayerNorm):
    """Layer norm over the last dimension, in the precision of its input; inference only."""

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm(self, x, x.dtype)


def layer_norm(norm: nn.LayerNorm, rows: Tensor, dtype: torch.dtype) -> Tensor:
    """`norm` of a tensor of any shape, over its last dimension, in `dtype`."""
    kernels = _kernels(rows.device) if rows.is_cuda else None
    if kernels is None:
        return F.layer_norm(rows, norm.normalized_shape, norm.weight, norm.bias, norm.eps).to(dtype)
    return kernels.normalize_rows(rows, norm.weight, norm.bias, norm.eps, dtype)


def rotated(tokens: Tensor, rotation: Tensor, dtype: torch.dtype) -> Tensor:
    """SAM2's rotary encoding of [..., N, C] by place, computed in float32.

    Args:
        rotation: [N, C/2] complex64 (sam2's `compute_axial_cis`).
    """
    kernels = _kernels(tokens.device) if tokens.is_cuda else None
    if kernels is not None:
        return kernels.rotate_pairs(tokens, rotation, dtype)
    pairs = torch.view_as_complex(tokens.float().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * rotation).flatten(-2).to(dtype)


def weighed(answers: Tensor, sums: Tensor) -> Tensor:
    """Answers [B, P, N, C] of attention to P parts of the keys as one [B, N, C]; sums [B, P, N] are logarithms."""
    kernels = _kernels(answers.device) if answers.is_cuda else None
    if kernels is not None:
        return kernels.weigh_parts(answers, sums)
    return (answers * sums.softmax(1)[..., None]).sum(1).to(answers.dtype)


def use_fused_norms(network: nn.Module) -> None:
    """Give a network that is for inference only the norms above; its weights stay."""
    for module in network.modules():
        if type(module) is nn.LayerNorm and module.elementwise_affine and len(module.normalized_shape) == 1:
            module.__class__ = FusedLayerNorm
        elif type(module) is LayerNorm2d:
            module.__class__ = FusedLayerNorm2d


@cache
def _kernels(device: torch.device) -> ModuleType | None:
    """The kernels, if they run on this card and give what PyTorch gives."""
    try:
        from . import triton_kernels as kernels

        difference = _difference(kernels, device)
    except Exception as error:  # Triton, its compiler, the driver: each raises its own; all mean the same to us
        _log.info("Norms run without Triton on %s: %s", device, (str(error).splitlines() or [repr(error)])[0])
        return None
    if not difference < 1e-2:
        _log.warning("Triton's norms differ by %g from PyTorch's on %s and are not used.", difference, device)
        return None
    return kernels


def _difference(kernels: ModuleType, device: torch.device) -> float:
    """The largest difference from PyTorch's own on a few numbers."""
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        maps = torch.randn(2, 48, 5, 7, device=device)
        scale, shift = torch.randn(2, 48, device=device)
        rows = maps.permute(0, 2, 3, 1)
        expected = F.layer_norm(rows, (48,), scale, shift, 1e-6)
        angles = torch.polar(torch.ones(35, 24, device=device), torch.randn(35, 24, device=device))
        tokens = rows.reshape(2, 35, 48)
        answers, sums = torch.randn(2, 3, 35, 48, device=device), torch.randn(2, 3, 35, device=device)
        whole = (answers * sums.softmax(1)[..., None]).sum(1)
        turned = torch.view_as_real(torch.view_as_complex(tokens.unflatten(-1, (-1, 2)).contiguous()) * angles)
        differences = (
            kernels.normalize_rows(rows, scale, shift, 1e-6, torch.float32) - expected,
            kernels.normalize_channels(maps, scale, shift, 1e-6).permute(0, 2, 3, 1) - expected,
            kernels.weigh_parts(answers, sums) - whole,
            kernels.rotate_pairs(tokens, angles, torch.float32) - turned.flatten(-2),
        )
        # torch's maximum: with a NaN it is NaN, where Python's passes over all but the first.
        return torch.stack([difference.abs().max() for difference in differences]).max().item()
