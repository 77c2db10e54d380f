"""Attention of one slice to many memories, with the keys dealt out over the whole card.

A card's attention kernel gives each block of 128 queries to one multiprocessor, which then walks through all keys. One
slice has 8 (512 px) to 32 blocks, an H200 132 multiprocessors: most of them idle. Cut into parts that are attended to
side by side, each with the logarithm of its softmax's sum, the keys keep all of them busy; the parts are then weighed
by those sums (flash decoding: Dao et al. 2023). 28,736 keys of 256 channels for two slices: 0.37 ms instead of 0.66
(H200, torch 2.11, 2026-11-28).
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from .attention import attend
from .fused import weighed

_log = logging.getLogger(__name__)

_QUERIES_A_BLOCK = 128
# More parts than this cost more in being put together than they gain.
_MOST_PARTS = 8

# [B, H, N, C] queries, [B, H, T, C] keys and values -> [B, H, N, C], and the logarithms [B, H, N] of the sums.
_Kernel = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


class SplitAttention:
    """`scaled_dot_product_attention` of one head; the same up to rounding, on CUDA in parts where that is faster."""

    def __init__(self, device: torch.device, dtype: torch.dtype, width: int) -> None:
        """
        Args:
            device, dtype: of queries, keys and values.
            width: their channels.
        """
        self._processors = 0
        self._kernel: _Kernel | None = None
        if device.type == "cuda" and dtype in (torch.bfloat16, torch.float16):
            self._kernel = _working_kernel(device, dtype, width)
            self._processors = torch.cuda.get_device_properties(device).multi_processor_count

    def __call__(self, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """[B, N, C] queries, [B, T, C] keys and values -> [B, N, C]."""
        parts = self._parts(query)
        if self._kernel is None or parts == 1 or keys.shape[1] < 2 * query.shape[1]:
            return attend(query[:, None], keys[:, None], values[:, None])[:, 0]
        return in_parts(self._kernel, query, keys, values, parts)

    def _parts(self, query: Tensor) -> int:
        blocks = query.shape[0] * -(-query.shape[1] // _QUERIES_A_BLOCK)
        return max(1, min(_MOST_PARTS, self._processors // blocks))


def in_parts(kernel: _Kernel, query: Tensor, keys: Tensor, values: Tensor, parts: int) -> Tensor:
    """Attention [B, N, C] to keys cut into `parts` of one length, and the few that are left over."""
    even = keys.shape[1] // parts * parts
    spread = query[:, None].expand(-1, parts, -1, -1)
    answers, sums = kernel(spread, _cut(keys[:, :even], parts), _cut(values[:, :even], parts))
    if even < keys.shape[1]:
        last, last_sum = kernel(query[:, None], keys[:, None, even:], values[:, None, even:])
        answers, sums = torch.cat([answers, last], 1), torch.cat([sums, last_sum], 1)
    return weighed(answers, sums)


def _cut(tokens: Tensor, parts: int) -> Tensor:
    """[B, T, C] to [B, parts, T / parts, C], without a copy."""
    return tokens.unflatten(1, (parts, -1))


def _cudnn(query: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    answer, sums, *_ = torch.ops.aten._scaled_dot_product_cudnn_attention(query, keys, values, None, True)
    return answer, sums.reshape(query.shape[:3])


def _flash(query: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    answer, sums, *_ = torch.ops.aten._scaled_dot_product_flash_attention(query, keys, values)
    return answer, sums.reshape(query.shape[:3])


def _working_kernel(device: torch.device, dtype: torch.dtype, width: int) -> _Kernel | None:
    """The first that this card and this torch have and that gives the sums; None: attention is left whole."""
    query, keys, values = torch.randn(3, 1, 1, 128, width, device=device, dtype=dtype)
    whole = F.scaled_dot_product_attention(query, keys, values).float()
    for kernel in (_cudnn, _flash):
        try:
            ours = in_parts(kernel, query[:, 0], keys[:, 0], values[:, 0], 2).float()
            if torch.allclose(ours, whole[:, 0], rtol=0.05, atol=0.05):
                return kernel
            _log.warning("Attention in parts by %s differs from the whole on %s.", kernel.__name__[1:], device)
        except Exception as error:  # both are internal to torch: missing, with other results, or not for this card
            said = (str(error).splitlines() or [repr(error)])[0]
            _log.info("No attention in parts by %s: %s", kernel.__name__[1:], said)
    return None
