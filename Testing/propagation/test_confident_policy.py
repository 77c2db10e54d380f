"""The policy that chooses memories: doubtful slices are not remembered, of many the different ones are."""

import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from SAM2_3dMedLib.propagation.confident_policy import ConfidentMemoryPolicy, confidence_of
from SAM2_3dMedLib.propagation.memory_bank import MemoryBank, SliceMemory
from SAM2_3dMedLib.propagation.policies import BracketedMemoryPolicy
from SAM2_3dMedLib.propagation.policy_choice import PolicyChoice
from SAM2_3dMedLib.propagation.session import VolumeSession
from SAM2_3dMedLib.propagation.state import ObjectState
from SAM2_3dMedLib.propagation.stopping import StopRule
from SAM2_3dMedLib.volume.planes import SliceAxis

COUNT = 40
PROMPT = 5
SURE, DOUBTED, GONE = (0.9, 6.0), (0.3, 6.0), (0.9, -3.0)


def _memory(direction: int = 0, said: tuple[float, float] = SURE, extra: float = 0.0) -> SliceMemory:
    """A memory whose features point along one of eight directions, `extra` toward the next."""
    features = torch.zeros(1, 8, 1, 1)
    features[0, direction % 8] = 1.0
    features[0, (direction + 1) % 8] += extra
    return SliceMemory.of(features, torch.zeros(1, 4), torch.tensor([[*said, 1.0]]))


def _select(chain: dict[int, SliceMemory], position: int, direction: int = 1, **changes: float):
    policy = ConfidentMemoryPolicy(**changes)
    return policy.select(MemoryBank({PROMPT: _memory(7)}, chain), position, direction, COUNT)


def _slots(selection) -> list[tuple[int, int]]:
    return [(entry.position, entry.offset) for entry in selection.memories]


def test_confidence_needs_a_good_mask_of_an_object_that_is_there() -> None:
    assert confidence_of(_memory(said=SURE)) == pytest.approx(0.9, abs=0.01)
    assert confidence_of(_memory(said=DOUBTED)) == pytest.approx(0.3, abs=0.01)
    assert confidence_of(_memory(said=GONE)) < 0.05
    assert 0 <= confidence_of(_memory(said=(1.7, -1e9))) <= 1


def test_a_doubtful_slice_is_remembered_neither_by_mask_nor_by_pointer() -> None:
    chain = {at: _memory(at, DOUBTED if at == 8 else GONE if at == 9 else SURE) for at in (6, 7, 8, 9, 10)}
    selection = _select(chain, 11)
    assert _slots(selection) == [(PROMPT, 0), (6, 3), (7, 2), (10, 1)]
    assert [(entry.position, entry.offset) for entry in selection.pointers] == [(PROMPT, 6), (10, 1), (7, 4), (6, 5)]
    trusting = _select(chain, 11, least_confidence=0.0)
    assert _slots(trusting) == [(PROMPT, 0), (6, 5), (7, 4), (8, 3), (9, 2), (10, 1)]


def test_only_the_prompt_is_left_when_all_is_doubtful() -> None:
    assert _slots(_select({at: _memory(at, DOUBTED) for at in range(6, 12)}, 12)) == [(PROMPT, 0)]


def test_of_equally_confident_slices_the_different_ones_are_kept() -> None:
    """Nine slices alike but for three: the nearest, those three, and the nearest of the rest."""
    different = {7: 1, 9: 2, 11: 3}
    chain = {at: _memory(different.get(at, 0)) for at in range(6, 17)}
    assert _slots(_select(chain, 17)) == [(PROMPT, 0), (7, 6), (9, 5), (11, 4), (14, 3), (15, 2), (16, 1)]


def test_a_slice_like_the_prompted_one_adds_nothing() -> None:
    """Slice 8 alone points where the prompt points; all others differ a little from each other, and it is left out."""
    chain = {at: _memory(at - 6, extra=0.1) for at in range(6, 13)}
    chain[8] = _memory(7)
    assert 8 not in [position for position, _ in _slots(_select(chain, 13))]


