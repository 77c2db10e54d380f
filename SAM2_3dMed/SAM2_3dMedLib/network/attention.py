"""Attention without a mask, by the faster of two ways that a processor has."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

# Scores that are held at a time, in bytes: 583 of 1,024 queries to 7,195 keys.
_MOST_SCORES = 8 * 2**20
# From so many bytes of scores on a head is multiplied on its own.
_LARGE_SCORES = 2**20


def attend(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """`scaled_dot_product_attention` of [..., N, C] queries and [..., T, C] keys and values; the same up to rounding.

    torch's fused kernel multiplies bfloat16 no faster than float32 on processors that have AVX512-BF16 and no matrix
    units: 1,024 queries, 7,195 keys of 192 channels take 64 ms, two products and a softmax 44, and the encoder's
    windows 5.1 and 2.5 (one core of an AMD EPYC, torch 2.13, 2026-11-29; in float32 the fused kernel is the faster).
    The products round the scores to bfloat16 before the softmax, the fused kernel does not: where attention is peaked
    (scores of spread 2 to 8) the answer is off by 1.5 % instead of 0.2. Masks do not tell: Dice 0.999 to 1.
    """
    if query.dtype is torch.bfloat16 and query.device.type == "cpu" and multiplies_bfloat16():
        return _by_products(query, keys, values)
    return F.scaled_dot_product_attention(query, keys, values)


def _by_products(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    scaled, turned = query * query.shape[-1] ** -0.5, keys.transpose(-1, -2)
    a_row = keys.shape[-2] * query.element_size()
    if query.shape[-2] * a_row < _LARGE_SCORES or _learns(query, keys, values):
        rows = max(1, _MOST_SCORES // (math.prod(query.shape[:-2]) * a_row))
        return torch.cat([_softmax(part @ turned) @ values for part in scaled.split(rows, -2)], -2)
    # Head by head, products of matrices: a batched product of as many numbers takes a tenth longer.
    answers = query.new_empty(*query.shape[:-1], values.shape[-1])
    rows = max(1, _MOST_SCORES // a_row)
    for head in itertools.product(*map(range, query.shape[:-2])):
        for mine, answer in zip(scaled[head].split(rows), answers[head].split(rows), strict=True):
            torch.mm(_softmax(mine @ turned[head]), values[head], out=answer)
    return answers


def _softmax(scores: Tensor) -> Tensor:
    """In the memory of the scores: a second megabyte-sized piece costs as much as the sum. Not while learning."""
    return scores.softmax(-1) if _learns(scores) else torch.softmax(scores, -1, out=scores)


def _learns(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(entry.requires_grad for entry in tensors)


def multiplies_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 by vectors (AVX512-BF16) and not by matrix units (AMX)."""
    return _has("_is_avx512_bf16_supported") and not has_matrix_units()


def has_matrix_units() -> bool:
    """Whether this processor multiplies bfloat16 by matrix units (AMX)."""
    return _has("_is_amx_tile_supported")


def _has(question: str) -> bool:
    # Not public; a torch without them computes in float32, as before.
    ask = getattr(torch.cpu, question, None)
    return ask is not None and bool(ask())
