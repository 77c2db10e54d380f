"""Prompts go through JSON unharmed; what is no prompt is refused with a sentence."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from SAM2_3dMedLib.propagation.errors import PromptError
from SAM2_3dMedLib.propagation.packed_mask import PackedMask, bounding_box
from SAM2_3dMedLib.propagation.prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    prompt_from_json,
    prompts_from_json,
    prompts_to_json,
    run_lengths,
)
from SAM2_3dMedLib.volume.planes import SliceAxis

MASKS = arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))
NUMBERS = st.floats(-1000, 1000)
POSITIONS = st.tuples(NUMBERS, NUMBERS, NUMBERS)
AXES = st.sampled_from(list(SliceAxis))
PROMPTS = st.one_of(
    st.builds(PointPrompt, AXES, POSITIONS, st.booleans()),
    st.builds(BoxPrompt, AXES, POSITIONS, POSITIONS),
    st.builds(MaskPrompt, AXES, st.integers(0, 600), MASKS),
)


@given(PROMPTS)
def test_a_prompt_comes_back_from_json_equal(prompt) -> None:
    back = prompt_from_json(json.loads(json.dumps(prompt.to_json())))
    assert back == prompt
    assert hash(back) == hash(prompt)


@given(st.dictionaries(st.text(min_size=1), st.lists(PROMPTS, max_size=3), max_size=3))
def test_all_prompts_of_a_session_come_back_equal(prompts) -> None:
    back = prompts_from_json(json.loads(json.dumps(prompts_to_json(prompts))))
    assert back == {name: tuple(entries) for name, entries in prompts.items()}


def test_the_slice_is_that_of_the_voxel_which_holds_the_point() -> None:
    assert PointPrompt(SliceAxis.J, (1.0, 6.5, 3.0)).slice_index == 7
    assert PointPrompt(SliceAxis.J, (1.0, 6.49, 3.0)).slice_index == 6
    assert PointPrompt(SliceAxis.I, (-0.4, 6.0, 3.0)).slice_index == 0


def test_a_mask_prompt_keeps_its_own_copy() -> None:
    mask = np.ones((3, 4), bool)
    prompt = MaskPrompt(SliceAxis.K, 2, mask)
    mask[:] = False
    assert prompt.mask.all()
    with pytest.raises(ValueError, match="read-only"):
        prompt.mask[0, 0] = False


def test_a_large_mask_is_short_in_json() -> None:
    mask = np.zeros((512, 512), bool)
    mask[100:300, 200:400] = True
    assert len(run_lengths(mask)) == 401


@given(MASKS, MASKS)
def test_a_packed_mask_is_the_mask(first: np.ndarray, second: np.ndarray) -> None:
    packed = PackedMask.of(first)
    assert np.array_equal(packed.unpack(), first)
    assert packed.area == first.sum()
    if second.shape == first.shape:
        assert PackedMask.of(second).changed_box(packed) == bounding_box(first ^ second)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "lacks its entry 'type'"),
        ([], "named entries"),
        ({"type": "circle"}, "point, box, mask"),
        ({"type": "point", "axis": "X", "position": [0, 0, 0]}, "axis"),
        ({"type": "point", "axis": "K", "position": [0, 0]}, "three numbers"),
        ({"type": "point", "axis": "K", "position": "123"}, "three numbers"),
        ({"type": "point", "axis": "K", "position": [0, float("nan"), 0]}, "finite"),
        ({"type": ["point"], "axis": "K", "position": [0, 0, 0]}, "point, box, mask"),
        ({"type": "point", "axis": "K", "position": [0, 0, 0], "positive": "yes"}, "true or false"),
        ({"type": "box", "axis": 2, "corner_a": [0, 0, 0]}, "corner_b"),
        ({"type": "mask", "axis": 2, "index": 1, "shape": [2, 2], "runs": [1, 2]}, "add up"),
        ({"type": "mask", "axis": 2, "index": 1, "shape": [2, 2], "runs": [-1, 5]}, "add up"),
        ({"type": "mask", "axis": 2, "index": "1", "shape": [2, 2], "runs": [4]}, "whole numbers"),
    ],
)
def test_what_is_no_prompt_is_refused(data, words: str) -> None:
    with pytest.raises(PromptError, match=words):
        prompt_from_json(data)


def test_the_axis_may_be_a_letter_or_a_number() -> None:
    letters = {"type": "point", "axis": "j", "position": [1, 2, 3]}
    assert prompt_from_json(letters) == prompt_from_json({**letters, "axis": 1})
