"""Volumes that were resampled onto an oblique grid are found, and set upright where they were."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  its customary name
from SAM2_3dMedLib.volume.geometry import Geometry, affine_from_parts
from SAM2_3dMedLib.volume.images import Volume, read_volume
from SAM2_3dMedLib.volume.upright import mask_on, resampled, upright_geometry
from scipy.spatial.transform import Rotation

TURNS = [(12, 0, 0), (0, 0, 12), (10, 0, 12), (15, 10, 0), (-5, 8, 20)]


@pytest.fixture
def turned_volume(samples, oblique_copy, tmp_path):
    """(the sample's own volume, its oblique copy as read from a file)"""

    def make(case: str, degrees: tuple[float, float, float], *padding: float) -> tuple[Volume, Volume]:
        path = samples / f"{case}_img.nii.gz"
        sitk.WriteImage(oblique_copy(sitk.ReadImage(str(path)), degrees, *padding), str(tmp_path / "oblique.nrrd"))
        return read_volume(path), read_volume(tmp_path / "oblique.nrrd")

    return make


@pytest.mark.parametrize("degrees", TURNS)
@pytest.mark.parametrize("case", ["sarcoma_ct", "spinalcord_t2"])
def test_the_grid_of_the_file_before_comes_back(turned_volume, case, degrees):
    before, oblique = turned_volume(case, degrees)
    found = upright_geometry(oblique)
    assert found is not None
    corners = np.array([(0, 0, 0), np.array(found.shape_ijk) - 1], dtype=float)
    back = np.sort(before.geometry.to_ijk(found.to_ras(corners)), axis=0)
    expected = np.array([(0, 0, 0), np.array(before.shape_ijk) - 1])
    np.testing.assert_allclose(back, expected, atol=0.3)
    assert found.spacing == pytest.approx(oblique.spacing)


def test_air_of_the_padding_value_does_not_hide_the_tilt(turned_volume):
    """Half of the abdomen's frame is air, and the padding too: what is left touches its faces all the same."""
    before, oblique = turned_volume("abdomen_ct", (10, 0, 12))
    assert upright_geometry(oblique).shape_ijk == before.shape_ijk


def turned_header(volume: Volume, degrees) -> Volume:
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    return replace(volume, ijk_to_ras=turn @ volume.ijk_to_ras)


@pytest.mark.parametrize("degrees", [(0, 0, 0), *TURNS])
@pytest.mark.parametrize("case", ["abdomen_ct", "sarcoma_ct", "spinalcord_t2"])
def test_what_was_acquired_on_its_grid_stays(samples, case, degrees):
    volume = turned_header(read_volume(samples / f"{case}_img.nii.gz"), degrees)
    assert upright_geometry(volume) is None
    padded = np.pad(volume.array, 5, constant_values=volume.array.min())
    assert upright_geometry(replace(volume, array=padded)) is None


@pytest.mark.parametrize("radii", [(50, 50, 18), (55, 35, 19)])
def test_a_round_body_in_nothing_says_nothing_about_its_grid(oblique_copy, radii):
    k, j, i = np.indices((40, 120, 120))
    body = sum(((x - c) / r) ** 2 for x, c, r in zip((i, j, k), (60, 60, 20), radii, strict=True)) < 1
    image = sitk.GetImageFromArray(np.where(body, 100, 0).astype(np.int16))
    image.SetSpacing((1.0, 1.0, 3.0))
    for degrees in TURNS:
        copy = oblique_copy(image, degrees)
        lps = affine_from_parts(copy.GetOrigin(), copy.GetSpacing(), copy.GetDirection())
        volume = Volume(sitk.GetArrayFromImage(copy), np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps)
        assert upright_geometry(volume) is None
        assert upright_geometry(turned_header(Volume(np.where(body, 1, 0), np.diag([1.0, 1, 3, 1])), degrees)) is None


def test_nothing_but_padding_and_nan_are_left_alone():
    affine = turned_header(Volume(np.zeros((5, 6, 7)), np.eye(4)), (10, 0, 12)).ijk_to_ras
    assert upright_geometry(Volume(np.zeros((5, 6, 7)), affine)) is None
    with_nan = np.full((5, 6, 7), np.nan)
    with_nan[2, 3, 3] = 1
    assert upright_geometry(Volume(with_nan, affine)) is None


def test_voxels_and_masks_go_where_they_belong():
    """A bright block on one grid, seen on a finer, shifted and permuted one."""
    source = Geometry(np.diag([2.0, 2.0, 2.0, 1.0]), (20, 22, 24))
    array = np.zeros(source.shape_kji, dtype=np.int16)
    array[6:12, 8:14, 4:10] = 50
    affine = np.array([[0, 0, 1.0, 3], [1.0, 0, 0, 5], [0, -1.0, 0, 40], [0, 0, 0, 1]])
    target = Geometry(affine, (30, 35, 25))
    seen = resampled(Volume(array, source.ijk_to_ras), target)
    mask = mask_on(array > 0, source, target)
    assert seen.geometry == target
    # r = 3 + k, a = 5 + i, s = 40 - j: the block is k 5..15, i 11..21, j 18..28 there.
    for ijk, inside in {(16, 22, 9): True, (13, 26, 13): True, (16, 22, 22): False, (5, 22, 9): False}.items():
        assert seen.array[ijk[::-1]] == pytest.approx(50 if inside else 0, abs=3)  # splines swing beside an edge
        assert mask[ijk[::-1]] == inside
    assert mask.sum() == pytest.approx((array > 0).sum() * 8, rel=0.25)  # edges at exactly half


def test_what_is_seen_is_as_sharp_as_the_file():
    """A wave of six voxels: half a voxel aside, linear interpolation takes a seventh of its height, splines nothing."""
    x = np.arange(60)
    array = np.broadcast_to(100 * np.sin(2 * np.pi * x / 6), (12, 14, 60)).astype(np.float32)
    shifted = np.eye(4)
    shifted[0, 3] = 0.5
    seen = resampled(Volume(array, np.eye(4)), Geometry(shifted, (59, 14, 12)))
    expected = 100 * np.sin(2 * np.pi * (x[:-1] + 0.5) / 6)
    np.testing.assert_allclose(seen.array[6, 7, 5:-5], expected[5:-5], atol=1)


@pytest.mark.parametrize("degrees", [(10, 0, 12), (-5, 8, 20)])
def test_the_padding_does_not_ring_into_the_content(turned_volume, degrees):
    """What is around a copy changes nothing within it: 4 and not 3,000 units below, also in the outer slices."""
    _, far = turned_volume("sarcoma_ct", degrees, -3024.0)
    _, near = turned_volume("sarcoma_ct", degrees, -1028.0)
    grid = upright_geometry(far)
    assert grid == upright_geometry(near)
    difference = np.abs(resampled(far, grid).array.astype(float) - resampled(near, grid).array)
    assert difference[1:-1, 1:-1, 1:-1].max() < 4
    assert np.quantile(difference, 0.999) < 4


def test_a_voxel_without_a_value_is_no_stain():
    array = np.random.default_rng(0).normal(size=(12, 14, 16))
    array[6, 7, 8] = np.nan
    shifted = np.eye(4)
    shifted[:3, 3] = 0.5
    seen = resampled(Volume(array, np.eye(4)), Geometry(shifted, (15, 13, 11)))
    assert np.isnan(seen.array).sum() == 8
