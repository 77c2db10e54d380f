"""Slicer's client and the real inference process: prompts, propagation, cancel, crash, end."""

import os
import signal
import sys
from dataclasses import replace

import numpy as np
import pytest
from SAM2_3dMedLib.propagation.prompts import BoxPrompt, MaskPrompt, PointPrompt
from SAM2_3dMedLib.slicer_side.client_events import ClientState, UploadProgress, WorkerLost
from SAM2_3dMedLib.volume.planes import SliceAxis
from SAM2_3dMedLib.worker import messages as m
from worker_bench import phantom

POINT = PointPrompt(SliceAxis.K, (24.0, 24.0, 4.0), True)
BOX = BoxPrompt(SliceAxis.K, (14.0, 14.0, 4.0), (34.0, 34.0, 4.0))


def ball_mask():
    j, i = np.indices((48, 48))
    return (j - 24) ** 2 + (i - 24) ** 2 < 100


def test_a_prompt_is_previewed_and_propagated_to_the_slices_in_range(slicer_side):
    volume_id = slicer_side.client.open_volume(phantom())
    request = slicer_side.client.add_prompt(volume_id, "one", MaskPrompt(SliceAxis.K, 4, ball_mask()))
    assert slicer_side.answer(request).kind == "AddPrompt"
    (preview,) = slicer_side.of(m.Preview, request)
    assert (preview.volume_id, preview.object_id, preview.axis, preview.index) == (volume_id, "one", 2, 4)
    assert np.array_equal(preview.mask.to_mask(), ball_mask())
    assert slicer_side.of(UploadProgress)[-1].fraction == 1.0

    request = slicer_side.client.propagate(volume_id, "one", (2, 6))
    assert not slicer_side.answer(request).cancelled
    results = slicer_side.of(m.SliceResult, request)
    assert {result.index for result in results} == {2, 3, 4, 5, 6}
    assert results[-1].done == results[-1].total
    assert all(result.mask.shape == (48, 48) for result in results)

    request = slicer_side.client.read_confidence(volume_id, "one")
    slicer_side.answer(request)
    (report,) = slicer_side.of(m.ConfidenceReport, request)
    assert [item.index for item in report.slices] == [2, 3, 4, 5, 6]
    assert all(0 <= item.value <= 1 for item in report.slices)
    assert slicer_side.client.state is ClientState.IDLE
    assert slicer_side.client.device_sentence.startswith("CPU")


def test_the_answers_are_those_of_the_library_itself(slicer_side, weights):
    from SAM2_3dMedLib.network.checkpoint import load_checkpoint
    from SAM2_3dMedLib.propagation.predictor import SlicePredictor
    from SAM2_3dMedLib.propagation.session import VolumeSession
    from SAM2_3dMedLib.volume.images import Volume

    source = phantom()
    volume_id = slicer_side.client.open_volume(source)
    first = slicer_side.client.add_prompt(volume_id, "one", BOX)
    second = slicer_side.client.propagate(volume_id, "one", (3, 5))
    slicer_side.answer(second)
    session = VolumeSession(
        SlicePredictor(load_checkpoint(weights)[0], device="cpu"),
        Volume(source.array, source.ijk_to_ras, modality="CT"),
        "auto",
    )
    preview = session.add_prompt("one", BOX)
    assert np.array_equal(slicer_side.of(m.Preview, first)[0].mask.to_mask(), preview.mask)
    expected = {update.index: update.mask for update in session.propagate("one", (3, 5))}
    assert expected
    for result in slicer_side.of(m.SliceResult, second):
        assert np.array_equal(result.mask.to_mask(), expected[result.index])


def test_set_prompts_undo_and_remove(slicer_side):
    client = slicer_side.client
    volume_id = client.open_volume(phantom())
    mask = MaskPrompt(SliceAxis.K, 4, ball_mask())
    other = MaskPrompt(SliceAxis.K, 6, ball_mask())
    request = client.set_prompts(volume_id, "one", [mask, other])
    slicer_side.answer(request)
    assert {preview.index for preview in slicer_side.of(m.Preview, request)} == {4, 6}
    assert client.prompts(volume_id, "one") == (mask, other)
    request = client.undo(volume_id, "one")
    slicer_side.answer(request)
    assert [(p.index, p.mask.empty) for p in slicer_side.of(m.Preview, request)] == [(6, True)]
    assert client.prompts(volume_id, "one") == (mask,)
    request = client.set_prompts(volume_id, "one", [])
    slicer_side.answer(request)
    assert [(p.index, p.mask.empty) for p in slicer_side.of(m.Preview, request)] == [(4, True)]
    slicer_side.answer(client.add_prompt(volume_id, "one", mask))
    assert isinstance(slicer_side.answer(client.remove_object(volume_id, "one")), m.Finished)
    assert slicer_side.answer(client.propagate(volume_id, "one")).kind == "prompt"


