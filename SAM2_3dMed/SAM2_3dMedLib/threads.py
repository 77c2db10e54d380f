"""How torch's threads wait for each other. Standard library only: it has to be settled before torch is imported."""

from __future__ import annotations

import os
from collections.abc import Mapping

# For Intel's and LLVM's runtime (Windows, macOS), and for GNU's (Linux), which prefers its own, finer setting.
_SETTINGS: Mapping[str, str] = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "5000"}


def let_waiting_threads_sleep() -> None:
    """Let OpenMP's threads sleep after a short wait, unless the user has decided otherwise (either variable).

    By default they spin for milliseconds: where another process has a core, each of thousands of small steps a slice
    then waits for a thread that is not running. Without any spinning they sleep and wake thousands of times a slice.
    Box to the liver of the bundled CT, 29 slices of nano, two threads on two cores (AMD EPYC, 2026-11-29), seconds:

        spins                     300,000 (default)   100,000   20,000   10,000   5,000   2,000   none (passive)
        idle cores                9.8                 10.6      9.9      9.8      9.9     11-16   11-18
        one core taken by others  31                  62        29       23       20      16      17.5
    """
    if any(name in os.environ for name in _SETTINGS):
        return
    os.environ.update(_SETTINGS)
