"""The whole chain: clicks in real views, the controller, the real inference process and network, the real editor logic.

The process needs torch and sam2, which slicer-core's environment may lack: the first Python found that has them is
taken (variable SAM2_3DMED_ENGINE_PYTHON, this one, the one on PATH).
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the wheel slicer-core in its own environment")

from SAM2_3dMedLib.slicer_side import engine_settings  # noqa: E402
from SAM2_3dMedLib.slicer_side.controller_state import Phase  # noqa: E402
from SAM2_3dMedLib.slicer_side.transports import PopenTransport  # noqa: E402
from SAM2_3dMedLib.slicer_side.worker_client import WorkerClient  # noqa: E402
from SAM2_3dMedLib.worker import messages  # noqa: E402
from tool_bench import SHAPE, ToolBench  # noqa: E402

LIBRARY = Path(engine_settings.__file__).resolve().parents[2]
WORKER = LIBRARY / "SAM2_3dMedLib" / "worker" / "__main__.py"
CENTER = (SHAPE[2] // 2, SHAPE[1] // 2, SHAPE[0] // 2)
SAVE_UNTRAINED = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from SAM2_3dMedLib.network.build import build_network
from SAM2_3dMedLib.network.checkpoint import CheckpointMetadata, save_checkpoint
from SAM2_3dMedLib.network.config import Parts, network_config
torch.manual_seed(0)
metadata = CheckpointMetadata(name="untrained", training_data="none", licence="Apache-2.0")
save_checkpoint(sys.argv[2], build_network(network_config("nano", 128, Parts.all())), metadata)
"""


@pytest.fixture(scope="module")
def engine_python():
    check = "import importlib.util as u, sys; sys.exit(not (u.find_spec('torch') and u.find_spec('sam2')))"
    for candidate in (os.environ.get("SAM2_3DMED_ENGINE_PYTHON"), sys.executable, shutil.which("python")):
        if candidate and subprocess.run([candidate, "-c", check], check=False).returncode == 0:
            return candidate
    pytest.skip("no Python with torch and sam2 was found for the inference process")


@pytest.fixture(scope="module")
def untrained(engine_python, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    subprocess.run([engine_python, "-c", SAVE_UNTRAINED, str(LIBRARY), str(path)], check=True)
    return path


@pytest.fixture
def bench(engine_python, untrained, monkeypatch):
    monkeypatch.setattr(engine_settings.EngineSettings, "weights", property(lambda self: untrained))
    made = ToolBench(lambda scheduler: WorkerClient(scheduler, PopenTransport, [engine_python, str(WORKER)]))
    made.started = []
    made.client.subscribe(messages.WorkerStarted, made.started.append)
    made.controller.settings = engine_settings.EngineSettings(device="cpu")
    made.activate()
    made.add_view("Axial", made.world(*CENTER))
    made.session.refresh_views()
    wait_until_ready(made)
    yield made
    made.close()


def wait_until_ready(bench):
    bench.run(lambda: bench.controller.status.phase in (Phase.READY, Phase.FAILED), 120)
    assert bench.controller.status.phase is Phase.READY, bench.controller.status


def wait_until_done(bench):
    bench.run(lambda: not bench.controller._jobs and bench.controller._queue.empty, 120)


def settle(bench):
    """Let everything that is due now happen."""
    passed = []
    bench.scheduler.call_later(100, lambda: passed.append(True))
    bench.run(lambda: bool(passed))
    wait_until_done(bench)


def lasso_ball(bench):
    """A mask prompt: its answer is the mask itself, also from a network that has learned nothing."""
    from SAM2_3dMedLib.slicer_side.effect_mouse import Gesture

    bench.session.mouse.gesture = Gesture.LASSO
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ring = [(CENTER[0] + 12 * np.cos(a), CENTER[1] + 10 * np.sin(a), CENTER[2]) for a in angles]
    view = bench.views["Axial"]
    view.drag(*(view.display_position(bench.world(*place)) for place in ring))
    wait_until_done(bench)
    bench.session.mouse.gesture = Gesture.POINT


def test_prompt_preview_propagation_confidence_undo(bench):
    assert bench.controller.status.sentence.startswith("CPU")
    lasso_ball(bench)
    assert bench.controller.status.error == ""
    first = bench.voxels("A")
    assert np.flatnonzero(first.any(axis=(1, 2))).tolist() == [CENTER[2]]
    assert abs(int(first.sum()) - np.pi * 12 * 10) < 60
    bench.controller.slice_range = (7, 13)
    assert bench.controller.propagate()
    wait_until_done(bench)
    assert bench.controller.status.error == ""
    assert set(bench.controller.review.slices) >= {8, 9, 10, 11, 12}
    view = bench.views["Axial"]
    view.click(*view.display_position(bench.world(CENTER[0] + 3, CENTER[1], CENTER[2])))
    wait_until_done(bench)
    assert len(bench.controller.prompts) == 2
    while bench.target.can_undo:
        bench.target.undo()
        settle(bench)
    assert bench.controller.prompts == ()
    assert not bench.voxels("A").any()


def test_refinement_by_the_real_engine(bench):
    lasso_ball(bench)
    before = bench.voxels("A").sum()
    assert bench.controller.refine(2, CENTER[2])
    wait_until_done(bench)
    assert bench.controller.status.error == ""
    assert bench.voxels("A").sum() > 0
    assert before > 0


def test_killed_engine_comes_back_with_the_prompts(bench):
    lasso_ball(bench)
    os.kill(bench.started[-1].pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    bench.run(lambda: "is started again" in "".join(bench.errors), 60)
    wait_until_ready(bench)
    bench.controller.slice_range = (8, 12)
    assert bench.controller.propagate()
    wait_until_done(bench)
    assert bench.controller.status.error == ""
    assert set(bench.controller.review.slices) >= {9, 10, 11}
