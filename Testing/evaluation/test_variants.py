"""Evaluation of one object under several settings, against a session whose masks are known."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  its customary name
from SAM2_3dMedLib.propagation.prompts import BoxPrompt
from SAM2_3dMedLib.training import prompt_variants
from SAM2_3dMedLib.training.baselines import bounds_of_box, ellipse_in
from SAM2_3dMedLib.training.evaluation import evaluate_variants
from SAM2_3dMedLib.training.metrics import dice
from SAM2_3dMedLib.training.prompt_variants import settings_of
from SAM2_3dMedLib.training.protocols import Protocol
from SAM2_3dMedLib.volume.planes import SliceAxis

from .conftest import SPACING, NoPredictor


def rows_of(case, protocol):
    return list(evaluate_variants(NoPredictor(), case, protocol))


def test_every_object_has_a_row_for_every_setting_it_has(case, session):
    rows = rows_of(case, Protocol.JITTER)
    assert [(row.name, row.setting) for row in rows] == [
        (name, setting) for name in ("cone", "block") for setting in settings_of(Protocol.JITTER)
    ]
    assert [asked[0] for asked in session.asked] == ["box", "propagate"] * 8
    assert session.closed


def test_a_row_measures_the_prompt_that_was_given(case, session, truth):
    """The cone is largest on the last slice along J; the box of an earlier one is its own on that slice."""
    rows = {row.setting: row for row in rows_of(case, Protocol.OFF_SLICE) if row.name == "cone"}
    assert list(rows) == ["-75", "-50", "-25", "0"] or list(rows) == ["0", "+25", "+50", "+75"]
    asked = [entry for entry in session.asked if entry[:2] == ("box", "cone")]
    for row, (_, _, axis, first, last) in zip(rows.values(), asked, strict=True):
        true_slice = truth["cone"][:, row.slice_index]
        held_k, held_i = np.nonzero(true_slice)
        assert (axis, row.axis, first[1]) == (SliceAxis.J, "J", row.slice_index)
        assert (first[0], last[0], first[2], last[2]) == (held_i.min(), held_i.max(), held_k.min(), held_k.max())
        drawn = np.zeros_like(truth["cone"])
        drawn[held_k.min() : held_k.max() + 1, :, held_i.min() : held_i.max() + 1] = True
        assert row.dice == dice(drawn, truth["cone"])
        assert row.prompted_slice_dice == dice(drawn[:, row.slice_index], true_slice)
        assert 0 < row.ellipsoid_dice < 1
        assert row.ellipse_slice_dice > 0.7
    assert rows["0"].slice_index == 8
    assert len({row.slice_index for row in rows.values()}) == 4


def test_the_baseline_is_of_the_box_as_it_was_given(case, session, truth, monkeypatch):
    monkeypatch.setattr(prompt_variants, "JITTER_PIXELS", (0, 100))  # of a slice of 24 x 20 voxels: up to 4 voxels
    rows = [row for row in rows_of(case, Protocol.JITTER) if row.name == "cone"]
    boxes = [BoxPrompt(*entry[2:]) for entry in session.asked if entry[:2] == ("box", "cone")]
    true_slice = truth["cone"][:, 8]
    for row, box in zip(rows, boxes, strict=True):
        assert row.ellipse_slice_dice == dice(ellipse_in(bounds_of_box(box), true_slice.shape), true_slice)
    assert rows[1].ellipse_slice_dice < rows[0].ellipse_slice_dice
    assert rows[1].ellipsoid_dice != rows[0].ellipsoid_dice


def test_a_click_has_no_baseline(case, session):
    rows = rows_of(case, Protocol.POINT_POSITION)
    assert [row.setting for row in rows] == ["center", "random", "edge"] * 2
    assert {(row.ellipse_slice_dice, row.ellipsoid_dice) for row in rows} == {(None, None)}
    assert {row.prompted_slice_dice for row in rows} == {1.0}  # this session mends the slice that is clicked


@pytest.mark.parametrize("protocol", [protocol for protocol in Protocol if protocol.varies_prompt])
def test_rows_do_not_depend_on_the_other_objects(case, session, truth, protocol):
    both = [row for row in rows_of(case, protocol) if row.name == "block"]
    block = sitk.GetImageFromArray((truth["block"] * 5).astype(np.uint8))
    block.SetSpacing(SPACING)
    sitk.WriteImage(block, str(case.label))
    alone = rows_of(case, protocol)
    strip = [row.__dict__ | {"seconds": 0} for row in both], [row.__dict__ | {"seconds": 0} for row in alone]
    assert strip[0] == strip[1]
