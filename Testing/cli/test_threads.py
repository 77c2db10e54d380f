"""Waiting threads sleep, wherever torch is about to be imported; what the user has set stays."""

import os
import subprocess
import sys

import pytest

COMMANDS = "import SAM2_3dMedLib.commands.benchmark"
WORKER = "from SAM2_3dMedLib.worker import messages as m, start; start.make_engine(m.Hello(1, (), 'cpu'))"
# What OpenMP reads when torch loads it, and what stands there at the end.
WATCH = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch" and not seen:
            seen.append(os.environ.get("OMP_WAIT_POLICY"))
seen = []
sys.meta_path.insert(0, Watch())
"""


@pytest.mark.parametrize(("code", "chosen"), [(COMMANDS, None), (COMMANDS, "active"), (WORKER, None)])
def test_the_policy_stands_before_torch_is_imported(code: str, chosen: str | None) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    if chosen is not None:
        environment["OMP_WAIT_POLICY"] = chosen
    watched = f"{WATCH}\n{code}\nprint(seen[0])"
    ended = subprocess.run(
        [sys.executable, "-c", watched], capture_output=True, text=True, env=environment, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split()[-1] == (chosen or "passive")
