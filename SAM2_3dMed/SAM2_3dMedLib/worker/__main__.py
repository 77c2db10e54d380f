"""`python .../SAM2_3dMedLib/worker` or `python -m SAM2_3dMedLib.worker`: the inference process of one Slicer.

Started by path it needs no PYTHONPATH and no working folder. Standard output carries messages only: whatever else
prints (torch, a C library) is sent to standard error, which Slicer keeps for error reports.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def _make_importable() -> None:
    """The folder that holds our package comes first; the worker's own folder, which Python adds when started by
    path, goes.
    """
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != here]
    sys.path.insert(0, str(here.parent.parent))


def main() -> int:
    """Serves until standard input ends; returns the exit code."""
    _make_importable()
    messages_out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    from SAM2_3dMedLib.worker.server import Server
    from SAM2_3dMedLib.worker.start import make_engine

    return Server(sys.stdin.buffer, messages_out, make_engine).run()


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # no wait for threads of torch that may still work on a canceled slice
