"""The ablation: a common start, equal budgets, runs that are done once, packs that are evaluated as their files."""

import json
import queue
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  its customary name
import torch
from SAM2_3dMedLib.network.checkpoint import load_checkpoint
from SAM2_3dMedLib.network.config import Parts
from SAM2_3dMedLib.propagation.predictor import SlicePredictor
from SAM2_3dMedLib.propagation.session import VolumeSession
from SAM2_3dMedLib.training import ablation
from SAM2_3dMedLib.training.ablation import RECIPE, finished_runs, main, parser
from SAM2_3dMedLib.training.ablation_arms import ARMS, START, arm_recipe, start_recipe
from SAM2_3dMedLib.training.ablation_budget import (
    FEWEST_STEPS,
    Budget,
    Measured,
    fitted_steps,
    read_budget,
    write_budget,
)
from SAM2_3dMedLib.training.ablation_scores import read_rows
from SAM2_3dMedLib.training.ablation_table import page
from SAM2_3dMedLib.training.ablation_workers import Failed, Job, work
from SAM2_3dMedLib.training.case_reading import read_case
from SAM2_3dMedLib.training.data_layouts import LabeledCase
from SAM2_3dMedLib.training.metrics import dice
from SAM2_3dMedLib.training.packed_evaluation import evaluate_packed, prompted_slices
from SAM2_3dMedLib.training.protocols import first_prompt, largest_slice
from SAM2_3dMedLib.training.recipe import RecipeError, read_recipe
from SAM2_3dMedLib.training.state import TrainState
from SAM2_3dMedLib.volume.images import read_volume
from SAM2_3dMedLib.volume.planes import SliceAxis, acquisition_axis
from SAM2_3dMedLib.weights.manifest import default_weights

CPU = torch.device("cpu")
LIVER = 6
SAMPLES = Path(__file__).parents[2] / "Resources" / "Samples"


def test_every_arm_sees_as_many_slices_a_step_and_freezes_the_same():
    base = read_recipe(RECIPE)
    seen = {arm.name: arm_recipe(base, arm, 2, "start.safetensors", None) for arm in ARMS}
    budgets = {sum(s.steps * s.batch * s.sampling.slices for s in recipe.stages) for recipe in seen.values()}
    assert len(budgets) == 1
    assert {recipe.frozen for recipe in seen.values()} == {("image_encoder", "sam_prompt_encoder")}
    assert {recipe.seed for recipe in seen.values()} == {2}
    assert {recipe.initial_weights for recipe in seen.values()} == {"start.safetensors"}
    assert seen["SRPP, literal"].parts == Parts(srpp=True)
    shorter = arm_recipe(base, ARMS[0], 2, None, steps=60).stages[0]
    assert (shorter.steps, shorter.warmup_steps) == (60, 10)
    assert start_recipe(base).parts == Parts.none()


def test_arms_start_from_the_default_weights_less_the_papers_parts(small_recipe):
    changes = {"network": "auto", "initial_weights": str(default_weights())}
    skipped = ("adapter", "slice_position", "boundary", "boundary_fusion")
    state = TrainState(small_recipe(**changes, initial_skipped=skipped), CPU)
    whole = TrainState(small_recipe(**changes), CPU)
    ours, theirs = state.network.state_dict(), whole.network.state_dict()
    assert torch.equal(ours["memory_encoder.out_proj.weight"], theirs["memory_encoder.out_proj.weight"])
    changed = [name for name in ours if name.startswith("adapter.") and not torch.equal(ours[name], theirs[name])]
    assert changed
    plain = TrainState(small_recipe(**changes, parts={}, initial_skipped=skipped), CPU)
    assert plain.network.adapter is None
    with pytest.raises(RecipeError, match="switches off"):
        TrainState(small_recipe(**changes, parts={}), CPU)


