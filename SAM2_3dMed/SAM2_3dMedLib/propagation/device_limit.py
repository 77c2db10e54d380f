"""How much of a card a process of ours may take: the application beside it draws on the same card.

torch's allocator keeps what it has once taken, and for 600 slices of tiny at 1024 px it kept 8.2 GB, as the driver
counted on an H200 (2026-11-28), of which 4.8 were in use. Under a limit it gives back what is free before it takes
more; when even that does not suffice, `SlicePredictor.run` moves features to host memory and makes batches smaller.
"""

from __future__ import annotations

import torch
from torch import nn

# What torch does not count, CUDA's context, libraries and captured graphs: 830 to 860 MiB of tiny at 1024 px on an H200
# (`nvidia-smi` less torch's own figure, 2026-11-28).
_CONTEXT = 900 << 20
# nano, tiny and small. The larger sizes may take what they need.
_SMALL_PARAMETERS = 60_000_000
_SMALL_LIMIT = 6_000_000_000


def default_limit(network: nn.Module) -> int | None:
    """Bytes of a card that a network may take, all included; None: no limit."""
    count = sum(parameter.numel() for parameter in network.parameters())
    return _SMALL_LIMIT if count < _SMALL_PARAMETERS else None


def limit_device_memory(device: torch.device, limit: int | None) -> None:
    """Keep this whole process below so many bytes of a CUDA card, as the driver counts; nothing on other devices.

    For programs that are ours alone (worker, command line): the limit is the process's, not a session's.

    Args:
        limit: None takes a limit away.
    """
    if device.type != "cuda":
        return
    # This one call of torch's refuses a device without a number, as `best_device` names it.
    number = torch.cuda.current_device() if device.index is None else device.index
    total = torch.cuda.get_device_properties(number).total_memory
    share = 1.0 if limit is None else min(1.0, max(limit - _CONTEXT, 0) / total)
    torch.cuda.set_per_process_memory_fraction(share, number)
