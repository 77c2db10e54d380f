"""What one side sends, the other side gets; what is not a message is refused with its text."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from SAM2_3dMedLib.worker import messages as m


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_a_mask_survives_its_crop(rows, columns, seed, share):
    mask = np.random.default_rng(seed).random((rows, columns)) < share * 0.2
    assert np.array_equal(m.MaskCrop.of(mask).to_mask(), mask)


def test_a_mask_travels_as_a_small_crop():
    mask = np.zeros((512, 512), dtype=bool)
    mask[100:200, 150:260] = True
    crop = m.MaskCrop.of(mask)
    assert (crop.row, crop.column, crop.rows, crop.columns) == (100, 150, 100, 110)
    assert len(crop.data) < 500


def test_broken_crops_are_refused():
    crop = m.MaskCrop.of(np.ones((8, 8), dtype=bool))
    for broken in (
        m.MaskCrop((8, 8), 4, 0, 8, 8, crop.data),
        m.MaskCrop((80, 80), 0, 0, 80, 80, crop.data),
        m.MaskCrop((8, 8), 0, 0, 8, 8, "bm90IHpsaWI="),
        m.MaskCrop((8, 8), -1, 0, 8, 8, crop.data),
    ):
        with pytest.raises(ValueError, match="packed mask"):
            broken.to_mask()


CROP = m.MaskCrop.of(np.eye(5, dtype=bool))
EXAMPLES = [
    m.Hello(1, ("/a", "/b c"), "auto"),
    m.LoadModel(2, "/weights/ä.safetensors", "cuda:1"),
    m.OpenVolume(3, "v", m.ArrayFile("/x", (3, 4, 5), "<i2"), tuple(float(n) for n in range(16)), "CT", None, "auto"),
    m.AddPrompt(4, "v", "Segment_1", {"type": "point", "axis": "K", "position": [1.5, 2, 3], "positive": True}),
    m.SetPrompts(5, "v", "o", ({"type": "box"}, {"type": "mask", "runs": [1, 2]}), True),
    m.Propagate(6, "v", "o", 3, None),
    m.Cancel(7),
    m.RefineBoundary(8, "v", "o", 2, (m.IndexedMask(4, CROP), m.IndexedMask(9, CROP))),
    m.SliceResult(9, "v", "o", 2, 14, CROP, 0.5, None, 3, 80, 12.5),
    m.ConfidenceReport(10, "v", "o", 1, (m.SliceConfidenceData(3, 0.5, None, 0.25, 1.0),)),
    m.Failed(11, "prompt", "Outside: click\ninside.", False, "v", "o"),
]


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: message.kind_name)
def test_a_message_is_one_line_and_comes_back_equal(message):
    line = message.to_line()
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert line.isascii()
    assert m.parse_line(line) == message
    assert m.parse_line(line.encode()) == message


@pytest.mark.parametrize(
    "line", ["", "[]", "hello", '{"type":"Cancel"}', '{"type":"Explode","request":1}', b"\xff\xfe", "3"]
)
def test_what_is_not_a_message_is_refused_with_its_text(line):
    with pytest.raises(m.MessageError, match="not a message"):
        m.parse_line(line)