def test_a_pack_is_evaluated_as_its_files_are(tmp_path):
    """Some slices of a real CT, left to the session as files and as a pack: nearly the same mask comes out."""
    image, label = (_piece(tmp_path, f"abdomen_ct_{kind}.nii.gz") for kind in ("img", "lab"))
    predictor = SlicePredictor(load_checkpoint(default_weights())[0], dtype=torch.float32)
    volume, truth = read_volume(image), read_volume(label).array == LIVER
    axis = acquisition_axis(volume.geometry)
    session = VolumeSession(predictor, volume)
    session.add_prompt("liver", first_prompt(truth, axis, largest_slice(truth, axis), volume.geometry))
    for _ in session.propagate("liver"):
        pass
    packed = read_case(LabeledCase("made", "liver", "CT", {LIVER: "liver"}, image, label))
    (result,) = evaluate_packed(predictor, packed)
    assert result.dice == pytest.approx(dice(session.mask("liver"), truth), abs=0.02)
    assert result.dice > 0.8
    assert 0 < result.hd95_mm < 50


def _piece(folder: Path, name: str) -> Path:
    """Six axial slices."""
    read = sitk.ReadImage(str(SAMPLES / name))
    middle = read.GetSize()[2] // 2
    sitk.WriteImage(read[:, :, middle - 3 : middle + 3], str(folder / name))
    return folder / name


def _given(tmp_path, packs, small, *changes: str) -> list[str]:
    """A command that trains steps of a second on the CPU: two of the common start, one of every arm."""
    recipe = tmp_path / "small.yaml"
    clips = small["stages"][1] | {"batch": 1, "steps": 1, "sampling": {"size": 64, "slices": 3}}
    stages = [clips | {"name": "start", "steps": 2}, clips]
    recipe.write_text(json.dumps({**small, "holdout": 0.0, "stages": stages}))
    given = ["--packs", str(packs), "--test-packs", str(packs), "--recipe", str(recipe), "--output", str(tmp_path)]
    return [*given, "--seeds", "1", "--cases-per-dataset", "1", "--device", "cpu", *changes]


def test_runs_are_done_once_and_go_on(packs, small, tmp_path, capsys):
    """Two arms, one seed; a second call does the arm that is not there; the rows make tables."""
    given = _given(tmp_path, packs, small)
    assert main([*given, "--arms", "BD"]) == 0
    results = tmp_path / ablation.RESULTS_FILE
    assert finished_runs(results) == {(START, 0), ("BD", 1)}
    start = (tmp_path / "start.safetensors").read_bytes()
    capsys.readouterr()
    assert main([*given, "--arms", "BD", "plain SAM2"]) == 0
    assert capsys.readouterr().out.startswith("plain SAM2, seed 1")
    assert (tmp_path / "start.safetensors").read_bytes() == start
    rows = read_rows(results)
    trials = {("bracketed", 1), ("confident", 1), ("sam2", 3), ("bracketed", 3), ("confident", 3)}
    assert {(row.policy, row.boxes) for row in rows if row.arm == "plain SAM2"} == trials
    assert {(row.policy, row.boxes) for row in rows if row.arm == "BD"} == {("bracketed", 1)}
    (bd,) = [row for row in rows if row.arm == "BD"]
    assert bd.cost.trained_parameters == bd.cost.parameters > 10e6
    told = [json.loads(line) for line in (tmp_path / ablation.TRAINING_FILE).read_text().splitlines()]
    assert {facts["arm"] for facts in told} <= {"BD", "plain SAM2"}
    assert "| plain SAM2 | 3 | confident |" in page(rows)


def test_the_common_start_is_told_once_whenever_the_run_was_killed(packs, small, tmp_path, monkeypatch):
    given = [*_given(tmp_path, packs, small), "--only-start"]
    results = tmp_path / ablation.RESULTS_FILE

    def killed(*_):
        raise KeyboardInterrupt

    for killed_in in ("append_rows", "write_budget"):
        with monkeypatch.context() as patch:
            patch.setattr(ablation, killed_in, killed)
            with pytest.raises(KeyboardInterrupt):
                main(given)
    assert main(given) == 0
    once = read_rows(results)
    assert {row.arm for row in once} == {START}
    assert len({(row.split, row.result.case, row.result.name) for row in once}) == len(once) > 0


