"""What a user notices of a session: previews, order, cancel, undo, corrections, errors."""

import json
import math

import numpy as np
import pytest
from SAM2_3dMedLib.propagation.cancel import CancelToken
from SAM2_3dMedLib.propagation.errors import PromptError
from SAM2_3dMedLib.propagation.policies import BracketedMemoryPolicy
from SAM2_3dMedLib.propagation.predictor import SlicePredictor
from SAM2_3dMedLib.propagation.prompts import PointPrompt
from SAM2_3dMedLib.propagation.session import VolumeSession
from SAM2_3dMedLib.propagation.stopping import StopRule
from SAM2_3dMedLib.volume.images import Volume
from SAM2_3dMedLib.volume.planes import SliceAxis

K = SliceAxis.K
COUNT = 25


@pytest.fixture
def session(full_predictor: SlicePredictor, mr_volume: Volume) -> VolumeSession:
    return VolumeSession(full_predictor, mr_volume, stop_rule=StopRule.never())


def _box(session: VolumeSession, index: int = 12, object_id: str = "tumor"):
    return session.add_box(object_id, K, (20, 15, index), (50, 40, index))


def _run(session: VolumeSession, object_id: str = "tumor", **options) -> list:
    return list(session.propagate(object_id, **options))


def test_a_preview_encodes_only_the_slice_and_its_neighbors(session: VolumeSession) -> None:
    preview = _box(session)
    assert (preview.object_id, preview.axis, preview.index) == ("tumor", K, 12)
    assert preview.mask.shape == (55, 75)
    assert preview.mask.dtype == bool
    assert 0 < preview.mask.sum() < preview.mask.size
    rows, columns = np.nonzero(preview.mask)
    assert preview.box == (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1)
    assert session.encoded_count == 2 * session.predictor.network.adapter_radius + 1
    assert np.array_equal(session.mask("tumor")[12], preview.mask)
    assert session.mask("tumor").sum() == preview.mask.sum()


def test_every_slice_comes_once_the_nearest_first_and_is_encoded_once(session: VolumeSession) -> None:
    _box(session)
    updates = _run(session)
    assert updates[0].index == 12
    assert sorted(update.index for update in updates) == list(range(COUNT))
    distances = [abs(update.index - 12) for update in updates]
    assert distances == sorted(distances)
    assert [update.done for update in updates] == list(range(1, COUNT + 1))
    assert {update.total for update in updates} == {COUNT}
    assert session.encoded_count == COUNT
    mask = session.mask("tumor")
    for update in updates:
        assert np.array_equal(mask[update.index], update.mask)


def test_cancel_keeps_what_is_finished_and_a_later_run_completes_it_identically(session: VolumeSession) -> None:
    _box(session)
    token = CancelToken()
    finished = []
    for update in session.propagate("tumor", cancel=token):
        finished.append(update)
        if len(finished) == 7:
            token.cancel()
    assert len(finished) == 7
    mask = session.mask("tumor")
    assert all(np.array_equal(mask[update.index], update.mask) for update in finished)
    rest = _run(session)
    assert {update.index for update in rest[1:]} == set(range(COUNT)) - {update.index for update in finished}
    whole = VolumeSession(session.predictor, session.volume, stop_rule=StopRule.never())
    _box(whole)
    _run(whole)
    assert np.array_equal(session.mask("tumor"), whole.mask("tumor"))


def test_closing_the_iterator_keeps_what_is_finished(session: VolumeSession) -> None:
    _box(session)
    updates = session.propagate("tumor")
    seen = [next(updates) for _ in range(4)]
    updates.close()
    mask = session.mask("tumor")
    assert sum(plane.any() for plane in mask) == 4
    assert all(np.array_equal(mask[update.index], update.mask) for update in seen)


def test_a_propagation_ends_when_its_object_is_prompted_meanwhile(session: VolumeSession) -> None:
    _box(session)
    updates = session.propagate("tumor")
    for _ in range(4):
        next(updates)
    session.add_point("tumor", K, (30, 25, 20), True)
    assert list(updates) == []
    assert len(session.prompts("tumor")) == 2


