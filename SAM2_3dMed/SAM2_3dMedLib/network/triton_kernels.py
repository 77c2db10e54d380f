"""Four small Triton kernels for CUDA cards; `fused` decides whether they run. Never imported where Triton is missing.

PyTorch's own layer norm gives each row a block of its own, which wastes a card on rows of 96 channels (0.58 ms for
8 x 256 x 256 of them, five times what reading and writing takes), SAM2's `LayerNorm2d` is nine kernels, a
rotary encoding four, and putting attention's parts together five (H200, torch 2.11, 2026-11-28).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_TILE = 4096  # numbers a program works on at once


@triton.jit
def _normalize_rows(
    source, target, weight, bias, rows, eps, width: tl.constexpr, padded: tl.constexpr, block: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)[:, None]
    column = tl.arange(0, padded)[None, :]
    inside = (row < rows) & (column < width)
    place = row * width + column
    values = tl.load(source + place, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(values, 1)[:, None] / width
    centered = tl.where(column < width, values - mean, 0.0)
    variance = tl.sum(centered * centered, 1)[:, None] / width
    scale = tl.load(weight + column, mask=column < width, other=0.0).to(tl.float32)
    shift = tl.load(bias + column, mask=column < width, other=0.0).to(tl.float32)
    result = centered * tl.rsqrt(variance + eps) * scale + shift
    tl.store(target + place, result.to(target.dtype.element_ty), mask=inside)


@triton.jit
def _normalize_channels(
    source, target, weight, bias, pixels, eps, channels: tl.constexpr, padded: tl.constexpr, block: tl.constexpr
):
    channel = tl.arange(0, padded)[:, None]
    pixel = tl.program_id(0) * block + tl.arange(0, block)[None, :]
    inside = (channel < channels) & (pixel < pixels)
    place = (tl.program_id(1).to(tl.int64) * channels + channel) * pixels + pixel
    values = tl.load(source + place, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(values, 0)[None, :] / channels
    centered = tl.where(channel < channels, values - mean, 0.0)
    variance = tl.sum(centered * centered, 0)[None, :] / channels
    scale = tl.load(weight + channel, mask=channel < channels, other=0.0).to(tl.float32)
    shift = tl.load(bias + channel, mask=channel < channels, other=0.0).to(tl.float32)
    result = centered * tl.rsqrt(variance + eps) * scale + shift
    tl.store(target + place, result.to(target.dtype.element_ty), mask=inside)


@triton.jit
def _rotate_pairs(source, target, rotation, pairs, turned, half: tl.constexpr, block: tl.constexpr):
    pair = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = pair < pairs
    # The rotation [N, half] repeats for every batch of N rows.
    angle = pair % turned
    cosine = tl.load(rotation + 2 * angle, mask=inside, other=0.0)
    sine = tl.load(rotation + 2 * angle + 1, mask=inside, other=0.0)
    row, column = pair // half, pair % half
    first = row * (2 * half) + 2 * column
    real = tl.load(source + first, mask=inside, other=0.0).to(tl.float32)
    imaginary = tl.load(source + first + 1, mask=inside, other=0.0).to(tl.float32)
    kind = target.dtype.element_ty
    tl.store(target + first, (real * cosine - imaginary * sine).to(kind), mask=inside)
    tl.store(target + first + 1, (real * sine + imaginary * cosine).to(kind), mask=inside)


@triton.jit
def _weigh_parts(
    answers,
    sums,
    target,
    rows,
    by_batch,
    by_part,
    by_row,
    parts: tl.constexpr,
    width: tl.constexpr,
    padded: tl.constexpr,
    block: tl.constexpr,
):
    row = tl.program_id(0) * block + tl.arange(0, block)
    batch = tl.program_id(1).to(tl.int64)
    column = tl.arange(0, padded)[None, :]
    inside = (row[:, None] < rows) & (column < width)
    most = tl.full((block,), float("-inf"), tl.float32)
    for part in tl.static_range(parts):
        place = (batch * parts + part) * rows + row
        most = tl.maximum(most, tl.load(sums + place, mask=row < rows, other=0.0).to(tl.float32))
    total = tl.zeros((block,), tl.float32)
    result = tl.zeros((block, padded), tl.float32)
    for part in tl.static_range(parts):
        place = (batch * parts + part) * rows + row
        weight = tl.exp(tl.load(sums + place, mask=row < rows, other=0.0).to(tl.float32) - most)
        start = batch * by_batch + part * by_part
        answer = tl.load(answers + start + row[:, None] * by_row + column, mask=inside, other=0.0)
        result += weight[:, None] * answer.to(tl.float32)
        total += weight
    place = (batch * rows + row[:, None]) * width + column
    tl.store(target + place, (result / total[:, None]).to(target.dtype.element_ty), mask=inside)


def normalize_rows(rows: Tensor, weight: Tensor, bias: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    """Layer norm over the last dimension of a tensor of any shape, computed in float32, given back in `dtype`."""
    rows = rows.contiguous()
    width = rows.shape[-1]
    count = rows.numel() // width
    padded = triton.next_power_of_2(width)
    block = max(1, _TILE // padded)
    result = torch.empty_like(rows, dtype=dtype)
    _normalize_rows[(triton.cdiv(count, block),)](rows, result, weight, bias, count, eps, width, padded, block)
    return result


def normalize_channels(maps: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """SAM2's `LayerNorm2d`: over the channels of each pixel of [B, C, H, W]; dtype and shape as given."""
    maps = maps.contiguous()
    batch, channels, height, width = maps.shape
    padded = triton.next_power_of_2(channels)
    block = max(16, _TILE // padded)
    result = torch.empty_like(maps)
    grid = (triton.cdiv(height * width, block), batch)
    _normalize_channels[grid](maps, result, weight, bias, height * width, eps, channels, padded, block)
    return result


def rotate_pairs(tokens: Tensor, rotation: Tensor, dtype: torch.dtype) -> Tensor:
    """Neighboring channels of [..., N, C] as complex numbers, times `rotation` [N, C/2] (complex64), in `dtype`."""
    tokens = tokens.contiguous()
    result = torch.empty_like(tokens, dtype=dtype)
    pairs, turned = tokens.numel() // 2, rotation.numel()
    block = 1024
    angles = torch.view_as_real(rotation)
    _rotate_pairs[(triton.cdiv(pairs, block),)](tokens, result, angles, pairs, turned, tokens.shape[-1] // 2, block)
    return result


def weigh_parts(answers: Tensor, sums: Tensor) -> Tensor:
    """Answers [B, P, N, C] of attention to P parts of the keys as one [B, N, C].

    Args:
        sums: [B, P, N], the logarithm of each part's sum.
    """
    if answers.stride(-1) != 1:
        answers = answers.contiguous()
    batch, parts, rows, width = answers.shape
    result = answers.new_empty(batch, rows, width)
    padded = triton.next_power_of_2(width)
    block = max(1, _TILE // padded)
    by_batch, by_part, by_row, _ = answers.stride()
    _weigh_parts[(triton.cdiv(rows, block), batch)](
        answers, sums.contiguous(), result, rows, by_batch, by_part, by_row, parts, width, padded, block
    )
    return result
