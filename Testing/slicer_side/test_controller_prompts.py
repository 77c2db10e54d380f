"""Prompts that are dragged, deleted, refused, painted, taken from a segment, saved: what becomes of their voxels."""

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the wheel slicer-core in its own environment")

import test_controller  # noqa: E402
from SAM2_3dMedLib.slicer_side.controller_state import Phase  # noqa: E402
from SAM2_3dMedLib.slicer_side.prompt_store import PromptStore  # noqa: E402
from SAM2_3dMedLib.slicer_side.segment_writer import SegmentWriter  # noqa: E402
from SAM2_3dMedLib.slicer_side.written_registry import WrittenRegistry  # noqa: E402
from test_controller import CENTER, click_at, disk, paint  # noqa: E402

bench, no_weights_needed = test_controller.bench, test_controller.no_weights_needed


def test_a_point_dragged_with_the_mouse_takes_its_voxels_along_in_one_step(bench):
    view = bench.views["Axial"]
    click_at(bench, view, CENTER)
    before = bench.voxels("A")
    target = (CENTER[0] + 8, CENTER[1] - 6, CENTER[2])
    view.drag(view.display_position(bench.world(*CENTER)), view.display_position(bench.world(*target)))
    bench.run()
    (stored,) = bench.controller.prompts
    assert np.allclose(stored.prompt.position, target, atol=0.5)
    moved = bench.voxels("A")[CENTER[2]]
    assert (moved & disk(target)).sum() / (moved | disk(target)).sum() > 0.85
    bench.undo()
    assert (bench.voxels("A") == before).all()
    assert np.allclose(bench.controller.prompts[0].prompt.position, CENTER, atol=0.5)


def test_a_deleted_prompt_takes_its_voxels_along(bench):
    view = bench.views["Axial"]
    click_at(bench, view, CENTER)
    view.move(*view.display_position(bench.world(*CENTER)))
    view.key("Delete")
    bench.run()
    assert bench.controller.prompts == ()
    assert not bench.voxels("A").any()
    bench.undo()
    assert bench.voxels("A").any()
    assert len(bench.controller.prompts) == 1


def test_a_refused_prompt_is_not_kept(bench):
    bench.client.fail_prompt("The first click has to be on the structure: click on it without Shift.")
    click_at(bench, bench.views["Axial"], CENTER, shift=True)
    assert bench.controller.prompts == ()
    assert "without Shift" in bench.controller.status.error


def test_a_hidden_segment_is_told(bench):
    display = bench.segmentation.GetDisplayNode()
    display.SetSegmentVisibility("A", False)
    click_at(bench, bench.views["Axial"], CENTER)
    assert "hidden" in bench.controller.status.sentence
    display.SetSegmentVisibility("A", True)
    click_at(bench, bench.views["Axial"], (CENTER[0] + 6, CENTER[1], CENTER[2]))
    assert "hidden" not in bench.controller.status.sentence


def test_a_segmentation_that_cannot_be_written_takes_no_prompt(bench):
    import mrml

    bench.segmentation.SetAndObserveTransformNodeID(mrml.add_bspline_transform().GetID())
    click_at(bench, bench.views["Axial"], CENTER)
    assert "harden it" in bench.controller.status.error
    assert bench.controller.prompts == ()
    assert not bench.controller.status.running
    bench.segmentation.SetAndObserveTransformNodeID(None)
    assert bench.controller.status.error == "", "its cause is gone"
    bench.controller._set_running_status("Something else.")
    bench.segmentation.SetAndObserveTransformNodeID(mrml.add_linear_transform(np.eye(4)).GetID())
    assert bench.controller.status.error == "Something else."
    bench.segmentation.SetAndObserveTransformNodeID(None)
    click_at(bench, bench.views["Axial"], CENTER)
    assert bench.controller.status.error == ""
    assert bench.voxels("A").any()


