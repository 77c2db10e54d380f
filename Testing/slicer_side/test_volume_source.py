"""Which volumes are taken, and where a click or a box in a view falls."""

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the wheel slicer-core in its own environment")

import mrml  # noqa: E402
from SAM2_3dMedLib.slicer_side.volume_source import (  # noqa: E402
    PromptOutside,
    VolumeSourceError,
    is_current,
    read_volume_source,
)

SHAPE = (10, 24, 32)  # K, J, I


def array():
    return np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)


def turned(degrees, axis):
    a = np.radians(degrees)
    turn = np.eye(4)
    first, second = [other for other in (0, 1, 2) if other != axis]
    turn[first, first] = turn[second, second] = np.cos(a)
    turn[first, second], turn[second, first] = -np.sin(a), np.sin(a)
    return turn


GEOMETRIES = {
    "axial": mrml.AXIAL_LPS,
    "left-handed": np.diag([0.9, -0.9, 3.0, 1.0]),
    "sagittal": np.array([[0, 0, 2.0, -9], [-0.8, 0, 0, 4], [0, -0.7, 0, 30], [0, 0, 0, 1]]),
    "oblique": turned(20, 0) @ turned(15, 2) @ mrml.AXIAL_LPS,
}


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("moved", [False, True], ids=["plain", "transformed"])
def test_voxels_go_to_the_world_and_back_as_mrml_says(scene, name, moved):
    node = mrml.add_volume(array(), GEOMETRIES[name])
    if moved:
        outer = mrml.add_linear_transform(turned(33, 1) + np.array([[0, 0, 0, 9]] + [[0] * 4] * 3))
        inner = mrml.add_linear_transform(np.diag([1.1, 0.9, 1.0, 1.0]))
        inner.SetAndObserveTransformNodeID(outer.GetID())
        node.SetAndObserveTransformNodeID(inner.GetID())
    source = read_volume_source(node)
    ijk = np.array([[0, 0, 0], [31, 23, 9], [4.25, 7, 3]], dtype=float)
    world = source.ijk_to_world(ijk)
    expected = []
    for point in ijk:
        local = mrml.vtk.vtkMatrix4x4()
        node.GetIJKToRASMatrix(local)
        position = [0.0, 0.0, 0.0]
        node.TransformPointToWorld(local.MultiplyPoint((*point, 1.0))[:3], position)
        expected.append(position)
    assert np.allclose(world, expected)
    assert np.allclose(source.world_to_ijk(world), ijk)


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_view_along_a_slice_axis_picks_that_axis_and_the_slice_under_the_click(scene, name, axis):
    source = read_volume_source(mrml.add_volume(array(), GEOMETRIES[name]))
    direction = GEOMETRIES[name][:3, :3]
    view = mrml.add_slice_node(direction[:, axis], direction[:, (axis + 1) % 3])
    ijk = np.array([5.2, 7.4, 3.3])
    found = source.view_slice(view, source.ijk_to_world(ijk[None])[0])
    assert found.axis == axis
    assert found.index == round(ijk[axis])
    assert np.allclose(found.ijk, ijk)
    assert not found.oblique
    assert found.angle == pytest.approx(0, abs=1e-3)


def test_an_oblique_view_takes_the_exact_voxel_on_the_nearest_axis(scene):
    source = read_volume_source(mrml.add_volume(array()))
    view = mrml.add_slice_node(turned(30, 0)[:3, 2], (1, 0, 0))
    found = source.view_slice(view, source.ijk_to_world([[5, 7, 3]])[0])
    assert (found.axis, found.index, found.oblique) == (2, 3, True)
    assert found.angle == pytest.approx(30, abs=1e-3)


def test_a_view_of_a_moved_volume_follows_the_transform(scene):
    node = mrml.add_volume(array())
    node.SetAndObserveTransformNodeID(mrml.add_linear_transform(turned(90, 0)).GetID())
    source = read_volume_source(node)
    view = mrml.add_slice_node((0, 0, 1), (0, 1, 0))
    assert source.view_axis(view)[0] == 1


@pytest.mark.parametrize("ijk", [(-0.6, 3, 3), (5, 24, 3), (5, 3, 9.6)])
def test_a_click_outside_says_so(scene, ijk):
    source = read_volume_source(mrml.add_volume(array()))
    view = mrml.add_slice_node((0, 0, 1), (0, 1, 0))
    with pytest.raises(PromptOutside, match="outside the volume"):
        source.view_slice(view, source.ijk_to_world([ijk])[0])


