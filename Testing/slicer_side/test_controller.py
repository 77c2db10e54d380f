"""Clicks in real slice views become voxels in the segment, in one undo step, with prompts that follow undo and redo."""

from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the wheel slicer-core in its own environment")

import mrml  # noqa: E402
from SAM2_3dMedLib.slicer_side import engine_settings  # noqa: E402
from SAM2_3dMedLib.slicer_side.controller_state import Phase  # noqa: E402
from stand_in_worker import StandInWorker  # noqa: E402
from tool_bench import OBLIQUE, SHAPE, ToolBench, active_bench, add_oblique_view  # noqa: E402

CENTER = (SHAPE[2] // 2, SHAPE[1] // 2, SHAPE[0] // 2)  # i, j, k


@pytest.fixture(autouse=True)
def no_weights_needed(monkeypatch):
    monkeypatch.setattr(engine_settings.EngineSettings, "weights", property(lambda self: Path("stand-in")))


@pytest.fixture
def bench():
    made = active_bench(StandInWorker)
    yield made
    made.close()


def click_at(bench, view, ijk, shift=False):
    view.click(*view.display_position(bench.world(*ijk)), shift=shift)
    bench.run()


def disk(center, radius=4.0):
    """The voxels (i, j) of the stand-in's answer around a center."""
    j, i = np.mgrid[: SHAPE[1], : SHAPE[2]]
    return (j - center[1]) ** 2 + (i - center[0]) ** 2 <= radius**2


def test_a_click_fills_its_slice_and_nothing_else(bench):
    click_at(bench, bench.views["Axial"], CENTER)
    voxels = bench.voxels("A")
    assert np.flatnonzero(voxels.any(axis=(1, 2))).tolist() == [CENTER[2]]
    overlap = (voxels[CENTER[2]] & disk(CENTER)).sum() / (voxels[CENTER[2]] | disk(CENTER)).sum()
    assert overlap > 0.85  # the pixel that was clicked is not exactly the voxel's center
    assert not bench.voxels("B").any()
    assert len(bench.controller.prompts) == 1


def test_shift_click_and_the_switch_make_negative_points(bench):
    view = bench.views["Axial"]
    click_at(bench, view, CENTER)
    click_at(bench, view, (CENTER[0] + 9, CENTER[1], CENTER[2]), shift=True)
    bench.session.mouse.negative = True
    click_at(bench, view, (CENTER[0] - 9, CENTER[1], CENTER[2]))
    click_at(bench, view, (CENTER[0], CENTER[1] + 9, CENTER[2]), shift=True)
    assert [s.prompt.positive for s in bench.controller.prompts] == [True, False, False, True]


def test_dragging_draws_a_box(bench):
    view = bench.views["Axial"]
    a = view.display_position(bench.world(20, 15, CENTER[2]))
    b = view.display_position(bench.world(40, 30, CENTER[2]))
    view.press(*a)
    view.move(*b)
    yellow = np.array([255, 217, 51])
    assert (np.abs(view.picture().astype(int) - yellow).max(axis=2) < 40).sum() > 50  # the rubber band is seen
    view.release(*b)
    bench.run()
    rows, columns = np.where(bench.voxels("A")[CENTER[2]])
    assert abs(columns.min() - 20) <= 1
    assert abs(columns.max() - 40) <= 1
    assert abs(rows.min() - 15) <= 1
    assert abs(rows.max() - 30) <= 1


@pytest.mark.parametrize("orientation", ["Sagittal", "Coronal", "Axial"])
@pytest.mark.parametrize("ijk_to_ras", [mrml.AXIAL_LPS, np.diag([-0.8, 0.8, 2.5, 1.0]), OBLIQUE])
def test_the_clicked_voxel_is_the_prompt_in_every_orientation(orientation, ijk_to_ras):
    turn = np.eye(4)
    turn[:3, 3] = (5, -7, 11)
    bench = ToolBench(StandInWorker, ijk_to_ras=ijk_to_ras, transform=turn)
    try:
        bench.activate()
        view = bench.add_view(orientation, bench.world(*CENTER))
        bench.session.refresh_views()
        axis = bench.controller.source.view_axis(view.node)[0]
        target = np.array(CENTER) + np.array([3, -2, 0])
        target[axis] = CENTER[axis]
        bench.run()
        click_at(bench, view, target)
        prompt = bench.controller.prompts[0].prompt
        # One pixel of the view is less than a voxel.
        assert np.abs(np.array(prompt.position) - target).max() <= 1.0, (prompt, target)
        voxels = bench.voxels("A")
        assert voxels[tuple(np.rint(prompt.position).astype(int)[::-1])]
        assert np.flatnonzero(voxels.any(axis=tuple(a for a in (0, 1, 2) if a != 2 - axis))).size == 1
    finally:
        bench.close()


def test_a_click_in_an_oblique_view_marks_the_voxel_under_the_mouse(bench):
    view = add_oblique_view(bench, 30, bench.world(*CENTER))
    bench.session.refresh_views()
    click_at(bench, view, CENTER)
    assert np.abs(np.array(bench.controller.prompts[0].prompt.position) - CENTER).max() <= 1.0
    assert bench.voxels("A")[CENTER[::-1]]


def test_click_outside_says_what_to_do_and_changes_nothing(bench):
    view = bench.views["Axial"]
    width, height, depth = view.node.GetFieldOfView()
    view.node.SetFieldOfView(2 * width, 2 * height, depth)
    view.click(10, 290)
    bench.run()
    assert "outside" in bench.controller.status.error
    assert bench.controller.prompts == ()
    assert not bench.voxels("A").any()
    click_at(bench, bench.views["Axial"], CENTER)
    assert bench.controller.status.error == ""
    assert bench.voxels("A").any()


def test_one_undo_step_takes_back_voxels_and_prompt_and_redo_brings_both_again(bench):
    view = bench.views["Axial"]
    click_at(bench, view, CENTER)
    after_first = bench.voxels("A")
    click_at(bench, view, (CENTER[0] + 8, CENTER[1] + 8, CENTER[2]))
    after_second = bench.voxels("A")
    assert (after_second != after_first).any()
    bench.undo()
    assert (bench.voxels("A") == after_first).all()
    assert len(bench.controller.prompts) == 1
    bench.undo()
    assert not bench.voxels("A").any()
    assert bench.controller.prompts == ()
    bench.redo()
    bench.redo()
    assert (bench.voxels("A") == after_second).all()
    assert len(bench.controller.prompts) == 2


def test_propagation_is_one_undo_step_and_leaves_the_neighbor_alone(bench):
    paint(bench, "B", (20, 44, 20, 30, 8, 12))
    before = bench.voxels("B")
    bench.editor.SetOverwriteMode(bench.editor.OverwriteNone)
    click_at(bench, bench.views["Axial"], CENTER)
    preview = bench.voxels("A")
    assert bench.controller.propagate()
    bench.run()
    assert bench.voxels("A").any(axis=(1, 2)).all()
    assert (bench.voxels("B") == before).all()
    bench.undo()
    assert (bench.voxels("A") == preview).all()
    bench.redo()
    assert bench.voxels("A").any(axis=(1, 2)).all()


def test_editable_area_is_respected(bench):
    bench.editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
    paint(bench, "B", (CENTER[0], CENTER[0] + 30, 0, SHAPE[1] - 1, 0, SHAPE[0] - 1))
    bench.editor.SetMaskSegmentID("B")
    bench.editor.SetOverwriteMode(bench.editor.OverwriteNone)
    click_at(bench, bench.views["Axial"], CENTER)
    columns = np.where(bench.voxels("A").any(axis=(0, 1)))[0]
    assert columns.min() == CENTER[0]


def test_cancel_keeps_what_is_done(bench):
    click_at(bench, bench.views["Axial"], CENTER)
    bench.client.held = True
    bench.controller.propagate()
    bench.run(lambda: bench.controller.status.fraction and bench.controller.status.fraction > 0)
    bench.run(lambda: bench.voxels("A").any(axis=(1, 2)).sum() >= 2)
    assert bench.controller.status.phase is Phase.PROPAGATING
    bench.views["Axial"].key("Escape")
    bench.run()
    assert bench.controller.status.phase is Phase.READY
    assert bench.voxels("A").any(axis=(1, 2)).sum() == 2
    bench.undo()
    assert bench.voxels("A").any(axis=(1, 2)).sum() == 1


def test_a_click_in_another_segment_says_which_propagation_it_stopped(bench):
    click_at(bench, bench.views["Axial"], CENTER)
    bench.client.held = True
    bench.controller.propagate()
    bench.run(lambda: bench.voxels("A").any(axis=(1, 2)).sum() >= 2)
    bench.editor.SetSelectedSegmentID("B")
    bench.controller.refresh_context()
    click_at(bench, bench.views["Axial"], (CENTER[0] + 8, CENTER[1], CENTER[2]))
    assert '"A" was stopped halfway' in bench.controller.status.sentence
    assert bench.voxels("A").any(axis=(1, 2)).sum() >= 2
    assert bench.voxels("B").any()


def test_slice_range_limits_the_propagation(bench):
    click_at(bench, bench.views["Axial"], CENTER)
    bench.controller.slice_range = (8, 13)
    bench.controller.propagate()
    bench.run()
    assert np.flatnonzero(bench.voxels("A").any(axis=(1, 2))).tolist() == list(range(8, 14))


def test_automatic_propagation_belongs_to_the_click(bench):
    bench.controller.auto_propagate = True
    click_at(bench, bench.views["Axial"], CENTER)
    assert bench.voxels("A").any(axis=(1, 2)).all()
    bench.undo()
    assert not bench.voxels("A").any()
    assert bench.controller.prompts == ()


def test_changing_the_segment_uploads_nothing_and_keeps_prompts_apart(bench):
    click_at(bench, bench.views["Axial"], CENTER)
    uploads = bench.client.requests.count("open_volume")
    bench.editor.SetSelectedSegmentID("B")
    bench.run()
    assert bench.controller.prompts == ()
    click_at(bench, bench.views["Axial"], (CENTER[0] + 12, CENTER[1], CENTER[2]))
    assert bench.voxels("B").any()
    assert len(bench.controller.prompts) == 1
    bench.editor.SetSelectedSegmentID("A")
    bench.run()
    assert len(bench.controller.prompts) == 1
    assert bench.client.requests.count("open_volume") == uploads


def test_first_click_in_an_empty_segmentation_makes_a_segment():
    bench = ToolBench(StandInWorker, segments=())
    try:
        bench.activate()
        view = bench.add_view("Axial", bench.world(*CENTER))
        bench.session.refresh_views()
        bench.run()
        click_at(bench, view, CENTER)
        assert bench.segmentation.GetSegmentation().GetNumberOfSegments() == 1
        segment = bench.segmentation.GetSegmentation().GetNthSegmentID(0)
        assert bench.editor.GetSelectedSegmentID() == segment
        assert bench.voxels(segment).any()
    finally:
        bench.close()


def paint(bench, segment, extent):
    """The user's brush: the editor logic on an extent of the volume's grid."""
    from SAM2_3dMedLib.slicer_side.segment_grid import Region, grid_of, oriented_image
    from SAM2_3dMedLib.slicer_side.volume_source import read_volume_source

    shape = (extent[5] - extent[4] + 1, extent[3] - extent[2] + 1, extent[1] - extent[0] + 1)
    grid = grid_of(bench.segmentation, read_volume_source(bench.volume))
    bench.target.save_state()
    mask_mode = bench.editor.GetMaskMode()
    bench.editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
    bench.target.add(bench.segmentation, segment, oriented_image(grid, Region(extent, np.ones(shape, dtype=bool))))
    bench.editor.SetMaskMode(mask_mode)
