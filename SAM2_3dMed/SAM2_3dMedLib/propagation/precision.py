"""In which precision a device computes, unless the caller says so."""

from __future__ import annotations

import torch


def default_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on CUDA cards that have it and on processors with matrix units for it (AMX), else float32.

    Measured with nano on one core of an Intel Xeon with AMX: a slice is encoded 2.1 times and tracked 2.5 times as fast
    as in float32. Processors with AVX512-BF16 alone were not measured.
    """
    if device.type == "cuda":
        reduced = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        reduced = device.type == "cpu" and _has_matrix_units()
    return torch.bfloat16 if reduced else torch.float32


def _has_matrix_units() -> bool:
    # Not public; a torch without it computes in float32, as before.
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return supported is not None and bool(supported())
