"""When a chain ends, and what a slice's confidence is made of."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from SAM2_3dMedLib.propagation.confidence import SliceEvidence, boundary_certainties, confidences
from SAM2_3dMedLib.propagation.packed_mask import PackedMask
from SAM2_3dMedLib.propagation.predictor import SlicePredictor
from SAM2_3dMedLib.propagation.session import VolumeSession
from SAM2_3dMedLib.propagation.stopping import StopRule, StopWatch
from SAM2_3dMedLib.propagation.tracking_step import StepAnswers
from SAM2_3dMedLib.volume.images import Volume
from SAM2_3dMedLib.volume.planes import SliceAxis


def _ends_at(rule: StopRule, slices: list[tuple[int, float]]) -> int | None:
    watch = StopWatch(rule, 100)
    for number, (area, score) in enumerate(slices):
        if watch.gone_after(area, score):
            return number
    return None


def test_the_object_is_gone_after_so_many_absent_slices_in_a_row() -> None:
    slices = [(90, 2.0), (0, 2.0), (50, 0.5), (40, 1.5), (0, -1.0), (0, 2.0), (9, -2.0)]
    assert _ends_at(StopRule(), slices) == 1
    assert _ends_at(StopRule(absent_slices=3), slices) == 6
    assert _ends_at(StopRule(absent_score=0.0), [(90, 2.0), (50, 0.5), (40, -0.1)]) == 2
    assert _ends_at(StopRule.never(), [(0, -9.0)] * 50) is None


def test_a_collapsed_area_counts_as_absent_only_when_asked_for() -> None:
    shrinking = [(90, 2.0), (4, 2.0), (4, 2.0), (4, 2.0)]
    assert _ends_at(StopRule(), shrinking) is None
    assert _ends_at(StopRule(absent_slices=3, collapse_fraction=0.05), shrinking) == 3


@pytest.mark.parametrize("values", [{"absent_slices": 0}, {"collapse_fraction": 1.5}])
def test_an_impossible_rule_is_refused(values) -> None:
    with pytest.raises(ValueError, match="must"):
        StopRule(**values)


@pytest.fixture
def absent_after(plain_predictor: SlicePredictor, mr_volume: Volume, monkeypatch: pytest.MonkeyPatch):
    """A session whose network loses the object on unprompted slices: the object score is forced below zero."""
    runner = plain_predictor.runner
    answer = runner.answer

    def losing(*inputs) -> StepAnswers:
        answers = answer(*inputs)
        scores = answers.scores.clone()
        scores[:, 1] = -2.0
        return replace(answers, scores=scores, logits=torch.full_like(answers.logits, -1024.0))

    monkeypatch.setattr(runner, "answer", losing)
    return VolumeSession(plain_predictor, mr_volume, stop_rule=StopRule(absent_slices=3))


def test_beyond_its_end_the_object_is_not_looked_for(absent_after: VolumeSession) -> None:
    session = absent_after
    session.add_box("a", SliceAxis.K, (20, 15, 12), (50, 40, 12))
    updates = list(session.propagate("a"))
    assert {update.index for update in updates} == {12, 10, 11, 13, 14}, "the third is left empty"
    assert session.encoded_count == 7
    ranged = list(session.propagate("a", slice_range=(12, 20)))
    assert {update.index for update in ranged} == set(range(15, 21)) | {12}, "a range overrides the rule"


def test_by_default_a_chain_ends_at_the_first_slice_without_the_object(absent_after: VolumeSession) -> None:
    session = VolumeSession(absent_after.predictor, absent_after.volume)
    session.add_box("a", SliceAxis.K, (20, 15, 12), (50, 40, 12))
    assert [update.index for update in session.propagate("a")] == [12]
    assert session.encoded_count == 3, "one slice on either side"


def test_between_two_prompted_slices_the_object_is_always_looked_for(absent_after: VolumeSession) -> None:
    session = absent_after
    session.add_box("a", SliceAxis.K, (20, 15, 2), (50, 40, 2))
    session.add_box("a", SliceAxis.K, (20, 15, 20), (50, 40, 20))
    reached = {update.index for update in session.propagate("a")}
    assert set(range(2, 21)) <= reached
    assert 24 not in reached


def test_slices_beyond_the_end_lose_the_masks_they_had(plain_predictor: SlicePredictor, mr_volume: Volume) -> None:
    session = VolumeSession(plain_predictor, mr_volume, stop_rule=StopRule(1, collapse_fraction=0.99))
    session.add_box("a", SliceAxis.K, (20, 15, 12), (50, 40, 12))
    list(session.propagate("a", slice_range=(0, 24)))
    assert session.mask("a")[24].any()
    updates = list(session.propagate("a"))
    assert not session.mask("a")[24].any()
    assert any(update.index == 24 and update.box is not None for update in updates)


def _evidence(mask: np.ndarray, score: float = 6.0) -> SliceEvidence:
    return SliceEvidence(PackedMask.of(mask), 0.95, score, 0.9, checked=False)


def test_confidence_falls_where_a_slice_differs_from_both_neighbors() -> None:
    disk = np.zeros((20, 20), bool)
    disk[5:12, 5:12] = True
    other = np.roll(disk, 8, axis=1)
    empty = np.zeros_like(disk)
    slices = [empty, disk, disk, other, disk, disk, empty, empty]
    values = confidences({at: _evidence(mask, 6.0 if mask.any() else -6.0) for at, mask in enumerate(slices)})
    assert values[3].agreement == 0
    assert min(values, key=lambda at: values[at].value) == 3
    assert values[1].agreement == 1.0, "the object's last slice is not doubtful for being the last"
    assert values[7].value > 0.9, "a slice that is surely empty is not doubtful"


def test_a_hole_in_the_object_is_doubtful() -> None:
    disk = np.ones((8, 8), bool)
    values = confidences({0: _evidence(disk), 1: _evidence(np.zeros_like(disk), -6.0), 2: _evidence(disk)})
    assert values[1].value == 0


def test_a_blurred_edge_is_less_certain_than_a_sharp_one_at_any_size() -> None:
    def ramp(slope: float, radius: float) -> torch.Tensor:
        rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
        return (radius - ((rows - 32) ** 2 + (columns - 32) ** 2).sqrt())[None, None] * slope

    sharp, blurred = boundary_certainties(torch.cat([ramp(8, 20), ramp(0.3, 20)])).tolist()
    assert sharp > 0.85
    assert blurred < 0.5
    assert float(boundary_certainties(ramp(8, 6))) == pytest.approx(sharp, abs=0.1)
    assert float(boundary_certainties(torch.full((1, 1, 8, 8), -1024.0))) == 1.0
