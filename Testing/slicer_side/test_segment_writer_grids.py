"""Slices of the volume land where they lie, whatever the grids and the parent transforms of volume and segmentation."""

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the wheel slicer-core in its own environment")

import mrml  # noqa: E402
import test_segment_writer  # noqa: E402
from SAM2_3dMedLib.slicer_side.volume_source import VolumeSourceError  # noqa: E402
from test_segment_writer import SHAPE, Bench, J, K, disk  # noqa: E402

bench = test_segment_writer.bench
LEFT_HANDED = np.array([[0.9, 0, 0, 5], [0, -0.9, 0, 7], [0, 0, 3.0, -20], [0, 0, 0, 1]])


def oblique(degrees=25.0):
    a = np.radians(degrees)
    turn = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag([-0.8, -0.8, 2.5])
    matrix[:3, 3] = 11, -3, 40
    return matrix


@pytest.mark.parametrize("matrix", [LEFT_HANDED, oblique()], ids=["left-handed", "oblique"])
def test_any_direction_matrix_and_a_segmentation_without_geometry(scene, matrix):
    bench = Bench(matrix, reference=False)
    bench.write(bench.one, (K, 3, disk(K)), (J, 8, disk(J, rows=slice(2, 8))))
    expected = np.zeros(SHAPE, dtype=bool)
    expected[3] = disk(K)
    expected[:, 8] = disk(J, rows=slice(2, 8))
    assert np.array_equal(bench.voxels(bench.one), expected)


def test_parent_transforms_of_volume_and_segmentation(scene):
    bench = Bench(reference=False)
    move = np.eye(4)
    move[:3, :3] = oblique(20)[:3, :3] @ np.diag([-1 / 0.8, -1 / 0.8, 1 / 2.5])
    move[:3, 3] = 30, -12, 4
    bench.volume.SetAndObserveTransformNodeID(mrml.add_linear_transform(move).GetID())
    bench.write(bench.one, (K, 3, disk(K)))
    assert np.array_equal(bench.voxels(bench.one)[3], disk(K))
    # A segmentation under a transform of its own. Slicer's export resamples such a segment, half a voxel off; so
    # the stored voxels are looked at.
    segmentation, (other,) = mrml.add_segmentation("other")
    turn = np.eye(4)
    turn[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    segmentation.SetAndObserveTransformNodeID(mrml.add_linear_transform(turn).GetID())
    bench.segmentation = segmentation
    bench.write(other, (K, 3, disk(K)))
    assert np.array_equal(bench.writer.slice_mask(segmentation, other, bench.source, K, 3), disk(K))
    image = segmentation.GetBinaryLabelmapInternalRepresentation(other)
    positions = world_positions(image, segmentation)
    expected = bench.source.ijk_to_world(np.argwhere(disk(K)[None])[:, ::-1] + [0, 0, 3])
    assert np.allclose(np.sort(positions, axis=0), np.sort(expected, axis=0), atol=1e-6)


def world_positions(image, segmentation):
    """Where the set voxels of a stored label map are in the world, [N, 3]."""
    matrix, to_world = mrml.vtk.vtkMatrix4x4(), mrml.vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(segmentation.GetParentTransformNode(), None, to_world)
    mrml.vtk.vtkMatrix4x4.Multiply4x4(to_world, matrix, matrix)
    e = image.GetExtent()
    values = mrml.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    values = values.reshape(e[5] - e[4] + 1, e[3] - e[2] + 1, e[1] - e[0] + 1)
    ijk = np.argwhere(values)[:, ::-1] + np.array(e[0::2])
    return np.array([matrix.MultiplyPoint((*map(float, point), 1.0))[:3] for point in ijk])


def test_a_warped_volume_is_refused_with_a_way_out(bench):
    bench.volume.SetAndObserveTransformNodeID(mrml.add_bspline_transform().GetID())
    with pytest.raises(VolumeSourceError, match="not linear: harden it"):
        bench.write(bench.one, (K, 3, disk(K)))
    assert not bench.writer.in_action


@pytest.mark.parametrize(("factor", "shift"), [((0.5, 0.5, 0.5), (0, 0, 0)), ((2.0, 2.0, 1.0), (0.3, 0, 0.2))])
def test_a_segmentation_of_another_grid_takes_each_slice_where_it_lies(scene, factor, shift):
    bench = Bench()
    shape = tuple(int(n / f) for n, f in zip(SHAPE, factor[::-1], strict=True))
    matrix = mrml.AXIAL_LPS @ np.diag([*factor, 1.0])
    matrix[:3, 3] = np.asarray(shift)
    grid = mrml.add_volume(np.zeros(shape, np.uint8), matrix, "grid")
    bench.segmentation, (segment,) = mrml.add_segmentation("fine", reference=grid)
    bench.editor.SetAndObserveSegmentationNode(bench.segmentation)
    masks = {k: disk(K, rows=slice(5, 12 + k % 3)) for k in range(2, 7)}
    bench.write(segment, *[(K, k, mask) for k, mask in masks.items()])
    voxels = mrml.segment_array(bench.segmentation, segment, grid)
    k, j, i = np.indices(shape)
    to_volume = np.linalg.inv(mrml.AXIAL_LPS) @ matrix
    ijk = np.floor(np.stack([i, j, k], -1) @ to_volume[:3, :3].T + to_volume[:3, 3] + 0.5).astype(int)
    inside = np.all((ijk >= 0) & (ijk < SHAPE[::-1]), axis=-1)
    truth = np.zeros(SHAPE, dtype=bool)
    for k, mask in masks.items():
        truth[k] = mask
    expected = np.zeros(shape, dtype=bool)
    expected[inside] = truth[ijk[inside][:, 2], ijk[inside][:, 1], ijk[inside][:, 0]]
    assert expected.any()
    assert np.array_equal(voxels, expected)
    bench.write(segment, (K, 4, np.zeros_like(masks[4])))
    erased = mrml.segment_array(bench.segmentation, segment, grid)
    assert np.array_equal(erased, expected & ~(inside & (ijk[..., 2] == 4)))


def test_a_cropped_segmentation_takes_what_lies_inside_it(scene):
    bench = Bench()
    matrix = mrml.AXIAL_LPS.copy()
    matrix[:3, 3] = mrml.AXIAL_LPS[:3, :3] @ np.array([8, 6, 2])
    crop = mrml.add_volume(np.zeros((6, 10, 12), np.uint8), matrix, "crop")
    bench.segmentation, (segment,) = mrml.add_segmentation("cropped", reference=crop)
    bench.editor.SetAndObserveSegmentationNode(bench.segmentation)
    bench.write(segment, (K, 3, disk(K)), (K, 9, disk(K)))
    expected = np.zeros(SHAPE, dtype=bool)
    expected[3] = disk(K)
    expected[3, :6] = expected[3, :, :8] = False
    assert np.array_equal(mrml.segment_array(bench.segmentation, segment, bench.volume), expected)
