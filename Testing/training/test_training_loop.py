"""A whole run in small: both kinds of stage, resuming, the clip's memory rules, export."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from SAM2_3dMedLib.network.checkpoint import CheckpointMetadata, load_checkpoint
from SAM2_3dMedLib.training import trainer as trainer_module
from SAM2_3dMedLib.training.batches import BatchMaker
from SAM2_3dMedLib.training.clip_forward import ClipForward
from SAM2_3dMedLib.training.export import export
from SAM2_3dMedLib.training.gradients import gradients_of
from SAM2_3dMedLib.training.loop import main
from SAM2_3dMedLib.training.losses import LossWeights
from SAM2_3dMedLib.training.scenario import Prompting, PromptKind, Scenario
from SAM2_3dMedLib.training.schedule import learning_rate
from SAM2_3dMedLib.training.state import TrainState
from SAM2_3dMedLib.training.trainer import RunFolders, Trainer, TrainingError
from SAM2_3dMedLib.training.travel import sam2_memories
from SAM2_3dMedLib.training.validation import QuickScores

CPU = torch.device("cpu")


class _Facts:
    """Keeps what a run tells."""

    def __init__(self) -> None:
        self.all: list[dict] = []

    def write(self, facts) -> None:
        self.all.append(dict(facts))


def _losses(log: Path) -> list[float]:
    return [json.loads(line)["total"] for line in log.read_text().splitlines() if "total" in line]


def test_a_run_on_packs_leaves_a_log_and_a_state_that_becomes_a_weight_file(packs, tmp_path, small, capsys):
    (tmp_path / "small.yaml").write_text(json.dumps(small))  # JSON is YAML
    common = ["--packs", str(packs), "--recipe", str(tmp_path / "small.yaml"), "--device", "cpu", "--minutes", "5"]
    assert main([*common, "--output", str(tmp_path / "run")]) == 0
    assert len(_losses(tmp_path / "run" / "log.jsonl")) == 3
    shown = capsys.readouterr().err
    assert "clips (2/2): 100%" in shown
    assert "all left=" in shown
    pieces = sorted((tmp_path / "run").glob("compact.*"))
    assert len(pieces) <= 7
    assert all(piece.stat().st_size <= 15 * 2**20 for piece in pieces)
    weights = tmp_path / "not yet there" / "out.safetensors"
    steps = export(tmp_path / "run", weights, CheckpointMetadata("small"))
    network, _ = load_checkpoint(weights)
    assert steps == 3
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())


def test_accumulated_batches_are_averaged_into_one_step(store, small, small_recipe):
    """Two batches for one step: the gradient is the mean of the two, drawn one after the other."""
    stage = {**small["stages"][0], "steps": 1, "prompts": {"corrections": [1.0]}}
    gradients: list[torch.Tensor] = []

    def seen(trainer: Trainer) -> torch.Tensor:
        state, first = trainer.state, trainer.recipe.stages[0]
        maker = BatchMaker(trainer.training, first, state.rng, state.generator)
        sums = gradients_of(state.network, first, state.generator, trainer.recipe.precision)
        parameter = state.network.sam_mask_decoder.iou_token.weight
        state.optimizer.register_step_pre_hook(lambda *_: gradients.append(parameter.grad.clone()))
        step = trainer.step(maker, sums, first, maker.draw())
        if first.accumulate == 1:
            trainer.step(maker, sums, first, step.following)
        return step.loss

    unclipped = {"gradient_clip": 1e9, "weight_decay": 0.0}
    # Learning rate 0: the second of the two steps starts from the same weights as the first.
    still = stage | {"learning_rate": 0.0, "final_learning_rate": 0.0}
    seen(Trainer(small_recipe(stages=[still], **unclipped), store, CPU))
    assert len(gradients) == 2
    both = Trainer(small_recipe(stages=[still | {"accumulate": 2}], **unclipped), store, CPU)
    seen(both)
    assert len(gradients) == 3
    torch.testing.assert_close(gradients[2], (gradients[0] + gradients[1]) / 2)
    assert both.state.progress.step == 1
    assert both.state.progress.images == 8


def test_the_best_of_several_validations_is_kept(store, small, small_recipe, tmp_path, monkeypatch):
    scores = iter([0.4, 0.6, math.nan, 0.5])
    monkeypatch.setattr(trainer_module, "quick_validation", lambda *_: QuickScores(*[next(scores)] * 3, 1.0))
    recipe = small_recipe(stages=[{**small["stages"][0], "steps": 4}], validate_every=1)
    told, best = _Facts(), tmp_path / "best.safetensors"
    trainer = Trainer(recipe, store, CPU, [told], holdout=store, folders=RunFolders(best=best))
    trainer.run()
    assert [facts["step"] for facts in told.all if "validation" in facts] == [1, 2, 3, 4]
    assert (trainer.state.progress.best, trainer.state.progress.best_step) == (pytest.approx(0.6), 2)
    assert "step 2," in load_checkpoint(best)[1].notes


def test_training_on_one_kind_of_ball_lowers_the_loss(store, small_recipe):
    stage = {"name": "images", "kind": "images", "steps": 24, "batch": 4, "learning_rate": 1e-3, "warmup_steps": 5}
    stage |= {"synthetic_share": 0.0, "sampling": {"size": 64, "slices": 1, "whole_slice_share": 1.0}}
    told = _Facts()
    Trainer(small_recipe(stages=[stage]), store, CPU, [told]).run()
    losses = [facts["dice"] for facts in told.all]
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:5])


def test_a_clip_supervises_every_slice_and_reaches_every_trained_part(store, small_recipe):
    recipe = small_recipe()
    state = TrainState(recipe, CPU)
    stage = recipe.stages[1]
    state.enter_stage(stage)
    forward = ClipForward(state.network, LossWeights(), state.generator)
    maker = BatchMaker(store, stage, state.rng, state.generator)
    scenario = Scenario(0, Prompting(PromptKind.BOX, corrections=1), corrected=1)
    outcome = forward.clip(maker.sampler.draw(2, anchor=0), scenario)
    outcome.terms.total(stage.losses).backward()
    assert not torch.isnan(outcome.tracked_iou)
    for part in ("memory_attention", "memory_encoder", "adapter", "slice_position", "boundary"):
        gradients = [p.grad for n, p in state.network.named_parameters() if n.startswith(part) and p.grad is not None]
        assert gradients
        assert any(float(gradient.abs().sum()) > 0 for gradient in gradients), part


def test_memories_follow_sam2s_policy_in_both_directions():
    entry = {n: (torch.full((1,), float(n)), torch.full((1,), 100.0 + n)) for n in range(20)}
    prompted = {3: entry[3], 12: entry[12]}
    tracked = {n: entry[n] for n in range(4, 10)}
    memories, pointers = sam2_memories(prompted, tracked, place=10, direction=1, num_maskmem=7)
    assert [(int(item.features), item.slot) for item in memories] == [
        (3, 0), (12, 0), (9, 1), (8, 2), (7, 3), (6, 4), (5, 5), (4, 6),
    ]  # fmt: skip
    assert [(int(item.pointer) - 100, item.distance) for item in pointers] == [
        (3, 7), (9, 1), (8, 2), (7, 3), (6, 4), (5, 5), (4, 6),
    ]  # fmt: skip
    backward = {n: entry[n] for n in (11, 10)}
    memories, pointers = sam2_memories({12: entry[12]}, backward, place=9, direction=-1, num_maskmem=7)
    assert [(int(item.features), item.slot) for item in memories] == [(12, 0), (10, 1), (11, 2)]
    assert [(int(item.pointer) - 100, item.distance) for item in pointers] == [(12, 3), (10, 1), (11, 2)]


def test_steps_without_a_finite_gradient_are_left_out_and_many_stop_the_run(store, small, small_recipe):
    stage = {**small["stages"][0], "steps": 10}
    trainer = Trainer(small_recipe(max_bad_steps=3, stages=[stage]), store, CPU)
    parameter = trainer.state.network.sam_mask_decoder.mask_tokens.weight
    before = {name: value.clone() for name, value in trainer.state.network.named_parameters()}
    hook = parameter.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(TrainingError, match="3 steps in a row"):
        trainer.run()
    hook.remove()
    assert trainer.state.progress.skipped == 3
    for name, value in trainer.state.network.named_parameters():
        assert torch.equal(before[name], value)


def test_the_learning_rate_warms_up_and_falls_as_a_cosine(small_recipe):
    stage = replace(small_recipe().stages[0], learning_rate=1.0, final_learning_rate=0.2, warmup_steps=10, steps=100)
    assert learning_rate(stage, 0.0, 0) == pytest.approx(0.1)
    assert learning_rate(stage, 0.5, 50) == pytest.approx(0.6)
    assert learning_rate(stage, 1.0, 100) == pytest.approx(0.2)
    assert learning_rate(stage, 0.5, 50, rewarm=50) == pytest.approx(0.06)


def test_frozen_parameters_stay_as_they_are(store, small_recipe):
    trainer = Trainer(small_recipe(frozen=["image_encoder"]), store, CPU)
    before = {name: value.clone() for name, value in trainer.state.network.named_parameters()}
    trainer.run()
    after = dict(trainer.state.network.named_parameters())
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("image_encoder"))
    assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith("sam_mask_decoder"))


def test_bad_input_ends_with_one_sentence_and_code_2(packs, tmp_path, capsys):
    code = main(["--packs", str(packs), "--recipe", str(tmp_path / "none.yaml"), "--output", str(tmp_path)])
    assert code == 2
    assert "cannot be read" in capsys.readouterr().out
