"""Fetches the weights of one model in a process of its own: `python download_process.py NAME`. Standard library only.

One line of JSON each: {"done": bytes, "total": bytes} while it goes on, {"path": file} at the end, {"error": sentence}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

# Lines are for a progress bar; one for each 64 MB/256 would be enough, one for each block of 256 kB is too much.
STEP_BYTES = 2 << 20


def main(name: str) -> int:
    """Fetch the weights called `name`; exit status 0 when they are there and verified."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from SAM2_3dMedLib.weights.download import download_weights
    from SAM2_3dMedLib.weights.manifest import read_manifest
    from SAM2_3dMedLib.weights.verify import WeightsError

    told = -STEP_BYTES

    def progress(done: int, total: int) -> None:
        nonlocal told
        if done - told >= STEP_BYTES or done == total:
            told = done
            print(json.dumps({"done": done, "total": total}), flush=True)

    try:
        path = download_weights(read_manifest().entry(name), progress=progress)
    except WeightsError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    print(json.dumps({"path": str(path)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
