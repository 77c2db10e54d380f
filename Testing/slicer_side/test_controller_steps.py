"""What takes long is done in portions, nothing of it is lost, and every action of the user's is one undo step."""

from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the wheel slicer-core in its own environment")

from SAM2_3dMedLib.slicer_side import controller_refine, controller_writes, engine_settings  # noqa: E402
from SAM2_3dMedLib.slicer_side.client_events import UploadProgress  # noqa: E402
from SAM2_3dMedLib.slicer_side.controller_state import ObjectKey, Phase  # noqa: E402
from SAM2_3dMedLib.worker import messages  # noqa: E402
from stand_in_worker import StandInWorker  # noqa: E402
from test_controller import CENTER, click_at, paint  # noqa: E402
from tool_bench import SHAPE, active_bench  # noqa: E402


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.setattr(engine_settings.EngineSettings, "weights", property(lambda self: Path("stand-in")))
    made = active_bench(StandInWorker)
    yield made
    made.close()


def filled(bench, segment="A"):
    return np.flatnonzero(bench.voxels(segment).any(axis=(1, 2))).tolist()


# ---- leaving the effect ----------------------------------------------------------------------------------------------
@pytest.fixture
def left_with_answers_waiting(bench, monkeypatch):
    """A propagation whose answers have all come when the effect is left; the queue had no turn yet."""
    click_at(bench, bench.views["Axial"], CENTER)
    with monkeypatch.context() as held:
        held.setattr(bench.controller._queue, "_schedule", lambda milliseconds: None)
        bench.controller.propagate()
        bench.run(lambda: not bench.controller._jobs)
        bench.leave()


def test_leaving_writes_nothing_at_once_and_loses_nothing(bench, left_with_answers_waiting, monkeypatch):
    assert filled(bench) == [CENTER[2]]
    monkeypatch.setattr(controller_writes, "TURN_SECONDS", 0.0)
    bench.controller._queue._schedule(0)
    bench.run()
    assert filled(bench) == list(range(SHAPE[0]))
    bench.undo()  # one step, although it was written after the effect was left
    assert filled(bench) == [CENTER[2]]


def test_undo_after_leaving_is_not_written_over(bench, left_with_answers_waiting):
    queue = bench.controller._queue
    for _ in range(4):
        queue._work(queue._pending.popitem(last=False)[1])
    assert len(filled(bench)) > 1
    bench.target.undo()
    queue._schedule(0)
    bench.run()
    assert filled(bench) == [CENTER[2]]


def test_a_scene_closed_after_leaving_takes_what_waits_along(bench, left_with_answers_waiting, monkeypatch):
    name = bench.segmentation.GetID()
    bench.scene.Clear(False)
    import mrml

    volume = mrml.add_volume(np.zeros(SHAPE, dtype=np.int16))
    other, _ids = mrml.add_segmentation("A", reference=volume)
    assert other.GetID() == name  # a new scene uses the names of the old one again
    written = []
    monkeypatch.setattr(bench.writer, "begin_action", lambda node, *_rest: written.append(node.GetID()))
    bench.controller._queue._schedule(0)
    bench.run()
    assert written == []
    assert not mrml.segment_array(other, "A", volume).any()
    bench.controller._tell_news()
    assert not bench.controller._review_of(ObjectKey(name, "A")).slices, "bars of the scene that was closed"


def test_the_end_of_an_editor_writes_what_waits_at_once(bench, left_with_answers_waiting):
    bench.controller.write_waiting()
    assert filled(bench) == list(range(SHAPE[0]))
    assert not bench.writer.in_action