def test_refining_a_mask_that_was_painted_by_hand(slicer_side):
    volume_id = slicer_side.client.open_volume(phantom())
    request = slicer_side.client.refine_boundary(volume_id, "painted", 2, {3: ball_mask(), 4: ball_mask()})
    slicer_side.answer(request)
    results = slicer_side.of(m.SliceResult, request)
    assert [result.index for result in results] == [3, 4]
    inner = (np.indices((48, 48)) - 24).astype(float)
    inner = (inner**2).sum(0) < 36
    assert all(result.mask.to_mask()[inner].all() for result in results)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (PointPrompt(SliceAxis.K, (24.0, 24.0, 40.0), True), "outside|volume"),
        (BoxPrompt(SliceAxis.K, (14.0, 14.0, 4.0), (14.0, 14.0, 9.0)), "slice|box"),
    ],
)
def test_a_wrong_prompt_is_answered_with_a_sentence_and_forgotten(slicer_side, prompt, words):
    volume_id = slicer_side.client.open_volume(phantom())
    failed = slicer_side.answer(slicer_side.client.add_prompt(volume_id, "one", prompt))
    assert failed.kind == "prompt"
    assert any(word in failed.sentence.lower() for word in words.split("|"))
    assert slicer_side.client.prompts(volume_id, "one") == ()
    assert isinstance(slicer_side.answer(slicer_side.client.add_prompt(volume_id, "one", POINT)), m.Finished)


def test_a_first_negative_point_and_a_propagation_without_prompt_do_no_harm(slicer_side):
    volume_id = slicer_side.client.open_volume(phantom())
    negative = PointPrompt(SliceAxis.K, (24.0, 24.0, 4.0), False)
    request = slicer_side.client.add_prompt(volume_id, "one", negative)
    assert isinstance(slicer_side.answer(request), m.Finished)
    assert all(preview.mask.empty for preview in slicer_side.of(m.Preview, request))
    failed = slicer_side.answer(slicer_side.client.propagate(volume_id, "two"))
    assert (failed.kind, failed.fatal) == ("prompt", False)
    assert "click" in failed.sentence


def test_cancel_acts_during_a_propagation_and_keeps_what_is_done(slicer_side):
    client = slicer_side.client
    volume_id = client.open_volume(phantom(slices=60))
    slicer_side.answer(client.add_prompt(volume_id, "one", MaskPrompt(SliceAxis.K, 30, ball_mask())))
    request = client.propagate(volume_id, "one", (0, 59))
    slicer_side.until(lambda: slicer_side.of(m.SliceResult, request))
    client.cancel()
    assert slicer_side.answer(request).cancelled
    assert 0 < len(slicer_side.of(m.SliceResult, request)) < 60
    assert client.state is ClientState.IDLE
    assert len(slicer_side.transports) == 1  # not killed
    assert isinstance(slicer_side.answer(client.read_confidence(volume_id, "one")), m.Finished)


