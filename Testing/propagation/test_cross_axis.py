"""What a mask on another axis implies for the slices that cross it."""

import numpy as np
import pytest
from SAM2_3dMedLib.propagation.cross_axis import implied_by_mask, implied_by_point
from SAM2_3dMedLib.propagation.prompts import PointPrompt
from SAM2_3dMedLib.volume.planes import SliceAxis

SHAPE_IJK = (30, 26, 22)
SAGITTAL, J, K = SliceAxis


def test_a_point_becomes_the_same_voxels_point() -> None:
    point = implied_by_point(PointPrompt(J, (3.4, 7.0, 11.6), False), K)
    assert point == PointPrompt(K, (3.0, 7.0, 12.0), False)


@pytest.mark.parametrize(("mask_axis", "axis"), [(a, b) for a in SliceAxis for b in SliceAxis if a != b])
def test_points_lie_inside_the_mask_or_just_outside_of_it(mask_axis: SliceAxis, axis: SliceAxis) -> None:
    volume = np.zeros(SHAPE_IJK[::-1], bool)
    volume[4:16, 6:19, 8:23] = True
    index = 11
    mask = np.take(volume, index, axis=2 - mask_axis)
    implied = implied_by_mask(mask, mask_axis, index, axis)
    assert len(implied) == 5
    extent = np.flatnonzero(np.moveaxis(volume, 2 - axis, 0).any(axis=(1, 2)))
    assert extent[0] < min(implied) < max(implied) < extent[-1]
    for place, points in implied.items():
        assert [point.positive for point in points] == [True, False, False]
        for point in points:
            assert point.axis == axis
            assert point.slice_index == place
            assert point.position[mask_axis] == index
            i, j, k = (round(value) for value in point.position)
            assert volume[k, j, i] == point.positive


def test_a_thin_mask_gives_as_many_slices_as_it_has_and_no_point_outside_the_volume() -> None:
    mask = np.zeros((22, 26), bool)  # slice along I: rows K, columns J
    mask[7:9, 0:26] = True
    implied = implied_by_mask(mask, SAGITTAL, 3, K)
    assert sorted(implied) == [7, 8]
    assert all([point.positive for point in points] == [True] for points in implied.values())


def test_a_negative_point_never_falls_into_another_part() -> None:
    mask = np.zeros((22, 26), bool)
    mask[7, 5:12] = True
    mask[7, 13:16] = True
    (points,) = implied_by_mask(mask, SAGITTAL, 3, K).values()
    assert [(point.position[1], point.positive) for point in points] == [(8.0, True), (3.0, False)]


def test_an_empty_mask_implies_nothing() -> None:
    assert implied_by_mask(np.zeros((22, 26), bool), SAGITTAL, 3, K) == {}