@pytest.mark.parametrize("ijk", [(-0.4, 3, 3), (31.4, 23.4, 9.4)])
def test_a_click_on_the_outer_half_of_a_border_voxel_counts(scene, ijk):
    source = read_volume_source(mrml.add_volume(array()))
    view = mrml.add_slice_node((0, 0, 1), (0, 1, 0))
    assert source.view_slice(view, source.ijk_to_world([ijk])[0]).index == round(ijk[2])


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_box_drawn_in_any_direction_covers_the_same_voxels(scene, name):
    source = read_volume_source(mrml.add_volume(array(), GEOMETRIES[name]))
    view = mrml.add_slice_node(GEOMETRIES[name][:3, 2], GEOMETRIES[name][:3, 1])
    corners = np.array([[4, 6, 3], [12, 6, 3], [12, 15, 3], [4, 15, 3]], dtype=float)
    for order in ([0, 1, 2, 3], [2, 3, 0, 1], [1, 0, 3, 2]):
        axis, low, high = source.box_in_view(view, source.ijk_to_world(corners[order]))
        assert axis == 2
        assert np.allclose(low, (4, 6, 3))
        assert np.allclose(high, (12, 15, 3))


def test_a_box_over_the_edge_is_clipped_and_one_beside_the_volume_refused(scene):
    source = read_volume_source(mrml.add_volume(array()))
    view = mrml.add_slice_node((0, 0, 1), (0, 1, 0))
    corners = np.array([[-20, 6, 3], [12, 6, 3], [12, 60, 3], [-20, 60, 3]], dtype=float)
    _, low, high = source.box_in_view(view, source.ijk_to_world(corners))
    assert np.allclose(low, (0, 6, 3))
    assert np.allclose(high, (12, 23, 3))
    with pytest.raises(PromptOutside, match="draw it over the image"):
        source.box_in_view(view, source.ijk_to_world(corners + np.array([100, 0, 0])))
    with pytest.raises(PromptOutside):
        source.box_in_view(view, source.ijk_to_world(corners + np.array([0, 0, 20])))


def refused(scene_unused, case):
    if case == "nothing":
        return None
    if case == "label map":
        return mrml.add_volume(array(), class_name="vtkMRMLLabelMapVolumeNode")
    if case == "model":
        return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")
    if case == "empty":
        return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    if case == "color":
        return mrml.add_volume(np.zeros((4, 5, 6, 3), np.uint8), class_name="vtkMRMLVectorVolumeNode")
    if case == "one slice":
        return mrml.add_volume(np.zeros((1, 24, 32), np.int16))
    node = mrml.add_volume(array())
    node.SetAndObserveTransformNodeID(mrml.add_bspline_transform().GetID())
    return node


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ("nothing", "choose one"),
        ("label map", "select the image"),
        ("model", "is not a volume"),
        ("empty", "holds no voxels"),
        ("color", "Vector to Scalar Volume"),
        ("one slice", "a 3D volume is needed"),
        ("warped", "harden it"),
    ],
)
def test_what_cannot_be_segmented_is_refused_with_a_way_out(scene, case, sentence):
    with pytest.raises(VolumeSourceError, match=sentence):
        read_volume_source(refused(scene, case))


def test_the_array_is_the_nodes_own(scene):
    node = mrml.add_volume(array())
    source = read_volume_source(node)
    assert np.array_equal(source.array, array())
    assert source.shape_ijk == (32, 24, 10)
    assert source.contains((31, 23, 9))


def test_changed_voxels_make_another_volume_and_a_transform_does_not(scene):
    node = mrml.add_volume(array())
    source = read_volume_source(node)
    node.SetAndObserveTransformNodeID(mrml.add_linear_transform(turned(30, 0)).GetID())
    assert is_current(source)
    assert read_volume_source(node).volume_id == source.volume_id
    node.GetImageData().GetPointData().GetScalars().Modified()
    assert not is_current(source)
    assert read_volume_source(node).volume_id != source.volume_id
    slicer.mrmlScene.RemoveNode(node)
    assert not is_current(source)


def test_a_deleted_volume_answers_with_a_sentence(scene):
    node = mrml.add_volume(array())
    source = read_volume_source(node)
    slicer.mrmlScene.RemoveNode(node)
    with pytest.raises(VolumeSourceError, match="was deleted"):
        source.world_to_ijk([[0, 0, 0]])


def test_the_modality_comes_from_the_dicom_attribute(scene):
    node = mrml.add_volume(array())
    assert read_volume_source(node).modality is None
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    hierarchy.SetItemAttribute(item, "DICOM.Modality", "MR")
    assert read_volume_source(node).modality == "MR"
