"""A click changes what it says: the answer keeps it, and where it denies the object, the object ends."""

from functools import partial

import numpy as np
import pytest
from SAM2_3dMedLib.propagation.click_answers import _changed_round, _Click, _depth
from SAM2_3dMedLib.propagation.policies import BracketedMemoryPolicy, Sam2MemoryPolicy
from SAM2_3dMedLib.propagation.predictor import SlicePredictor
from SAM2_3dMedLib.propagation.session import VolumeSession
from SAM2_3dMedLib.propagation.slice_decoder import Candidate
from SAM2_3dMedLib.propagation.stopping import StopRule
from SAM2_3dMedLib.volume.images import Volume
from SAM2_3dMedLib.volume.planes import SliceAxis

K = SliceAxis.K
COUNT = 25


def _session(predictor: SlicePredictor, volume: Volume, policy=None) -> VolumeSession:
    """A tumor that was boxed on slice 12 and followed through all slices."""
    session = VolumeSession(predictor, volume, policy=policy, stop_rule=StopRule.never())
    session.add_box("tumor", K, (20, 15, 12), (50, 40, 12))
    list(session.propagate("tumor"))
    return session


def _middle(mask: np.ndarray) -> tuple[int, int]:
    """Row and column of a mask's deepest place."""
    row, column = np.unravel_index(_depth(mask).argmax(), mask.shape)
    return int(row), int(column)


@pytest.mark.parametrize("spot", [(15, 20), (40, 60), (3, 3), (50, 10)], ids=str)
@pytest.mark.parametrize("positive", [True, False])
def test_what_was_clicked_is_so(full_predictor: SlicePredictor, mr_volume: Volume, spot, positive: bool) -> None:
    session = _session(full_predictor, mr_volume)
    row, column = spot
    preview = session.add_point("tumor", K, (column, row, 16), positive)
    assert bool(preview.mask[row, column]) == positive
    list(session.propagate("tumor"))
    assert bool(session.mask("tumor")[16, row, column]) == positive


def test_every_click_on_a_slice_stays_kept(full_predictor: SlicePredictor, mr_volume: Volume) -> None:
    session = _session(full_predictor, mr_volume)
    clicks = [((30, 20), True), ((60, 50), False), ((10, 40), True), ((45, 30), False)]
    for (column, row), positive in clicks:
        session.add_point("tumor", K, (column, row, 16), positive)
    mask = session.slice_mask("tumor", K, 16)
    assert [bool(mask[row, column]) for (column, row), _ in clicks] == [positive for _, positive in clicks]


def test_denied_in_its_middle_the_object_ends_there_and_undo_brings_it_back(
    full_predictor: SlicePredictor, mr_volume: Volume
) -> None:
    session = _session(full_predictor, mr_volume)
    before = session.mask("tumor")
    row, column = _middle(before[17])
    preview = session.add_point("tumor", K, (column, row, 17), False)
    assert not preview.mask.any()
    assert "ended before this slice" in preview.note
    changed = {update.index for update in session.propagate("tumor")}
    after = session.mask("tumor")
    assert not after[17:].any()
    assert changed >= set(range(18, COUNT))
    assert after[13:17].any(axis=(1, 2)).all(), "followed from the box up to where it was denied"
    np.testing.assert_array_equal(after[:13], before[:13])
    session.undo_prompt("tumor")
    np.testing.assert_array_equal(session.mask("tumor"), before)


def test_a_positive_click_says_that_the_object_goes_on_there(full_predictor: SlicePredictor, mr_volume: Volume) -> None:
    session = _session(full_predictor, mr_volume)
    row, column = _middle(session.mask("tumor")[17])
    session.add_point("tumor", K, (column, row, 17), False)
    list(session.propagate("tumor"))
    session.add_point("tumor", K, (30, 20, 22), True)
    list(session.propagate("tumor"))
    mask = session.mask("tumor")
    assert mask[18:].any(axis=(1, 2)).all()
    assert not mask[17].any()


def test_beside_a_positive_click_a_negative_one_denies_no_object(
    full_predictor: SlicePredictor, mr_volume: Volume
) -> None:
    session = _session(full_predictor, mr_volume)
    session.add_point("tumor", K, (30, 20, 17), True)
    row, column = _middle(session.slice_mask("tumor", K, 17))
    if (row, column) == (20, 30):
        column += 1
    preview = session.add_point("tumor", K, (column, row, 17), False)
    assert preview.mask.any()
    assert not preview.mask[row, column]


