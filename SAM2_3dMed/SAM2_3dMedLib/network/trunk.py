"""SAM2's Hiera trunk as inference runs it: channels last throughout, and pooling as maxima of neighbors.

The same sums as `sam2.modeling.backbones.hieradet`. Of its 14.4 ms for 8 slices of tiny at 1024 px, pooling through
channels-first copies took 1.4, and changes of layout around the patch embedding 0.9 (H200, torch 2.11, 2026-11-28).
"""

from __future__ import annotations

import torch
from sam2.modeling.backbones.hieradet import Hiera, MultiScaleBlock
from sam2.modeling.backbones.utils import window_partition, window_unpartition
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from .attention import attend


def trunk_levels(trunk: Hiera, images: Tensor, positions: Tensor) -> list[Tensor]:
    """The maps [N, H, W, C] at the end of each stage, fine to coarse.

    Args:
        images: [N, 3, S, S].
        positions: the trunk's position embedding for this size, [1, S/4, S/4, C].
    """
    patches = F.conv2d(
        images.contiguous(memory_format=torch.channels_last),
        trunk.patch_embed.proj.weight.contiguous(memory_format=torch.channels_last),
        trunk.patch_embed.proj.bias,
        trunk.patch_embed.proj.stride,
        trunk.patch_embed.proj.padding,
    )
    maps = patches.permute(0, 2, 3, 1) + positions
    levels: list[Tensor] = []
    for number, block in enumerate(trunk.blocks):
        maps = _block(block, maps)
        if number in trunk.stage_ends:
            levels.append(maps)
    return levels


def _block(block: MultiScaleBlock, maps: Tensor) -> Tensor:
    """`MultiScaleBlock.forward` of [N, H, W, C]."""
    normed = block.norm1(maps)
    pooled = block.q_stride is not None
    shortcut = maps
    if block.dim != block.dim_out:
        shortcut = block.proj(normed)
        if pooled:
            shortcut = _pool(shortcut)
    height, width = shortcut.shape[1:3]
    size = block.window_size
    windows = window_partition(normed, size)[0] if size else normed
    attended = _attention(block, windows, pooled)
    if size:
        size = size // 2 if pooled else size
        padded = tuple(-(-length // size) * size for length in (height, width))
        attended = window_unpartition(attended, size, padded, (height, width))
    maps = shortcut + attended
    return maps + block.mlp(block.norm2(maps))


def _attention(block: MultiScaleBlock, windows: Tensor, pooled: bool) -> Tensor:
    """`MultiScaleAttention.forward` of [W, h, w, C]: attention within each window."""
    attention = block.attn
    count, height, width, _ = windows.shape
    query, key, value = attention.qkv(windows).unflatten(-1, (3, attention.dim_out)).unbind(-2)
    if pooled:
        query = _pool(query)
        height, width = query.shape[1:3]
    heads = (attention.num_heads, -1)
    query, key, value = (part.flatten(1, 2).unflatten(-1, heads).transpose(1, 2) for part in (query, key, value))
    answer = attend(query, key, value)
    return attention.proj(answer.transpose(1, 2).reshape(count, height, width, -1))


def _pool(maps: Tensor) -> Tensor:
    """The largest of each 2 x 2 in [N, H, W, C]; H and W are even."""
    rows = torch.maximum(maps[:, ::2], maps[:, 1::2])
    return torch.maximum(rows[:, :, ::2], rows[:, :, 1::2])
