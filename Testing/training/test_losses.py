"""The losses against independent references in numpy and scipy, from the formulas of the paper and of SAM2."""

import numpy as np
import pytest
import torch
from SAM2_3dMedLib.training import losses
from SAM2_3dMedLib.training.losses import LossTerms, LossWeights
from scipy import ndimage


def _disk(size: int, x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def test_srpp_is_the_papers_double_sum():
    rng = np.random.default_rng(0)
    predicted = rng.normal(size=(3, 5, 5))
    expected = np.mean(
        [sum((clip[i, j] - (j - i)) ** 2 for i in range(5) for j in range(5) if i != j) / (5 * 4) for clip in predicted]
    )
    assert float(losses.srpp_loss(torch.tensor(predicted))) == pytest.approx(expected, rel=1e-5)


def test_srpp_of_right_answers_is_zero_in_slices_and_in_millimetres():
    offsets = torch.arange(4.0)[None, :] - torch.arange(4.0)[:, None]
    assert float(losses.srpp_loss(offsets[None])) == 0.0
    spacing = torch.tensor([2.5, 10.0])
    scaled = offsets[None] * (spacing / 5)[:, None, None]
    assert float(losses.srpp_loss(scaled, spacing / 5)) == pytest.approx(0.0, abs=1e-12)
    assert float(losses.srpp_loss(scaled)) > 0.1


def test_a_clip_of_one_slice_has_no_relative_position():
    assert float(losses.srpp_loss(torch.ones(2, 1, 1))) == 0.0


def test_boundary_targets_are_the_morphological_gradient_pooled_to_the_stride():
    mask = _disk(64, 30, 25, 14) & ~_disk(64, 30, 25, 5)
    square = np.ones((3, 3), bool)
    gradient = ndimage.binary_dilation(mask, square) ^ ndimage.binary_erosion(mask, square)
    expected = gradient.reshape(16, 4, 16, 4).max((1, 3))
    found = losses.boundary_targets(torch.tensor(mask)[None])[0].numpy()
    np.testing.assert_array_equal(found.astype(bool), expected)


def test_an_object_cut_by_the_image_has_no_boundary_at_the_cut():
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    mask[:, :, 16:] = True
    found = losses.boundary_targets(mask)[0]
    assert found[:, 3:5].all()
    assert not found[:, 6:].any()


def test_boundary_loss_weighs_the_two_classes_as_the_paper_says():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(2, 8, 8))
    targets = (rng.random((2, 8, 8)) < 0.2).astype(float)
    expected = []
    for logit, target in zip(logits, targets, strict=True):
        on = target.sum()
        weight = np.where(target > 0, (64 - on) / 64, on / 64)
        probability = 1 / (1 + np.exp(-logit))
        entropy = -(target * np.log(probability) + (1 - target) * np.log(1 - probability))
        expected.append((weight * entropy).mean())
    found = losses.boundary_loss(torch.tensor(logits)[:, None], torch.tensor(targets, dtype=torch.float32))
    assert float(found) == pytest.approx(np.mean(expected), rel=1e-4)


def test_stride4_targets_are_covered_shares():
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, :2, :4] = True
    assert losses.stride4_targets(mask)[0].tolist() == [[0.5, 0.0], [0.0, 0.0]]


def test_dice_loss_is_one_minus_dice_for_certain_logits():
    first, second = _disk(32, 12, 16, 9), _disk(32, 18, 16, 9)
    dice = 2 * (first & second).sum() / (first.sum() + second.sum())
    logits = torch.tensor(np.where(first, 30.0, -30.0), dtype=torch.float32)[None, None]
    found = losses.dice_loss(logits, torch.tensor(second, dtype=torch.float32)[None])
    assert float(found) == pytest.approx(1 - dice, abs=2e-3)  # MONAI's smoothing terms of 1 against 500 pixels


def test_focal_loss_matches_sam2s_formula_on_hard_targets():
    rng = np.random.default_rng(2)
    logits, target = rng.normal(size=(6, 6)) * 2, rng.random((6, 6)) < 0.4
    probability = 1 / (1 + np.exp(-logits))
    right = np.where(target, probability, 1 - probability)
    alpha = np.where(target, 0.25, 0.75)
    expected = (-alpha * (1 - right) ** 2 * np.log(right)).mean()
    found = losses.pixel_loss(
        torch.tensor(logits, dtype=torch.float32)[None, None], torch.tensor(target)[None].float(), focal=True
    )
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_only_the_best_candidate_learns_the_mask_and_all_learn_their_iou():
    target = torch.tensor(_disk(16, 8, 8, 5)).float()[None]
    good = torch.where(target > 0.5, 3.0, -3.0)
    candidates = torch.stack([-good, good, torch.zeros_like(good)], dim=1).requires_grad_()
    predicted = torch.tensor([[0.5, 0.25, 0.5]], requires_grad=True)
    result = losses.candidate_losses(candidates, predicted, target, LossWeights())
    (result.pixel.sum() + result.dice.sum()).backward()
    moved = candidates.grad.abs().sum((0, 2, 3))
    assert moved[1] > 0
    assert moved[0] == moved[2] == 0
    # IoUs reached are 0, 1 and 0 (a logit of 0 is outside): |0.5 - 0|, |0.25 - 1| and |0.5 - 0|.
    assert float(result.iou.detach()) == pytest.approx((0.5 + 0.75 + 0.5) / 3)
    # SAM2 shows the candidate with the highest predicted IoU: the first, which is wrong everywhere.
    assert float(result.reached) == 0.0


def test_the_no_object_logits_of_sam2_keep_the_loss_finite():
    target = torch.tensor(_disk(16, 8, 8, 5)).float()[None]
    result = losses.candidate_losses(torch.full((1, 1, 16, 16), -1024.0), torch.zeros(1, 1), target, LossWeights())
    assert float(result.pixel) < losses.LOGIT_LIMIT


def test_the_total_is_the_weighted_sum_with_the_papers_weights():
    terms = LossTerms(*(torch.tensor(float(value)) for value in (1, 2, 3, 4, 100, 10)))
    weights = LossWeights(pixel=1.0)
    assert float(terms.total(weights)) == pytest.approx(1 + 2 + 3 + 4 + 0.01 * 100 + 0.1 * 10)
