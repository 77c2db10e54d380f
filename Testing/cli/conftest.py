"""A command line that runs in this process, a small CT, and a network of random weights: everything but accuracy."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  its customary name
import torch
from SAM2_3dMedLib.cli import main
from SAM2_3dMedLib.network.build import build_network
from SAM2_3dMedLib.network.checkpoint import CheckpointMetadata, save_checkpoint
from SAM2_3dMedLib.network.config import network_config

IMAGE_SIZE = 64  # pixels; the smallest there is, so that a slice takes milliseconds


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys):
    """Run `sam2-3dmed` with arguments of any kind."""

    def run(*arguments) -> Ended:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """A checkpoint of random weights."""
    torch.manual_seed(3)
    network = build_network(network_config("nano", IMAGE_SIZE))
    with torch.no_grad():
        # Sure that the object is there: on random scores alone a session would end at once, with nothing.
        network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(8.0)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_checkpoint(path, network, CheckpointMetadata("random", "1"))
    return path


def ball_image(shape_ijk=(32, 28, 8), spacing=(1.5, 2.0, 4.0), direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1)):
    """A bright ball (100 HU) in soft tissue (0 HU) in air, int16, and its mask."""
    k, j, i = np.indices(shape_ijk[::-1])
    center = (np.array(shape_ijk) - 1) / 2
    r = np.sqrt(sum(((x - c) * s) ** 2 for x, c, s in zip((i, j, k), center, spacing, strict=True)))
    array = np.where(r < 12, 100, np.where(r < 25, 0, -900)).astype(np.int16)
    images = [sitk.GetImageFromArray(array), sitk.GetImageFromArray((r < 12).astype(np.uint8))]
    for image in images:
        image.SetSpacing(spacing)
        image.SetDirection(direction)
        image.SetOrigin((5.0, -20.0, 30.0))
    return images


@pytest.fixture(scope="session")
def ct(tmp_path_factory) -> Path:
    """The ball as a NIfTI file; its mask lies beside it as `ball_lab.nii.gz`."""
    folder = tmp_path_factory.mktemp("ct")
    image, mask = ball_image()
    sitk.WriteImage(image, str(folder / "ball.nii.gz"))
    sitk.WriteImage(mask, str(folder / "ball_lab.nii.gz"))
    return folder / "ball.nii.gz"


@pytest.fixture
def refused(cli, tmp_path):
    """Run a command that must be refused with a sentence that holds `said`, and leave nothing in `tmp_path/out`."""
    folder = tmp_path / "out"

    def run(*arguments, said: str):
        ended = cli(*arguments)
        lines = [line for line in ended.err.splitlines() if line.strip()]
        assert ended.code == 2, ended
        assert "Traceback" not in ended.err
        assert len(lines) == 1, ended.err
        assert said.lower() in lines[0].lower()
        assert len(lines[0]) > 20
        assert not folder.exists() or list(folder.iterdir()) == []

    return run


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out" / "result.seg.nrrd"
