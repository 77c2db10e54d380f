"""The fast way of tracking: several slices at once, ahead of the results, from fixed memory; the same masks."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from SAM2_3dMedLib.network.features import SliceFeatures
from SAM2_3dMedLib.propagation import tracking_graph
from SAM2_3dMedLib.propagation.cancel import CancelToken
from SAM2_3dMedLib.propagation.features_cache import CacheBudget
from SAM2_3dMedLib.propagation.memory_bank import MemorySelection, Remembered, SliceMemory
from SAM2_3dMedLib.propagation.predictor import SlicePredictor
from SAM2_3dMedLib.propagation.projected_memories import ProjectedMemories
from SAM2_3dMedLib.propagation.schedule import ChainKey
from SAM2_3dMedLib.propagation.session import VolumeSession
from SAM2_3dMedLib.propagation.slice_tracker import SliceTracker, SliceWork
from SAM2_3dMedLib.propagation.step_runner import StepMode
from SAM2_3dMedLib.propagation.stopping import StopRule
from SAM2_3dMedLib.propagation.tracking_graph import GraphedStep
from SAM2_3dMedLib.propagation.tracking_step import StepInputs, StepOutputs
from SAM2_3dMedLib.volume.images import Volume
from SAM2_3dMedLib.volume.planes import SliceAxis

K = SliceAxis.K
COUNT = 25


def _as_on_cuda(predictor: SlicePredictor) -> SlicePredictor:
    """The same network, as it runs on a CUDA card but for the card: static inputs, batches, rounds ahead."""
    made = SlicePredictor(predictor.network, "cpu", torch.float32, StepMode.STATIC)
    made.batch_size, made.tracking_batch, made.rounds_ahead = 8, 2, 2
    return made


def _corrected(predictor: SlicePredictor, volume: Volume) -> VolumeSession:
    """Three prompted slices, so that chains meet, and a second object whose chains start at the volume's edge."""
    session = VolumeSession(predictor, volume, stop_rule=StopRule.never())
    session.add_box("one", K, (20, 15, 12), (50, 40, 12))
    list(session.propagate("one"))
    session.add_point("one", K, (35, 30, 5), False)
    session.add_point("one", K, (35, 30, 20), True)
    session.add_point("one", K, (60, 40, 16), False)
    list(session.propagate("one"))
    session.add_box("two", K, (10, 10, 1), (60, 45, 1))
    list(session.propagate("two"))
    return session


def _iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / max(1, (first | second).sum()))


@pytest.fixture(scope="module")
def plain(full_predictor: SlicePredictor, mr_volume: Volume) -> VolumeSession:
    """Slice by slice, each awaited: what the fast way is compared with."""
    return _corrected(full_predictor, mr_volume)


def test_batches_ahead_of_the_results_from_fixed_memory_give_the_same_masks(
    full_predictor: SlicePredictor, mr_volume: Volume, plain: VolumeSession
) -> None:
    fast = _corrected(_as_on_cuda(full_predictor), mr_volume)
    for name in ("one", "two"):
        assert 0.02 < plain.mask(name).mean() < 0.98
        assert _iou(fast.mask(name), plain.mask(name)) >= 0.999
        expected = plain.confidence(name)
        for index, entry in fast.confidence(name).items():
            assert entry.value == pytest.approx(expected[index].value, abs=5e-3)


