"""On the CPU a slice's memory is made when another slice looks at it, and not before."""

from dataclasses import replace

import pytest
import torch
from SAM2_3dMedLib.propagation.memory_bank import SliceMemory, UnmadeFeatures
from SAM2_3dMedLib.propagation.predictor import SlicePredictor
from SAM2_3dMedLib.propagation.session import VolumeSession
from SAM2_3dMedLib.propagation.step_runner import StepMode
from SAM2_3dMedLib.propagation.stopping import StopRule
from SAM2_3dMedLib.propagation.tracking_step import StepAnswers
from SAM2_3dMedLib.volume.images import Volume
from SAM2_3dMedLib.volume.planes import SliceAxis
from torch import Tensor

K = SliceAxis.K
BOX = ((20, 15, 12), (50, 40, 12))


@pytest.fixture
def remembered(plain_predictor: SlicePredictor):
    """One entry for each time that the network makes a memory."""
    made: list[int] = []
    hook = plain_predictor.network.memory_encoder.register_forward_hook(lambda *_: made.append(1))
    yield made
    hook.remove()


def test_a_preview_does_not_wait_for_its_memory(
    plain_predictor: SlicePredictor, mr_volume: Volume, remembered: list[int]
) -> None:
    session = VolumeSession(plain_predictor, mr_volume)
    session.add_box("a", K, *BOX)
    session.add_point("a", K, (30, 30, 12), positive=False)
    assert remembered == []
    list(session.propagate("a", slice_range=(12, 13)))
    assert len(remembered) == 1, "of the slice as it stands, for the one slice that looks at it"


def test_the_slice_at_which_the_object_has_ended_is_not_remembered(
    plain_predictor: SlicePredictor, mr_volume: Volume, remembered: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, seen = plain_predictor.runner, []
    answer = runner.answer

    def lost_after_four(*inputs) -> StepAnswers:
        answers = answer(*inputs)
        seen.append(1)
        return answers if len(seen) <= 4 else replace(answers, scores=torch.tensor([[0.5, -2.0, 1.0]]))

    monkeypatch.setattr(runner, "answer", lost_after_four)
    session = VolumeSession(plain_predictor, mr_volume, stop_rule=StopRule(absent_score=-1.0))
    session.add_box("a", K, *BOX)
    list(session.propagate("a"))
    assert len(seen) == 6, "two slices on each side, and one beyond"
    assert len(remembered) == 5, "the prompted slice and the four that show the object"


def test_memories_are_the_same_made_at_once_or_later(plain_predictor: SlicePredictor, mr_volume: Volume) -> None:
    at_once = SlicePredictor(plain_predictor.network, "cpu", torch.float32, step_mode=StepMode.STATIC)
    assert plain_predictor.runner.remembers_later
    assert not at_once.runner.remembers_later
    memories = []
    for predictor in (plain_predictor, at_once):
        session = VolumeSession(predictor, mr_volume, stop_rule=StopRule.never())
        session.add_box("a", K, *BOX)
        list(session.propagate("a", slice_range=(11, 14)))
        state = session._states.known("a")
        memories.append([state.at(position).memory.features for position in (12, 11, 13, 14)])
    for later, now in zip(*memories, strict=True):
        assert later.dtype is torch.bfloat16
        torch.testing.assert_close(later, now)


def test_unmade_features_are_made_once_and_counted_by_what_they_hold() -> None:
    made: list[Tensor] = []

    def make() -> Tensor:
        made.append(torch.ones(1, 2, 4, 4))
        return made[-1]

    memory = SliceMemory.of(UnmadeFeatures(make, 1000), torch.zeros(1, 4), torch.zeros(1, 3))
    assert memory.nbytes == 1000 + 16 + 12
    assert memory.features is memory.features
    assert len(made) == 1
    assert memory.nbytes == 2 * 16 * 2 + 16 + 12