# ---- one undo step for one action ------------------------------------------------------------------------------------
def test_a_prompt_that_changes_no_voxel_is_an_undo_step_too(bench):
    view = bench.views["Axial"]
    click_at(bench, view, CENTER)
    before = bench.voxels("A")
    click_at(bench, view, (CENTER[0] + 20, CENTER[1], CENTER[2]), shift=True)
    assert (bench.voxels("A") == before).all()
    assert len(bench.controller.prompts) == 2
    bench.undo()
    assert len(bench.controller.prompts) == 1
    assert (bench.voxels("A") == before).all()
    bench.redo()
    assert len(bench.controller.prompts) == 2
    bench.undo()
    bench.undo()
    assert bench.controller.prompts == ()
    assert not bench.voxels("A").any()


def test_deleting_all_prompts_is_an_undo_step(bench):
    click_at(bench, bench.views["Axial"], CENTER)
    voxels = bench.voxels("A")
    bench.controller.clear_prompts()
    bench.run()
    assert bench.controller.prompts == ()
    bench.undo()
    assert len(bench.controller.prompts) == 1
    assert (bench.voxels("A") == voxels).all()


def test_a_propagation_that_changes_nothing_is_no_undo_step(bench):
    click_at(bench, bench.views["Axial"], CENTER)
    bench.controller.propagate()
    bench.run()
    bench.controller.propagate()
    bench.run()
    bench.undo()
    assert filled(bench) == [CENTER[2]]


def test_a_refused_prompt_leaves_no_undo_step(bench):
    view = bench.views["Axial"]
    click_at(bench, view, CENTER)
    corner = np.array(bench.world(CENTER[0] + 9, CENTER[1], CENTER[2]))
    assert not bench.controller.add_box(view.node, np.tile(corner, (4, 1)))
    assert "no area" in bench.controller.status.error
    bench.undo()
    assert bench.controller.prompts == ()
    assert not bench.voxels("A").any()


# ---- undo before the answer ------------------------------------------------------------------------------------------
NEXT = (CENTER[0] + 9, CENTER[1], CENTER[2] + 2)


def ask(bench, ijk):
    """A click whose answer does not come before `bench.run`."""
    view = bench.views["Axial"]
    view.node.JumpSliceByOffsetting(*bench.world(*ijk))
    view.click(*view.display_position(bench.world(*ijk)))


def test_undo_before_the_answer_takes_back_that_prompt_and_no_more(bench):
    click_at(bench, bench.views["Axial"], CENTER)
    before = bench.voxels("A")
    ask(bench, NEXT)
    bench.undo()
    assert len(bench.controller.prompts) == 1
    assert (bench.voxels("A") == before).all()
    assert not bench.controller.status.running
    bench.undo()
    assert bench.controller.prompts == ()
    assert not bench.voxels("A").any()


def test_a_prompt_redone_before_it_was_answered_gets_its_answer(bench):
    click_at(bench, bench.views["Axial"], CENTER)
    ask(bench, NEXT)
    bench.undo()
    bench.redo()
    assert len(bench.controller.prompts) == 2
    assert filled(bench) == [CENTER[2], NEXT[2]]


def test_undo_with_two_prompts_waiting_takes_back_the_newest(bench):
    click_at(bench, bench.views["Axial"], CENTER)
    ask(bench, NEXT)
    ask(bench, (CENTER[0], CENTER[1], CENTER[2] - 3))
    bench.undo()
    assert len(bench.controller.prompts) == 2
    assert filled(bench) == [CENTER[2], NEXT[2]]
    bench.undo()
    assert len(bench.controller.prompts) == 1
    assert filled(bench) == [CENTER[2]]


def test_undo_after_the_first_of_two_answers_takes_back_the_second_prompt(bench):
    ask(bench, CENTER)
    bench.client.answer_ms = 300
    ask(bench, NEXT)
    bench.run(lambda: filled(bench) == [CENTER[2]] and bench.controller._queue.empty)
    assert bench.controller.status.running
    bench.undo()
    assert len(bench.controller.prompts) == 1
    assert filled(bench) == [CENTER[2]]


