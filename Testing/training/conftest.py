"""Three small made volumes with a ball in them, as packs and as a store, and a recipe of seconds for them."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from SAM2_3dMedLib.training.pack import CaseInfo, PackedCase, compress, write_pack
from SAM2_3dMedLib.training.recipe import Recipe, recipe_from_dict
from SAM2_3dMedLib.training.store import CaseStore, load_store

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
