"""Evaluation by several processes under `torchrun`: each takes every n-th case, the first one gets all results.

Unlike in training nothing is exchanged until the end, when a process may wait for hours for a slower one; hence
Gloo (no GPU kernel that times out) and no practical time limit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

_PATIENCE = timedelta(days=30)
Item = TypeVar("Item")


@dataclass(frozen=True)
class EvaluationProcesses:
    """This process among `world` that share the cases."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process merges, writes and reports."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> list[tuple[int, Item]]:
        """The items of this process, with their numbers among all."""
        return list(enumerate(items))[self.rank :: self.world]

    def gather(self, mine: Item) -> list[Item] | None:
        """What all processes hand over, by rank, on the first; None on the others. All must call it."""
        if self.world == 1:
            return [mine]
        gathered: list[Item] | None = [mine] * self.world if self.first else None
        dist.gather_object(mine, gathered)
        return gathered


@contextmanager
def join_evaluation() -> Iterator[EvaluationProcesses]:
    """The processes that `torchrun` started; a plain start is one. Each gets a GPU; more processes than GPUs share."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield EvaluationProcesses()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    dist.init_process_group("gloo", timeout=_PATIENCE)
    try:
        yield EvaluationProcesses(dist.get_rank(), world)
    finally:
        dist.destroy_process_group()