def test_prompts_given_faster_than_answered_are_one_step_each(bench):
    places = [CENTER, NEXT, (CENTER[0], CENTER[1], CENTER[2] - 3)]
    for place in places:
        ask(bench, place)
    bench.run()
    for count in (2, 1, 0):
        bench.undo()
        assert len(bench.controller.prompts) == count
        assert filled(bench) == sorted(place[2] for place in places[:count])


def test_a_correction_while_it_propagates_is_a_step_of_its_own(bench):
    click_at(bench, bench.views["Axial"], CENTER)
    bench.client.held = True
    bench.controller.propagate()
    bench.run(lambda: len(filled(bench)) == 2)
    ask(bench, NEXT)
    bench.run()
    propagated = [slice_ for slice_ in filled(bench) if slice_ != NEXT[2]]
    bench.undo()
    assert len(bench.controller.prompts) == 1
    assert filled(bench) == propagated
    bench.undo()
    assert filled(bench) == [CENTER[2]]


# ---- cancel ----------------------------------------------------------------------------------------------------------
def test_a_prompt_that_waits_for_the_volume_can_be_canceled(bench, monkeypatch):
    view = bench.views["Axial"]
    with monkeypatch.context() as held:
        held.setattr(bench.client, "_ask", lambda name, answers, kind="": 4711)  # no answer yet
        view.click(*view.display_position(bench.world(*CENTER)))
    volume_id = bench.controller.source.volume_id
    bench.client._send(UploadProgress(volume_id, 0.5))
    assert bench.controller.status.running
    assert bench.controller.status.fraction == 0.5
    bench.controller.cancel()
    bench.run()
    assert not bench.controller.status.running
    assert len(bench.controller.prompts) == 1  # canceling loses no prompt
    crop = messages.MaskCrop.of(np.ones(SHAPE[1:], dtype=bool))
    bench.client._send(messages.Preview(4711, volume_id, "", 2, CENTER[2], crop, 0.9, 1.0))
    bench.client._send(UploadProgress(volume_id, 1.0))
    bench.run()
    assert not bench.voxels("A").any()
    bench.undo()
    assert bench.controller.prompts == ()


# ---- refinement of all slices ----------------------------------------------------------------------------------------
@pytest.fixture
def one_slice_a_turn(monkeypatch):
    monkeypatch.setattr(controller_refine, "TURN_SECONDS", -1.0)


def test_all_slices_are_read_in_steps_and_all_refined(bench, one_slice_a_turn):
    paint(bench, "A", (20, 40, 10, 30, 5, 14))
    assert bench.controller.refine(2, None)
    assert "refine_boundary" not in bench.client.requests  # nothing was read in the call itself
    fractions = set()
    bench.run(lambda: fractions.add(bench.controller.status.fraction) or bench.idle)
    assert len(fractions) > SHAPE[0] // 2
    assert filled(bench) == list(range(5, 15))
    assert np.flatnonzero(bench.voxels("A")[8].any(axis=1)).tolist() == list(range(12, 33))
    bench.undo()
    assert np.flatnonzero(bench.voxels("A")[8].any(axis=1)).tolist() == list(range(10, 31))


def test_reading_the_slices_can_be_canceled(bench, one_slice_a_turn):
    paint(bench, "A", (20, 40, 10, 30, 5, 14))
    bench.controller.refine(2, None)
    bench.run(lambda: (bench.controller.status.fraction or 0) > 0)
    assert bench.controller.status.running
    bench.controller.cancel()
    bench.run()
    assert bench.controller.status.phase is Phase.READY
    assert "refine_boundary" not in bench.client.requests


def test_a_segment_deleted_while_it_is_read(bench, one_slice_a_turn):
    paint(bench, "A", (20, 40, 10, 30, 5, 14))
    bench.controller.refine(2, None)
    bench.run(lambda: (bench.controller.status.fraction or 0) > 0)
    bench.segmentation.GetSegmentation().RemoveSegment("A")
    bench.run()
    assert bench.controller.status.phase is Phase.READY
    assert "refine_boundary" not in bench.client.requests
