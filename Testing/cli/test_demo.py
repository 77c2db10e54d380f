"""The README's main job, with the bundled weights on the bundled CT."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  its customary name
from SAM2_3dMedLib.commands.demo import BOXES, samples_folder
from SAM2_3dMedLib.weights.manifest import WeightsError, default_weights


def test_demo_says_where_everything_is_and_how_good(cli, tmp_path):
    try:
        default_weights()
    except WeightsError as missing:
        pytest.skip(str(missing))
    ended = cli("demo", "--output", tmp_path / "results")
    assert ended.code == 0, ended.err
    said = dict(line.split(": ", 1) for line in ended.out.splitlines() if ": " in line)
    segmentation = sitk.ReadImage(said["segmentation"])
    assert {segmentation.GetMetaData(f"Segment{n}_Name") for n in range(2)} == {"liver", "spleen"}
    assert said["picture"].endswith(".png")
    layers = sitk.GetArrayFromImage(segmentation)
    layers = layers[..., None] if layers.ndim == 3 else layers
    truth = sitk.GetArrayFromImage(sitk.ReadImage(str(samples_folder() / "abdomen_ct_lab.nii.gz")))
    for number, (name, label, _) in enumerate(BOXES, start=1):
        layer = int(segmentation.GetMetaData(f"Segment{number - 1}_Layer"))
        a, b = layers[..., layer] == number, truth == label
        dice = 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))
        assert float(said[f"Dice of the {name} against the reference"]) == pytest.approx(dice, abs=6e-4)
        assert dice > 0.6, name


def test_demo_runs_with_any_weights(cli, tmp_path, weights):
    ended = cli("demo", "--output", tmp_path, "--weights", weights)
    assert ended.code == 0, ended.err
    assert ended.out.count("against the reference: ") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["abdomen_ct.png", "abdomen_ct.seg.nrrd"]