def test_brush_and_lasso_are_mask_prompts(bench):
    from SAM2_3dMedLib.slicer_side.effect_mouse import Gesture

    view = bench.views["Axial"]
    bench.session.mouse.gesture = Gesture.LASSO
    corners = [(20, 12), (44, 12), (44, 30), (20, 30)]
    view.drag(*(view.display_position(bench.world(i, j, CENTER[2])) for i, j in corners))
    bench.run()
    lasso = bench.voxels("A")[CENTER[2]]
    assert lasso[20, 32]
    assert abs(int(lasso.sum()) - 24 * 18) < 60
    bench.editor.SetSelectedSegmentID("B")
    bench.session.mouse.gesture = Gesture.BRUSH
    bench.session.brush_radius = 2.4  # three voxels of 0.8 mm
    view.drag(*(view.display_position(bench.world(i, 20, CENTER[2])) for i in (20, 30, 40)))
    bench.run()
    rows, columns = np.where(bench.voxels("B")[CENTER[2]])
    assert abs(columns.min() - 17) <= 1
    assert abs(columns.max() - 43) <= 1
    assert 5 <= rows.max() - rows.min() + 1 <= 9


@pytest.mark.parametrize("by", ["shift", "switch"])
def test_a_negative_stroke_takes_away_what_it_covers(bench, by):
    from SAM2_3dMedLib.slicer_side.effect_mouse import Gesture

    view, k = bench.views["Axial"], CENTER[2]
    view.drag(*(view.display_position(bench.world(i, j, k)) for i, j in ((20, 12), (44, 30))))
    bench.run()
    before = bench.voxels("A")[k]
    bench.session.mouse.gesture = Gesture.BRUSH
    bench.session.brush_radius = 2.4
    bench.session.mouse.negative = by == "switch"
    start, end = (view.display_position(bench.world(i, 21, k)) for i in (22, 42))
    view.press(*start, shift=by == "shift")
    view.move(*end, shift=by == "shift")
    view.release(*end, shift=by == "shift")
    bench.run()
    after = bench.voxels("A")[k]
    assert not after[21, 24:40].any()
    assert (after <= before).all()
    assert after[14].any()
    assert after[28].any()
    bench.undo()
    assert (bench.voxels("A")[k] == before).all()


def test_a_negative_stroke_beside_the_segment_says_so(bench):
    click_at(bench, bench.views["Axial"], CENTER)
    assert not bench.controller.subtract_mask(2, CENTER[2], np.zeros(bench.voxels("A").shape[1:], dtype=bool))
    assert "meets nothing" in bench.controller.status.error
    assert not bench.controller.subtract_mask(2, CENTER[2], np.ones(bench.voxels("A").shape[1:], dtype=bool))
    assert "would be left of" in bench.controller.status.error
    assert len(bench.controller.prompts) == 1


def test_a_mask_prompt_is_outlined_on_its_own_slice_only(bench):
    from SAM2_3dMedLib.slicer_side.effect_mouse import Gesture

    view = bench.views["Axial"]

    def green():
        bench.session.redraw_node(view.node)  # the editor tells the effect of a changed view
        return (np.abs(view.picture().astype(int) - (51, 217, 89)).max(axis=2) < 12).sum()

    assert green() == 0
    bench.session.mouse.gesture = Gesture.LASSO
    corners = [(20, 12), (44, 12), (44, 30), (20, 30)]
    view.drag(*(view.display_position(bench.world(i, j, CENTER[2])) for i, j in corners))
    bench.run()
    drawn = green()
    assert drawn > 100
    view.node.JumpSliceByOffsetting(*bench.world(*CENTER[:2], CENTER[2] + 1))
    assert green() == 0
    view.node.JumpSliceByOffsetting(*bench.world(*CENTER))
    assert green() == drawn
    bench.controller.delete_last_prompt()
    bench.run()
    assert green() == 0


def test_an_existing_segment_is_a_prompt(bench):
    paint(bench, "B", (20, 30, 10, 20, CENTER[2], CENTER[2]))
    bench.editor.SetOverwriteMode(bench.editor.OverwriteNone)
    assert bench.controller.add_segment_mask("B", 2, CENTER[2])
    bench.run()
    assert (bench.voxels("A") == bench.voxels("B")).all()