def test_memories_come_from_the_window_only() -> None:
    chain = {at: _memory(at) for at in range(6, 30)}
    assert min(at for at, slot in _slots(_select(chain, 30, window=8)) if slot > 0) >= 22


@given(st.integers(1, 6), st.sampled_from([1, -1]))
def test_with_nothing_to_choose_and_no_doubt_it_is_the_bracketed_policy(passed: int, direction: int) -> None:
    origin = 20
    chain = {origin + direction * step: _memory(step) for step in range(1, passed + 1)}
    bank = MemoryBank({origin: _memory(7), 2: _memory(6)}, chain)
    position = origin + direction * (passed + 1)
    ours = ConfidentMemoryPolicy().select(bank, position, direction, COUNT)
    usual = BracketedMemoryPolicy().select(bank, position, direction, COUNT)
    assert ours.fingerprint == usual.fingerprint
    assert ConfidentMemoryPolicy().chains([3, 9], (), 0, 12) == BracketedMemoryPolicy().chains([3, 9], (), 0, 12)
    assert ConfidentMemoryPolicy().reach([3, 9], 9, 40) == BracketedMemoryPolicy().reach([3, 9], 9, 40)


def test_both_directions_see_alike_memories_when_both_are_sure() -> None:
    """So that they are tracked as one batch."""
    policy = ConfidentMemoryPolicy()
    layouts = set()
    for direction in (1, -1):
        chain = {20 + direction * step: _memory(step * (2 + direction)) for step in range(1, 11)}
        bank = MemoryBank({20: _memory(7)}, chain)
        layouts.add(policy.select(bank, 20 + direction * 11, direction, COUNT).layout)
    assert len(layouts) == 1


@pytest.mark.parametrize("changes", [{"least_confidence": 1.5}, {"window": 3}])
def test_settings_without_meaning_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        ConfidentMemoryPolicy(**changes)


@pytest.mark.parametrize("ahead", [0, 3])
def test_a_session_follows_the_policy_also_when_rounds_are_started_ahead(
    full_predictor, mr_volume, mr_labels, monkeypatch, ahead: int
) -> None:
    """Each slice's inputs are those that the policy chooses from the finished results of its chain: memories that are
    still under way would have no scores yet.
    """
    monkeypatch.setattr(full_predictor, "rounds_ahead", ahead)
    monkeypatch.setattr(full_predictor, "tracking_batch", 2)
    usual = _followed(full_predictor, mr_volume, mr_labels, ConfidentMemoryPolicy(least_confidence=0.0))
    middle_confidence = statistics.median(confidence_of(result.memory) for result in usual.results.values())
    policy = ConfidentMemoryPolicy(least_confidence=middle_confidence, window=6)
    state = _followed(full_predictor, mr_volume, mr_labels, policy)
    doubted = 0
    for position, result in state.results.items():
        passed = {
            at: other.memory
            for at, other in state.results.items()
            if other.chain == result.chain and (position - at) * result.chain.direction > 0
        }
        bank = MemoryBank(state.conditioning, passed)
        chosen = policy.select(bank, position, result.chain.direction, mr_volume.array.shape[0])
        assert result.inputs == chosen.fingerprint
        assert result.memory.scores[0].tolist() == pytest.approx([result.iou, result.object_score, result.boundary])
        doubted += confidence_of(result.memory) < policy.least_confidence
    assert 0 < doubted < len(state.results)


def _followed(predictor, volume, labels, policy) -> ObjectState:
    """The tumor, given as a mask on its largest slice and followed to both ends."""
    session = VolumeSession(predictor, volume, policy=policy, stop_rule=StopRule.never())
    middle = int(labels.sum((1, 2)).argmax())
    session.add_mask("tumor", SliceAxis.K, middle, labels[middle])
    for _ in session.propagate("tumor"):
        pass
    return session._states.known("tumor")


def test_every_choice_has_a_policy() -> None:
    assert {type(choice.policy()).__name__ for choice in PolicyChoice} == {
        "Sam2MemoryPolicy", "BracketedMemoryPolicy", "ConfidentMemoryPolicy",
    }  # fmt: skip
