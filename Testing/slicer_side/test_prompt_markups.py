"""Prompts in the views: color by sign, on their own place, dragged and deleted by the user, never saved, nobody
else's touched.
"""

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the wheel slicer-core in its own environment")

import mrml  # noqa: E402
import vtk  # noqa: E402
from SAM2_3dMedLib.propagation.prompts import BoxPrompt, PointPrompt  # noqa: E402
from SAM2_3dMedLib.slicer_side.prompt_markups import NEGATIVE_COLOR, POSITIVE_COLOR, PromptMarkups  # noqa: E402
from SAM2_3dMedLib.slicer_side.prompt_store import StoredPrompt  # noqa: E402
from SAM2_3dMedLib.slicer_side.volume_source import read_volume_source  # noqa: E402
from SAM2_3dMedLib.volume.planes import SliceAxis  # noqa: E402

PROMPTS = (
    StoredPrompt("a", PointPrompt(SliceAxis.K, (4.0, 6.0, 3.0), True)),
    StoredPrompt("b", PointPrompt(SliceAxis.K, (8.0, 6.0, 3.0), False)),
    StoredPrompt("c", PointPrompt(SliceAxis.K, (5.0, 9.0, 4.0), True)),
    StoredPrompt("d", BoxPrompt(SliceAxis.K, (2.0, 3.0, 3.0), (12.0, 15.0, 3.0))),
)


class Bench:
    def __init__(self, scene):
        self.volume = mrml.add_volume(np.zeros((10, 24, 32), np.int16))
        turn = np.array([[0, -1, 0, 5], [1, 0, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1.0]])
        self.volume.SetAndObserveTransformNodeID(mrml.add_linear_transform(turn).GetID())
        self.source = read_volume_source(self.volume)
        self.moved, self.deleted = [], []
        self.markups = PromptMarkups(scene, lambda *args: self.moved.append(args), self.deleted.append)
        self.markups.show(self.source, PROMPTS)

    def node(self, text):
        found = slicer.mrmlScene.GetNodesByName(f"SAM2-3dMed {text}")
        return found.GetItemAsObject(0)

    def drag(self, node, index, ijk):
        node.SetNthControlPointPositionWorld(index, *self.source.ijk_to_world(np.array([ijk]))[0])
        node.InvokeEvent(slicer.vtkMRMLMarkupsNode.PointEndInteractionEvent)


@pytest.fixture
def bench(scene):
    return Bench(scene)


def test_points_are_colored_by_sign_and_stand_where_they_were_clicked(bench):
    positive, negative = bench.node("positive points"), bench.node("negative points")
    assert positive.GetNumberOfControlPoints() == 2
    assert negative.GetNumberOfControlPoints() == 1
    assert positive.GetDisplayNode().GetSelectedColor() == pytest.approx(POSITIVE_COLOR)
    assert negative.GetDisplayNode().GetSelectedColor() == pytest.approx(NEGATIVE_COLOR)
    position = [0.0, 0.0, 0.0]
    positive.GetNthControlPointPositionWorld(1, position)
    assert np.allclose(bench.source.world_to_ijk([position])[0], (5, 9, 4))
    assert not positive.GetDisplayNode().GetSliceProjection()


def test_a_dragged_point_reports_its_new_place_and_nothing_else(bench):
    bench.drag(bench.node("positive points"), 1, (7.0, 10.0, 4.0))
    ((name, prompt),) = bench.moved
    assert name == "c"
    assert prompt.axis == SliceAxis.K
    assert prompt.positive
    assert prompt.position == pytest.approx((7, 10, 4))
    assert bench.deleted == []


def test_a_point_dragged_out_of_the_volume_goes_back(bench):
    node = bench.node("negative points")
    bench.drag(node, 0, (80.0, 6.0, 3.0))
    assert bench.moved == []
    position = [0.0, 0.0, 0.0]
    node.GetNthControlPointPositionWorld(0, position)
    assert np.allclose(bench.source.world_to_ijk([position])[0], (8, 6, 3))


def test_a_dragged_corner_keeps_the_opposite_one(bench):
    bench.drag(bench.node("box"), 2, (20.0, 18.0, 3.0))
    ((name, prompt),) = bench.moved
    assert name == "d"
    assert prompt.corner_a == pytest.approx((2, 3, 3))
    assert prompt.corner_b == pytest.approx((20, 18, 3))


def test_a_point_that_was_put_into_a_box_is_taken_out_and_the_box_stays(bench):
    """Ctrl-click on its outline inserts one; the box then had five corners, of which the drag moved one."""
    node = bench.node("box")
    place = bench.source.ijk_to_world(np.array([[10.0, 3.0, 3.0]]))[0]
    node.InsertControlPointWorld(1, vtk.vtkVector3d(*place))
    bench.drag(node, 3, (20.0, 18.0, 3.0))
    assert bench.moved == []
    assert bench.node("box").GetNumberOfControlPoints() == 4
    bench.drag(bench.node("box"), 2, (20.0, 18.0, 3.0))
    ((_, prompt),) = bench.moved
    assert prompt.corner_b == pytest.approx((20, 18, 3))


def test_a_deleted_point_is_reported(bench):
    bench.node("positive points").RemoveNthControlPoint(0)
    assert bench.deleted == ["a"]
    bench.node("box").RemoveNthControlPoint(1)
    assert bench.deleted == ["a", "d"]


def test_showing_others_is_not_taken_for_the_users_action_and_leaves_no_node(bench):
    others = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "mine")
    others.AddControlPoint(1, 2, 3)
    before = slicer.mrmlScene.GetNumberOfNodes()
    for _ in range(3):
        bench.markups.show(bench.source, PROMPTS)
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    bench.markups.show(bench.source, PROMPTS[1:2])
    assert bench.node("box") is None
    bench.markups.close()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode") == 1
    assert others.GetNumberOfControlPoints() == 1
    assert bench.moved == bench.deleted == []


def test_markups_are_not_saved_and_not_listed(bench):
    node = bench.node("positive points")
    assert not node.GetSaveWithScene()
    assert node.GetHideFromEditors()


def test_a_closed_scene_is_survived(bench):
    slicer.mrmlScene.Clear(False)
    bench.markups.clear()
    volume = mrml.add_volume(np.zeros((10, 24, 32), np.int16))
    bench.markups.show(read_volume_source(volume), PROMPTS)
    assert bench.node("positive points").GetNumberOfControlPoints() == 2


def test_the_node_that_the_user_places_points_in_stays_chosen(bench):
    selection = slicer.mrmlScene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    bench.markups.clear()
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", "mine")
    assert selection.GetActivePlaceNodeID() == mine.GetID()  # what the application does with every new markup
    bench.markups.show(bench.source, PROMPTS)
    assert selection.GetActivePlaceNodeID() == mine.GetID()
    assert selection.GetActivePlaceNodeClassName() == "vtkMRMLMarkupsLineNode"
    bench.markups.close()
    assert selection.GetActivePlaceNodeID() == mine.GetID()
