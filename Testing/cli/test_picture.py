"""The contact sheet: outlines where the segments are, prompts where they were given, turned as one expects."""

from dataclasses import replace

import numpy as np
import pytest
from SAM2_3dMedLib.commands.picture import MAX_TILES, Sheet, chosen_slices, draw_contact_sheet
from SAM2_3dMedLib.propagation.prompts import BoxPrompt, PointPrompt
from SAM2_3dMedLib.volume.images import SegmentInfo, Volume
from SAM2_3dMedLib.volume.intensity import Window
from SAM2_3dMedLib.volume.planes import SliceAxis

RED, GREEN = SegmentInfo(1, "left part", (1.0, 0.0, 0.0)), SegmentInfo(2, "right part", (0.0, 1.0, 0.0))


def sheet_of(axis=SliceAxis.K, ijk_to_ras=None, prompts=()) -> Sheet:
    """Label 1 at the patient's left (small R), label 2 at the right, in a dark volume; I runs right, J anterior."""
    left, right = np.zeros((2, 12, 40, 60), dtype=bool)
    left[3:9, 10:30, 5:20] = True
    right[3:9, 10:30, 40:55] = True
    volume = Volume(np.zeros(left.shape, dtype=np.int16), np.eye(4) if ijk_to_ras is None else ijk_to_ras, "dark")
    return Sheet(volume, Window(0, 100), (left, right), (RED, GREEN), prompts, axis)


def pixels_of(color, picture) -> np.ndarray:
    """Rows and columns of the pixels of a color, the legend left out."""
    return np.argwhere((np.asarray(picture)[40:] == np.array(color) * 255).all(-1))


def test_outlines_have_the_segments_colors_and_the_patients_left_is_on_the_right():
    picture = draw_contact_sheet(sheet_of())
    tiles_across = 5
    width = picture.width / tiles_across
    red, green = pixels_of(RED.color, picture), pixels_of(GREEN.color, picture)
    assert len(red) > 100
    assert len(green) > 100
    assert (red[:, 1] % width).mean() > (green[:, 1] % width).mean()


def test_outlines_are_lines_not_areas():
    sheet = sheet_of(prompts=())
    picture = draw_contact_sheet(sheet)
    tile = np.asarray(picture)[40:, : picture.width // 5]
    red = (tile == (255, 0, 0)).all(-1)
    inside = red[red.any(1)][len(red[red.any(1)]) // 4]
    assert 2 <= inside.sum() <= 8


def test_a_flipped_file_gives_the_same_picture():
    plain = draw_contact_sheet(sheet_of())
    flipped = sheet_of()
    matrix = np.diag([-1.0, 1.0, 1.0, 1.0])
    matrix[0, 3] = flipped.volume.array.shape[2] - 1
    flipped = Sheet(
        Volume(flipped.volume.array[:, :, ::-1], matrix),
        flipped.window,
        [mask[:, :, ::-1] for mask in flipped.masks],
        flipped.segments,
        (),
        SliceAxis.K,
    )
    np.testing.assert_array_equal(np.asarray(draw_contact_sheet(flipped)), np.asarray(plain))


@pytest.mark.parametrize("axis", list(SliceAxis))
def test_every_axis_can_be_shown(axis):
    picture = draw_contact_sheet(sheet_of(axis=axis))
    assert len(pixels_of(RED.color, picture)) > 50


def test_prompts_are_drawn_on_their_slices():
    blue = SegmentInfo(3, "prompted only", (0.0, 0.0, 1.0))
    prompts = (
        (blue, BoxPrompt(SliceAxis.K, (20, 5, 11), (35, 35, 11))),
        (blue, PointPrompt(SliceAxis.K, (30, 20, 0), True)),
        (blue, PointPrompt(SliceAxis.J, (30, 20, 0), True)),
    )
    sheet = sheet_of(prompts=prompts)
    assert {0, 11} <= set(chosen_slices(sheet))
    assert len(pixels_of(blue.color, draw_contact_sheet(sheet))) > 100


def test_slices_are_few_spread_and_hold_the_prompted_ones():
    mask = np.zeros((300, 4, 4), dtype=bool)
    mask[50:250, 1:3, 1:3] = True
    volume = Volume(np.zeros(mask.shape, dtype=np.int16), np.eye(4))
    prompts = ((RED, PointPrompt(SliceAxis.K, (2, 2, 77), True)),)
    chosen = chosen_slices(Sheet(volume, Window(0, 1), (mask,), (RED,), prompts, SliceAxis.K))
    assert len(chosen) <= MAX_TILES
    assert {50, 77, 249} <= set(chosen)


def test_nothing_found_is_shown_too():
    prompts = ((RED, PointPrompt(SliceAxis.K, (2, 2, 7), True)),)
    empty = replace(sheet_of(prompts=prompts), masks=[np.zeros((12, 40, 60), dtype=bool)] * 2)
    assert chosen_slices(empty) == [7]
    assert draw_contact_sheet(empty).width > 50