def test_undo_restores_masks_bit_for_bit(session: VolumeSession) -> None:
    _box(session)
    first = session.mask("tumor")
    _run(session)
    second = session.mask("tumor")
    session.add_point("tumor", K, (30, 20, 5), False)
    corrected = session.mask("tumor")
    _run(session)
    assert not np.array_equal(session.mask("tumor"), second)
    updates = session.undo()
    assert np.array_equal(session.mask("tumor"), corrected)
    assert updates
    assert all(np.array_equal(corrected[update.index], update.mask) for update in updates)
    session.undo()
    assert np.array_equal(session.mask("tumor"), second)
    assert len(session.prompts("tumor")) == 1
    session.undo("tumor")
    assert np.array_equal(session.mask("tumor"), first)
    emptied = session.undo("tumor")
    assert [update.index for update in emptied] == [12]
    assert not emptied[0].mask.any()
    assert session.object_ids == ()
    assert session.undo() == ()


def test_undo_of_a_prompt_takes_its_propagation_along(session: VolumeSession) -> None:
    _box(session)
    _run(session)
    before = session.mask("tumor")
    session.add_point("tumor", K, (30, 20, 5), False)
    _run(session)
    session.undo_prompt("tumor")
    assert np.array_equal(session.mask("tumor"), before)
    assert len(session.prompts("tumor")) == 1


def test_a_correction_changes_only_the_slices_it_can_reach(session: VolumeSession) -> None:
    _box(session, 12)
    _run(session)
    _box(session, 4)
    _run(session)
    before, encoded = session.mask("tumor"), session.encoded_count
    session.add_point("tumor", K, (35, 30, 8), False)
    updates = _run(session)
    after = session.mask("tumor")
    changed = {index for index in range(COUNT) if not np.array_equal(before[index], after[index])}
    assert changed
    assert changed <= set(range(5, 12))
    # In anatomical order or not, the slices strictly between the neighbors are the reach.
    reach = BracketedMemoryPolicy().reach([4, 8, 12], 8, COUNT)
    assert {update.index for update in updates} <= {*reach, 4, 8, 12}
    assert session.encoded_count == encoded


def test_a_slice_range_limits_the_run_and_leaves_the_rest(session: VolumeSession) -> None:
    _box(session)
    updates = _run(session, slice_range=(10, 15))
    assert {update.index for update in updates} == set(range(10, 16))
    mask = session.mask("tumor")
    assert not mask[:10].any()
    assert not mask[16:].any()
    assert {update.total for update in updates} == {6}


def test_a_range_can_be_extended_later_with_the_same_result(session: VolumeSession) -> None:
    _box(session)
    _run(session, slice_range=(10, 15))
    _run(session)
    whole = VolumeSession(session.predictor, session.volume, stop_rule=StopRule.never())
    _box(whole)
    _run(whole)
    assert np.array_equal(session.mask("tumor"), whole.mask("tumor"))


def test_objects_do_not_influence_each_other_and_share_the_encoded_slices(session: VolumeSession) -> None:
    _box(session)
    _run(session)
    alone, encoded = session.mask("tumor"), session.encoded_count
    session.add_point("bone", K, (60, 20, 7), True)
    _run(session, "bone")
    assert session.encoded_count == encoded
    assert np.array_equal(session.mask("tumor"), alone)
    assert session.object_ids == ("tumor", "bone")
    session.remove_object("tumor")
    assert session.object_ids == ("bone",)
    with pytest.raises(PromptError, match="no object 'tumor'"):
        session.mask("tumor")


def test_a_first_negative_point_is_kept_and_shows_nothing_until_there_is_more(session: VolumeSession) -> None:
    preview = session.add_point("tumor", K, (30, 20, 12), False)
    assert not preview.mask.any()
    assert "positive point" in preview.note
    with pytest.raises(PromptError, match="positive point"):
        _run(session)
    after = session.add_point("tumor", K, (40, 30, 12), True)
    assert after.mask.any()
    assert after.note == ""
    alone = VolumeSession(session.predictor, session.volume).add_point("tumor", K, (40, 30, 12), True)
    assert not np.array_equal(after.mask, alone.mask), "the negative point counts"


