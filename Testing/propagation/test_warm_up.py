"""What is prepared ahead of the first click is what a propagation then asks for."""

from collections.abc import Hashable

import pytest
from SAM2_3dMedLib.propagation.predictor import SlicePredictor
from SAM2_3dMedLib.propagation.session import VolumeSession
from SAM2_3dMedLib.propagation.step_runner import StepMode
from SAM2_3dMedLib.propagation.stopping import StopRule
from SAM2_3dMedLib.propagation.tracking_step import StepInputs, StepOutputs
from SAM2_3dMedLib.volume.images import Volume
from SAM2_3dMedLib.volume.planes import SliceAxis

K = SliceAxis.K


class _Recorder:
    """In place of `GraphedStep`: runs the step as it is and notes which graphs were prepared, and which asked for."""

    refusal = ""

    def __init__(self, step) -> None:
        self._step = step
        self.prepared: set[Hashable] = set()
        self.asked: set[Hashable] = set()
        self.addresses: dict[Hashable, set[int]] = {}

    def prepare(self, key: Hashable, inputs: StepInputs) -> None:
        self.prepared.add(key)
        self._note(key, inputs)
        self._step(inputs)

    def __call__(self, key: Hashable, inputs: StepInputs) -> StepOutputs:
        self.asked.add(key)
        self._note(key, inputs)
        return self._step(inputs)

    def _note(self, key: Hashable, inputs: StepInputs) -> None:
        read = (inputs.keys.data_ptr(), inputs.values.data_ptr(), inputs.features.embedding.data_ptr())
        self.addresses.setdefault(key, set()).update(read)


@pytest.fixture
def recorded(full_predictor: SlicePredictor) -> tuple[SlicePredictor, _Recorder]:
    """A predictor as on CUDA, its graphs recorded."""
    made = SlicePredictor(full_predictor.network, "cpu", full_predictor.dtype, StepMode.STATIC)
    made.batch_size, made.tracking_batch, made.rounds_ahead = 8, 2, 2
    recorder = _Recorder(made.runner._step)
    made.runner._graphed = recorder
    return made, recorder


def test_every_graph_of_a_propagation_and_a_correction_was_prepared_in_the_memory_that_it_reads(
    recorded: tuple[SlicePredictor, _Recorder], mr_volume: Volume
) -> None:
    predictor, recorder = recorded
    with predictor.running():
        features = predictor._seen(predictor.encode_slices([mr_volume.array[0].astype("float32")])[0])
        assert len(list(predictor.runner.warm_up(features, predictor.tracking_batch))) == len(recorder.prepared)
    session = VolumeSession(predictor, mr_volume, stop_rule=StopRule.never())
    session.add_box("one", K, (20, 15, 4), (50, 40, 4))
    list(session.propagate("one"))
    session.add_point("one", K, (35, 30, 20), True)
    list(session.propagate("one"))
    assert len(recorder.asked) > 20
    assert recorder.asked <= recorder.prepared
    assert all(len(addresses) == 3 for addresses in recorder.addresses.values()), "graphs read fixed addresses"


def test_preparing_changes_no_mask(
    recorded: tuple[SlicePredictor, _Recorder], full_predictor: SlicePredictor, mr_volume: Volume
) -> None:
    masks = []
    for warm in (False, True):
        predictor, _ = recorded
        session = VolumeSession(predictor, mr_volume, stop_rule=StopRule.never())
        session.add_box("one", K, (20, 15, 12), (50, 40, 12))
        updates = session.propagate("one")
        for _ in range(4):
            next(updates)
        if warm:  # in the middle of work, as the worker may after a canceled propagation
            with predictor.running():
                features = predictor._seen(session._store.features(K, 0))
                list(predictor.runner.warm_up(features, 2))
        list(updates)
        masks.append(session.mask("one"))
    assert (masks[0] == masks[1]).all()
    assert 0.02 < masks[0].mean() < 0.98


def test_without_a_card_there_is_nothing_to_prepare(full_predictor: SlicePredictor) -> None:
    assert list(full_predictor.warm_up()) == []
