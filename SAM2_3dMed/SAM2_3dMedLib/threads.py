"""How torch's threads wait for each other. Standard library only: it has to be settled before torch is imported."""

from __future__ import annotations

import os


def let_waiting_threads_sleep() -> None:
    """Let OpenMP's threads sleep while they wait, unless the user has decided otherwise (`OMP_WAIT_POLICY`).

    By default they spin: where another process has a core, each of thousands of small steps a slice then waits for a
    thread that is not running. Measured with two threads on two cores at a load of 8 to 13, a slice of nano took 4.2 s
    to encode, 0.5 s with sleeping threads and 0.4 s with one thread; what it costs on idle cores was not measured.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