def test_prompts_come_back_with_the_scene(bench):
    click_at(bench, bench.views["Axial"], CENTER)
    bench.leave()
    bench.client._objects.clear()  # another day: the worker knows nothing
    bench.activate()
    bench.run()
    assert len(bench.controller.prompts) == 1
    bench.controller.propagate()
    bench.run()
    assert bench.voxels("A").any(axis=(1, 2)).all()


@pytest.fixture
def another_session(bench):
    """A hand painted on a slice, a box beside it was answered; the scene was saved, and loaded by another Slicer."""
    view, (i, j, k) = bench.views["Axial"], CENTER
    paint(bench, "A", (i - 8, i + 8, j - 8, j + 8, k + 1, k + 1))
    view.drag(*(view.display_position(bench.world(*place)) for place in ((i - 8, j - 8, k), (i + 8, j + 8, k))))
    bench.run()
    bench.leave()
    bench.client._objects.clear()
    bench.writer = SegmentWriter(bench.target, WrittenRegistry(PromptStore(bench.scene).slice_sums))
    bench.activate()
    bench.run()
    return bench


def test_yesterdays_answer_can_be_made_smaller_today(another_session):
    bench, (i, j, k) = another_session, CENTER
    assert bench.voxels("A")[k, j, i]
    click_at(bench, bench.views["Axial"], CENTER, shift=True)
    assert not bench.voxels("A")[k, j, i]
    assert bench.voxels("A")[k, j - 7, i - 7]
    bench.undo()
    assert bench.voxels("A")[k, j, i]


def test_what_a_hand_painted_yesterday_is_not_erased_today(another_session):
    bench, (i, j, k) = another_session, CENTER
    bench.views["Axial"].node.JumpSliceByOffsetting(*bench.world(i, j, k + 1))
    before = bench.voxels("A")[k + 1]
    click_at(bench, bench.views["Axial"], (i, j, k + 1), shift=True)
    assert (bench.voxels("A")[k + 1] == before).all()


def test_a_note_about_a_prompt_stays_until_the_prompts_change_and_no_longer(bench):
    from SAM2_3dMedLib.worker import messages

    sentence = "A negative point alone marks nothing: click on the structure, too."
    answers = bench.client._ask
    notes = [messages.Notice(0, "prompt", sentence)]
    bench.client._ask = lambda name, make, kind="": answers(name, lambda n: [*notes], kind)
    click_at(bench, bench.views["Axial"], CENTER, shift=True)
    assert bench.controller.status.sentence == sentence
    assert bench.controller.status.phase is Phase.READY
    assert not bench.controller.status.error
    notes.clear()
    click_at(bench, bench.views["Axial"], (CENTER[0] + 9, CENTER[1], CENTER[2]))
    assert bench.controller.status.sentence != sentence


def test_before_a_correction_the_engine_is_told_what_stands_on_the_slice(bench):
    """It knows nothing of what a scene brought along or the user has painted."""
    click_at(bench, bench.views["Axial"], CENTER)
    assert bench.client.told == []
    standing = bench.voxels("A")[CENTER[2]]
    click_at(bench, bench.views["Axial"], (CENTER[0] + 3, CENTER[1], CENTER[2]), shift=True)
    ((axis, index, mask),) = bench.client.told
    assert (axis, index) == (2, CENTER[2])
    assert (mask == standing).all()


def test_undo_works_in_a_scene_that_was_loaded(bench):
    """Reading one gives a node its segmentation without an event, and Slicer's history keeps to the one before."""
    click_at(bench, bench.views["Axial"], CENTER)
    loaded = slicer.vtkSegmentation()
    loaded.DeepCopy(bench.segmentation.GetSegmentation())
    bench.segmentation.StartModify()
    bench.segmentation.SetAndObserveSegmentation(loaded)
    bench.segmentation.SetDisableModifiedEvent(0)
    before = bench.voxels("A")
    click_at(bench, bench.views["Axial"], (CENTER[0] + 20, CENTER[1], CENTER[2]))
    assert (bench.voxels("A") != before).any()
    bench.undo()
    assert (bench.voxels("A") == before).all()
