"""A segment's prompts are voxels of one volume: what happens when another one is chosen as source."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the wheel slicer-core in its own environment")

import mrml  # noqa: E402
import test_controller  # noqa: E402
from test_controller import CENTER, click_at  # noqa: E402
from tool_bench import smooth_volume  # noqa: E402

bench, no_weights_needed = test_controller.bench, test_controller.no_weights_needed


@pytest.fixture
def cropped(bench):
    """The volume without its first 5 slices, 8 rows and 10 columns: another grid over the same anatomy."""
    shift = np.eye(4)
    shift[:3, 3] = (10, 8, 5)
    return mrml.add_volume(smooth_volume()[5:, 8:, 10:].copy(), mrml.AXIAL_LPS @ shift, "cropped")


def choose(bench, volume) -> None:
    bench.editor.SetAndObserveSourceVolumeNode(volume)
    bench.controller.refresh_context()
    bench.run()


def test_prompts_of_another_grid_are_neither_shown_nor_used_and_the_user_is_told(bench, cropped):
    click_at(bench, bench.views["Axial"], CENTER)
    before = bench.voxels("A")
    choose(bench, cropped)
    assert '"CT"' in bench.controller.status.error
    assert "select it as source volume" in bench.controller.status.error
    assert bench.controller.shown_prompts == ()
    assert len(bench.controller.prompts) == 1
    assert bench.controller.review.axis is None
    assert not bench.controller.propagate()
    click_at(bench, bench.views["Axial"], (CENTER[0] + 5, CENTER[1], CENTER[2]))
    assert len(bench.controller.prompts) == 1
    assert '"CT"' in bench.controller.status.error
    assert (bench.voxels("A") == before).all()
    choose(bench, bench.volume)
    assert bench.controller.status.error == ""
    assert len(bench.controller.shown_prompts) == 1
    assert bench.controller.propagate()
    bench.run()
    assert bench.voxels("A").sum() > before.sum()


def test_deleted_prompts_make_way_for_the_new_volume_and_undo_brings_them_back_as_those_of_the_old(bench, cropped):
    click_at(bench, bench.views["Axial"], CENTER)
    first = bench.controller.prompts[0].prompt
    choose(bench, cropped)
    bench.controller.clear_prompts()
    bench.run()
    assert bench.controller.elsewhere == ""
    click_at(bench, bench.views["Axial"], CENTER)
    (stored,) = bench.controller.prompts
    assert np.allclose(stored.prompt.position, np.subtract(CENTER, (10, 8, 5)), atol=0.5)
    for _ in range(2):  # the click, and the deletion
        bench.undo()
    assert [stored.prompt for stored in bench.controller.prompts] == [first]
    assert '"CT"' in bench.controller.elsewhere
    bench.redo()
    bench.redo()
    assert np.allclose(bench.controller.prompts[0].prompt.position, stored.prompt.position)
    assert bench.controller.elsewhere == ""


def test_what_is_deleted_while_another_volume_is_chosen_is_gone_for_the_engine_too(bench, cropped):
    click_at(bench, bench.views["Axial"], CENTER)
    second = (CENTER[0] + 6, CENTER[1], CENTER[2])
    click_at(bench, bench.views["Axial"], second)
    source = bench.controller.source
    choose(bench, cropped)
    bench.controller.delete_last_prompt()
    bench.run()
    choose(bench, bench.volume)
    assert bench.controller.propagate()
    bench.run()
    known = bench.client.prompts(source.volume_id, bench.controller.key.object_id)
    assert known == tuple(stored.prompt for stored in bench.controller.prompts)
    assert len(known) == 1


def test_prompts_of_a_series_on_the_same_grid_go_on_there(bench):
    click_at(bench, bench.views["Axial"], CENTER)
    other = mrml.add_volume(smooth_volume() + 5, mrml.AXIAL_LPS, "T2")
    choose(bench, other)
    assert bench.controller.status.error == ""
    assert len(bench.controller.shown_prompts) == 1
    assert bench.controller.propagate()
    bench.run()
    assert len(np.flatnonzero(bench.voxels("A").any(axis=(1, 2)))) > 1


def test_a_volume_that_was_moved_keeps_its_prompts_and_one_that_was_cropped_in_place_does_not(bench):
    click_at(bench, bench.views["Axial"], CENTER)
    moved = mrml.AXIAL_LPS.copy()
    moved[:3, 3] = (30, -20, 10)
    bench.volume.SetIJKToRASMatrix(mrml.to_matrix(moved))
    choose(bench, bench.volume)
    assert bench.controller.elsewhere == ""
    small = mrml.add_volume(smooth_volume()[5:].copy())
    bench.volume.SetAndObserveImageData(small.GetImageData())
    bench.controller.volume_changed()
    assert "other voxels" in bench.controller.elsewhere


def test_a_place_that_the_segmentation_does_not_reach_is_refused_with_what_to_do(bench):
    """Its grid was made of the volume, which then was put under a transform of its own."""
    shift = np.eye(4)
    shift[0, 3] = 0.8 * (CENTER[0] + 15)  # to the patient's right: the click's column lies outside now
    bench.volume.SetAndObserveTransformNodeID(mrml.add_linear_transform(shift).GetID())
    bench.controller.volume_changed()
    assert not bench.controller.add_point(bench.views["Axial"].node, bench.world(5, CENTER[1], CENTER[2]))
    assert "Specify geometry" in bench.controller.status.error
    assert bench.controller.prompts == ()
    assert bench.controller.add_point(bench.views["Axial"].node, bench.world(60, CENTER[1], CENTER[2]))


def test_a_deleted_source_volume_is_told(bench):
    bench.scene.RemoveNode(bench.volume)
    assert "was deleted" in bench.controller.status.error


def test_the_grid_comes_back_with_the_scene(bench, cropped, tmp_path):
    from SAM2_3dMedLib.slicer_side.prompt_store import PromptStore

    click_at(bench, bench.views["Axial"], CENTER)
    place = PromptStore(bench.scene).place(bench.segmentation, "A")
    path = tmp_path / "scene.mrml"
    bench.scene.SetURL(str(path))
    bench.scene.Commit()
    bench.scene.Clear(False)
    bench.scene.SetURL(str(path))
    bench.scene.Import()
    segmentation = bench.scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert PromptStore(bench.scene).place(segmentation, "A") == place
