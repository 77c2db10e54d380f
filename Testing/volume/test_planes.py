"""What the network sees does not depend on how the file is stored, and every conversion comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from SAM2_3dMedLib.volume.errors import VolumeError
from SAM2_3dMedLib.volume.field_of_view import FieldOfView
from SAM2_3dMedLib.volume.geometry import Geometry, affine_from_parts
from SAM2_3dMedLib.volume.images import Volume
from SAM2_3dMedLib.volume.planes import SliceAxis, SlicePlane, axis_along, axis_of_orientation, nearest_patient_axes
from scipy.spatial.transform import Rotation

ORIENTATIONS = ("axial", "coronal", "sagittal")
angles = st.tuples(*[st.floats(-180, 180)] * 3)
shapes = st.tuples(*[st.integers(2, 40)] * 3)
axes = st.sampled_from(list(SliceAxis))


def oblique(turn: tuple[float, float, float], shape: tuple[int, int, int], mirrored: bool) -> Geometry:
    directions = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    if mirrored:
        directions[:, 0] *= -1
    return Geometry(affine_from_parts((10, -20, 30), (0.7, 1.1, 3.0), directions), shape)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_all_48_ways_to_store_a_volume_give_the_same_slices(turned: list[Volume], orientation: str) -> None:
    seen = []
    for volume in turned:
        plane = SlicePlane.of(volume.geometry, axis_of_orientation(volume.geometry, orientation))
        slices = [plane.extract(volume.array, plane.index_at(position)) for position in range(plane.slice_count)]
        seen.append((np.stack(slices), plane.pixel_spacing, plane.spacing_between_slices, plane.orientation))
    for slices, pixel_spacing, spacing, name in seen:
        np.testing.assert_array_equal(slices, seen[0][0])
        assert pixel_spacing == pytest.approx(seen[0][1])
        assert spacing == pytest.approx(seen[0][2])
        assert name == orientation


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_place_in_the_patient_is_the_same_network_pixel_in_all_48(turned: list[Volume], orientation: str) -> None:
    here, there = turned[0].geometry.to_ras([[20.3, 31.0, 7.2], [41, 44, 19]])
    points, boxes = [], []
    for volume in turned:
        plane = SlicePlane.of(volume.geometry, axis_of_orientation(volume.geometry, orientation))
        ijk_a, ijk_b = volume.geometry.to_ijk([here, there])
        points.append(plane.to_network([ijk_a, ijk_b], 512))
        boxes.append(plane.box_to_network(ijk_a, ijk_b, 512))
    np.testing.assert_allclose(points, np.broadcast_to(points[0], np.shape(points)), atol=1e-6)
    np.testing.assert_allclose(boxes, np.broadcast_to(boxes[0], np.shape(boxes)), atol=1e-6)


def test_canonical_slices_point_to_the_sides_of_the_patient_they_should(spinal_cord: Volume) -> None:
    expected = {
        "axial": ([-1, 0, 0], [0, -1, 0], [0, 0, 1]),
        "coronal": ([-1, 0, 0], [0, 0, -1], [0, -1, 0]),
        "sagittal": ([0, -1, 0], [0, 0, -1], [-1, 0, 0]),
    }
    geometry = spinal_cord.geometry
    for orientation, (columns, rows, slices) in expected.items():
        plane = SlicePlane.of(geometry, axis_of_orientation(geometry, orientation))
        first = plane.index_at(0)
        corner, right, down = geometry.to_ras(plane.from_pixels([[0, 0], [1, 0], [0, 1]], first))
        next_slice = geometry.to_ras(plane.from_pixels([[0, 0]], plane.index_at(1)))[0]
        np.testing.assert_allclose(right - corner, columns, atol=1e-5)  # spacing is 1 mm
        np.testing.assert_allclose(down - corner, rows, atol=1e-5)
        np.testing.assert_allclose(next_slice - corner, slices, atol=1e-5)


@given(angles, shapes, st.booleans(), axes)
def test_a_slice_comes_back_in_array_orientation(
    turn: tuple[float, float, float], shape: tuple[int, int, int], mirrored: bool, axis: SliceAxis
) -> None:
    geometry = oblique(turn, shape, mirrored)
    plane = SlicePlane.of(geometry, axis)
    array = np.arange(np.prod(shape)).reshape(geometry.shape_kji)
    index = plane.slice_count // 2
    canonical = plane.extract(array, index)
    assert canonical.shape == plane.shape
    assert canonical.flags.c_contiguous
    back = plane.restore(canonical)
    assert back.shape == plane.array_shape
    np.testing.assert_array_equal(back, np.take(array, index, axis=2 - axis))
    stack = np.stack([canonical, canonical + 1])
    np.testing.assert_array_equal(plane.to_canonical(plane.restore(stack)), stack)
    assert sorted(plane.order(index) for index in range(plane.slice_count)) == list(range(plane.slice_count))


@given(angles, shapes, st.booleans(), axes, st.data())
def test_the_pixel_of_a_voxel_shows_that_voxel(
    turn: tuple[float, float, float], shape: tuple[int, int, int], mirrored: bool, axis: SliceAxis, data: st.DataObject
) -> None:
    geometry = oblique(turn, shape, mirrored)
    plane = SlicePlane.of(geometry, axis)
    array = np.arange(np.prod(shape)).reshape(geometry.shape_kji)
    i, j, k = (data.draw(st.integers(0, count - 1)) for count in shape)
    ((x, y),) = plane.to_pixels([(i, j, k)]).astype(int)
    assert plane.extract(array, (i, j, k)[axis])[y, x] == array[k, j, i]


@given(angles, shapes, st.booleans(), axes, st.sampled_from([512, 1024]), st.data())
def test_points_and_boxes_come_back_from_the_network(
    turn: tuple[float, float, float],
    shape: tuple[int, int, int],
    mirrored: bool,
    axis: SliceAxis,
    size: int,
    data: st.DataObject,
) -> None:
    plane = SlicePlane.of(oblique(turn, shape, mirrored), axis)
    index = data.draw(st.integers(0, plane.slice_count - 1))
    corners = np.array([[data.draw(st.integers(0, count - 1)) for count in shape] for _ in range(2)], dtype=float)
    corners[:, axis] = index
    points = corners + np.where(np.arange(3) == axis, 0, data.draw(st.floats(-0.49, 0.49)))
    np.testing.assert_allclose(plane.to_ijk(plane.to_network(points, size), index, size), points, atol=1e-9)
    back = np.array(plane.box_to_ijk(plane.box_to_network(*corners, size), index, size))
    np.testing.assert_allclose(np.sort(back, axis=0), np.sort(corners, axis=0), atol=1e-9)


def test_network_pixels_by_hand() -> None:
    # Identity RAS: columns toward Left are i reversed, rows toward Posterior are j reversed. 4 columns on 512: 128
    # network pixels each.
    plane = SlicePlane.of(Geometry(np.eye(4), (4, 8, 3)), SliceAxis.K)
    np.testing.assert_allclose(plane.to_network([[3, 7, 1], [0, 0, 1]], 512), [[63.5, 31.5], [447.5, 479.5]])
    # Voxels i 2..3 and j 6..7 are the first two columns and rows.
    assert plane.box_to_network((2, 6, 1), (3, 7, 1), 512) == (0, 0, 255, 127)
    assert plane.box_to_network((0, 0, 1), (3, 7, 1), 512) == (0, 0, 511, 511)


@given(st.floats(-44, 44), st.sampled_from("xyz"), shapes)
def test_a_turn_below_45_degrees_changes_no_view(turn: float, around: str, shape: tuple[int, int, int]) -> None:
    directions = Rotation.from_euler(around, turn, degrees=True).as_matrix()
    geometry = Geometry(affine_from_parts((0, 0, 0), (1, 1, 3), directions), shape)
    assert nearest_patient_axes(geometry.ijk_to_ras) == ((0, 1, 2), (1, 1, 1))
    assert axis_along(geometry, directions[:, 1] * -7) is SliceAxis.J


def test_a_file_at_exactly_45_degrees_is_stored_in_48_ways_too(
    sarcoma_mr: Volume, turn_all_ways: Callable[[Volume], Iterator[Volume]]
) -> None:
    directions = Rotation.from_euler("z", 45, degrees=True).as_matrix()
    tilted = replace(sarcoma_mr, ijk_to_ras=affine_from_parts((0, 0, 0), (1, 1, 3), directions))
    for orientation in ORIENTATIONS:
        first = None
        for volume in turn_all_ways(tilted):
            plane = SlicePlane.of(volume.geometry, axis_of_orientation(volume.geometry, orientation))
            shown = plane.extract(volume.array, plane.index_at(5))
            first = shown if first is None else first
            np.testing.assert_array_equal(shown, first)


def test_wrong_slices_and_words_are_refused(sarcoma_mr: Volume) -> None:
    plane = SlicePlane.of(sarcoma_mr.geometry, SliceAxis.K)
    with pytest.raises(IndexError, match="slices run from 0 to 24"):
        plane.extract(sarcoma_mr.array, -1)
    with pytest.raises(ValueError, match="not of the volume's shape"):
        plane.extract(sarcoma_mr.array[1:], 0)
    with pytest.raises(VolumeError, match="use axial, coronal or sagittal"):
        axis_of_orientation(sarcoma_mr.geometry, "oblique")


@given(turn=angles, mirrored=st.booleans(), shape=shapes, axis=axes, data=st.data())
def test_a_field_of_view_is_the_slice_of_a_volume_that_was_cut_to_it(
    turn: tuple[float, float, float], mirrored: bool, shape: tuple[int, int, int], axis: SliceAxis, data: st.DataObject
) -> None:
    geometry = oblique(turn, shape, mirrored)
    whole = SlicePlane.of(geometry, axis)
    ends = [
        sorted(data.draw(st.tuples(*[st.integers(0, count)] * 2).filter(lambda pair: pair[0] != pair[1])))
        for count in whole.whole_shape
    ]
    plane = whole.within(FieldOfView(*ends[0], *ends[1]))
    array = np.arange(np.prod(shape), dtype=np.int32).reshape(shape[::-1])
    rows, columns = (slice(*pair) for pair in ends)
    np.testing.assert_array_equal(plane.extract(array, 1), whole.extract(array, 1)[rows, columns])
    # The cut volume, by numpy: which voxels are seen is read off their numbers.
    seen = np.unravel_index(plane.extract(array, 1).ravel(), array.shape)
    low = np.array([indices.min() for indices in seen])
    cuts = [
        slice(None) if 2 - number == axis else slice(int(low[number]), int(indices.max()) + 1)
        for number, indices in enumerate(seen)
    ]
    cut = array[tuple(cuts)]
    origin = low[::-1] * (np.arange(3) != axis)
    alone = SlicePlane.of(Geometry(geometry.ijk_to_ras, cut.shape[::-1]), axis)
    np.testing.assert_array_equal(alone.extract(cut, 1), plane.extract(array, 1))
    ijk = np.array([[0.3, 1.2, 0.9], [1.0, 0.0, 1.0]])
    np.testing.assert_allclose(plane.to_network(ijk, 512), alone.to_network(ijk - origin, 512), atol=1e-9)
    np.testing.assert_allclose(
        plane.box_to_network(ijk[0], ijk[1], 512), alone.box_to_network(ijk[0] - origin, ijk[1] - origin, 512)
    )
    np.testing.assert_allclose(plane.to_ijk(plane.to_network(ijk, 512), ijk[:, axis], 512), ijk, atol=1e-9)
    back = plane.restore(plane.to_canonical(array.take(1, axis.array_axis)))
    inside = np.isin(array.take(1, axis.array_axis), plane.extract(array, 1))
    np.testing.assert_array_equal(back, np.where(inside, array.take(1, axis.array_axis), 0))


def test_a_field_beyond_the_slice_is_refused() -> None:
    plane = SlicePlane.of(oblique((0, 0, 0), (10, 12, 3), mirrored=False), SliceAxis.K)
    with pytest.raises(ValueError, match="beyond the slice of 12 x 10"):
        plane.within(FieldOfView(0, 12, 0, 11))
    with pytest.raises(ValueError, match="at least one pixel"):
        FieldOfView(3, 3, 0, 1)
