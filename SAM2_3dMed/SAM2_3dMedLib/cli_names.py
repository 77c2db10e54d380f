"""Names that the command line offers, repeated from modules whose imports it must not wait for (torch, scipy)."""

from __future__ import annotations

from enum import Enum


class DeviceName(str, Enum):
    """`commands.engine.Device`."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class ProtocolName(str, Enum):
    """`training.protocols.Protocol`."""

    BOX = "box"
    POINT = "point"
    CORRECTIONS = "corrections"
    JITTER = "jitter"
    POINT_POSITION = "point-position"
    OFF_SLICE = "off-slice"


class MemoryName(str, Enum):
    """`propagation.policy_choice.PolicyChoice`."""

    SAM2 = "sam2"
    BRACKETED = "bracketed"
    CONFIDENT = "confident"


class FieldName(str, Enum):
    """`propagation.zoom.FieldChoice`."""

    NEAR = "near"
    WHOLE = "whole"
