"""Boxes in millimeters on volumes that are turned against the patient."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from SAM2_3dMedLib.commands.box_options import box_in_mm, box_in_voxels
from SAM2_3dMedLib.commands.errors import UserError
from SAM2_3dMedLib.volume.geometry import Geometry, affine_from_parts
from SAM2_3dMedLib.volume.planes import SliceAxis
from scipy.spatial.transform import Rotation

SHAPE = (90, 80, 40)
SPACING = (1.2, 1.2, 3.0)
ANGLES = st.tuples(st.floats(-40, 40), st.floats(-40, 40), st.floats(-40, 40))
# The axial axis stays the nearest one.
SMALL_ANGLES = st.tuples(st.floats(-25, 25), st.floats(-25, 25), st.floats(-40, 40))


def turned(x: float = 0.0, y: float = 0.0, z: float = 0.0, spacing=SPACING) -> Geometry:
    """A grid whose middle voxel is at RAS 0, turned by degrees about R, A and S."""
    directions = Rotation.from_euler("xyz", (x, y, z), degrees=True).as_matrix()
    middle = directions @ (np.array(spacing) * (np.array(SHAPE) - 1) / 2)
    return Geometry(affine_from_parts(-middle, spacing, directions), SHAPE)


@given(ANGLES, st.sampled_from(list(SliceAxis)), st.integers(1, 3))
def test_corners_computed_from_voxels_mean_these_voxels_however_the_file_is_turned(angles, axis, decimals):
    geometry = turned(*angles)
    first, second = np.array([20.0, 15.0, 10.0]), np.array([61.0, 52.0, 28.0])
    second[axis] = first[axis]
    in_mm = np.round(geometry.to_ras([first, second]), decimals)
    assert box_in_mm(*in_mm, geometry) == box_in_voxels(first, second, geometry)


@given(SMALL_ANGLES)
def test_an_axial_rectangle_bounds_on_a_turned_slice_what_it_bounds_in_the_patient(angles):
    """Against brute force: the ellipse in the rectangle, its points in voxels, their lowest and highest."""
    geometry = turned(*angles)
    low, high = np.array([-20.3, -11.7, 1.4]), np.array([14.2, 19.9, 1.4])
    box = box_in_mm(low, high, geometry)
    assert box.axis is SliceAxis.K
    angle = np.linspace(0, 2 * np.pi, 4000)
    ellipse = (low + high) / 2 + (high - low) / 2 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    voxels = geometry.to_ijk(ellipse)
    np.testing.assert_allclose(box.corner_a[:2], voxels.min(axis=0)[:2], atol=0.51)
    np.testing.assert_allclose(box.corner_b[:2], voxels.max(axis=0)[:2], atol=0.51)
    assert box.corner_a[2] == box.corner_b[2] == np.floor(geometry.to_ijk((low + high) / 2)[2] + 0.5)


def test_a_coronal_rectangle_is_on_the_nearest_axis():
    box = box_in_mm((-20, 4, -12), (10, 4, 16), turned(x=12))
    assert box.axis is SliceAxis.J
    assert box.corner_a[1] == box.corner_b[1]


def test_a_rectangle_at_the_edge_is_cut_off_and_one_outside_is_refused():
    geometry = turned(z=30, spacing=(1.0, 1.0, 2.0))
    corner = geometry.to_ras((3.2, 40.3, 20.0))
    box = box_in_mm(corner, corner + np.array([9.0, -15.0, 0.0]), geometry)
    assert box.corner_a[0] == 0
    with pytest.raises(UserError, match="outside the volume"):
        box_in_mm(corner, corner - np.array([90.0, 15.0, 0.0]), geometry)


def test_two_corners_in_no_common_plane_are_refused():
    with pytest.raises(UserError, match="one slice"):
        box_in_mm((-20, -10, 0), (10, 12, 9), turned(x=12, z=5))


@pytest.mark.parametrize("far", [1e7, 1e300])
@pytest.mark.filterwarnings("error")
def test_numbers_without_measure_are_outside(far):
    with pytest.raises(UserError, match="outside the volume"):
        box_in_mm((-far, -far, 1), (far, far, 1), turned(x=12, z=5))


def test_a_line_has_no_area_in_a_turned_volume_either():
    with pytest.raises(UserError, match="one slice"):
        box_in_mm((-20.1, 4.3, 1.2), (10.4, 4.3, 1.2), turned(x=12, z=5))
