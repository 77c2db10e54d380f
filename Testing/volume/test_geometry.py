"""Voxels, RAS and LPS: there and back for any grid, and the same answers as ITK."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given
from hypothesis import strategies as st
from SAM2_3dMedLib.volume.errors import VolumeError
from SAM2_3dMedLib.volume.geometry import Geometry, affine_from_parts, lps_from_ras, ras_from_lps
from scipy.spatial.transform import Rotation


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Any rotation, axis order, handedness, spacing and origin."""
    angles = draw(st.tuples(*[st.floats(-180, 180)] * 3))
    directions = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    directions = directions[:, draw(st.permutations([0, 1, 2]))] * draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    spacing = draw(st.tuples(*[st.floats(0.05, 20)] * 3))
    origin = draw(st.tuples(*[st.floats(-2000, 2000)] * 3))
    shape = draw(st.tuples(*[st.integers(2, 600)] * 3))
    return Geometry(affine_from_parts(origin, spacing, directions), shape)


positions = st.lists(st.tuples(*[st.floats(-50, 650)] * 3), min_size=1, max_size=8)


@given(geometries(), positions)
def test_positions_come_back(geometry: Geometry, ijk: list[tuple[float, float, float]]) -> None:
    np.testing.assert_allclose(geometry.to_ijk(geometry.to_ras(ijk)), ijk, atol=1e-6)
    np.testing.assert_allclose(ras_from_lps(lps_from_ras(geometry.ijk_to_ras)), geometry.ijk_to_ras)


@given(geometries(), st.tuples(*[st.integers(0, 600)] * 3))
def test_positions_are_those_of_itk(geometry: Geometry, ijk: tuple[int, int, int]) -> None:
    image = sitk.Image(2, 2, 2, sitk.sitkUInt8)
    lps = geometry.ijk_to_lps
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetSpacing(geometry.spacing)
    image.SetDirection((lps[:3, :3] / geometry.spacing).ravel().tolist())
    left, posterior, superior = image.TransformIndexToPhysicalPoint(ijk)
    np.testing.assert_allclose(geometry.to_ras([ijk]), [[-left, -posterior, superior]], atol=1e-6)


@given(geometries())
def test_spacing_handedness_and_directions(geometry: Geometry) -> None:
    steps = geometry.to_ras(np.eye(3)) - geometry.to_ras(np.zeros((1, 3)))
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), geometry.spacing, rtol=1e-6)
    np.testing.assert_allclose(geometry.directions.T @ geometry.directions, np.eye(3), atol=1e-9)
    mirrored = Geometry(geometry.ijk_to_ras @ np.diag([-1, 1, 1, 1]), geometry.shape_ijk)
    assert geometry.is_right_handed != mirrored.is_right_handed
    np.testing.assert_allclose(mirrored.spacing, geometry.spacing)


def test_a_voxel_reaches_half_a_step_around_its_center() -> None:
    geometry = Geometry(np.eye(4), (4, 5, 6))
    inside = [[0, 0, 0], [3, 4, 5], [-0.5, 0, 0], [3.49, 4.49, 5.49]]
    outside = [[-0.51, 0, 0], [3.5, 0, 0], [0, 5, 0], [0, 0, -1], [np.nan, 0, 0]]
    assert geometry.contains(inside).all()
    assert not geometry.contains(outside).any()


def test_grids_are_compared_by_where_their_corners_are() -> None:
    geometry = Geometry(np.diag([0.7, 0.7, 5, 1]), (400, 400, 100))
    rounded = Geometry(np.diag([0.7 + 1e-7, 0.7, 5, 1]), (400, 400, 100))
    stretched = Geometry(np.diag([0.71, 0.7, 5, 1]), (400, 400, 100))
    assert geometry.is_close(rounded)
    assert not geometry.is_close(stretched)
    assert not geometry.is_close(Geometry(geometry.ijk_to_ras, (400, 400, 99)))


@pytest.mark.parametrize("columns", [np.zeros((3, 3)), np.ones((3, 3)), np.diag([1, 1, 0]), np.diag([1, 1, np.nan])])
def test_a_grid_without_volume_is_refused(columns: np.ndarray) -> None:
    affine = np.eye(4)
    affine[:3, :3] = columns
    with pytest.raises(VolumeError, match="correct its header or export it again"):
        Geometry(affine, (2, 2, 2))
