"""Several processes agree: averaged gradients, one clock, and a stop or a bad loss of one stops or skips for all."""

import json
import subprocess
import sys
from pathlib import Path

import torch
from SAM2_3dMedLib.training.distributed import Processes, StepFacts

PACKAGE = Path(__file__).resolve().parents[2] / "SAM2_3dMed"
SCRIPT = """
import json, sys, torch
from SAM2_3dMedLib.training.distributed import StepFacts, join_processes
processes, _ = join_processes(torch.device("cpu"))
used, unused = torch.nn.Parameter(torch.zeros(2, 3)), torch.nn.Parameter(torch.zeros(4))
used.grad = torch.full((2, 3), float(processes.rank + 1))
if processes.rank == 1:
    unused.grad = torch.ones(4)
facts = StepFacts(seconds=2.0 + processes.rank, stop=processes.rank == 1, bad=False)
agreed = processes.average([used, unused], facts)
answer = [processes.rank, used.grad.tolist(), unused.grad.tolist(), agreed.seconds, agreed.stop, agreed.bad]
with open(f"{sys.argv[1]}/{processes.rank}.json", "w") as stream:
    json.dump(answer, stream)
processes.close()
"""


def test_two_processes_leave_a_step_with_the_same_gradients_and_decisions(tmp_path) -> None:
    script = tmp_path / "step.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(PACKAGE)!r})\n{SCRIPT}")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run([*launch, str(script), str(tmp_path)], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-2000:]
    answers = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    for rank, answer in enumerate(answers):
        assert answer == [rank, [[1.5] * 3] * 2, [0.5] * 4, 2.0, True, False]


def test_a_single_process_keeps_its_gradients_and_its_own_decisions() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.ones(2)
    facts = StepFacts(1.0, stop=False, bad=True)
    assert Processes().average([parameter], facts) == facts
    assert parameter.grad.tolist() == [1.0, 1.0]
