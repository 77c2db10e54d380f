"""Steps that CUDA can replay: a pool of scenarios, nothing on the way that waits for the host, the same gradient."""

import numpy as np
import pytest
import torch
from SAM2_3dMedLib.training.batches import BatchMaker
from SAM2_3dMedLib.training.gradients import GraphedGradients, gradients_of
from SAM2_3dMedLib.training.recipe import RecipeError
from SAM2_3dMedLib.training.scenario import Prompting, PromptKind, Scenario
from SAM2_3dMedLib.training.state import TrainState
from torch.utils._python_dispatch import TorchDispatchMode

CPU = torch.device("cpu")
# What makes a host wait for a device, or a device read from the host: none of it can be captured.
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique", "lift_fresh"}
EVERYTHING = Scenario(
    anchor=0,
    first=Prompting(PromptKind.BOX, 1),
    second_slice=2,
    second=Prompting(PromptKind.POINT, 1),
    corrected=1,
)
MASK = Scenario(anchor=0, first=Prompting(PromptKind.MASK, 1))


def _clips_stage(small, small_recipe, **changes):
    return small_recipe(stages=[{**small["stages"][1], **changes}])


def test_a_pool_holds_so_many_scenarios_and_a_resumed_run_has_the_same(store, small, small_recipe):
    stage = _clips_stage(small, small_recipe, scenarios=3).stages[0]
    maker = BatchMaker(store, stage, np.random.default_rng(1), None, scenario_seed=(7, 1))
    drawn = [maker.draw().scenario for _ in range(12)]
    assert len(set(drawn)) == 3
    for start in range(0, 12, 3):
        assert set(drawn[start : start + 3]) == set(drawn), "the pool comes in rounds"
    assert len({tuple(drawn[start : start + 3]) for start in range(0, 12, 3)}) > 1, "each in an order of its own"
    other = BatchMaker(store, stage, np.random.default_rng(1), None, scenario_seed=(8, 1))
    assert {other.draw().scenario for _ in range(3)} != set(drawn)


@pytest.mark.parametrize("scenarios", [0, 3])
def test_the_batch_number_decides_the_scenario_not_who_draws_it(store, small, small_recipe, scenarios):
    """Processes with draws of their own do the same at the same time; a resumed run goes on in the middle."""
    stage = _clips_stage(small, small_recipe, scenarios=scenarios).stages[0]
    first, second = (BatchMaker(store, stage, np.random.default_rng(seed), None) for seed in (1, 2))
    drawn = [first.draw() for _ in range(7)]
    others = [second.draw() for _ in range(7)]
    assert [batch.scenario for batch in drawn] == [batch.scenario for batch in others]
    assert not torch.equal(drawn[0].clips.images, others[0].clips.images)
    resumed = BatchMaker(store, stage, np.random.default_rng(3), None, first=4)
    assert [resumed.draw().scenario for _ in range(3)] == [batch.scenario for batch in drawn[4:]]
    if not scenarios:
        assert len({batch.scenario for batch in drawn}) > 3


def test_a_pool_for_slices_on_their_own_is_refused(small, small_recipe):
    with pytest.raises(RecipeError, match="scenarios"):
        small_recipe(stages=[{**small["stages"][0], "scenarios": 4}])


class _Waits(TorchDispatchMode):
    """Collects the operations of a step that would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in WAITING:
            self.seen.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("scenario", [EVERYTHING, MASK], ids=["prompts and corrections", "mask"])
def test_nothing_in_a_clip_waits_for_the_host(store, small, small_recipe, scenario):
    """What a CUDA graph needs, seen on the CPU. The first time may copy constants; the second time nothing does."""
    recipe = _clips_stage(small, small_recipe)
    state, stage = TrainState(recipe, CPU), recipe.stages[0]
    batch = BatchMaker(store, stage, state.rng, state.generator)
    clips = batch.finish(batch.sampler.draw(1, scenario.anchor))
    gradients = gradients_of(state.network, stage, state.generator, "fp32")
    with torch.autocast("cpu", enabled=False):
        gradients.forward.clip(clips, scenario)
        with _Waits() as waits:
            outcome = gradients.forward.clip(clips, scenario)
            outcome.terms.total(stage.losses).backward()
    assert waits.seen == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a CUDA device")
def test_a_replayed_graph_gives_the_gradient_of_the_eager_step(store, small, small_recipe):
    device = torch.device("cuda")
    recipe = _clips_stage(small, small_recipe, scenarios=1)
    state, stage = TrainState(recipe, device), recipe.stages[0]
    for case in store.cases:
        object.__setattr__(case, "image", case.image.to(device))
        object.__setattr__(case, "label", case.label.to(device))
    batch = BatchMaker(store, stage, state.rng, state.generator).draw()
    gradients = gradients_of(state.network, stage, state.generator, "fp32")
    assert isinstance(gradients, GraphedGradients)
    sums, losses = [], []
    for _ in range(3):  # eager, then twice replayed
        torch.manual_seed(5)
        gradients.clear()
        losses.append(float(gradients.add(batch).terms.total(stage.losses)))
        sums.append(torch.cat([p.grad.flatten() for p in state.network.parameters() if p.requires_grad]).clone())
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-4)
    for other in sums[1:]:
        assert float((other - sums[0]).norm() / sums[0].norm()) < 1e-2
