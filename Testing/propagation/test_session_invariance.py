"""What must not matter: the cache's size, and how the file was turned."""

from dataclasses import replace

import numpy as np
import pytest
from SAM2_3dMedLib.propagation.features_cache import CacheBudget
from SAM2_3dMedLib.propagation.predictor import SlicePredictor
from SAM2_3dMedLib.propagation.session import VolumeSession
from SAM2_3dMedLib.propagation.stopping import StopRule
from SAM2_3dMedLib.volume.images import Volume
from SAM2_3dMedLib.volume.planes import SliceAxis

K = SliceAxis.K
WINDOW = "300/600"


def _segment(predictor: SlicePredictor, volume: Volume, **options) -> VolumeSession:
    session = VolumeSession(predictor, volume, window=WINDOW, stop_rule=StopRule.never(), **options)
    session.add_box("tumor", K, (20, 15, 12), (50, 40, 12))
    list(session.propagate("tumor"))
    session.add_point("tumor", K, (35, 30, 6), False)
    list(session.propagate("tumor"))
    return session


@pytest.mark.parametrize("slices", [0, 2, 5])
def test_masks_do_not_depend_on_the_cache_budget(
    full_predictor: SlicePredictor, mr_volume: Volume, slices: int
) -> None:
    ample = _segment(full_predictor, mr_volume)
    budget = CacheBudget(ample.cached_bytes * slices // 25, 0)
    tight = _segment(full_predictor, mr_volume, cache_budget=budget)
    assert np.array_equal(tight.mask("tumor"), ample.mask("tumor"))
    assert tight.cached_bytes <= budget.device_bytes
    assert tight.encoded_count > ample.encoded_count == 25


def _turned(volume: Volume, order: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> Volume:
    """The same anatomy stored otherwise: new voxel axis n is the old one `order[n]`, backward if `flips[n]`."""
    array = np.transpose(volume.array, [2 - order[2 - place] for place in range(3)])
    affine = np.eye(4)
    affine[:3, 3] = volume.ijk_to_ras[:3, 3]
    for axis in range(3):
        step = volume.ijk_to_ras[:3, order[axis]]
        if flips[axis]:
            array = np.flip(array, 2 - axis)
            affine[:3, 3] += step * (volume.shape_ijk[order[axis]] - 1)
            step = -step
        affine[:3, axis] = step
    return replace(volume, array=np.ascontiguousarray(array), ijk_to_ras=affine)


@pytest.mark.parametrize(
    ("order", "flips"),
    [((0, 1, 2), (True, False, False)), ((0, 1, 2), (False, True, True)), ((2, 0, 1), (True, True, False))],
)
def test_a_turned_file_gives_the_same_anatomy(
    full_predictor: SlicePredictor, mr_volume: Volume, order: tuple[int, int, int], flips: tuple[bool, bool, bool]
) -> None:
    turned = _turned(mr_volume, order, flips)

    def place(position: tuple[int, int, int]) -> tuple[int, ...]:
        old = [position[order[axis]] for axis in range(3)]
        return tuple(
            size - 1 - value if flip else value for value, flip, size in zip(old, flips, turned.shape_ijk, strict=True)
        )

    axis = SliceAxis(order.index(K))
    straight = VolumeSession(full_predictor, mr_volume, window=WINDOW)
    session = VolumeSession(full_predictor, turned, window=WINDOW)
    for current, where, along in ((straight, tuple, K), (session, place, axis)):
        current.add_box("tumor", along, where((20, 15, 12)), where((50, 40, 12)))
        list(current.propagate("tumor"))
        current.add_point("tumor", along, where((35, 30, 6)), False)
        current.add_point("tumor", along, where((35, 30, 19)), True)
        list(current.propagate("tumor"))
    expected = _turned(replace(mr_volume, array=straight.mask("tumor").astype(np.uint8)), order, flips).array > 0
    assert 0.02 < expected.mean() < 0.98
    assert np.array_equal(session.mask("tumor"), expected)
    moved = {place((0, 0, index))[axis]: entry for index, entry in straight.confidence("tumor").items()}
    assert session.confidence("tumor") == moved
