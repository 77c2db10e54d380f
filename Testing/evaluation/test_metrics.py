"""Metrics against brute force and against shapes whose values are known."""

import warnings

import numpy as np
import pytest
from SAM2_3dMedLib.training.metrics import dice, iou, slice_consistency, slice_scores, surface_score

SPACINGS = [(1.0, 1.0, 1.0), (0.7, 0.9, 5.0), (4.0, 1.5, 0.5)]


def random_blobs(seed: int, shape=(7, 12, 10)) -> tuple[np.ndarray, np.ndarray]:
    """Two masks that overlap in part, touch the border and have holes."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    masks = []
    for _ in range(2):
        center, radii = rng.uniform(2, 8, 3) % np.array(shape), rng.uniform(2, 6, 3)
        masks.append((np.square((grid - center) / radii).sum(-1) < 1) & (rng.random(shape) > 0.1))
    return masks[0], masks[1]


def boundary_voxels(mask: np.ndarray) -> np.ndarray:
    """Voxels with at least one of six neighbors outside, found one by one."""
    found = []
    for voxel in np.argwhere(mask):
        for axis in range(3):
            for step in (-1, 1):
                neighbor = voxel.copy()
                neighbor[axis] += step
                outside = (neighbor < 0).any() or (neighbor >= mask.shape).any()
                if outside or not mask[tuple(neighbor)]:
                    found.append(tuple(voxel))
    return np.array(sorted(set(found)), dtype=float)


def brute_force_hd95(a: np.ndarray, b: np.ndarray, spacing) -> float:
    """All pairs of boundary voxels."""
    step = np.array(spacing[::-1])
    distances = np.linalg.norm((boundary_voxels(a)[:, None] - boundary_voxels(b)[None]) * step, axis=-1)
    return max(np.percentile(distances.min(0), 95), np.percentile(distances.min(1), 95))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(4))
def test_hd95_equals_all_pairs_of_boundary_voxels(seed, spacing):
    a, b = random_blobs(seed)
    assert surface_score(a, b, spacing).hd95_mm == pytest.approx(brute_force_hd95(a, b, spacing), rel=1e-4)


def test_overlap_equals_counting_voxels():
    a, b = random_blobs(2)
    first, second = {tuple(v) for v in np.argwhere(a)}, {tuple(v) for v in np.argwhere(b)}
    assert dice(a, b) == pytest.approx(2 * len(first & second) / (len(first) + len(second)))
    assert iou(a, b) == pytest.approx(len(first & second) / len(first | second))
    assert 0 < iou(a, b) < dice(a, b) < 1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_shift_is_measured_in_mm_along_its_own_axis(axis):
    """A box moved by one voxel: HD95 is that axis' spacing; NSD at 1 and 2 mm tells on which side of it they are."""
    spacing = (0.8, 1.6, 3.0)  # I, J, K
    step = spacing[::-1][axis]
    a = np.zeros((24, 24, 24), dtype=bool)
    a[6:16, 6:16, 6:16] = True
    b = np.roll(a, 1, axis=axis)
    score = surface_score(a, b, spacing)
    assert score.hd95_mm == pytest.approx(step, rel=1e-5)
    assert (score.nsd_1mm > 0.97) == (step <= 1)
    assert (score.nsd_2mm > 0.97) == (step <= 2)


def test_nsd_is_the_share_of_the_surface_by_area():
    """A slab's two large faces are its surface, nearly; move one of them by 3 mm and half of it is wrong."""
    a = np.zeros((30, 80, 80), dtype=bool)
    a[5:15, 2:78, 2:78] = True
    b = a.copy()
    b[15:18, 2:78, 2:78] = True
    total = 4 * 76 * 76 + 4 * 76 * (10 + 13)
    # wrong: b's moved face, a's face there except a rim of 2 mm along b's sides, the part of these beyond 2 mm from a
    wrong = 76 * 76 + 72 * 72 + 4 * 76 * 1
    expected = 1 - wrong / total
    score = surface_score(a, b, (1.0, 1.0, 1.0))
    assert score.nsd_2mm == pytest.approx(expected, abs=0.02)
    assert surface_score(b, a, (1.0, 1.0, 1.0)).nsd_2mm == pytest.approx(score.nsd_2mm)


def test_where_the_objects_lie_in_the_volume_changes_nothing():
    a, b = random_blobs(2)
    rim = np.zeros((60, 50, 40), dtype=bool)
    large = []
    for mask in (a, b):
        large.append(rim.copy())
        large[-1][20:27, 30:42, 11:21] = mask
    assert surface_score(*large, (1.0, 1.0, 2.0)) == surface_score(a, b, (1.0, 1.0, 2.0))


