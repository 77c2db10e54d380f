"""Waiting threads sleep, wherever torch is about to be imported; what the user has set stays."""

import os
import subprocess
import sys

import pytest
from SAM2_3dMedLib.threads import let_waiting_threads_sleep

COMMANDS = "import SAM2_3dMedLib.commands.benchmark"
WORKER = "from SAM2_3dMedLib.worker import messages as m, start; start.make_engine(m.Hello(1, (), 'cpu'))"
# What OpenMP reads when torch loads it, and what stands there at the end.
WATCH = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch" and not seen:
            seen.append((os.environ.get("OMP_WAIT_POLICY"), os.environ.get("GOMP_SPINCOUNT")))
seen = []
sys.meta_path.insert(0, Watch())
"""


@pytest.mark.parametrize("code", [COMMANDS, WORKER], ids=["commands", "worker"])
def test_the_policy_stands_before_torch_is_imported(code: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    command = [sys.executable, "-c", f"{WATCH}\n{code}\nprint(*seen[0])"]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split()[-2:] == ["passive", "5000"]


@pytest.mark.parametrize(
    ("name", "other"), [("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"), ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")]
)
def test_what_the_user_has_chosen_stays(monkeypatch: pytest.MonkeyPatch, name: str, other: str) -> None:
    monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "active")
    let_waiting_threads_sleep()
    assert os.environ[name] == "active"
    assert other not in os.environ
