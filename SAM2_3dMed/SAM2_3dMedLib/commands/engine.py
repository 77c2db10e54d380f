"""From the options of a command to a network on a device."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

import torch

from ..network.checkpoint import load_checkpoint
from ..propagation.device_limit import default_limit, limit_device_memory
from ..propagation.predictor import SlicePredictor
from ..weights.manifest import resolve_weights
from .errors import UserError


class Device(str, Enum):
    """Where the network runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


def load_predictor(weights: str | Path | None, device: Device) -> tuple[SlicePredictor, str]:
    """The network of a weight file, a published name or the default, on a device; and its name for the user.

    Raises:
        UserError: the device is not there.
        WeightsError, CheckpointError: the weights are missing, damaged or not ours.
    """
    if device is Device.CUDA and not torch.cuda.is_available():
        raise UserError("This torch sees no CUDA device; use --device auto, or install a torch that fits the driver.")
    if device is Device.MPS and not torch.backends.mps.is_available():
        raise UserError("This torch sees no Apple GPU; use --device auto.")
    path, sha256 = resolve_weights(weights)
    network, metadata = load_checkpoint(path, sha256)
    predictor = SlicePredictor(network, device=device.value)
    limit_device_memory(predictor.device, default_limit(network))
    return predictor, f"{metadata.name} {metadata.version} on {predictor.device}"