def test_a_negative_point_given_before_the_object_counts_when_it_is_reached(session: VolumeSession) -> None:
    session.add_point("tumor", K, (35, 30, 14), False)
    _box(session)
    _run(session)
    plain = VolumeSession(session.predictor, session.volume, stop_rule=StopRule.never())
    _box(plain)
    _run(plain)
    assert session.mask("tumor")[14].any()
    assert not np.array_equal(session.mask("tumor")[14], plain.mask("tumor")[14])
    assert np.array_equal(session.mask("tumor")[13], plain.mask("tumor")[13])


def test_a_painted_mask_stays_as_it_was_painted(session: VolumeSession, mr_labels: np.ndarray) -> None:
    index = int(mr_labels.sum(axis=(1, 2)).argmax())
    preview = session.add_mask("tumor", K, index, mr_labels[index])
    assert np.array_equal(preview.mask, mr_labels[index])
    _run(session)
    assert np.array_equal(session.mask("tumor")[index], mr_labels[index])
    assert session.mask("tumor").sum() > mr_labels[index].sum()
    clicked = session.add_point("tumor", K, (5, 5, index), True)
    assert not np.array_equal(clicked.mask, mr_labels[index])


def test_prompts_survive_json_and_give_the_same_masks(session: VolumeSession, mr_labels: np.ndarray) -> None:
    _box(session)
    session.add_point("tumor", K, (33.25, 27.5, 12), False)
    session.add_mask("bone", SliceAxis.J, 30, mr_labels[:, 30])
    session.add_point("bone", K, (33, 30, 12), True)
    document = json.loads(json.dumps(session.export_prompts()))
    other = VolumeSession(session.predictor, session.volume, stop_rule=StopRule.never())
    other.restore_prompts(document)
    for name in ("tumor", "bone"):
        assert other.prompts(name) == session.prompts(name)
        _run(session, name)
        _run(other, name)
        assert np.array_equal(other.mask(name), session.mask(name))


def test_moving_a_prompt_answers_only_its_slice_anew(session: VolumeSession) -> None:
    _box(session, 12)
    _box(session, 4)
    _run(session)
    before = session.mask("tumor")
    box, other = session.prompts("tumor")
    moved = type(other)(K, (25, 20, 4), (45, 45, 4))
    previews = session.set_prompts("tumor", [box, moved])
    assert [preview.index for preview in previews] == [4]
    assert np.array_equal(session.mask("tumor")[12], before[12])
    _run(session)
    fresh = VolumeSession(session.predictor, session.volume, stop_rule=StopRule.never())
    fresh.set_prompts("tumor", [box, moved])
    _run(fresh)
    changed = [k for k in range(COUNT) if not np.array_equal(session.mask("tumor")[k], before[k])]
    assert changed
    assert max(changed) < 12
    session.undo()
    session.undo()
    assert np.array_equal(session.mask("tumor"), before)
    assert session.prompts("tumor") == (box, other)


def test_deleting_all_prompts_empties_the_object(session: VolumeSession) -> None:
    _box(session)
    _run(session)
    before = session.mask("tumor")
    previews = session.set_prompts("tumor", [])
    assert {preview.index for preview in previews} == set(range(COUNT))
    assert not any(preview.mask.any() for preview in previews)
    assert not session.mask("tumor").any()
    session.undo()
    assert np.array_equal(session.mask("tumor"), before)


def test_a_prompt_on_another_axis_shows_there_and_reaches_the_object(session: VolumeSession) -> None:
    _box(session)
    _run(session)
    before = session.mask("tumor")
    preview = session.add_point("tumor", SliceAxis.J, (33, 27, 18), False)
    assert (preview.axis, preview.index) == (SliceAxis.J, 27)
    assert preview.mask.shape == (25, 75)
    assert session.axis("tumor") == K
    updates = _run(session)
    assert 18 in {update.index for update in updates}
    assert all(update.axis == K for update in updates)
    assert not np.array_equal(session.mask("tumor")[18], before[18])
    assert np.array_equal(session.mask("tumor")[:12], before[:12])
    assert np.array_equal(session.slice_mask("tumor", SliceAxis.J, 27), session.mask("tumor")[:, 27])
    assert np.array_equal(session.slice_mask("tumor", SliceAxis.I, 33), session.mask("tumor")[:, :, 33])


