"""A scene is loaded: the session knows the prompts, and of the masks only what it is told before a correction."""

from __future__ import annotations

import numpy as np
import pytest
from SAM2_3dMedLib.propagation.errors import PromptError
from SAM2_3dMedLib.propagation.session import VolumeSession
from SAM2_3dMedLib.volume.images import Volume, read_volume
from SAM2_3dMedLib.volume.planes import SliceAxis

K = SliceAxis.K


@pytest.fixture(scope="module")
def volume(samples) -> Volume:
    return read_volume(samples / "abdomen_ct_img.nii.gz")


@pytest.fixture(scope="module")
def spleen(bundled_predictor, volume) -> tuple[VolumeSession, np.ndarray]:
    """Yesterday's session, and its mask."""
    session = VolumeSession(bundled_predictor, volume)
    session.add_box("spleen", K, (150, 66, 20), (191, 126, 20))
    for _ in session.propagate("spleen"):
        pass
    return session, session.mask("spleen")


def _today(bundled_predictor, volume, yesterday: VolumeSession) -> VolumeSession:
    session = VolumeSession(bundled_predictor, volume)
    session.restore_prompts(yesterday.export_prompts())
    return session


def _ends(mask: np.ndarray) -> tuple[int, int]:
    filled = np.flatnonzero(mask.any(axis=(1, 2)))
    return int(filled[0]), int(filled[-1])


@pytest.mark.parametrize("end", [0, 1])
def test_a_negative_click_takes_away_from_what_was_told(bundled_predictor, volume, spleen, end) -> None:
    yesterday, mask = spleen
    index = _ends(mask)[end]
    standing = mask[index]
    rows, columns = np.nonzero(standing)
    row, column = int(rows[0]), int(columns[0])  # at its edge
    session = _today(bundled_predictor, volume, yesterday)
    session.tell_slice("spleen", K, index, standing)
    preview = session.add_point("spleen", K, (column, row, index), positive=False)
    assert not preview.mask[row, column]
    assert (preview.mask & ~standing).sum() <= 0.1 * standing.sum()
    session.undo("spleen")
    np.testing.assert_array_equal(session.slice_mask("spleen", K, index), standing)


def test_a_negative_click_on_another_axis_takes_away_there_and_on_its_slice(bundled_predictor, volume, spleen) -> None:
    yesterday, mask = spleen
    index = _ends(mask)[1] - 1
    rows, columns = np.nonzero(mask[index])
    row, column = int(rows[0]), int(columns[0])
    section = mask[:, :, column]
    session = _today(bundled_predictor, volume, yesterday)
    session.tell_slice("spleen", K, index, mask[index])
    session.tell_slice("spleen", SliceAxis.I, column, section)
    preview = session.add_point("spleen", SliceAxis.I, (column, row, index), positive=False)
    assert not preview.mask[index, row]
    assert (preview.mask & ~section).sum() <= 0.1 * section.sum()
    for _ in session.propagate("spleen"):
        pass
    after = session.mask("spleen")
    assert not after[index, row, column]
    assert (after & ~mask).sum() <= 0.05 * mask.sum()


def test_what_the_session_knows_better_is_not_replaced(bundled_predictor, volume, spleen) -> None:
    yesterday, mask = spleen
    index = _ends(mask)[1]
    session = _today(bundled_predictor, volume, yesterday)
    prompted = session.slice_mask("spleen", K, 20)
    session.tell_slice("spleen", K, 20, np.zeros_like(prompted))
    session.tell_slice("spleen", K, 20, ~prompted)
    np.testing.assert_array_equal(session.slice_mask("spleen", K, 20), prompted)
    session.tell_slice("unknown", K, index, mask[index])
    assert session.object_ids == ("spleen",)
    with pytest.raises(PromptError):
        session.tell_slice("spleen", K, index, mask[index][:-1])


def test_propagation_answers_a_told_slice_anew(bundled_predictor, volume, spleen) -> None:
    yesterday, mask = spleen
    index = _ends(mask)[1]
    session = _today(bundled_predictor, volume, yesterday)
    session.tell_slice("spleen", K, index, np.ones_like(mask[index]))
    for _ in session.propagate("spleen"):
        pass
    np.testing.assert_array_equal(session.mask("spleen"), mask)
