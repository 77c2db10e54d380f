"""Things that go away while the tool works: nothing crashes, nothing of ours stays behind, what can be kept is kept."""

from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the wheel slicer-core in its own environment")

from SAM2_3dMedLib.slicer_side import engine_settings  # noqa: E402
from SAM2_3dMedLib.slicer_side.client_events import WorkerLost  # noqa: E402
from SAM2_3dMedLib.slicer_side.controller_state import Phase  # noqa: E402
from stand_in_worker import StandInWorker  # noqa: E402
from tool_bench import SHAPE, ToolBench, active_bench  # noqa: E402

CENTER = (SHAPE[2] // 2, SHAPE[1] // 2, SHAPE[0] // 2)


@pytest.fixture(autouse=True)
def no_weights_needed(monkeypatch):
    monkeypatch.setattr(engine_settings.EngineSettings, "weights", property(lambda self: Path("stand-in")))


@pytest.fixture
def bench():
    made = active_bench(StandInWorker)
    yield made
    made.close()


def click(bench, ijk=CENTER, shift=False):
    view = bench.views["Axial"]
    view.click(*view.display_position(bench.world(*ijk)), shift=shift)
    bench.run()


def begin_propagation(bench):
    """A propagation that has written two slices and would go on."""
    click(bench)
    bench.client.held = True
    bench.controller.propagate()
    bench.run(lambda: bench.voxels("A").any(axis=(1, 2)).sum() >= 2)


def test_leaving_the_effect_takes_everything_out_of_the_views_and_the_scene(bench):
    view = bench.views["Axial"]
    actors = view.renderer.GetViewProps().GetNumberOfItems()
    nodes_with_effect = bench.scene.GetNumberOfNodes()
    click(bench)
    click(bench, (CENTER[0] + 9, CENTER[1], CENTER[2]), shift=True)
    assert bench.scene.GetNumberOfNodes() > nodes_with_effect
    bench.leave()
    bench.run()
    assert view.renderer.GetViewProps().GetNumberOfItems() < actors
    assert bench.scene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode") == 0
    assert bench.voxels("A").any()
    before = view.picture()
    view.click(*view.display_position(bench.world(*CENTER)))  # the mouse is the application's again
    assert np.array_equal(view.picture(), before)
    assert bench.controller.status.phase is Phase.OFF


def test_other_markups_and_the_volume_are_not_touched(bench):
    other = bench.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "mine")
    other.AddControlPointWorld(1.0, 2.0, 3.0)
    voxels = slicer.util.arrayFromVolume(bench.volume).copy()
    modified = bench.volume.GetImageData().GetMTime()
    click(bench)
    bench.controller.propagate()
    bench.run()
    bench.leave()
    assert other.GetScene() is bench.scene
    assert other.GetNumberOfControlPoints() == 1
    assert (slicer.util.arrayFromVolume(bench.volume) == voxels).all()
    assert bench.volume.GetImageData().GetMTime() == modified


def test_leaving_while_it_runs_keeps_what_is_done(bench):
    begin_propagation(bench)
    bench.leave()
    bench.run()
    assert bench.voxels("A").any(axis=(1, 2)).sum() == 2


def test_volume_deleted_while_it_runs(bench):
    begin_propagation(bench)
    bench.scene.RemoveNode(bench.volume)
    bench.run()
    assert bench.controller.source is None
    assert not bench.controller.propagate()
    assert "volume" in bench.controller.status.error
    assert "close_volume" in bench.client.requests


def test_segment_deleted_while_it_runs(bench):
    begin_propagation(bench)
    bench.segmentation.GetSegmentation().RemoveSegment("A")
    bench.run()
    assert bench.controller.key is None
    assert not bench.voxels("B").any()
    bench.editor.SetSelectedSegmentID("B")
    bench.client.held = False
    click(bench)
    assert bench.voxels("B").any()


def test_segmentation_deleted_while_it_runs(bench):
    begin_propagation(bench)
    bench.scene.RemoveNode(bench.segmentation)
    bench.run()
    assert bench.controller.key is None
    view = bench.views["Axial"]
    view.click(*view.display_position(bench.world(*CENTER)))
    bench.run()
    assert "segmentation" in bench.controller.status.error


def test_scene_closed_while_it_runs(bench):
    begin_propagation(bench)
    bench.scene.Clear(False)
    bench.run()
    assert not bench.controller.attached
    assert bench.controller.prompts == ()


def test_scene_closed_while_another_tool_is_used(bench):
    """The next scene gives its segmentation and its segments the same IDs; nothing of the old ones is theirs."""
    click(bench)
    segmentation_id = bench.segmentation.GetID()
    bench.leave()
    bench.run()
    bench.scene.Clear(False)
    segmentation = bench.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.GetSegmentation().AddEmptySegment("A", "A")
    assert segmentation.GetID() == segmentation_id
    assert bench.controller.store.prompts(segmentation, "A") == ()


