"""Training on several GPUs under `torchrun`: PyTorch's process group, and one all-reduce a step.

A step calls many methods of the network in an order that prompts decide, which `DistributedDataParallel`'s hooks do not
follow; so the gradients are averaged after the backward pass, in one flat buffer (nano: 42 MB) that also carries what
all processes must decide alike: time spent, whether to stop or to save, and whether any of them met a loss that is not
finite.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist

_T = TypeVar("_T")
# The first process of a host reads and packs the volumes while the others wait, for hours where there are many.
PREPARATION = datetime.timedelta(hours=24)


@dataclass(frozen=True)
class StepFacts:
    """What the processes agree on after a step: seconds by the first one's clock, and flags raised by any of them."""

    seconds: float
    stop: bool = False
    bad: bool = False
    save: bool = False


@dataclass(frozen=True)
class Processes:
    """This process among `world` that train together; a single one needs no process group.

    Attributes:
        local_rank: counts the processes of one host.
        patient: a group of all processes in which waiting may take long.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    patient: dist.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    @property
    def first_of_host(self) -> bool:
        """Whether this process prepares the data on its host."""
        return self.local_rank == 0

    def average(self, parameters: Iterable[torch.nn.Parameter], facts: StepFacts) -> StepFacts:
        """Average the gradients over all processes in place; a parameter unused here counts as gradient 0."""
        if self.world == 1:
            return facts
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        for parameter in trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in trained]
        device = gradients[0].device
        shared = [facts.seconds if self.first else 0.0, float(facts.stop), float(facts.bad), float(facts.save)]
        flat = torch.cat([*(entry.flatten() for entry in gradients), torch.tensor(shared, device=device)])
        dist.all_reduce(flat)
        pieces = (flat / self.world).split([*(entry.numel() for entry in gradients), len(shared)])
        torch._foreach_copy_(gradients, [piece.view_as(g) for piece, g in zip(pieces, gradients, strict=False)])
        seconds, stop, bad, save = flat[-len(shared) :].tolist()
        return StepFacts(seconds, stop > 0, bad > 0, save > 0)

    def gather(self, value: _T) -> list[_T]:
        """What every process gave, in the order of their ranks, for all of them; `value` is pickled."""
        if self.world == 1:
            return [value]
        gathered: list[_T | None] = [None] * self.world
        dist.all_gather_object(gathered, value)
        return gathered  # type: ignore[return-value]

    def wait(self) -> None:
        """Until every process has come here; hours, if need be."""
        if self.world > 1:
            dist.barrier(self.patient)

    def close(self) -> None:
        """Leave the process group."""
        if self.world > 1:
            dist.destroy_process_group()


def join_processes(device: torch.device) -> tuple[Processes, torch.device]:
    """The processes that `torchrun` started, and this one's device; a plain start is one process on `device`."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Processes(), device
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if device.type == "cuda":
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    # gloo beside nccl carries what lies in host memory.
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    patient = dist.new_group(backend="gloo", timeout=PREPARATION)
    return Processes(dist.get_rank(), world, local_rank, patient), device
