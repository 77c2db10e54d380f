"""`segment` on turned, flipped, left-handed and oblique copies of a file gives the same anatomy, with the bundled
weights. All samples and turns, as a table (docs/geometry.md):

    python -m pytest -s -m slow Testing/cli/test_turned_files.py
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  its customary name
from SAM2_3dMedLib.commands.demo import BOXES
from SAM2_3dMedLib.volume.images import read_volume
from scipy.spatial.transform import Rotation


@dataclass(frozen=True)
class Case:
    """An image, a box on it and the reference, on one grid.

    Attributes:
        corners: two opposite voxels (i, j, k) of the box.
    """

    name: str
    image: sitk.Image
    corners: np.ndarray
    truth: np.ndarray

    def box_in_mm(self, image: sitk.Image) -> str:
        """The box's voxels in R,A,S of a copy with the same voxels."""
        places = [image.TransformContinuousIndexToPhysicalPoint(corner.tolist()) for corner in self.corners]
        return ",".join(f"{value:.3f}" for x, y, z in places for value in (-x, -y, z))


def array_of(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def sample(samples: Path, name: str, label: int) -> tuple[sitk.Image, np.ndarray]:
    image, labels = (sitk.ReadImage(str(samples / f"{name}_{kind}.nii.gz")) for kind in ("img", "lab"))
    return image, array_of(labels) == label


def spleen(samples: Path) -> Case:
    """The demo's spleen on ten slices, so that it takes seconds."""
    image, truth = sample(samples, "abdomen_ct", 1)
    (corners,) = (box for name, _, box in BOXES if name == "spleen")
    first, end = 15, 25
    corners = np.array(corners.split(","), dtype=float).reshape(2, 3) - (0, 0, first)
    return Case("spleen", image[:, :, first:end], corners, truth[first:end])


def with_turned_header(image: sitk.Image, degrees) -> sitk.Image:
    turn = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    copy = sitk.Image(image)
    copy.SetDirection((turn @ np.array(image.GetDirection()).reshape(3, 3)).ravel().tolist())
    copy.SetOrigin((turn @ np.array(image.GetOrigin())).tolist())
    return copy


def on_grid_of(mask: sitk.Image, image: sitk.Image) -> np.ndarray:
    still = sitk.Transform(3, sitk.sitkIdentity)
    return array_of(sitk.Resample(mask, image, still, sitk.sitkNearestNeighbor, 0)) > 0


@pytest.fixture
def segmented(cli, tmp_path):
    """A function (image, box in mm) that runs `segment --ras`; the mask as an image."""

    def run(image: sitk.Image, box: str, *options: str) -> sitk.Image:
        path, output = tmp_path / "image.nrrd", tmp_path / "out.nii.gz"
        sitk.WriteImage(image, str(path))
        ended = cli("segment", path, "--ras", "--box", box, "--output", output, *options)
        assert ended.code == 0, ended.err
        return sitk.ReadImage(str(output))

    return run


def test_the_same_anatomy_however_the_file_is_turned(samples, segmented, oblique_copy):
    case = spleen(samples)
    expected = array_of(segmented(case.image, case.box_in_mm(case.image))) > 0
    assert dice(expected, case.truth) > 0.8
    turned = with_turned_header(case.image, (12, 0, 30))
    left_handed = sitk.Flip(sitk.PermuteAxes(turned, [1, 2, 0]), [True, False, False], False)
    same_places = on_grid_of(segmented(left_handed, case.box_in_mm(turned)), turned)
    np.testing.assert_array_equal(same_places, expected)
    oblique = segmented(oblique_copy(case.image, (10, 0, 12)), case.box_in_mm(case.image))
    assert dice(on_grid_of(oblique, case.image), expected) >= 0.95


def test_slices_that_were_named_are_those_of_the_file(cli, samples, weights, tmp_path, oblique_copy):
    """An oblique copy: set upright by itself, used as it is where the user names its axis or slices."""
    path = tmp_path / "oblique.nrrd"
    sitk.WriteImage(oblique_copy(sample(samples, "spinalcord_t2", 1)[0], (10, 0, 12)), str(path))
    i, j, k = (count // 2 for count in read_volume(path).shape_ijk)
    command = ("segment", path, "--weights", weights, "--point", f"{i},{j},{k}", "--output", tmp_path / "x.nii.gz")
    upright, named = (cli(*command, *more) for more in ((), ("--axis", "K", "--slice-range", f"{k}:{k}")))
    assert (upright.code, named.code) == (0, 0), upright.err + named.err
    assert "resampled onto an oblique grid" in upright.err
    assert "resampled" not in named.err
    filled = np.flatnonzero(array_of(sitk.ReadImage(str(tmp_path / "x.nii.gz"))).any(axis=(1, 2)))
    assert filled.tolist() == [k]


TURNS = [(12, 0, 0), (0, 0, 12), (10, 0, 12)]


def tight_box(truth: np.ndarray, image: sitk.Image) -> np.ndarray:
    """A voxel round the object, on the slice where it is largest, across the thickest or the axial slices."""
    spacing, directions = np.array(image.GetSpacing()), np.array(image.GetDirection()).reshape(3, 3)
    axis = int(np.argmax(spacing if np.ptp(spacing) > 1e-3 else np.abs(directions[2])))
    areas = truth.sum(axis=tuple(other for other in range(3) if other != 2 - axis))
    filled = np.argwhere(np.take(truth, [int(areas.argmax())], axis=2 - axis))[:, ::-1]
    corners = np.array([filled.min(axis=0) - 1, filled.max(axis=0) + 1])
    corners[:, axis] = int(areas.argmax())
    return np.clip(corners, 0, np.array(image.GetSize()) - 1).astype(float)


@pytest.mark.slow
def test_table_of_all_samples_and_turns(samples, segmented, oblique_copy, capsys):
    """Prints, for docs/geometry.md: Dice to the unturned result, on the unturned grid."""
    demo = {name: np.array(box.split(","), dtype=float).reshape(2, 3) for name, _, box in BOXES}
    chosen = [("abdomen_ct", 1, "spleen"), ("sarcoma_mr", 1, "tumor"), ("abdomen_ct", 6, "liver")]

    def row(*cells: object) -> None:
        with capsys.disabled():  # the commands' own output stays hidden
            print("|", " | ".join(map(str, cells)), "|", flush=True)

    row("object", "degrees about x, y, z", "resampled", "resampled, `--axis`", "the unturned mask there and back")
    row("---", "---", "---:", "---:", "---:")
    for name, label, what in [*chosen, ("spinalcord_t2", 1, "cord")]:
        image, truth = sample(samples, name, label)
        case = Case(what, image, demo.get(what, tight_box(truth, image)), truth)
        box = case.box_in_mm(image)
        plain = segmented(image, box)
        expected = array_of(plain) > 0
        axis = "IJK"[int(np.flatnonzero(case.corners[0] == case.corners[1])[0])]
        header = with_turned_header(image, (12, 0, 30))
        np.testing.assert_array_equal(array_of(segmented(header, case.box_in_mm(header))) > 0, expected)
        row(what, "(12, 0, 30) in the header only", "1.000", "", "")
        for degrees in TURNS:
            oblique = oblique_copy(image, degrees)
            upright, as_is = (
                dice(on_grid_of(segmented(oblique, box, *more), image), expected) for more in ((), ("--axis", axis))
            )
            there = sitk.Resample(plain, oblique, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkNearestNeighbor, 0)
            back = dice(on_grid_of(there, image), expected)
            row(what, degrees, *(f"{value:.3f}" for value in (upright, as_is, back)))
            assert upright > 0.85
