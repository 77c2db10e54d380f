"""The simulated user: where a careful person would put the box, the point and the corrections."""

import numpy as np
import pytest
from SAM2_3dMedLib.training.protocols import (
    box_prompt,
    correction_prompt,
    interior_pixel,
    largest_slice,
    point_prompt,
    slice_of,
    voxel_position,
)
from SAM2_3dMedLib.volume.geometry import Geometry
from SAM2_3dMedLib.volume.planes import SliceAxis, acquisition_axis

SHAPE_IJK = (12, 14, 9)


def geometry(spacing=(1.0, 1.0, 1.0)) -> Geometry:
    return Geometry(np.diag([*spacing, 1.0]), SHAPE_IJK)


@pytest.fixture
def mask():
    """Rows J 3..8, columns I 2..6 on K 2..5, larger on K 4 (I 1..9)."""
    mask = np.zeros(SHAPE_IJK[::-1], dtype=bool)
    mask[2:6, 3:9, 2:7] = True
    mask[4, 3:9, 1:10] = True
    return mask


@pytest.mark.parametrize(
    ("spacing", "axis"),
    [
        ((1, 1, 5), SliceAxis.K),
        ((1, 5, 1), SliceAxis.J),
        ((5, 1, 1), SliceAxis.I),
        ((1, 1, 1), SliceAxis.K),
        ((2, 2, 0.5), SliceAxis.K),
        ((3.0000001, 1, 3), SliceAxis.K),
    ],
)
def test_slices_are_those_that_were_acquired(spacing, axis):
    assert acquisition_axis(geometry(spacing)) == axis


def test_box_is_tight_on_the_largest_slice(mask):
    index = largest_slice(mask, SliceAxis.K)
    box = box_prompt(mask, SliceAxis.K, index)
    assert index == 4
    assert (box.corner_a, box.corner_b) == ((1, 3, 4), (9, 8, 4))


@pytest.mark.parametrize("axis", list(SliceAxis))
def test_positions_lead_back_to_the_voxel_on_every_axis(mask, axis):
    index = largest_slice(mask, axis)
    for row, column in np.argwhere(slice_of(mask, axis, index)):
        i, j, k = (int(x) for x in voxel_position(axis, index, row, column))
        assert mask[k, j, i]
        assert (i, j, k)[axis] == index
    box = box_prompt(mask, axis, index)
    low, high = np.minimum(box.corner_a, box.corner_b), np.maximum(box.corner_a, box.corner_b)
    held = np.argwhere(mask)[:, ::-1]
    held = held[held[:, axis] == index]
    np.testing.assert_array_equal(low, held.min(0))
    np.testing.assert_array_equal(high, held.max(0))


def test_point_is_in_the_middle_in_mm_not_in_pixels():
    """A wide bar and a square beside it: which holds the most interior pixel depends on the pixel spacing."""
    mask = np.zeros((20, 40), dtype=bool)
    mask[2:9, 1:39] = True  # 7 rows
    mask[12:19, 20:31] = True  # 7 x 11
    row, _ = interior_pixel(mask[:10], (1.0, 1.0))
    assert row == 5
    assert interior_pixel(mask[10:], (1.0, 1.0)) == (5, 25)
    assert interior_pixel(np.ones((3, 9), dtype=bool), (10.0, 1.0)) == (1, 4)


def test_point_prompt_is_positive_and_inside(mask):
    point = point_prompt(mask, SliceAxis.K, 4, geometry())
    i, j, k = (int(x) for x in point.position)
    assert mask[k, j, i]
    assert (point.positive, k) == (True, 4)
    assert 3 < j < 8


def test_correction_goes_to_the_largest_error_of_the_worst_slice(mask):
    found = mask.copy()
    found[2, 3:5, 2:4] = False  # small miss on K 2
    found[5, 9:13, 2:9] = True  # large excess on K 5 ...
    found[5, 3, 2] = False  # ... beside a small miss there
    click = correction_prompt(found, mask, SliceAxis.K, geometry())
    i, j, k = (int(x) for x in click.position)
    assert (click.positive, k) == (False, 5)
    assert 9 <= j < 13
    assert 3 < i < 8
    found[5] = False
    click = correction_prompt(found, mask, SliceAxis.K, geometry())
    i, j, k = (int(x) for x in click.position)
    assert (click.positive, k) == (True, 5)
    assert mask[k, j, i]


def test_no_correction_of_a_perfect_mask(mask):
    assert correction_prompt(mask, mask, SliceAxis.K, geometry()) is None


def test_empty_object_has_no_prompt(mask):
    with pytest.raises(ValueError, match="empty"):
        largest_slice(np.zeros_like(mask), SliceAxis.K)