def test_a_box_on_another_axis_prompts_slices_across_it(session: VolumeSession, mr_labels: np.ndarray) -> None:
    session.add_point("tumor", K, (33, 27, 12), True)
    session.add_mask("tumor", SliceAxis.I, 40, mr_labels[:, :, 40])
    rows = np.flatnonzero(mr_labels[:, :, 40].any(axis=1))
    updates = _run(session)
    firsts = [update.index for update in updates[:6]]
    assert firsts[0] == 12
    assert all(rows[0] <= index <= rows[-1] for index in firsts[1:])
    checked = {index for index, entry in session.confidence("tumor").items() if entry.checked}
    assert checked == set(firsts)


def test_confidence_has_a_value_for_each_slice_and_knows_the_prompted_ones(session: VolumeSession) -> None:
    _box(session)
    _run(session)
    confidence = session.confidence("tumor")
    assert list(confidence) == list(range(COUNT))
    assert all(0 <= part <= 1 for entry in confidence.values() for part in (entry.value, entry.score, entry.boundary))
    assert [index for index, entry in confidence.items() if entry.checked] == [12]


def test_refining_moves_only_the_edge_and_changes_nothing_else(session: VolumeSession, mr_labels: np.ndarray) -> None:
    index = int(mr_labels.sum(axis=(1, 2)).argmax())
    refined = session.refine_boundary("painted", K, index, mr_labels[index])
    assert refined.shape == mr_labels[index].shape
    assert not np.array_equal(refined, mr_labels[index])
    overlap = 2 * (refined & mr_labels[index]).sum() / (refined.sum() + mr_labels[index].sum())
    assert overlap > 0.7
    assert session.object_ids == ()
    assert not session.refine_boundary("painted", K, index, np.zeros_like(refined)).any()


def test_a_box_one_voxel_wide_is_a_box(session: VolumeSession) -> None:
    assert session.add_box("thin", K, (10, 10, 3), (10, 30, 3)).mask.shape == (55, 75)


BAD_PROMPTS = [
    (lambda s: s.add_point("a", K, (75, 10, 3)), "outside the volume"),
    (lambda s: s.add_point("a", K, (10, 10, -1)), "outside the volume"),
    (lambda s: s.add_point("a", K, (math.nan, 10, 3)), "finite"),
    (lambda s: s.add_point("a", K, (10, 3)), "three numbers"),
    (lambda s: s.add_point("a", 3, (10, 10, 3)), "slice axis"),
    (lambda s: s.add_box("a", K, (10, 10, 3), (10, 10, 3)), "no area"),
    (lambda s: s.add_box("a", K, (10, 10, 3), (20, 20, 5)), "on one slice"),
    (lambda s: s.add_box("a", K, (10, 10, 3), (200, 20, 3)), "outside the volume"),
    (lambda s: s.add_mask("a", K, 3, np.ones((75, 55), bool)), "75 x 55"),
    (lambda s: s.add_mask("a", K, 25, np.ones((55, 75), bool)), "no slice 25"),
    (lambda s: s.add_mask("a", K, 3, np.zeros((55, 75), bool)), "empty"),
    (lambda s: s.add_mask("a", K, 3, np.full((55, 75), np.nan)), "finite"),
    (lambda s: s.propagate("a"), "no object 'a'"),
    (lambda s: s.propagate("tumor", slice_range=(3, 25)), "no slice 25"),
    (lambda s: s.propagate("tumor", slice_range=(9, 3)), "empty"),
    (lambda s: s.propagate("tumor", slice_range=(0, 5)), "no prompted slice"),
    (lambda s: s.slice_mask("tumor", K, -1), "no slice -1"),
    (lambda s: s.set_prompts("tumor", [PointPrompt(K, (99, 0, 0))]), "outside the volume"),
    (lambda s: s.undo("a"), "no object 'a'"),
]


@pytest.mark.parametrize(("act", "words"), BAD_PROMPTS)
def test_bad_input_is_one_sentence_and_changes_nothing(session: VolumeSession, act, words: str) -> None:
    _box(session)
    before = session.mask("tumor")
    with pytest.raises(PromptError, match=words) as caught:
        act(session)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    assert session.object_ids == ("tumor",)
    assert np.array_equal(session.mask("tumor"), before)
    assert len(session.prompts("tumor")) == 1
