"""Several processes agree, step together and resume together: gradients, clock, stops, bad losses, own draws."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from SAM2_3dMedLib.training.distributed import Processes, StepFacts

PACKAGE = Path(__file__).resolve().parents[2] / "SAM2_3dMed"
ONE_STEP = """
import json, sys, torch
from pathlib import Path
from SAM2_3dMedLib.training.distributed import StepFacts, join_processes
folder = Path(sys.argv[1])
processes, device = join_processes(torch.device("cpu"))
used, unused = torch.nn.Parameter(torch.zeros(2, 3)), torch.nn.Parameter(torch.zeros(4))
used.grad = torch.full((2, 3), float(processes.rank + 1))
if processes.rank == 1:
    unused.grad = torch.ones(4)
facts = StepFacts(seconds=2.0 + processes.rank, stop=processes.rank == 1, bad=False)
agreed = processes.average([used, unused], facts)
answer = [processes.rank, used.grad.tolist(), unused.grad.tolist(), agreed.seconds, agreed.stop, agreed.bad]
(folder / f"step{processes.rank}.json").write_text(json.dumps(answer))
"""
RESUMED_RUN = """
from SAM2_3dMedLib.training.recipe import recipe_from_dict
from SAM2_3dMedLib.training.store import load_store
from SAM2_3dMedLib.training.trainer import Trainer

store = load_store([folder / "part0.npz"], device)
recipe = recipe_from_dict(json.loads((folder / "recipe.json").read_text()))

class StopAfterFirst:
    def __init__(self, trainer):
        self.trainer = trainer
    def write(self, facts):
        self.trainer.stop_requested = True  # of the first process alone; both stop after the next step

def weights_of(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.state.network.parameters()]).double()

def run(resume, stop):
    trainer = Trainer(recipe, store, device, [], processes)
    if resume:
        trainer.state.load(folder / "state", processes.rank)
    else:
        trainer.state.randomness.part_from(processes.rank, 0)
    if stop:
        trainer.sinks.append(StopAfterFirst(trainer))
    trainer.run()
    if stop:
        trainer.save(folder / "state")
        processes.wait()  # the first one writes
    return trainer

whole = run(resume=False, stop=False)
cut = run(resume=False, stop=True)
assert cut.state.progress.step == 2, cut.state.progress
resumed = run(resume=True, stop=False)
answer = {
    "steps": resumed.state.progress.step,
    "apart": float((weights_of(whole) - weights_of(resumed)).abs().max()),
    "sum": float(weights_of(resumed).sum()),
    "moved": float((weights_of(whole) - weights_of(cut)).abs().max()),
}
(folder / f"run{processes.rank}.json").write_text(json.dumps(answer))
processes.close()
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory, packs) -> Callable[[str], list]:
    """What two processes under torchrun wrote: one launch for all tests, as most of its time goes into imports."""
    folder = tmp_path_factory.mktemp("two")
    shutil.copy(packs / "part0.npz", folder)
    stage = {"name": "images", "kind": "images", "steps": 3, "batch": 1, "sampling": {"size": 64, "slices": 1}}
    stage |= {"learning_rate": 1e-3, "warmup_steps": 1}
    recipe = {"name": "two", "precision": "fp32", "log_every": 1, "holdout": 0.0, "frozen": ["image_encoder"]}
    (folder / "recipe.json").write_text(json.dumps(recipe | {"stages": [stage]}))
    script = folder / "both.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(PACKAGE)!r})\n{ONE_STEP}\n{RESUMED_RUN}")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run([*launch, str(script), str(folder)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[:3000]
    return lambda kind: [json.loads((folder / f"{kind}{rank}.json").read_text()) for rank in (0, 1)]


def test_two_processes_leave_a_step_with_the_same_gradients_and_decisions(answers) -> None:
    for rank, answer in enumerate(answers("step")):
        assert answer == [rank, [[1.5] * 3] * 2, [0.5] * 4, 2.0, True, False]


def test_two_processes_resume_where_they_were_each_with_its_own_draws(answers) -> None:
    first, second = answers("run")
    assert first["sum"] == second["sum"]
    for answer in (first, second):
        assert answer["steps"] == 3
        assert answer["apart"] < 1e-7
        assert answer["moved"] > 1e-4


def test_a_single_process_keeps_its_gradients_and_its_own_decisions() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.ones(2)
    facts = StepFacts(1.0, stop=False, bad=True)
    assert Processes().average([parameter], facts) == facts
    assert parameter.grad.tolist() == [1.0, 1.0]
