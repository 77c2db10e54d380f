"""Data and recipes of seconds: three made volumes with a ball in them, and pieces of a real MR in the MSD layout."""

import copy
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  its customary name
import torch
from SAM2_3dMedLib.training.pack import CaseInfo, PackedCase, compress, write_pack
from SAM2_3dMedLib.training.recipe import Recipe, recipe_from_dict
from SAM2_3dMedLib.training.store import CaseStore, load_store

SAMPLES = Path(__file__).parents[2] / "Resources" / "Samples"
SMALL = {
    "name": "small",
    "precision": "fp32",
    "parts": {"adapter": True, "srpp": True, "bd": True, "bd_fusion": True},
    "log_every": 1,
    "holdout": 0.0,
    "stages": [
        {"name": "images", "kind": "images", "steps": 1, "batch": 2, "sampling": {"size": 64, "slices": 2}},
        {"name": "clips", "kind": "clips", "steps": 2, "batch": 2, "sampling": {"size": 96, "slices": 3}},
    ],
}


@pytest.fixture
def small() -> dict:
    """A recipe of three steps, as a table."""
    return copy.deepcopy(SMALL)


@pytest.fixture
def small_recipe(small) -> Callable[..., Recipe]:
    """The same as a recipe, with changed entries."""
    return lambda **changes: recipe_from_dict(small | changes)


@pytest.fixture(scope="session")
def packs(tmp_path_factory) -> Path:
    """A folder with one pack of three cases."""
    folder = tmp_path_factory.mktemp("packs")
    rng = np.random.default_rng(0)
    cases = []
    for number in range(3):
        grid = np.stack(np.mgrid[:14, :32, :36], axis=-1) - np.array([7, 15 + number, 17])
        label = ((grid / np.array([5, 9, 11])) ** 2).sum(-1) < 1
        image = np.where(label, 170, 80) + rng.integers(0, 20, size=label.shape)
        info = CaseInfo("made", f"case{number}", "mr", label.shape, (2.0, 1.0, 1.0), {1: "ball"})
        cases.append(compress(PackedCase(info, image.astype(np.uint8), label.astype(np.uint8))))
    write_pack(folder / "part0.npz", cases)
    return folder


@pytest.fixture(scope="session")
def store(packs) -> CaseStore:
    """The same three cases on the CPU."""
    return load_store([packs / "part0.npz"], torch.device("cpu"))


@pytest.fixture(scope="session")
def msd_folder(tmp_path_factory) -> Path:
    """Six pieces of a real spinal cord MR with two structures, and a seventh whose labels are on another grid."""
    folder = tmp_path_factory.mktemp("msd") / "Task90_Cord"
    image = sitk.ReadImage(str(SAMPLES / "spinalcord_t2_img.nii.gz"))
    label = sitk.ReadImage(str(SAMPLES / "spinalcord_t2_lab.nii.gz"))
    voxels = sitk.GetArrayFromImage(label)
    voxels[:25] *= 2  # an upper and a lower half: two structures
    halves = sitk.GetImageFromArray(voxels)
    halves.CopyInformation(label)
    listed = []
    for number, start in enumerate((0, 8, 16, 24, 32, 39, 20)):
        files = {"image": f"./imagesTr/cord_{number}.nii.gz", "label": f"./labelsTr/cord_{number}.nii.gz"}
        for kind, source in (("image", image), ("label", halves)):
            piece = source[20:44, start : start + 16, 14:36]
            if number == 6 and kind == "label":
                piece.SetOrigin((0.0, 0.0, 0.0))
            (folder / files[kind]).parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(piece, str(folder / files[kind]))
        listed.append(files)
    facts = {"name": "Cord", "modality": {"0": "MRI"}, "labels": {"0": "background", "1": "upper", "2": "lower"}}
    (folder / "dataset.json").write_text(json.dumps(facts | {"training": listed}))
    return folder


@pytest.fixture(scope="session")
def msd_tar(msd_folder) -> Path:
    """The same as the archive that one downloads."""
    path = msd_folder.with_suffix(".tar")
    with tarfile.open(path, "w") as archive:
        archive.add(msd_folder, arcname=msd_folder.name)
    return path


@pytest.fixture
def small_config(small) -> dict:
    """A configuration of eight steps from the bundled weights, as a table."""
    stages = [{"name": "clips", "kind": "clips", "steps": 8, "batch": 1, "sampling": {"size": 64, "slices": 3}}]
    recipe = small | {"network": "auto", "initial_weights": "default", "stages": stages, "validation_clips": 2}
    return {"data": {"fold": 1}, "evaluation": {"protocols": []}, "recipe": recipe}
