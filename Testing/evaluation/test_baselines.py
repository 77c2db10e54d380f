"""The yardsticks: an ellipse and an ellipsoid that fill a box and no more."""

import numpy as np
import pytest
from SAM2_3dMedLib.propagation.prompts import BoxPrompt
from SAM2_3dMedLib.training.baselines import bounds_of_box, bounds_of_mask, ellipse_in, ellipsoid_in
from SAM2_3dMedLib.training.metrics import dice
from SAM2_3dMedLib.training.protocols import box_prompt, slice_of
from SAM2_3dMedLib.volume.planes import SliceAxis


def test_ellipse_fills_the_box_and_no_more():
    mask = np.zeros((40, 60), dtype=bool)
    mask[10, 5] = mask[29, 54] = True
    ellipse = ellipse_in(bounds_of_mask(mask), mask.shape)
    rows, columns = np.nonzero(ellipse)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 29, 5, 54)
    assert ellipse.sum() == pytest.approx(np.pi * 10 * 25, rel=0.01)
    np.testing.assert_array_equal(ellipse_in(bounds_of_mask(ellipse), mask.shape), ellipse)


@pytest.mark.parametrize("axis", list(SliceAxis))
def test_a_box_prompt_and_the_mask_it_was_made_from_have_the_same_bounds(axis):
    mask = np.zeros((9, 14, 12), dtype=bool)
    mask[2:6, 3:9, 5:11] = True
    index = int(np.argwhere(mask)[0][2 - axis])
    box = box_prompt(mask, axis, index)
    expected = bounds_of_mask(slice_of(mask, axis, index))
    assert bounds_of_box(box) == expected
    assert bounds_of_box(BoxPrompt(axis, box.corner_b, box.corner_a)) == expected  # corners in any order


@pytest.mark.parametrize("axis", list(SliceAxis))
def test_the_ellipsoid_in_the_box_of_an_ellipsoid_is_nearly_that_ellipsoid(axis):
    """Seen from every axis, also when the prompted slice is not the middle one."""
    k, j, i = np.indices((30, 44, 36))
    truth = ((k - 14) / 11.5) ** 2 + ((j - 21) / 17.5) ** 2 + ((i - 18) / 14.5) ** 2 <= 1
    middle = (18, 21, 14)[axis]
    found = ellipsoid_in(bounds_of_mask(slice_of(truth, axis, middle)), axis, middle, truth)
    assert dice(found, truth) > 0.99
    for other in range(3):
        held = np.flatnonzero(found.any(axis=tuple(n for n in range(3) if n != other)))
        true = np.flatnonzero(truth.any(axis=tuple(n for n in range(3) if n != other)))
        assert (held[0], held[-1]) == (true[0], true[-1])
    late = middle + 5
    found = ellipsoid_in(bounds_of_mask(slice_of(truth, axis, late)), axis, late, truth)
    np.testing.assert_array_equal(
        slice_of(found, axis, late),
        ellipse_in(bounds_of_mask(slice_of(truth, axis, late)), slice_of(truth, axis, 0).shape),
    )
    assert slice_of(found, axis, late).sum() > slice_of(found, axis, late + 2).sum() > 0


def test_an_object_of_one_slice_has_a_flat_ellipsoid():
    truth = np.zeros((5, 9, 9), dtype=bool)
    truth[2, 2:7, 1:8] = True
    found = ellipsoid_in(bounds_of_mask(truth[2]), SliceAxis.K, 2, truth)
    assert found[2].any()
    assert not found[[0, 1, 3, 4]].any()
