"""An allocation that failed is known as such, in the words of every system."""

import pytest
import torch
from SAM2_3dMedLib.propagation.errors import ran_out_of_memory
from SAM2_3dMedLib.worker import messages as m
from SAM2_3dMedLib.worker.engine import Engine
from SAM2_3dMedLib.worker.errors import EngineError

FAILED = [
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough memory: you tried"
    ),  # Windows
    MemoryError("Unable to allocate 9 TiB for an array"),
]


@pytest.mark.parametrize("error", FAILED, ids=["cuda", "mps", "linux", "windows", "numpy"])
def test_an_allocation_that_failed_is_a_full_memory_for_the_worker(error: Exception) -> None:
    assert ran_out_of_memory(error)
    engine = Engine("cpu")

    def fail(request, cancel):
        raise error
        yield

    engine._work[m.CloseVolume] = fail
    with pytest.raises(EngineError, match="memory of this computer is full") as told:
        list(engine.handle(m.CloseVolume(1, "v"), None))
    assert told.value.kind == "memory"


def test_other_errors_are_not() -> None:
    assert not ran_out_of_memory(RuntimeError("expected scalar type Half"))
    assert not ran_out_of_memory(ValueError("out of memory"))
