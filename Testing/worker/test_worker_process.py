"""The life of the inference process: how it starts, what it does not leave behind, when it is given up."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from SAM2_3dMedLib.propagation.prompts import MaskPrompt
from SAM2_3dMedLib.slicer_side.client_events import ClientState, UploadProgress, WorkerLost
from SAM2_3dMedLib.volume.planes import SliceAxis
from SAM2_3dMedLib.worker import messages as m
from test_worker_client import POINT, ball_mask
from worker_bench import COMMAND, WORKER, Slicer, phantom


def test_stop_leaves_neither_process_nor_file_and_it_can_start_again(own_worker, weights):
    client = own_worker.client
    volume_id = client.open_volume(phantom(slices=60))
    own_worker.answer(client.add_prompt(volume_id, "one", MaskPrompt(SliceAxis.K, 30, ball_mask())))
    client.propagate(volume_id, "one", (0, 59))
    folder = client._folder._folder
    pid = own_worker.transports[0].pid
    client.stop(1.0)
    assert client.state is ClientState.STOPPED
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    client.stop()
    own_worker.answer(client.load_model(weights, "cpu"))
    volume_id = client.open_volume(phantom())
    assert isinstance(own_worker.answer(client.add_prompt(volume_id, "one", POINT)), m.Finished)


def test_an_interpreter_without_torch_says_what_to_install(tmp_path, weights):
    blocker = tmp_path / "torch.py"
    blocker.write_text("raise ImportError(\"No module named 'torch'\", name='torch')\n")
    side = Slicer(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import runpy; "
            f"runpy.run_path({str(WORKER)!r}, run_name='__main__')",
        ]
    )
    side.client.load_model(weights, "cpu")
    side.until(lambda: side.client.state is ClientState.FAILED)
    (failed,) = [event for event in side.of(m.Failed) if event.fatal]
    assert failed.kind == "missing_package"
    assert "torch" in failed.sentence
    side.client.stop()


def test_a_program_that_cannot_be_started_fails_with_a_sentence(weights):
    side = Slicer([str(Path("/nonexistent/PythonSlicer"))])
    request = side.client.load_model(weights)
    assert side.answer(request).kind == "lost"
    assert side.client.state is ClientState.FAILED
    side.client.stop()


def test_a_program_that_always_ends_is_not_started_for_ever(weights):
    side = Slicer([sys.executable, "-c", "import sys; sys.exit('no')"])
    side.client.load_model(weights)
    side.until(lambda: side.client.state is ClientState.FAILED)
    assert len(side.transports) <= 5
    assert not side.of(WorkerLost)[-1].restarting
    assert "no" in side.of(WorkerLost)[-1].log
    side.client.stop()


def test_the_worker_ends_when_its_input_ends_whatever_the_working_folder(tmp_path):
    process = subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env={}
    )
    out, _ = process.communicate(b"", timeout=30)
    assert process.returncode == 0
    (line,) = out.splitlines()
    assert m.parse_line(line).pid == process.pid


def test_only_messages_reach_standard_output():
    hello = m.Hello(1, (), "cpu").to_line()
    code = f"import runpy; runpy.run_path({str(WORKER)!r}, run_name='__main__')"
    given = (hello + "nonsense\n").encode()
    process = subprocess.run([sys.executable, "-c", code], input=given, capture_output=True, timeout=60)
    events = [m.parse_line(line) for line in process.stdout.splitlines()]
    assert isinstance(events[0], m.WorkerStarted)
    assert any(isinstance(event, m.Failed) and "does not understand" in event.sentence for event in events)


def test_a_large_volume_goes_in_steps_between_which_the_window_is_free(slicer_side):
    source = phantom()
    large = type(source)("large", np.zeros((240, 512, 512), np.int16), source.ijk_to_ras)
    slicer_side.client.open_volume(large)
    steps = slicer_side.of(UploadProgress)
    slicer_side.until(lambda: slicer_side.of(m.VolumeOpened))
    fractions = [event.fraction for event in slicer_side.of(UploadProgress)]
    assert steps == []
    assert len(fractions) > 3
    assert fractions == sorted(fractions)
