"""Clips show what the volume holds: object and image stay together, orientation and place are the ones promised."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from SAM2_3dMedLib.training import sampling
from SAM2_3dMedLib.training.augment import AugmentSettings, augment
from SAM2_3dMedLib.training.pack import CaseInfo, PackedCase
from SAM2_3dMedLib.training.sampling import ClipPlan, ClipSampler, SamplingSettings, sample_clip
from SAM2_3dMedLib.training.store import CaseStore, place_case
from SAM2_3dMedLib.training.synthetic import synthesize

CPU = torch.device("cpu")
PLAIN = SamplingSettings(
    size=96, slices=6, whole_slice_share=1.0, slab_share=0.0, tilt_degrees=0.0, rotation_degrees=0.0, flip_share=0.0
)


def _store(label: np.ndarray, image: np.ndarray | None = None, spacing=(2.0, 1.0, 1.5)) -> CaseStore:
    image = (label > 0).astype(np.uint8) * 255 if image is None else image
    info = CaseInfo("made", "case", "ct8", label.shape, spacing, {1: "thing", 2: "other"})
    return CaseStore([place_case(PackedCase(info, image, label), CPU)])


def _block() -> np.ndarray:
    label = np.zeros((20, 40, 30), np.uint8)
    label[6:13, 10:28, 8:20] = 1
    return label


def _always_dark_to_bright(case, rng):
    return 0.0, 255.0


@pytest.mark.parametrize("whole", [0.0, 1.0])
def test_the_mask_follows_the_image_under_every_deformation(whole, monkeypatch):
    monkeypatch.setattr("SAM2_3dMedLib.training.sampling.draw_window", _always_dark_to_bright)
    settings = SamplingSettings(size=64, slices=5, whole_slice_share=whole, slab_share=0.4, tilt_degrees=8.0)
    sampler = ClipSampler(_store(_block()), settings, np.random.default_rng(0))
    for _ in range(10):
        clips = sampler.draw(4)
        assert clips.images.shape == clips.masks.shape == (4, 5, 64, 64)
        assert 0 <= clips.images.min() <= clips.images.max() <= 1
        assert torch.equal(clips.images >= 0.5, clips.masks)


def test_every_clip_shows_its_object_on_the_anchor_and_many_show_its_end():
    sampler = ClipSampler(_store(_block()), PLAIN, np.random.default_rng(1))
    ended = shown = 0
    anchors = set()
    for _ in range(30):
        clips = sampler.draw(4)
        anchors.add(clips.anchor)
        present = clips.masks.flatten(2).any(2)
        shown += int(present[:, clips.anchor].sum())
        ended += int((~present).any(1).sum())
    assert anchors == set(range(6))
    assert shown >= 112  # clips may start at the volume's end, which moves the anchor off the object now and then
    assert ended > 50


def test_orientation_place_and_stretch_are_those_of_slice_plane():
    planes = pytest.importorskip("SAM2_3dMedLib.volume.planes")
    geometry = pytest.importorskip("SAM2_3dMedLib.volume.geometry")
    rng = np.random.default_rng(2)
    voxels = rng.integers(0, 256, size=(7, 9, 8)).astype(np.uint8)
    store = _store(np.ones_like(voxels), voxels)
    case = store.cases[0]
    # The stored array is [S, P, L]: i, j, k run toward Left, Posterior, Superior.
    ijk_to_ras = np.diag([-1.5, -1.0, 2.0, 1.0])
    grid = geometry.Geometry(ijk_to_ras, (8, 9, 7))
    for array_axis, slice_axis in ((0, planes.SliceAxis.K), (1, planes.SliceAxis.J), (2, planes.SliceAxis.I)):
        plane = planes.SlicePlane.of(grid, slice_axis)
        size = 8 * 9 * 7  # a multiple of every length, so that each voxel covers whole network pixels
        sampler = ClipSampler(store, replace(PLAIN, size=size, slices=3), np.random.default_rng(3))
        theta = sampler._theta(case, array_axis, 2.0, 1.0, True, (0.0, 0.0))
        theta = np.where(np.abs(theta) > 1e-9, theta, 0.0)
        theta = _without_jitter(theta, array_axis)
        image, _ = sample_clip(ClipPlan(case, 1, theta, (0.0, 255.0), 1, 1.0), 3, size)
        for number, position in enumerate((2, 3, 4)):
            index = next(n for n in range(plane.slice_count) if plane.order(n) == position)
            expected = plane.extract(voxels, index) / 255.0
            rows, columns = expected.shape
            step_row, step_column = size // rows, size // columns
            # Even steps put a voxel's center between pixels: the mean of the two middle ones is the voxel.
            middle_rows = [(n * step_row + (step_row - 1) // 2, n * step_row + step_row // 2) for n in range(rows)]
            middle_columns = [
                (n * step_column + (step_column - 1) // 2, n * step_column + step_column // 2) for n in range(columns)
            ]
            found = image[number].numpy()[np.array(middle_rows).T][:, :, np.array(middle_columns).T].mean((0, 2))
            np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_clip_is_what_the_whole_volume_would_give_and_reads_little_of_it(axis, monkeypatch):
    rng = np.random.default_rng(4)
    case = _store(_block(), rng.integers(0, 256, size=(20, 40, 30)).astype(np.uint8)).cases[0]
    settings = replace(PLAIN, size=32, slices=3, whole_slice_share=0.5, tilt_degrees=12.0, rotation_degrees=20.0)
    sampler = ClipSampler(CaseStore([case]), settings, rng)
    read = []
    for number in range(24):
        first = float(rng.uniform(-2, case.image.shape[axis] + 1))  # some lie beyond an end of the volume
        theta = sampler._theta(case, axis, first, 1.0, number % 2 == 0, tuple(rng.uniform(-1, 1, 2)))
        plan = ClipPlan(case, 1, theta, (0.0, 255.0), 1 + 2 * (number % 3 == 0), 1.0)
        monkeypatch.setattr(sampling, "_part_seen", lambda theta, shape: ((slice(None),) * 3, theta))
        image, mask = sample_clip(plan, 3, 32)
        monkeypatch.undo()
        part, _ = sampling._part_seen(theta, case.image.shape)
        read.append(case.image[part].numel() / case.image.numel())
        same_image, same_mask = sample_clip(plan, 3, 32)
        assert torch.allclose(same_image, image, atol=1e-4)
        assert (same_mask != mask).float().mean() < 1e-3
    assert np.mean(read) < 0.45
    beyond = np.array(theta, dtype=float)
    beyond[:, 3] += 10.0  # nothing of the volume in sight
    assert not sample_clip(replace(plan, theta=beyond), 3, 32)[0].any()


def _without_jitter(theta: np.ndarray, array_axis: int) -> np.ndarray:
    """The whole slice exactly: in-plane scale 1 and shift 0; the row of the slice axis as it was drawn."""
    exact = np.sign(np.round(theta, 1)) * (np.abs(theta) > 0.5)
    exact[:, 3] = 0.0
    row = {0: 2, 1: 1, 2: 0}[array_axis]
    exact[row] = theta[row]
    return exact


def test_data_set_weights_decide_the_share_of_draws():
    label = _block()
    store = CaseStore()
    for name, count in (("few", 1), ("many", 9)):
        info = CaseInfo(name, "case", "mr", label.shape, (1.0, 1.0, 1.0), {1: "thing"})
        store.cases += [place_case(PackedCase(info, label * 200, label), CPU) for _ in range(count)]
    rng = np.random.default_rng(4)
    by_root = ClipSampler(store, PLAIN, rng)
    drawn = [by_root.plan(0).case.info.dataset for _ in range(400)]
    assert 0.65 < drawn.count("many") / 400 < 0.85  # sqrt(9) : sqrt(1)
    only_few = ClipSampler(store, replace(PLAIN, dataset_weights={"many": 0.0, "few": 1.0}), rng)
    assert {only_few.plan(0).case.info.dataset for _ in range(50)} == {"few"}
    with pytest.raises(ValueError, match="weights are zero"):
        ClipSampler(store, replace(PLAIN, dataset_weights={"many": 0.0, "few": 0.0}), rng)


def test_equal_random_states_give_equal_clips():
    first, second = (ClipSampler(_store(_block()), PLAIN, np.random.default_rng(5)).draw(3) for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.masks, second.masks)


def _textured(count: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(6)
    coarse = torch.rand(count, 1, 3, 8, 8, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(6, 64, 64), mode="trilinear")[:, 0]


def test_synthetic_targets_are_there_on_the_anchor_and_visible():
    images = _textured()
    made = synthesize(images, 2, torch.Generator().manual_seed(7))
    assert made.masks.flatten(2).any(2)[:, 2].all()
    assert made.masks.float().mean() < 0.5
    for image, mask in zip(made.images, made.masks, strict=True):
        plane, inside = image[2], mask[2]
        near = torch.nn.functional.max_pool2d(inside.float()[None, None], 7, 1, 3)[0, 0].bool() & ~inside
        assert (plane[inside].mean() - plane[near].mean()).abs() > 0.005


def test_synthetic_targets_go_on_from_slice_to_slice():
    made = synthesize(_textured(), 2, torch.Generator().manual_seed(8))
    overlaps = []
    for mask in made.masks:
        for first, second in pairwise(mask):
            if first.any() and second.any():
                overlaps.append(float((first & second).sum() / min(first.sum(), second.sum())))
    assert np.median(overlaps) > 0.6


def test_augmentation_keeps_range_and_place_and_can_be_switched_off():
    images = _textured()
    rng, generator = np.random.default_rng(9), torch.Generator().manual_seed(9)
    off = AugmentSettings(**dict.fromkeys(("gamma", "curve", "invert", "bias", "blur", "low_resolution"), 0.0))
    off = replace(off, noise=0.0, cutout=0.0)
    torch.testing.assert_close(augment(images, off, rng, generator), images, atol=1e-5, rtol=0)
    strong = AugmentSettings(gamma=1, curve=0, invert=0, bias=1, blur=1, low_resolution=1, noise=1, cutout=0)
    changed = augment(images, strong, rng, generator)
    assert 0 <= changed.min() <= changed.max() <= 1
    for before, after in zip(images, changed, strict=True):
        assert np.corrcoef(before.flatten(), after.flatten())[0, 1] > 0.6
