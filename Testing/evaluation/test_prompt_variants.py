"""Prompts that get less and less careful: where they land, and that the same object always gets the same ones."""

from dataclasses import replace

import numpy as np
import pytest
from SAM2_3dMedLib.propagation.prompts import BoxPrompt, PointPrompt
from SAM2_3dMedLib.training.baselines import bounds_of_box, bounds_of_mask
from SAM2_3dMedLib.training.prompt_variants import Target, careful_setting, prompt_variants, settings_of
from SAM2_3dMedLib.training.protocols import Protocol, box_prompt, point_prompt, slice_of
from SAM2_3dMedLib.volume.geometry import Geometry
from SAM2_3dMedLib.volume.planes import SliceAxis

VARYING = [protocol for protocol in Protocol if protocol.varies_prompt]


def target_of(mask: np.ndarray, axis=SliceAxis.K, identity="val/d/c/1", ijk_to_ras=None) -> Target:
    affine = np.eye(4) if ijk_to_ras is None else ijk_to_ras
    return Target(identity, mask, axis, Geometry(affine, mask.shape[::-1]))


def variants_of(protocol: Protocol, target: Target) -> dict[str, BoxPrompt | PointPrompt]:
    return {variant.setting: variant.prompt for variant in prompt_variants(protocol, target)}


@pytest.fixture
def blob():
    """An ellipsoid, largest on K 8, that reaches from K 2 to K 26 (upward it is longer)."""
    k, j, i = np.indices((32, 128, 256))
    length = np.where(k < 8, 6.5, 18.5)
    return ((k - 8) / length) ** 2 + ((j - 60) / 25.5) ** 2 + ((i - 140) / 50.5) ** 2 <= 1


@pytest.mark.parametrize("protocol", VARYING)
@pytest.mark.parametrize("axis", list(SliceAxis))
def test_all_settings_come_in_order_and_the_careful_one_is_the_usual_prompt(blob, protocol, axis):
    target = target_of(np.moveaxis(blob, 0, 2 - axis), axis)
    variants = list(prompt_variants(protocol, target))
    assert tuple(variant.setting for variant in variants) == settings_of(protocol)
    careful = next(variant for variant in variants if variant.setting == careful_setting(protocol))
    assert careful.index == 8
    usual = (
        point_prompt(target.mask, axis, 8, target.geometry)
        if protocol is Protocol.POINT_POSITION
        else box_prompt(target.mask, axis, 8)
    )
    assert careful.prompt == usual
    assert all(variant.prompt.slice_index == variant.index for variant in variants)


@pytest.mark.parametrize("protocol", VARYING)
def test_draws_belong_to_the_object_and_the_setting(blob, protocol):
    target = target_of(blob)
    first, second = variants_of(protocol, target), variants_of(protocol, target)
    assert first == second
    other = variants_of(protocol, replace(target, identity="val/d/c/2"))
    random = {"5", "10", "20", "random", "edge"} & set(first)
    assert all(first[setting] != other[setting] for setting in random)


def test_sides_move_by_pixels_of_the_stretched_slice():
    """128 rows and 256 columns on 512: 20 pixels are 5 rows and 10 columns; the bounds are reached."""
    mask = np.zeros((3, 128, 256), dtype=bool)
    mask[1, 40:80, 60:180] = True
    tight = np.array(bounds_of_mask(mask[1]))
    for setting, (rows, columns) in {"0": (0, 0), "5": (1, 2), "10": (2, 5), "20": (5, 10)}.items():
        moves = []
        for number in range(200):
            box = variants_of(Protocol.JITTER, target_of(mask, identity=str(number)))[setting]
            moves.append(np.array(bounds_of_box(box)) - tight)
        moves = np.array(moves)
        np.testing.assert_array_equal(np.abs(moves).max(axis=0), [[rows] * 2, [columns] * 2])
        assert (np.abs(moves.mean(axis=0)) <= 0.15 * max(columns, 1)).all()  # neither larger nor smaller on average
        if setting == "20":
            assert len({tuple(move.ravel()) for move in moves}) > 150  # each side and each object by itself


def test_boxes_stay_on_the_slice_and_are_boxes():
    mask = np.zeros((3, 6, 300), dtype=bool)
    mask[1, 0, 298:] = True  # two voxels in a corner: most draws leave it or collapse
    for number in range(100):
        for box in variants_of(Protocol.JITTER, target_of(mask, identity=str(number))).values():
            (top, bottom), (left, right) = bounds_of_box(box)
            assert 0 <= top <= bottom < 6
            assert 0 <= left <= right < 300
            assert (top, left) != (bottom, right)


def test_points_lie_inside_and_the_edge_is_the_edge(blob):
    depths = {}
    for setting in settings_of(Protocol.POINT_POSITION):
        for number in range(60):
            point = variants_of(Protocol.POINT_POSITION, target_of(blob, identity=str(number)))[setting]
            i, j, k = (int(value) for value in point.position)
            assert blob[k, j, i]
            assert point.positive
            depths.setdefault(setting, []).append(1 - np.hypot((j - 60) / 25.5, (i - 140) / 50.5))
    assert min(depths["center"]) > 0.9
    assert max(depths["edge"]) < 0.25
    assert min(depths["random"]) < 0.2 < 0.5 < max(depths["random"])


def test_slices_are_so_far_on_the_way_to_the_end(blob):
    boxes = variants_of(Protocol.OFF_SLICE, target_of(blob))
    assert {setting: box.slice_index for setting, box in boxes.items()} == {
        "-75": 3, "-50": 5, "-25": 6, "0": 8, "+25": 13, "+50": 17, "+75": 22,
    }  # fmt: skip
    for box in boxes.values():
        assert bounds_of_box(box) == bounds_of_mask(slice_of(blob, SliceAxis.K, box.slice_index))


def test_plus_is_the_same_direction_in_a_flipped_file(blob):
    flipped = target_of(blob[::-1], ijk_to_ras=np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 31.0], [0, 0, 0, 1]]))
    boxes = variants_of(Protocol.OFF_SLICE, flipped)
    plain = variants_of(Protocol.OFF_SLICE, target_of(blob))
    assert {setting: 31 - box.slice_index for setting, box in boxes.items()} == {
        setting: box.slice_index for setting, box in plain.items()
    }


def test_settings_that_an_object_does_not_have_are_left_out():
    mask = np.zeros((9, 12, 12), dtype=bool)
    mask[3, 2:9, 2:9] = True  # nothing below the largest slice ...
    mask[[5, 6, 8], 5, 5:7] = True  # ... and gaps above it
    boxes = variants_of(Protocol.OFF_SLICE, target_of(mask))
    assert {setting: box.slice_index for setting, box in boxes.items()} == {"0": 3, "+50": 6, "+75": 6}
    pixel = np.zeros((3, 5, 5), dtype=bool)
    pixel[1, 2, 3] = True
    assert variants_of(Protocol.JITTER, target_of(pixel)) == {}
    off = variants_of(Protocol.OFF_SLICE, target_of(pixel))
    assert off == {"0": PointPrompt(SliceAxis.K, (3, 2, 1), True)}  # no box can be drawn around it