@pytest.mark.parametrize("gone", ["volume", "scene"])
@pytest.mark.parametrize("at_work", [True, False], ids=["while the effect is active", "after it was left"])
def test_of_a_volume_that_is_gone_no_copy_stays_in_the_engine(bench, at_work, gone):
    """It is as large as the volume, in the engine and, by the reference to the node's array, here."""
    click(bench)
    bench.volume.GetImageData().GetPointData().GetScalars().Modified()
    click(bench, (CENTER[0] + 2, CENTER[1], CENTER[2]))
    assert len(bench.client.sources) == 2, "before its voxels changed, and as it is"
    if not at_work:
        bench.leave()
        bench.run()
    if gone == "volume":
        bench.scene.RemoveNode(bench.volume)
    else:
        bench.scene.Clear(False)
    bench.run()
    assert bench.client.sources == {}


def test_engine_ends_by_itself(bench):
    begin_propagation(bench)
    bench.client._running = None
    bench.client._send(WorkerLost("The inference process ended and is started again.", True, ""))
    bench.run()
    assert "started again" in bench.controller.status.error
    assert bench.voxels("A").any(axis=(1, 2)).sum() >= 2
    assert len(bench.controller.prompts) == 1


def test_missing_weights_and_packages_are_said_in_one_sentence(monkeypatch):
    from SAM2_3dMedLib.weights.verify import WeightsError

    def missing(self):
        raise WeightsError("The weights 'x' are not on this computer; choose another model.")

    monkeypatch.setattr(engine_settings.EngineSettings, "weights", property(missing))
    bench = ToolBench(StandInWorker)
    try:
        bench.activate()
        assert bench.controller.status.phase is Phase.FAILED
        assert "not on this computer" in bench.controller.status.error
        bench.add_view("Axial", bench.world(*CENTER))
        bench.session.refresh_views()
        click(bench)
        assert len(bench.controller.prompts) == 1  # kept for the time when the engine runs
        monkeypatch.setattr(engine_settings.EngineSettings, "weights", property(lambda self: Path("here")))
        bench.controller.set_settings(bench.controller.settings)  # the module's panel, when it has fetched them
        bench.run()
        assert bench.controller.status.error == ""
        assert bench.voxels("A").any()
    finally:
        bench.close()


def test_refinement_moves_the_outline_of_a_segment_painted_by_hand(bench):
    from test_controller import paint

    paint(bench, "A", (20, 40, 10, 20, CENTER[2] - 1, CENTER[2] + 1))
    before = bench.voxels("A")
    assert bench.controller.refine(2, CENTER[2])
    bench.run()
    changed = (bench.voxels("A") != before).any(axis=(1, 2))
    assert np.flatnonzero(changed).tolist() == [CENTER[2]]
    assert (
        bench.voxels("A")[CENTER[2]] == np.roll(before[CENTER[2]], 2, axis=0)
    ).all()  # also erased by the hand's edge
    assert bench.controller.refine(2, None)
    bench.run()
    assert (bench.voxels("A") != before).any(axis=(1, 2)).sum() == 3
    bench.undo()
    bench.undo()
    assert (bench.voxels("A") == before).all()


def test_nothing_to_refine_is_said(bench):
    assert not bench.controller.refine(2, CENTER[2])
    assert "nothing to refine" in bench.controller.status.error


def test_editing_by_hand_survives_the_next_answers(bench):
    from test_controller import paint

    click(bench)
    paint(bench, "A", (2, 6, 2, 6, CENTER[2], CENTER[2]))
    click(bench, (CENTER[0] + 6, CENTER[1], CENTER[2]))
    assert bench.voxels("A")[CENTER[2], 2:7, 2:7].all()


def test_prompts_move_with_the_volume_and_a_warp_is_refused_with_a_reason(bench):
    import mrml

    click(bench)
    point = bench.scene.GetFirstNodeByClass("vtkMRMLMarkupsFiducialNode")
    before = np.array(point.GetNthControlPointPositionWorld(0))
    shift = np.eye(4)
    shift[:3, 3] = (10, 0, 0)
    bench.volume.SetAndObserveTransformNodeID(mrml.add_linear_transform(shift).GetID())
    bench.run()
    point = bench.scene.GetFirstNodeByClass("vtkMRMLMarkupsFiducialNode")
    assert np.allclose(np.array(point.GetNthControlPointPositionWorld(0)) - before, (10, 0, 0), atol=1e-3)
    uploads = bench.client.requests.count("open_volume")
    bench.volume.SetAndObserveTransformNodeID(mrml.add_bspline_transform().GetID())
    bench.run()
    assert "not linear" in bench.controller.status.error
    view = bench.views["Axial"]
    view.click(200, 150)
    bench.run()
    assert len(bench.controller.store.prompts(bench.segmentation, "A")) == 1
    bench.volume.SetAndObserveTransformNodeID(None)
    bench.run()
    assert bench.controller.status.error == ""
    assert bench.client.requests.count("open_volume") == uploads
    click(bench, (CENTER[0] + 8, CENTER[1], CENTER[2]))
    assert len(bench.controller.prompts) == 2


def test_changed_voxels_are_handed_over_again(bench):
    click(bench)
    uploads = bench.client.requests.count("open_volume")
    slicer.util.arrayFromVolume(bench.volume)[:] = 7
    bench.volume.GetImageData().GetPointData().GetScalars().Modified()
    bench.volume.GetImageData().Modified()
    bench.volume.Modified()
    bench.run()
    click(bench, (CENTER[0] + 8, CENTER[1], CENTER[2]))
    assert bench.client.requests.count("open_volume") == uploads + 1
