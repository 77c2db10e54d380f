"""The field of view of an object whose prompts are moved, deleted, restored, or given on other axes and far away."""

from __future__ import annotations

import numpy as np
import pytest
from SAM2_3dMedLib.propagation.predictor import SlicePredictor
from SAM2_3dMedLib.propagation.prompts import BoxPrompt, MaskPrompt, PointPrompt
from SAM2_3dMedLib.propagation.session import VolumeSession
from SAM2_3dMedLib.volume.array_volume import ArrayVolume
from SAM2_3dMedLib.volume.images import read_volume
from SAM2_3dMedLib.volume.planes import SliceAxis

J, K = SliceAxis.J, SliceAxis.K
# An object that outgrows the field of its first slice, and a box round it there.
GROWING = [7, 9, 12, 16, 21, 28, 30]
FIRST = BoxPrompt(K, (64, 74, 0), (76, 86, 0))
STRAY = PointPrompt(K, (10.0, 150.0, 3.0), False)


def _volume(truth: np.ndarray, slice_mm: float = 3.0) -> ArrayVolume:
    noise = np.random.default_rng(0).normal(0, 10, truth.shape)
    return ArrayVolume((np.where(truth, 150, 0) + noise).astype(np.int16), np.diag([-1.0, -1.0, slice_mm, 1.0]))


def _disks(radii: list[int], columns: list[int] | None = None, side: int = 160) -> np.ndarray:
    """Disks in row 80, of these radii and columns (70), a slice each."""
    rows, places = np.mgrid[:side, :side]
    middles = columns or [70] * len(radii)
    return np.stack([np.hypot(rows - 80, places - x) < radius for radius, x in zip(radii, middles, strict=True)])


def _session(bundled_predictor: SlicePredictor, volume: ArrayVolume, **options) -> VolumeSession:
    return VolumeSession(bundled_predictor, volume, window="300/600", **options)


def _propagated(session: VolumeSession, **options) -> np.ndarray:
    for _ in session.propagate("it", **options):
        pass
    return session.mask("it")


def _dice(found: np.ndarray, truth: np.ndarray) -> float:
    return 2 * float((found & truth).sum()) / float(found.sum() + truth.sum())


def test_a_correction_that_is_taken_back_leaves_the_slice_and_the_field_as_they_were(bundled_predictor) -> None:
    session = _session(bundled_predictor, _volume(_disks(GROWING)))
    session.add_prompt("it", FIRST)
    before = _propagated(session, slice_range=(0, 6))
    field, encoded = session.field_of_view("it"), session.encoded_count
    correction = PointPrompt(K, (70.0, 105.0, 5.0), False)
    session.add_prompt("it", correction)
    session.set_prompts("it", [FIRST, PointPrompt(K, (70.0, 107.0, 5.0), False)])
    (preview,) = session.set_prompts("it", [FIRST])
    assert preview.index == 5
    np.testing.assert_array_equal(preview.mask, before[5])
    np.testing.assert_array_equal(session.mask("it"), before)
    np.testing.assert_array_equal(_propagated(session, slice_range=(0, 6)), before)
    assert session.field_of_view("it") == field
    assert session.encoded_count == encoded, "nothing is seen anew"


def test_a_stray_negative_click_changes_nothing_and_neither_does_its_deletion(bundled_predictor) -> None:
    session = _session(bundled_predictor, _volume(_disks([6, 7, 7, 7, 6])))
    box = BoxPrompt(K, (65, 75, 1), (75, 85, 1))
    session.add_prompt("it", box)
    before, field = _propagated(session), session.field_of_view("it")
    preview = session.add_prompt("it", STRAY)
    assert session.field_of_view("it") == field is not None
    assert _dice(preview.mask, before[3]) > 0.95
    previews = session.set_prompts("it", [box])
    assert [preview.index for preview in previews] == [3]
    np.testing.assert_array_equal(previews[0].mask, before[3])
    np.testing.assert_array_equal(session.mask("it"), before)


def test_a_negative_click_outside_of_the_field_is_not_shown_to_the_network(bundled_predictor) -> None:
    volume, box = _volume(_disks([6, 7, 6])), BoxPrompt(K, (65, 75, 1), (75, 85, 1))
    alone, together, at_once = (_session(bundled_predictor, volume) for _ in range(3))
    expected = alone.add_prompt("it", box)
    together.add_prompt("it", PointPrompt(K, (150.0, 10.0, 1.0), False))
    np.testing.assert_array_equal(together.add_prompt("it", box).mask, expected.mask)
    at_once.set_prompts("it", [PointPrompt(K, (150.0, 10.0, 1.0), False), box])
    np.testing.assert_array_equal(at_once.mask("it"), together.mask("it"))
    assert at_once.field_of_view("it") == together.field_of_view("it") == alone.field_of_view("it") is not None


