"""Small objects are seen through a field of view of their own, and nothing of them is cut off by it."""

from __future__ import annotations

import numpy as np
import pytest
from SAM2_3dMedLib.network.checkpoint import load_checkpoint
from SAM2_3dMedLib.propagation.predictor import SlicePredictor
from SAM2_3dMedLib.propagation.prompts import BoxPrompt, MaskPrompt, PointPrompt
from SAM2_3dMedLib.propagation.session import VolumeSession
from SAM2_3dMedLib.propagation.zoom import Zoom, region_of_mask, region_of_prompt
from SAM2_3dMedLib.volume.array_volume import ArrayVolume
from SAM2_3dMedLib.volume.field_of_view import FieldOfView
from SAM2_3dMedLib.volume.planes import SliceAxis, SlicePlane
from SAM2_3dMedLib.weights.manifest import resolve_weights

J, K = SliceAxis.J, SliceAxis.K
# Round the middle disk of `_disks([6, 6, 6])`.
BOX = BoxPrompt(K, (65, 75, 1), (75, 85, 1))
_ZOOM = Zoom()


def _plane(shape_ijk: tuple[int, int, int], spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> SlicePlane:
    volume = ArrayVolume(np.zeros(shape_ijk[::-1], np.int16), np.diag([-spacing[0], -spacing[1], spacing[2], 1.0]))
    return SlicePlane.of(volume.geometry, K)


@pytest.fixture(scope="module")
def bundled_predictor() -> SlicePredictor:
    """The bundled weights, which follow what is there."""
    path, sha256 = resolve_weights(None)
    return SlicePredictor(load_checkpoint(path, sha256)[0], "cpu")


def _disks(sizes: list[int]) -> tuple[ArrayVolume, np.ndarray]:
    """Bright disks of growing radius in gray noise, 160 x 160 pixels a slice; the volume and the disks."""
    rows, columns = np.mgrid[:160, :160]
    distance = np.hypot(rows - 80, columns - 70)
    truth = np.stack([distance < radius for radius in sizes])
    noise = np.random.default_rng(0).normal(0, 10, truth.shape)
    array = (np.where(truth, 150, 0) + noise).astype(np.int16)
    return ArrayVolume(array, np.diag([-1.0, -1.0, 3.0, 1.0])), truth


def _dice(found: np.ndarray, truth: np.ndarray) -> float:
    return 2 * float((found & truth).sum()) / float(found.sum() + truth.sum())


def _session(predictor: SlicePredictor, volume: ArrayVolume, zoom: Zoom | None = _ZOOM) -> VolumeSession:
    return VolumeSession(predictor, volume, window="300/600", zoom=zoom)


def _run(session: VolumeSession, object_id: str = "ball", **options) -> list:
    return list(session.propagate(object_id, **options))


def test_the_field_is_four_times_the_object_round_it_and_square_in_mm() -> None:
    zoom = Zoom()
    assert zoom.field_around(_plane((500, 500, 9)), FieldOfView(240, 260, 230, 270)) == FieldOfView(170, 330, 170, 330)
    assert zoom.field_around(_plane((500, 500, 9), (1, 2, 5)), FieldOfView(240, 260, 240, 260)) == FieldOfView(
        210, 290, 170, 330
    )
    assert zoom.field_around(_plane((500, 500, 9)), FieldOfView(0, 2, 498, 500)) == FieldOfView(0, 48, 452, 500)
    assert zoom.field_around(_plane((500, 500, 9)), FieldOfView(100, 190, 100, 190)) is None
    assert zoom.wider(_plane((500, 500, 9)), FieldOfView(170, 330, 170, 330)) == FieldOfView(90, 410, 90, 410)
    assert zoom.wider(_plane((400, 500, 9)), FieldOfView(170, 330, 170, 330)) is None


def test_what_a_prompt_covers_is_the_same_in_boxes_and_masks() -> None:
    plane = _plane((160, 160, 3))
    mask = np.zeros((160, 160), bool)
    mask[75:86, 65:76] = True
    assert region_of_prompt(plane, BOX) == region_of_mask(plane, mask) == FieldOfView(75, 86, 65, 76)
    assert region_of_prompt(plane, MaskPrompt(K, 1, mask)) == FieldOfView(75, 86, 65, 76)
    assert region_of_mask(plane.within(FieldOfView(0, 80, 0, 80)), mask) == FieldOfView(75, 86, 65, 76)
    across = BoxPrompt(J, (30, 21, 0), (37, 21, 2))
    assert region_of_prompt(plane, across) == FieldOfView(21, 22, 30, 38)


def test_a_small_object_is_segmented_as_on_a_volume_cut_to_its_field(bundled_predictor: SlicePredictor) -> None:
    volume, truth = _disks([6, 7, 6])
    session = _session(bundled_predictor, volume)
    session.add_prompt("ball", BOX)
    field = session.field_of_view("ball")
    assert field == FieldOfView(56, 104, 46, 94)
    _run(session)
    assert session.field_of_view("ball") == field
    cut = ArrayVolume(volume.array[:, 56:104, 46:94], volume.ijk_to_ras)
    alone = _session(bundled_predictor, cut, zoom=None)
    alone.add_box("ball", K, (19, 19, 1), (29, 29, 1))
    _run(alone)
    mask = session.mask("ball")
    assert np.array_equal(mask[:, 56:104, 46:94], alone.mask("ball"))
    assert mask.sum() == alone.mask("ball").sum()
    assert _dice(mask, truth) > 0.8


def test_a_large_object_and_a_session_without_zoom_see_whole_slices(bundled_predictor: SlicePredictor) -> None:
    volume, _ = _disks([30, 30, 30])
    session = _session(bundled_predictor, volume)
    session.add_box("ball", K, (40, 50, 1), (100, 110, 1))
    assert session.field_of_view("ball") is None
    plain = _session(bundled_predictor, volume, zoom=None)
    plain.add_prompt("ball", BOX)
    assert plain.field_of_view("ball") is None


def test_a_prompt_outside_of_the_field_goes_back_to_whole_slices_and_undo_returns(
    bundled_predictor: SlicePredictor,
) -> None:
    volume, _ = _disks([6, 6, 6])
    session = _session(bundled_predictor, volume)
    before = session.add_prompt("ball", BOX).mask
    field = session.field_of_view("ball")
    assert field is not None
    session.add_point("ball", K, (140, 30, 1), True)
    assert session.field_of_view("ball") is None
    plain = _session(bundled_predictor, volume, zoom=None)
    plain.add_prompt("ball", BOX)
    plain.add_point("ball", K, (140, 30, 1), True)
    _run(session, slice_range=(0, 2))
    _run(plain, slice_range=(0, 2))
    assert session.mask("ball").any()
    assert np.array_equal(session.mask("ball"), plain.mask("ball"))
    session.undo_prompt("ball")
    assert session.field_of_view("ball") == field
    assert np.array_equal(session.slice_mask("ball", K, 1), before)


def test_prompts_set_at_once_are_answered_through_the_same_field(bundled_predictor: SlicePredictor) -> None:
    volume, _ = _disks([6, 6, 6])
    session = _session(bundled_predictor, volume)
    more = PointPrompt(K, (70, 79, 1), True)
    for prompt in (BOX, more):
        session.add_prompt("ball", prompt)
    again = _session(bundled_predictor, volume)
    again.set_prompts("ball", [BOX, more])
    assert again.field_of_view("ball") == session.field_of_view("ball") is not None
    assert np.array_equal(again.mask("ball"), session.mask("ball"))
    # Another first prompt is another look, and what does not fit is looked at from afar.
    wide = BoxPrompt(K, (20, 30, 1), (120, 130, 1))
    again.set_prompts("ball", [wide])
    assert again.field_of_view("ball") is None
    plain = _session(bundled_predictor, volume, zoom=None)
    plain.add_prompt("ball", wide)
    assert np.array_equal(again.mask("ball"), plain.mask("ball"))


def test_objects_with_one_field_share_what_was_encoded(bundled_predictor: SlicePredictor) -> None:
    volume, _ = _disks([6, 6, 6])
    session = _session(bundled_predictor, volume)
    session.add_prompt("one", BOX)
    encoded = session.encoded_count
    session.add_prompt("two", BOX)
    session.add_point("two", K, (70, 86, 1), False)
    assert session.field_of_view("one") == session.field_of_view("two") is not None
    assert session.encoded_count == encoded
    assert session.cached_bytes > 0
    session.close()
    assert session.cached_bytes == 0


@pytest.mark.parametrize(
    ("zoom", "wider"), [(Zoom(), FieldOfView(28, 132, 18, 122)), (Zoom(most_area=0.2), None)], ids=["twice", "whole"]
)
def test_an_object_that_outgrows_its_field_is_followed_through_a_wider_one(
    bundled_predictor: SlicePredictor, zoom: Zoom, wider: FieldOfView | None
) -> None:
    volume, truth = _disks([7, 9, 12, 16, 21, 28, 36])
    session = VolumeSession(bundled_predictor, volume, zoom=zoom)
    session.add_box("cone", K, (64, 74, 0), (76, 86, 0))
    assert session.field_of_view("cone") == FieldOfView(54, 106, 44, 96)
    updates = _run(session, "cone", slice_range=(0, 6))
    assert session.field_of_view("cone") == wider
    assert _dice(session.mask("cone"), truth) > 0.9
    if wider is None:
        plain = VolumeSession(bundled_predictor, volume, zoom=None)
        plain.add_box("cone", K, (64, 74, 0), (76, 86, 0))
        _run(plain, "cone", slice_range=(0, 6))
        assert np.array_equal(session.mask("cone"), plain.mask("cone"))
    # What was handed out last is what stands, and all of it is one step for undo.
    shown = {update.index: update.mask for update in updates}
    assert all(np.array_equal(session.slice_mask("cone", K, index), mask) for index, mask in shown.items())
    session.undo("cone")
    assert session.field_of_view("cone") == FieldOfView(54, 106, 44, 96)
    assert np.flatnonzero(session.mask("cone").any((1, 2))).tolist() == [0]


def test_a_click_on_a_small_object_is_answered_from_near(bundled_predictor: SlicePredictor) -> None:
    volume, truth = _disks([6, 6, 6])
    session = VolumeSession(bundled_predictor, volume)
    preview = session.add_point("ball", K, (70, 80, 1))
    field = session.field_of_view("ball")
    assert field is not None
    assert max(field.shape) < 64
    assert _dice(preview.mask, truth[1]) > 0.8
    refined = session.refine_boundary("other", K, 1, truth[1])
    assert _dice(refined, truth[1]) > 0.9