def test_a_tracked_slice_is_that_of_sam2s_own_way(full_predictor: SlicePredictor, mr_volume: Volume) -> None:
    session = VolumeSession(full_predictor, mr_volume, stop_rule=StopRule.never())
    session.add_box("one", K, (20, 15, 12), (50, 40, 12))
    list(session.propagate("one", slice_range=(8, 14)))
    state = session._states.known("one")
    memories = [state.prompted[12].result.memory, *(state.results[position].memory for position in (14, 13))]
    entries = tuple(Remembered(0, memory, slot) for memory, slot in zip(memories, (0, 2, 1), strict=True))
    pointers = tuple(Remembered(0, memory, distance) for memory, distance in zip(memories, (3, 1, 2), strict=True))
    selection = MemorySelection.of(entries, pointers, 16)
    key = ChainKey(12, 1)
    expected = session._lenses.of(K).decoder.track(K, 15, selection, key)
    tracker = SliceTracker(full_predictor, session._store)
    (started,) = tracker.start(K, [SliceWork(15, selection, key)])
    ours = started.finish()
    torch.testing.assert_close(ours.logits, expected.logits, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(ours.memory.pointer, expected.memory.pointer, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(ours.memory.features, expected.memory.features, rtol=2e-2, atol=2e-2)
    assert (ours.iou, ours.object_score) == pytest.approx((expected.iou, expected.object_score), abs=1e-3)
    assert ours.boundary == pytest.approx(expected.boundary, abs=1e-3)
    assert (ours.chain, ours.inputs) == (expected.chain, expected.inputs)
    assert started.finish() is ours


def _losing(predictor: SlicePredictor, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """The object is lost on the two slices that are tracked next after the first `after`, and then seen again."""
    step, tracked = predictor.runner._step, []

    def losing(inputs: StepInputs) -> StepOutputs:
        outputs = step(inputs)
        tracked.append(len(outputs.scores))
        if not after < sum(tracked) <= after + 2:
            return outputs
        return replace(outputs, scores=outputs.scores * torch.tensor([1.0, 0.0, 1.0]) - torch.tensor([0.0, 2.0, 0.0]))

    monkeypatch.setattr(predictor.runner, "_step", losing)


def test_what_was_computed_beyond_the_end_is_thrown_away(
    full_predictor: SlicePredictor, mr_volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = _as_on_cuda(full_predictor)
    _losing(fast, monkeypatch, after=6)
    session = VolumeSession(fast, mr_volume)
    session.add_box("one", K, (20, 15, 12), (50, 40, 12))
    updates = list(session.propagate("one"))
    assert [update.index for update in updates] == [12, 13, 11, 14, 10, 15, 9]
    assert {index for index in range(COUNT) if session.mask("one")[index].any()} == set(range(9, 16))


@pytest.mark.parametrize("wanted", [2, 3, 8])
def test_cancel_and_close_keep_exactly_what_was_handed_out(
    full_predictor: SlicePredictor, mr_volume: Volume, wanted: int
) -> None:
    session = VolumeSession(_as_on_cuda(full_predictor), mr_volume, stop_rule=StopRule.never())
    session.add_box("one", K, (20, 15, 12), (50, 40, 12))
    token, seen = CancelToken(), []
    for update in session.propagate("one", cancel=token):
        seen.append(update.index)
        if len(seen) == wanted:
            token.cancel()
    assert len(seen) == wanted
    assert {index for index in range(COUNT) if session.mask("one")[index].any()} == set(seen)
    updates = session.propagate("one")
    more = [next(updates).index for _ in range(4)]
    updates.close()
    assert {index for index in range(COUNT) if session.mask("one")[index].any()} == {*seen, *more}
    rest = {update.index for update in session.propagate("one")}
    assert {*seen, *more, *rest} == set(range(COUNT))


class _Replay:
    """In place of a CUDA graph: computes again from the memory that it was captured with."""

    def __init__(self, step, inputs: StepInputs) -> None:
        self._step, self._inputs = step, inputs
        self.outputs = step(inputs)

    def replay(self) -> None:
        for kept, new in zip(self.outputs.tensors(), self._step(self._inputs).tensors(), strict=True):
            kept.copy_(new)


def test_a_replay_from_fixed_memory_gives_the_same_masks(
    full_predictor: SlicePredictor, mr_volume: Volume, plain: VolumeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def capture(self: GraphedStep, inputs: StepInputs) -> tracking_graph._Captured:
        replay = _Replay(self._step, inputs)
        return tracking_graph._Captured(replay, replay.outputs)

    monkeypatch.setattr(GraphedStep, "_capture", capture)
    fast = _as_on_cuda(full_predictor)
    fast.runner._graphed = GraphedStep(fast.runner._step)
    session = _corrected(fast, mr_volume)
    assert fast.runner._graphed.captured > 3
    for name in ("one", "two"):
        assert _iou(session.mask(name), plain.mask(name)) >= 0.999
    session.close()
    fast.runner.release()
    assert fast.runner._graphed.captured == 0
    again = VolumeSession(fast, mr_volume, stop_rule=StopRule.never())
    again.add_box("two", K, (10, 10, 1), (60, 45, 1))
    list(again.propagate("two"))
    assert _iou(again.mask("two"), plain.mask("two")) >= 0.999


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a card that can capture")
def test_where_a_graph_cannot_be_captured_the_step_runs_as_it_is(
    full_predictor: SlicePredictor, mr_volume: Volume, plain: VolumeSession, caplog: pytest.LogCaptureFixture
) -> None:
    fast = _as_on_cuda(full_predictor)
    fast.runner._graphed = GraphedStep(fast.runner._step)
    with caplog.at_level(logging.WARNING):
        session = _corrected(fast, mr_volume)
    assert len([record for record in caplog.records if "without CUDA graphs" in record.message]) == 1
    assert fast.runner._graphed.refusal in fast.runner.note
    assert _iou(session.mask("one"), plain.mask("one")) >= 0.999


@torch.inference_mode()
def test_projected_memories_keep_to_their_budget_and_come_back(full_predictor: SlicePredictor) -> None:
    reader, side = full_predictor.runner._reader, full_predictor.image_size // 16
    memories = [
        SliceMemory(torch.randn(1, 32, side, side).bfloat16(), torch.randn(1, 64), torch.zeros(1, 3)) for _ in range(6)
    ]
    one = reader.project(memories[0].features).nbytes
    kept = ProjectedMemories(reader, torch.device("cpu"), 5 * one)
    for memory in memories:
        pair = kept.get([memory, memories[0]])
        assert torch.equal(pair.keys[:, :1], reader.project(memory.features).keys)
        assert torch.equal(pair.values[:, 1:], reader.project(memories[0].features).values)
        assert kept.nbytes <= 5 * one
    kept.clear()
    assert kept.nbytes == 0


def test_little_is_encoded_beyond_the_end_of_a_small_object(
    full_predictor: SlicePredictor, mr_volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = _as_on_cuda(full_predictor)
    _losing(fast, monkeypatch, after=0)
    session = VolumeSession(fast, mr_volume)
    session.add_box("one", K, (20, 15, 12), (50, 40, 12))
    assert [update.index for update in session.propagate("one")] == [12]
    assert session.encoded_count < COUNT
    assert session._store._arriving == {}, "what was encoded ahead is under the cache's budget"
    encoded = session.encoded_count
    list(session.propagate("one", slice_range=(11, 13)))
    assert session.encoded_count == encoded, "and is used later"


@pytest.mark.parametrize("slices", [0, 3])
def test_encoding_ahead_keeps_to_the_budget_of_the_cache(
    full_predictor: SlicePredictor, mr_volume: Volume, plain: VolumeSession, slices: int
) -> None:
    one = plain.cached_bytes // COUNT
    fast = _as_on_cuda(full_predictor)
    session = VolumeSession(fast, mr_volume, stop_rule=StopRule.never(), cache_budget=CacheBudget(slices * one, 0))
    session.add_box("one", K, (20, 15, 12), (50, 40, 12))
    for _ in session.propagate("one"):
        kept = _bytes_in_memory(session)
        assert kept == session.cached_bytes, "what is counted is what is held"
        assert kept <= (slices + 2 * fast.batch_size + 2) * one, "the budget, and two batches on their way"
    assert _bytes_in_memory(session) <= slices * one


def _bytes_in_memory(session: VolumeSession) -> int:
    """Of the storages behind all features that the session holds: a part of a larger batch counts as the batch."""
    store = session._store
    held = [entry.features for entry in store._arriving.values()]
    maps = [entry for value in [*store._cache._near.values(), *held] for entry in _tensors(value)]
    return sum({entry.untyped_storage().data_ptr(): entry.untyped_storage().nbytes() for entry in maps}.values())


def _tensors(value) -> list[torch.Tensor]:
    if isinstance(value, SliceFeatures):
        return value.maps()
    boundary = [] if value.boundary is None else [value.boundary.features, value.boundary.logits]
    return [value.embedding, *boundary]


@pytest.mark.parametrize("after", [1, 4, 9])
def test_memory_that_runs_out_in_the_middle_changes_no_mask(
    full_predictor: SlicePredictor,
    mr_volume: Volume,
    plain: VolumeSession,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    """Slices on their way have their memory on the device alone: it must not be given back before it has arrived."""
    fast = _as_on_cuda(full_predictor)
    run, calls = fast.runner.run, []

    def short_of_memory(selections, features):
        calls.append(len(selections))
        if len(calls) == after + 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(selections, features)

    monkeypatch.setattr(fast.runner, "run", short_of_memory)
    session = VolumeSession(fast, mr_volume, stop_rule=StopRule.never())
    session.add_box("two", K, (10, 10, 1), (60, 45, 1))
    list(session.propagate("two"))
    assert len(calls) > after + 1
    assert _iou(session.mask("two"), plain.mask("two")) >= 0.999