def test_the_session_is_told_which_policies_keep_clicks(full_predictor: SlicePredictor, mr_volume: Volume) -> None:
    answers = []
    for policy in (Sam2MemoryPolicy(), BracketedMemoryPolicy(keeps_clicks=False), BracketedMemoryPolicy()):
        session = VolumeSession(full_predictor, mr_volume, policy=policy)
        session.add_box("tumor", K, (20, 15, 12), (50, 40, 12))
        row, column = _middle(session.slice_mask("tumor", K, 12))
        answers.append(session.add_point("tumor", K, (column, row, 12), False).mask)
    np.testing.assert_array_equal(answers[0], answers[1])
    assert answers[0][row, column], "SAM2's own answer does not keep it; else this proves nothing"
    assert not answers[2][row, column]


def _edge_that_stays(predictor: SlicePredictor, volume: Volume) -> tuple[int, int]:
    """A pixel at the mask's edge on slice 16 that the network keeps although a negative click says otherwise."""
    plain = _session(predictor, volume, BracketedMemoryPolicy(keeps_clicks=False))
    for row, column in np.argwhere(_depth(plain.slice_mask("tumor", K, 16)) == 2)[::40].tolist():
        if plain.add_point("tumor", K, (column, row, 16), False).mask[row, column]:
            return row, column
        plain.undo_prompt("tumor")
    raise AssertionError("the network keeps all clicks; this proves nothing")


@pytest.mark.parametrize("like", [True, False])
def test_another_answer_is_taken_only_where_it_is_like_what_stood(
    full_predictor: SlicePredictor, mr_volume: Volume, monkeypatch: pytest.MonkeyPatch, like: bool
) -> None:
    row, column = _edge_that_stays(full_predictor, mr_volume)
    session = _session(full_predictor, mr_volume)
    standing = session.slice_mask("tumor", K, 16)
    other = standing.copy() if like else np.zeros_like(standing)
    other[:2] = True
    other[row, column] = False
    given = session._lenses.of(K).decoder.given
    finish = partial(given, K, session._store.plane(K).order(16), other)
    monkeypatch.setattr(session._lenses.of(K).decoder, "candidates", lambda *_: [Candidate(other, 0.99, finish)])
    preview = session.add_point("tumor", K, (column, row, 16), False)
    assert not preview.mask[row, column]
    assert np.array_equal(preview.mask, other) == like


def test_depth_counts_erosions() -> None:
    mask = np.zeros((7, 9), bool)
    mask[1:6, 2:7] = True
    assert _depth(mask)[3].tolist() == [0, 0, 1, 2, 3, 2, 1, 0, 0]
    assert _depth(np.ones((3, 3), bool)).max() == 2, "the border of the slice counts as outside"


def test_a_mask_is_changed_as_far_as_its_edge() -> None:
    mask = np.zeros((9, 9), bool)
    mask[:, :3] = True
    grown = _changed_round(mask, _Click(4, 6, True))
    assert grown[4, 2:].all()
    assert grown[:, 3:].sum() < 54
    assert not _changed_round(grown, _Click(4, 1, False))[4, 1]
    assert _changed_round(np.zeros((5, 5), bool), _Click(2, 2, True)).sum() == 5


def test_a_mask_is_changed_up_to_a_click_that_says_the_opposite() -> None:
    mask = np.zeros((40, 40), bool)
    mask[:, :8] = True
    clicks = [_Click(20, 14, False), _Click(20, 20, True)]
    grown = _changed_round(mask, clicks[1], clicks)
    assert all(click.kept_by(grown) for click in clicks)
    assert grown[20, 15:26].all(), "as far as it may"
    clicks = [_Click(20, 3, True), _Click(20, 5, False)]
    assert all(click.kept_by(_changed_round(mask, clicks[1], clicks)) for click in clicks)


def test_of_two_clicks_on_one_pixel_the_last_is_kept(full_predictor: SlicePredictor, mr_volume: Volume) -> None:
    session = _session(full_predictor, mr_volume)
    for last in (False, True):
        session.add_point("tumor", K, (30, 20, 16), not last)
        session.add_point("tumor", K, (30, 20, 16), last)
        assert session.slice_mask("tumor", K, 16)[20, 30] == last
