"""From option text to prompts: names, axes, millimeters, colors."""

import json

import numpy as np
import pytest
from SAM2_3dMedLib.commands.box_options import box_in_mm, box_in_voxels
from SAM2_3dMedLib.commands.errors import UserError
from SAM2_3dMedLib.commands.prompt_options import (
    DEFAULT_NAME,
    PromptText,
    parse_color,
    read_axis,
    read_prompts,
    read_slice_range,
)
from SAM2_3dMedLib.propagation.prompts import BoxPrompt, MaskPrompt, PointPrompt, prompts_to_json
from SAM2_3dMedLib.volume.geometry import Geometry
from SAM2_3dMedLib.volume.planes import SliceAxis

SHAPE = (40, 30, 20)
# Stored sagittally and left-handed: I runs inferior, J anterior, K left.
TURNED = np.array([[0, 0, -3.0, 10], [0, 2.0, 0, -5], [-1.0, 0, 0, 7], [0, 0, 0, 1]])


@pytest.fixture
def turned() -> Geometry:
    return Geometry(TURNED, SHAPE)


@pytest.fixture
def plain() -> Geometry:
    return Geometry(np.diag([1.0, 1.0, 4.0, 1.0]), SHAPE)


def test_objects_keep_their_order_names_and_prompts(plain):
    text = PromptText(
        points=["liver=1,2,3", "spleen=4,5,6.4", "7,8,9"], negatives=["spleen=0,0,0"], boxes=["spleen=1,2,3,9,8,3"]
    )
    objects = read_prompts(text, plain, SliceAxis.K)
    assert [(o.segment.label, o.segment.name) for o in objects] == [(1, "spleen"), (2, "liver"), (3, DEFAULT_NAME)]
    box, inside, outside = objects[0].prompts
    assert box == BoxPrompt(SliceAxis.K, (1, 2, 3), (9, 8, 3))
    assert (inside.position, inside.positive, inside.slice_index) == ((4, 5, 6.4), True, 6)
    assert outside == PointPrompt(SliceAxis.K, (0, 0, 0), False)
    assert len({o.segment.color for o in objects}) == 3


def test_colors(plain):
    text = PromptText(points=["a b=1,1,1", "2,2,2"], colors=["a b=#ff8000", "#0000FF"])
    first, second = read_prompts(text, plain, SliceAxis.K)
    assert first.segment.color == pytest.approx((1, 128 / 255, 0))
    assert second.segment.color == (0, 0, 1)
    for wrong in ("red", "#12345", "#GGGGGG", ""):
        with pytest.raises(UserError, match="#RRGGBB"):
            parse_color(wrong)


@pytest.mark.parametrize("axis", list(SliceAxis))
def test_a_box_is_on_the_axis_it_is_flat_along_in_voxels_and_in_mm(turned, axis):
    first, second = [3.0, 4.0, 5.0], [12.0, 11.0, 10.0]
    second[axis] = first[axis]
    expected = BoxPrompt(axis, tuple(first), tuple(second))
    assert box_in_voxels(second, first, turned) == expected
    corners = turned.to_ras(np.array([first, second]))
    assert box_in_mm(*corners, turned) == expected


def test_a_box_in_mm_may_be_a_little_off_its_slice(turned):
    corners = turned.to_ras(np.array([[3, 4, 5.2], [12, 11, 4.9]]))
    assert box_in_mm(*corners, turned) == BoxPrompt(SliceAxis.K, (3, 4, 5), (12, 11, 5))


def test_named_axes_follow_the_patient(turned, plain):
    assert [read_axis(name, turned) for name in ("axial", "coronal", "sagittal")] == [0, 1, 2]
    assert [read_axis(name, plain) for name in ("axial", "Coronal", "SAGITTAL", "j")] == [2, 1, 0, 1]
    assert read_axis("auto", turned) == SliceAxis.K
    assert read_axis("auto", Geometry(np.diag([1.0, 5.0, 1.0, 1.0]), SHAPE)) == SliceAxis.J
    assert read_axis("auto", Geometry(np.eye(4), SHAPE)) == SliceAxis.K
    permuted = np.eye(4)[:, [2, 0, 1, 3]]  # i toward S, j toward R, k toward A, all of 1 mm
    assert read_axis("auto", Geometry(permuted, SHAPE)) == SliceAxis.I


def test_slice_range(plain):
    assert read_slice_range(None, SliceAxis.K, plain) is None
    assert read_slice_range("3:19", SliceAxis.K, plain) == (3, 19)
    assert read_slice_range(" 0 , 39 ", SliceAxis.I, plain) == (0, 39)


def test_a_file_written_by_a_session_is_read_as_it_is(plain, tmp_path):
    mask = np.zeros((30, 40), dtype=bool)
    mask[3:9, 5:20] = True
    prompts = {
        "one": (PointPrompt(SliceAxis.J, (1.5, 2, 3), False), BoxPrompt(SliceAxis.I, (4, 2, 3), (4, 8, 9))),
        "two": (MaskPrompt(SliceAxis.K, 7, mask),),
    }
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps({**prompts_to_json(prompts), "colors": {"two": "#000000"}}))
    objects = read_prompts(PromptText(file=file), plain, SliceAxis.K)
    assert {o.segment.name: o.prompts for o in objects} == prompts
    assert objects[1].segment.color == (0, 0, 0)