def test_folders_of_packs_are_looked_at_before_anything_is_trained(packs, tmp_path, capsys):
    (tmp_path / "none").mkdir()
    for train, tests, said in (
        (packs, [tmp_path / "none"], "none holds no packs"),
        (tmp_path / "none", [packs], "none holds no packs"),
        (packs, [packs, packs], "have one name"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main(["--packs", str(train), "--test-packs", *map(str, tests), "--output", str(tmp_path / "out")])
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_processes_share_the_runs(packs, small, tmp_path, capsys):
    given = _given(tmp_path, packs, small, "--arms", "BD", "all, D = 3")
    assert main([*given, "--only-start"]) == 0
    assert finished_runs(tmp_path / ablation.RESULTS_FILE) == {(START, 0)}
    assert main([*given, "--minutes", "0"]) == 0
    assert "2 runs are left" in capsys.readouterr().out
    assert main([*given, "--processes", "2"]) == 0
    assert finished_runs(tmp_path / ablation.RESULTS_FILE) == {(START, 0), ("BD", 1), ("all, D = 3", 1)}


def test_a_process_tells_of_failed_runs_and_takes_no_third_after_two_in_a_row(packs, small, tmp_path):
    """An error of CUDA leaves a process of no use: it must not take all the others' runs as well."""
    (tmp_path / "start.safetensors").write_bytes(b"broken")
    options = parser().parse_args(_given(tmp_path, packs, small))
    jobs, answers = queue.Queue(), queue.Queue()
    for job in (*(Job(ARMS[4], seed) for seed in (1, 2, 3)), None):
        jobs.put(job)
    work(0, options, Budget(None, "direct"), time.time() + 1e6, jobs, answers)
    told = [answers.get_nowait() for _ in range(answers.qsize())]
    assert [type(answer) for answer in told] == [Failed, Failed]
    assert "BD, seed 2: Traceback" in told[1].text
    assert "CheckpointError" in told[1].text
    assert jobs.get_nowait().seed == 3


def test_a_budget_is_kept_and_ends_within_the_time(tmp_path):
    measured = Measured(step=0.2, beside_steps=15.0, trial=8.0)
    steps = fitted_steps(measured, ARMS, seeds=3, processes=4, seconds=480)
    trials = 3 * sum(len(arm.trials) for arm in ARMS)
    assert 7 * (15.0 + steps * 0.2) + trials * 8.0 / 4 <= 480
    assert 7 * (15.0 + 1.3 * steps * 0.2) + trials * 8.0 / 4 > 480, "and not for a fraction of it only"
    assert fitted_steps(replace(measured, step=9.0), ARMS, 3, 4, 480) == FEWEST_STEPS
    budget = Budget(steps, "static", measured, 0.71, 0.7101)
    write_budget(tmp_path, budget)
    assert read_budget(tmp_path) == budget
    assert read_budget(tmp_path / "other") is None
    assert budget.longest_run(ARMS) == pytest.approx(15 + 0.2 * steps + 5 * 8)


def test_three_boxes_lie_on_the_largest_slice_and_halfway_to_both_ends():
    mask = np.zeros((20, 9, 9), dtype=bool)
    mask[4:15, 3:6, 3:6] = True
    mask[10] = True
    assert prompted_slices(mask, SliceAxis.K, 1) == [10]
    assert prompted_slices(mask, SliceAxis.K, 3) == [10, 7, 12]
    mask[:] = False
    mask[8, 2:4, 2:4] = True
    assert prompted_slices(mask, SliceAxis.K, 3) == [8]


def test_no_millimeters_where_the_spacing_is_not_known(tmp_path):
    image, label = (_piece(tmp_path, f"abdomen_ct_{kind}.nii.gz") for kind in ("img", "lab"))
    nominal = LabeledCase("acdc", "liver", "CT", {LIVER: "liver"}, image, label, spacing_source="NOT KNOWN (nominal)")
    assert not read_case(nominal).info.spacing_known
    network = load_checkpoint(default_weights())[0]
    (result,) = evaluate_packed(SlicePredictor(network, "cpu", torch.float32), read_case(nominal))
    assert result.hd95_mm is None