def test_a_new_prompt_ends_the_propagation_and_is_answered(slicer_side):
    client = slicer_side.client
    volume_id = client.open_volume(phantom(slices=60))
    slicer_side.answer(client.add_prompt(volume_id, "one", MaskPrompt(SliceAxis.K, 30, ball_mask())))
    running = client.propagate(volume_id, "one", (0, 59))
    waiting = client.propagate(volume_id, "one", (0, 59))
    slicer_side.until(lambda: slicer_side.of(m.SliceResult, running))
    request = client.add_prompt(volume_id, "one", PointPrompt(SliceAxis.K, (24.0, 24.0, 32.0), True))
    assert isinstance(slicer_side.answer(request), m.Finished)
    assert slicer_side.answer(running).cancelled
    assert slicer_side.answer(waiting).cancelled


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_process_that_does_not_answer_cancel_is_killed_and_the_next_one_has_the_prompts(own_worker, monkeypatch):
    from SAM2_3dMedLib.slicer_side import worker_client

    monkeypatch.setattr(worker_client, "_CANCEL_TIMEOUT_S", 0.2)
    client = own_worker.client
    volume_id = client.open_volume(phantom(slices=60))
    own_worker.answer(client.add_prompt(volume_id, "one", MaskPrompt(SliceAxis.K, 30, ball_mask())))
    running = client.propagate(volume_id, "one", (0, 59))
    own_worker.until(lambda: own_worker.of(m.SliceResult, running))
    os.kill(own_worker.transports[0].pid, signal.SIGSTOP)
    client.cancel()
    own_worker.until(lambda: len(own_worker.transports) == 2)
    assert own_worker.answer(running).kind == "lost"
    request = client.propagate(volume_id, "one", (29, 31))
    assert isinstance(own_worker.answer(request), m.Finished)
    assert {result.index for result in own_worker.of(m.SliceResult, request)} == {29, 30, 31}


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_crash_is_reported_and_loses_no_prompt(own_worker):
    client = own_worker.client
    volume_id = client.open_volume(phantom())
    own_worker.answer(client.add_prompt(volume_id, "one", BOX))
    previews = len(own_worker.of(m.Preview))
    os.kill(own_worker.transports[0].pid, signal.SIGKILL)
    own_worker.until(lambda: own_worker.of(WorkerLost))
    (lost,) = own_worker.of(WorkerLost)
    assert lost.restarting
    assert "prompts" in lost.sentence
    request = client.propagate(volume_id, "one", (3, 5))
    assert isinstance(own_worker.answer(request), m.Finished)
    assert own_worker.of(m.SliceResult, request)
    assert len(own_worker.of(m.Preview)) == previews  # restored quietly: nothing is written twice


def test_the_third_volume_closes_the_first_and_coming_back_restores_its_prompts(slicer_side):
    client = slicer_side.client
    first = phantom("first")
    client.open_volume(first)
    slicer_side.answer(client.add_prompt("first", "one", BOX))
    for name in ("second", "third"):
        client.open_volume(phantom(name))
        slicer_side.answer(client.add_prompt(name, "one", POINT))
    uploads = len(slicer_side.of(m.VolumeOpened))
    client.open_volume(phantom("third"))
    client.open_volume(first)
    request = client.propagate("first", "one", (4, 5))
    assert isinstance(slicer_side.answer(request), m.Finished)
    assert len(slicer_side.of(m.VolumeOpened)) == uploads + 1
    client.close_volume("first")
    assert slicer_side.answer(client.propagate("first", "one")).kind == "volume"


def test_all_that_is_open_of_a_node_is_closed_and_nothing_else(slicer_side):
    """Its voxels had changed, so it was opened twice."""
    client = slicer_side.client
    first, other = (replace(phantom(name), node_id="gone") for name in ("before", "now"))
    for source in (first, other):
        client.open_volume(source)
    client.close_volumes_of("another")
    assert tuple(client._memory.open_volumes) == ("before", "now")
    client.open_volume(phantom("kept"))
    client.close_volumes_of("gone")
    assert tuple(client._memory.open_volumes) == ("kept",)
    for volume_id, kind in (("now", m.Failed), ("kept", m.Preview)):
        request = client.add_prompt(volume_id, "one", POINT)
        slicer_side.answer(request)
        assert slicer_side.of(kind, request)


def test_another_model_keeps_the_prompts_and_a_bad_file_keeps_the_model(slicer_side, weights, tmp_path):
    client = slicer_side.client
    volume_id = client.open_volume(phantom())
    slicer_side.answer(client.add_prompt(volume_id, "one", BOX))
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(weights.read_bytes()[:5000])
    failed = slicer_side.answer(client.load_model(broken, "cpu"))
    assert failed.kind == "model"
    assert str(broken) in failed.sentence
    slicer_side.answer(client.load_model(weights, "cpu"))
    assert isinstance(slicer_side.answer(client.propagate(volume_id, "one", (3, 4))), m.Finished)
