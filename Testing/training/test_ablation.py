"""The ablation: equal budgets, runs that are done once, packs that are evaluated as their files, a table."""

import json
from dataclasses import asdict
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
from SAM2_3dMedLib.training.ablation import ARMS, RECIPE, arm_recipe, finished_runs, main
from SAM2_3dMedLib.training.ablation_table import markdown, read_rows, scores
from SAM2_3dMedLib.training.case_reading import read_case
from SAM2_3dMedLib.training.data_layouts import LabeledCase
from SAM2_3dMedLib.training.metrics import dice
from SAM2_3dMedLib.training.packed_evaluation import evaluate_packed
from SAM2_3dMedLib.training.protocols import first_prompt, largest_slice
from SAM2_3dMedLib.training.recipe import RecipeError, read_recipe
from SAM2_3dMedLib.training.state import TrainState
from SAM2_3dMedLib.volume.images import read_volume
from SAM2_3dMedLib.volume.planes import acquisition_axis
from SAM2_3dMedLib.weights.manifest import default_weights

CPU = torch.device("cpu")
LIVER = 6
SAMPLES = Path(__file__).parents[2] / "Resources" / "Samples"


def test_every_arm_sees_as_many_slices_a_step_and_freezes_the_same(monkeypatch):
    base = read_recipe(RECIPE)
    seen = {arm.name: arm_recipe(base, arm, seed=2) for arm in ARMS}
    budgets = {sum(s.steps * s.batch * s.sampling.slices for s in recipe.stages) for recipe in seen.values()}
    assert len(budgets) == 1
    assert {recipe.frozen for recipe in seen.values()} == {("image_encoder", "sam_prompt_encoder")}
    assert {recipe.seed for recipe in seen.values()} == {2}
    assert seen["SRPP, literal"].parts == Parts(srpp=True)


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


def test_runs_are_done_once_and_go_on(packs, small, tmp_path, monkeypatch, capsys):
    """Two arms, one seed; a second call does the arm that is not there; results can be read back as a table."""
    recipe = tmp_path / "small.yaml"
    recipe.write_text(json.dumps({**small, "holdout": 0.0}))
    given = ["--packs", str(packs), "--test-packs", str(packs), "--recipe", str(recipe), "--output", str(tmp_path)]
    given += ["--seeds", "1", "--cases-per-dataset", "1", "--device", "cpu"]
    arms = ["--arms", "plain SAM2"]
    assert main(given + arms) == 0
    rows = read_rows(tmp_path / ablation.RESULTS_FILE)
    assert {row["arm"] for row in rows} == {"plain SAM2"}
    assert len(rows) == 1
    assert finished_runs(tmp_path / ablation.RESULTS_FILE) == {("plain SAM2", 1)}
    capsys.readouterr()
    assert main([*given, "--arms", "plain SAM2", "all"]) == 0
    assert capsys.readouterr().out.startswith("all, seed 1")
    rows = read_rows(tmp_path / ablation.RESULTS_FILE)
    assert {(row["arm"], row["policy"]) for row in rows} == {
        ("plain SAM2", "bracketed"), ("all", "bracketed"), ("all", "sam2"),
    }  # fmt: skip
    assert "| all | sam2 | 1 | 1 |" in markdown(scores(rows))


def _rows(arm: str, seed: int, values: list[float]) -> list[dict]:
    made = []
    for number, value in enumerate(values):
        result = ablation.PackedResult("made", f"case{number}", "ball", value, 4.0, 0.5, 1.0)
        made.append(asdict(ablation.AblationRow(arm, seed, "bracketed", "val", result, 60.0, 10_600_000)))
    return made


def test_gains_are_to_the_baseline_of_the_same_seed():
    rows = [*_rows("plain SAM2", 1, [0.4, 0.6]), *_rows("plain SAM2", 2, [0.6, 0.8])]
    rows += [*_rows("all", 1, [0.5, 0.7]), *_rows("all", 2, [0.8, 1.0])]
    plain, full = scores(rows)
    assert (plain.dice, plain.gain) == (pytest.approx(0.6), None)
    assert plain.dice_spread == pytest.approx(np.std([0.5, 0.7], ddof=1))
    assert full.gain == pytest.approx(0.15)
    assert full.gain_spread == pytest.approx(np.std([0.1, 0.2], ddof=1))
    assert "| val | all | bracketed | 2 | 2 | 0.750 ± 0.212 | +0.150 ± 0.071 | 4.0 | 0.500 | 60 | 10.6 |" in markdown(
        [plain, full]
    )
