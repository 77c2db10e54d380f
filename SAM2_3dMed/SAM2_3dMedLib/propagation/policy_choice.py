"""The memory policies by name, for command lines and comparisons."""

from __future__ import annotations

from enum import Enum

from .confident_policy import ConfidentMemoryPolicy
from .policies import BracketedMemoryPolicy, MemoryPolicy, Sam2MemoryPolicy


class PolicyChoice(str, Enum):
    """SAM2: all prompted slices, two runs from the first. BRACKETED (default): the prompted slices on both sides,
    chains from every prompt. CONFIDENT: as BRACKETED, with confident and mutually different memories.
    """

    SAM2 = "sam2"
    BRACKETED = "bracketed"
    CONFIDENT = "confident"

    def policy(self) -> MemoryPolicy:
        """The policy with its default settings."""
        if self is PolicyChoice.SAM2:
            return Sam2MemoryPolicy()
        return BracketedMemoryPolicy() if self is PolicyChoice.BRACKETED else ConfidentMemoryPolicy()