def test_the_first_prompt_is_deleted_and_one_on_another_axis_is_left(bundled_predictor) -> None:
    k, j, i = np.mgrid[:100, :100, :100]
    truth = (k - 30) ** 2 + (j - 50) ** 2 + (i - 70) ** 2 < 36
    volume, box = _volume(truth, 1.0), BoxPrompt(J, (64, 50, 24), (76, 50, 36))
    session, fresh = _session(bundled_predictor, volume), _session(bundled_predictor, volume)
    session.add_prompt("it", BoxPrompt(K, (64, 44, 30), (76, 56, 30)))
    session.add_prompt("it", box)
    session.set_prompts("it", [box])
    fresh.set_prompts("it", [box])
    assert session.field_of_view("it") == fresh.field_of_view("it")
    np.testing.assert_array_equal(_propagated(session), _propagated(fresh))
    assert _dice(session.mask("it"), truth) > 0.9


@pytest.mark.parametrize("click", [(122.0, 65.0, 25.0), (123.0, 107.0, 15.0), (60.0, 100.0, 26.0)])
def test_a_first_click_means_the_same_when_it_is_restored(bundled_predictor, samples, click) -> None:
    """The first two are kept only by an answer that is not the network's first choice."""
    volume = read_volume(samples / "abdomen_ct_img.nii.gz")
    clicked, restored = VolumeSession(bundled_predictor, volume), VolumeSession(bundled_predictor, volume)
    clicked.add_point("it", K, click)
    restored.restore_prompts(clicked.export_prompts())
    assert restored.field_of_view("it") == clicked.field_of_view("it")
    np.testing.assert_array_equal(restored.mask("it"), clicked.mask("it"))


def test_a_second_box_far_away_widens_the_field_and_tells_what_it_changed(bundled_predictor) -> None:
    columns = list(range(60, 101, 5))
    truth = _disks([6] * 9, columns, side=320)
    volume = _volume(truth)
    boxes = [BoxPrompt(K, (x - 7, 73, k), (x + 7, 87, k)) for x, k in ((60, 0), (100, 8))]
    session, at_once, whole = (
        _session(bundled_predictor, volume),
        _session(bundled_predictor, volume),
        _session(bundled_predictor, volume, zoom=None),
    )
    first = session.add_prompt("it", boxes[0])
    near = session.field_of_view("it")
    second = session.add_prompt("it", boxes[1])
    wide = session.field_of_view("it")
    assert near.area < wide.area < 320 * 320 / 4
    assert wide.left <= 60 < 100 < wide.right
    shown = {preview.index: preview.mask for preview in (first, second, *second.others)}
    for index, mask in shown.items():
        np.testing.assert_array_equal(session.slice_mask("it", K, index), mask)
    at_once.set_prompts("it", boxes)
    assert at_once.field_of_view("it") == wide
    for entry in boxes:
        whole.add_prompt("it", entry)
    assert _dice(_propagated(session), truth) > _dice(_propagated(whole), truth)


def test_a_prompted_slice_outside_of_the_range_is_handed_out_when_it_was_answered_anew(bundled_predictor) -> None:
    session = _session(bundled_predictor, _volume(_disks([*GROWING, *[8] * 8])))
    session.add_prompt("it", FIRST)
    session.add_point("it", K, (70.0, 80.0, 14.0))
    shown = session.mask("it")
    updates = list(session.propagate("it", slice_range=(0, 6)))
    assert session.field_of_view("it").area > 52 * 52
    for update in updates:
        shown[update.index] = update.mask
        assert update.done <= update.total
    np.testing.assert_array_equal(shown, session.mask("it"))
    assert 14 in {update.index for update in updates}


def test_neighboring_slices_of_a_painted_object_share_their_field(bundled_predictor) -> None:
    truth = _disks([9, 10, 11, 11, 11, 10, 9])
    session = _session(bundled_predictor, _volume(truth))
    for index, mask in enumerate(truth):
        assert _dice(session.refine_boundary("painted", K, index, mask), mask) > 0.9
    # Each slice is encoded for itself and as a neighbor: 7 slices in one field, 18 when each has its own.
    assert session.encoded_count <= 10


def test_an_empty_mask_on_another_slice_is_restored(bundled_predictor) -> None:
    volume = _volume(_disks([6, 7, 7, 7, 6]))
    session, restored = _session(bundled_predictor, volume), _session(bundled_predictor, volume)
    session.add_prompt("it", BoxPrompt(K, (65, 75, 1), (75, 85, 1)))
    session.add_prompt("it", MaskPrompt(K, 4, np.zeros((160, 160), bool)))
    restored.restore_prompts(session.export_prompts())
    np.testing.assert_array_equal(_propagated(restored), _propagated(session))
    assert not restored.mask("it")[4].any()
