"""Every source of chance of one process of a run, so that a resumed run draws what the uninterrupted one would have."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch


class Randomness:
    """The three generators that decide a run, on one device.

    Attributes:
        rng: what clips, prompts and corrections are drawn with.
        generator: what is drawn on the device (synthetic targets, augmentation, prompt positions).

    The third is torch's global generator (dropout), on the host and on a CUDA device.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.device = device
        self.seed = seed
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator(device).manual_seed(seed)
        torch.manual_seed(seed)

    def part_from(self, rank: int, step: int) -> None:
        """Give process `rank` of several draws of its own; the first keeps what it has."""
        if rank == 0:
            return
        self.rng.bit_generator.state = np.random.default_rng([self.seed, rank, step]).bit_generator.state
        self.generator.manual_seed(int(self.rng.integers(2**62)))
        torch.manual_seed(int(self.rng.integers(2**62)))

    def aside(self) -> AbstractContextManager[None]:
        """What is done within leaves torch's global generator as it was."""
        return torch.random.fork_rng([self.device] if self.device.type == "cuda" else [])

    def snapshot(self) -> dict[str, Any]:
        """All states, for JSON."""
        states = {
            "numpy": self.rng.bit_generator.state,
            "torch": self.generator.get_state().tolist(),
            "global": torch.get_rng_state().tolist(),
            "device": self.device.type,
        }
        if self.device.type == "cuda":
            states["global_cuda"] = torch.cuda.get_rng_state(self.device).tolist()
        return states

    def restore(self, states: dict[str, Any]) -> None:
        """Continue from a snapshot. On another kind of device its own generators start anew; a snapshot of version
        0.2.0 and older has no global states.
        """
        self.rng.bit_generator.state = states["numpy"]
        if "global" in states:
            torch.set_rng_state(_bytes(states["global"]))
        if states["device"] != self.device.type:
            return
        self.generator.set_state(_bytes(states["torch"]))
        if "global_cuda" in states:
            torch.cuda.set_rng_state(_bytes(states["global_cuda"]), self.device)


def _bytes(values: list[int]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.uint8)