def test_perfect_empty_and_lost_objects():
    a, _ = random_blobs(1)
    nothing = np.zeros_like(a)
    perfect, lost, both_empty = (surface_score(x, y, (1, 2, 3)) for x, y in ((a, a), (nothing, a), (nothing, nothing)))
    assert (perfect.hd95_mm, perfect.nsd_1mm, dice(a, a), iou(a, a)) == (0, 1, 1, 1)
    assert lost.hd95_mm == pytest.approx(np.linalg.norm(np.array(a.shape) * [3, 2, 1]))
    assert (lost.nsd_1mm, lost.nsd_2mm, dice(nothing, a), iou(nothing, a)) == (0, 0, 0, 0)
    assert (both_empty.hd95_mm, both_empty.nsd_2mm, dice(nothing, nothing)) == (0, 1, 1)


def test_slices_name_the_worst_the_missed_and_the_leaked():
    truth, found = np.zeros((8, 6, 6), dtype=bool), np.zeros((8, 6, 6), dtype=bool)
    truth[1:5, 1:5, 1:5] = True
    found[2:7, 1:5, 1:5] = True
    found[3, 1:5, 3:5] = False
    scores = slice_scores(found, truth, 0)
    assert (scores.worst_dice, scores.worst_index, scores.missed, scores.leaked) == (0, 1, 1, 2)
    found[1] = truth[1]
    scores = slice_scores(found, truth, 0)
    assert (scores.worst_dice, scores.worst_index, scores.missed) == (pytest.approx(2 / 3), 3, 0)
    with pytest.raises(ValueError, match="empty"):
        slice_scores(found, np.zeros_like(truth), 0)


def tube() -> np.ndarray:
    """An object of 8 equal slices in the middle of 12."""
    mask = np.zeros((12, 10, 10), dtype=bool)
    mask[2:10, 3:7, 2:8] = True
    return mask


def test_consistency_sees_flicker_gaps_and_leaks_and_no_steady_error():
    truth = tube()
    steady = np.roll(truth, 1, axis=2)  # wrong in the same way everywhere
    gap, flicker, leak = truth.copy(), truth.copy(), truth.copy()
    gap[5] = False
    flicker[3:9:2, 3:5] = False  # half of every second slice
    leak[10:] = truth[9]
    assert slice_consistency(truth, truth, 0) == 1
    assert slice_consistency(steady, truth, 0) == 1 > dice(steady, truth)
    # 9 pairs hold the object: 7 inside it, 1 at each end. Two of them lose a slice: by 1 each.
    assert slice_consistency(gap, truth, 0) == pytest.approx(1 - 2 / 9)
    # Six pairs of a whole and a half slice: Dice 2/3 instead of 1.
    assert slice_consistency(flicker, truth, 0) == pytest.approx(1 - 6 / 3 / 9)
    # The end goes on (1 instead of 0), and so does the pair after it, of 10 pairs.
    assert slice_consistency(leak, truth, 0) == pytest.approx(1 - 2 / 10)


def test_consistency_follows_the_object_not_a_constant():
    """A cone that is drawn as a tube is too steady."""
    k, j, i = np.indices((12, 30, 30))
    cone = (np.hypot(j - 15, i - 15) < k) & (k < 12)
    assert slice_consistency(cone, cone, 0) == 1
    assert slice_consistency(np.broadcast_to(cone[11], cone.shape).copy(), cone, 0) < 0.9


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_consistency_is_along_its_axis(axis):
    truth, gap = tube(), tube()
    gap[5] = False
    turned = [np.moveaxis(mask, 0, axis) for mask in (gap, truth)]
    assert slice_consistency(*turned, axis) == pytest.approx(1 - 2 / 9)


def test_consistency_of_a_lost_object_is_low_and_of_nothing_is_not_known():
    truth, nothing = tube(), np.zeros_like(tube())
    assert slice_consistency(nothing, truth, 0) == pytest.approx(1 - 7 / 9)
    assert slice_consistency(nothing, nothing, 0) is None
    assert slice_consistency(truth[:1], truth[:1], 0) is None


def test_masks_must_be_comparable():
    a, _ = random_blobs(0)
    with pytest.raises(ValueError, match="different shapes"):
        dice(a, a[1:])
    with pytest.raises(ValueError, match="must be bool"):
        iou(a.astype(np.uint8), a.astype(np.uint8))


def test_nothing_is_printed_between_the_scores():
    """MONAI warns of its own inner calls; a user of `evaluate` can do nothing about it."""
    mask = np.zeros((6, 7, 8), dtype=bool)
    mask[2:4, 2:5, 2:6] = True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert surface_score(mask, mask, (1.0, 1.0, 1.0)).hd95_mm == 0
