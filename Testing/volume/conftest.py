"""Volumes that differ from a real sample only in how the file stores it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from SAM2_3dMedLib.volume.images import Volume, read_volume


def turned_versions(volume: Volume) -> Iterator[Volume]:
    """The same anatomy in all 48 axis orders and directions a file can have; half of them are left-handed."""
    for order, flips in product(permutations(range(3)), product((False, True), repeat=3)):
        # order and flips are those of i, j, k; numpy's axes run the other way.
        array = np.transpose(volume.array, [2 - order[2 - axis] for axis in range(3)])
        matrix = np.eye(4)
        matrix[:3, :3] = volume.ijk_to_ras[:3, [*order]]
        matrix[:3, 3] = volume.ijk_to_ras[:3, 3]
        for axis, flip in enumerate(flips):
            if flip:
                array = np.flip(array, 2 - axis)
                matrix[:3, 3] += matrix[:3, axis] * (array.shape[2 - axis] - 1)
                matrix[:3, axis] *= -1
        yield replace(volume, array=np.ascontiguousarray(array), ijk_to_ras=matrix)


@pytest.fixture(scope="session")
def sarcoma_mr(samples: Path) -> Volume:
    return read_volume(samples / "sarcoma_mr_img.nii.gz")


@pytest.fixture(scope="session")
def spinal_cord(samples: Path) -> Volume:
    """Stored sagittal first: its i, j, k are not in the order of R, A, S."""
    return read_volume(samples / "spinalcord_t2_img.nii.gz")


@pytest.fixture(scope="session")
def turned(sarcoma_mr: Volume) -> list[Volume]:
    versions = list(turned_versions(sarcoma_mr))
    assert len(versions) == 48
    return versions


@pytest.fixture(scope="session")
def turn_all_ways() -> Callable[[Volume], Iterator[Volume]]:
    return turned_versions
