"""Simulated prompts are where a user would put them: in the object, tight around it, in what is wrong."""

import numpy as np
import torch
from SAM2_3dMedLib.training import simulated_prompts as prompts
from scipy import ndimage

SIZE = 96


def _disk(x: float, y: float, radius: float) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def _shapes() -> torch.Tensor:
    ring = _disk(50, 40, 30) & ~_disk(50, 40, 22)
    thin = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    thin[10:80, 61] = True
    pixel = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    pixel[0, SIZE - 1] = True
    return torch.stack([_disk(30, 60, 20), ring, thin, pixel, _disk(20, 20, 4) | _disk(70, 70, 18)])


def _inside(points: torch.Tensor, masks: torch.Tensor) -> list[bool]:
    columns, rows = points.long().unbind(-1)
    return masks[torch.arange(len(masks)), rows, columns].tolist()


def test_points_lie_in_their_object():
    masks = _shapes()
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        given = prompts.point_prompts(masks, generator)
        assert all(_inside(given.points[:, 0], masks))
        assert given.points.dtype == torch.float32
        assert (given.labels == prompts.POSITIVE).all()


def test_the_central_point_is_about_as_deep_as_the_distance_transform_gets():
    masks = _shapes()
    for mask, (x, y) in zip(masks, prompts.center_points(masks).long().tolist(), strict=True):
        padded = np.pad(mask.numpy(), 1)
        chessboard = ndimage.distance_transform_cdt(padded)[1:-1, 1:-1]
        assert chessboard[y, x] >= 0.75 * chessboard.max()


def test_random_points_reach_all_of_the_object_but_prefer_its_middle():
    mask = _disk(48, 48, 30)
    generator = torch.Generator().manual_seed(1)
    points = prompts.interior_points(mask.expand(300, -1, -1), generator, center_bias=1.0)
    distance = (points - 48).norm(dim=1)
    assert distance.max() > 22
    # Uniform points lie 2/3 of the radius from the middle on average.
    assert distance.mean() < 30 * 0.6


def test_tight_boxes_end_at_the_outermost_pixels():
    boxes = prompts.tight_boxes(_shapes())
    assert boxes[0].tolist() == [10, 40, 50, 80]
    assert boxes[2].tolist() == [61, 10, 61, 79]
    assert boxes[3].tolist() == [95, 0, 95, 0]


def test_box_prompts_are_ordered_corners_near_the_tight_box():
    masks = _shapes()[:1].expand(400, -1, -1)
    given = prompts.box_prompts(masks, torch.Generator().manual_seed(2))
    assert (given.labels == torch.tensor([prompts.BOX_FIRST, prompts.BOX_SECOND])).all()
    assert (given.points[:, 0] <= given.points[:, 1]).all()
    error = (given.points.flatten(1) - torch.tensor([10.0, 40.0, 50.0, 80.0])).abs()
    exact = (error == 0).all(1).float().mean()
    assert 0.4 < exact < 0.6
    assert error.max() <= SIZE / 25 + 1e-4
    assert error.max() > 1


def test_a_missed_part_gets_a_positive_click_and_an_extra_part_a_negative_one():
    truth = _disk(30, 48, 16)
    left_only = truth.clone()
    left_only[:, 32:] = False
    too_much = truth | _disk(75, 48, 12)
    masks = truth.expand(2, -1, -1)
    given = prompts.correction_prompts(torch.stack([left_only, too_much]), masks, torch.Generator().manual_seed(3))
    assert given.labels[:, 0].tolist() == [prompts.POSITIVE, prompts.NEGATIVE]
    assert all(_inside(given.points[:, 0], torch.stack([truth & ~left_only, too_much & ~truth])))


def test_the_click_goes_to_the_thickest_error():
    truth = _disk(70, 70, 18)
    predicted = _disk(20, 20, 5)
    for seed in range(5):
        given = prompts.correction_prompts(predicted[None], truth[None], torch.Generator().manual_seed(seed))
        assert given.labels.item() == prompts.POSITIVE


def test_a_perfect_mask_gets_a_padding_click():
    masks = _shapes()
    given = prompts.correction_prompts(masks, masks, torch.Generator().manual_seed(4))
    assert (given.labels == prompts.PADDING).all()


def test_mask_prompts_resemble_the_object():
    masks = _shapes()[:2].repeat(30, 1, 1)
    given = prompts.mask_prompts(masks, torch.Generator().manual_seed(5))
    shared = (given & masks).sum((1, 2)) / (given | masks).sum((1, 2))
    assert 0.25 < (shared == 1).float().mean() < 0.75
    assert shared.min() > 0.5
