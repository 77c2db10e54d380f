"""`sam2-3dmed train` as a user sees it: from a data set's tar to the table, killed and resumed, and what it refuses."""

import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from SAM2_3dMedLib.cli import main
from SAM2_3dMedLib.network.checkpoint import read_metadata
from SAM2_3dMedLib.training.splits import read_folds
from SAM2_3dMedLib.training.state_files import read_state
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

PACKAGE = Path(__file__).resolve().parents[2] / "SAM2_3dMed"
SAMPLES = PACKAGE.parent / "Resources" / "Samples"


def _written(folder: Path, config: dict) -> Path:
    path = folder / "small.yaml"
    path.write_text(json.dumps(config))  # JSON is YAML
    return path


def _train(*arguments) -> int:
    return main(["train", *(str(argument) for argument in arguments), "--device", "cpu"])


def _steps(log: Path) -> dict[int, float]:
    """Loss by step; a step that is there twice fails."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
    steps = [line["step"] for line in lines if "total" in line]
    assert len(steps) == len(set(steps)), steps
    return {line["step"]: line["total"] for line in lines if "total" in line}


def _wait_for_lines(child: subprocess.Popen, log: Path, count: int) -> float:
    """The time at which a running process has logged so many lines."""
    while child.poll() is None and not (log.is_file() and len(log.read_text().splitlines()) >= count):
        time.sleep(0.01)
    return time.monotonic()


def test_from_the_tar_to_the_table_and_on_again(msd_tar, small_config, tmp_path, capsys) -> None:
    small_config["evaluation"] = {"protocols": ["box"]}
    small_config["recipe"]["stages"][0]["steps"] = 2
    config, output = _written(tmp_path, small_config), tmp_path / "run"
    assert _train(config, "--data", msd_tar, "--output", output) == 0
    said = capsys.readouterr()
    assert "left out Task90_Cord/cord_6: image and labels differ in origin" in said.out
    fold = read_folds(output / "splits.json")[1]

    with (output / "fold1" / "evaluation" / "box" / "objects.csv").open(newline="") as stream:
        objects = list(csv.DictReader(stream))
    assert {row["case"] for row in objects} == set(fold.val) - {"cord_6"}
    with (output / "fold1" / "table.csv").open(newline="") as stream:
        rows = {row["structure"]: float(row["dice"]) for row in csv.DictReader(stream)}
    assert set(rows) == {"upper", "lower", "mean of structures"}
    for name in ("upper", "lower"):
        mean = np.mean([float(row["dice"]) for row in objects if row["name"] == name])
        assert rows[name] == pytest.approx(mean, abs=1e-4)
    assert rows["mean of structures"] == pytest.approx((rows["upper"] + rows["lower"]) / 2, abs=1e-4)
    assert f"{rows['upper']:.4f}" in said.out
    page = (output / "fold1" / "table.md").read_text()
    assert f"{rows['upper']:.4f}" in page
    assert "weights: final.safetensors" in page
    assert read_metadata(output / "fold1" / "best.safetensors")[0].name == "nano"
    curves = EventAccumulator(str(output / "fold1" / "tensorboard")).Reload()
    assert [entry.step for entry in curves.Scalars("train/total")] == [1, 2]
    assert [entry.step for entry in curves.Scalars("validation/mean")] == [2]

    packed = {path: path.stat().st_mtime_ns for path in output.rglob("*.npz")}
    assert len(packed) == 6
    assert _train(config, "--data", msd_tar, "--output", output) == 2
    assert "holds a run already; give --resume" in capsys.readouterr().err
    longer = _written(tmp_path, small_config | {"evaluation": {"protocols": []}})
    assert _train(longer, "--data", msd_tar, "--output", output, "--resume") == 0
    assert "step 2, done" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*.npz")} == packed


def test_a_run_killed_at_any_moment_goes_on_with_the_same_losses(
    msd_folder, small_config, tmp_path, one_thread
) -> None:
    # It saves after every step, half of the time; the frozen encoder keeps the state small.
    small_config["recipe"] |= {"save_every_seconds": 0.0, "validate_every": 3, "frozen": ["image_encoder"]}
    small_config["recipe"]["stages"][0]["steps"] = 6
    config = _written(tmp_path, small_config)
    common = [config, "--data", msd_folder, "--output"]
    assert _train(*common, tmp_path / "whole") == 0
    expected = _steps(tmp_path / "whole" / "fold1" / "log.jsonl")
    assert list(expected) == list(range(1, 7))

    command = [sys.executable, "-m", "SAM2_3dMedLib.cli", "train", *map(str, common), str(tmp_path / "killed")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen([*command, "--device", "cpu"], cwd=PACKAGE, stderr=subprocess.DEVNULL, env=environment)
    log = tmp_path / "killed" / "fold1" / "log.jsonl"
    began = _wait_for_lines(child, log, 1)
    pace = _wait_for_lines(child, log, 2) - began  # by now the state of the first step is saved
    time.sleep(random.Random().uniform(0.0, 2 * pace))  # anywhere in a step, a validation or a save
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "the run ended before it was killed"
    assert 1 <= read_state(log.parent / "state")[1]["progress"]["step"] < 6
    assert _train(*common, tmp_path / "killed", "--resume") == 0
    assert _steps(log) == expected
    scores = [
        [line for line in (tmp_path / name / "fold1" / "log.jsonl").read_text().splitlines() if "validation" in line]
        for name in ("whole", "killed")
    ]
    assert scores[0] == scores[1]
    assert len(scores[0]) == 2


def test_a_dry_run_tells_what_is_to_come_and_trains_nothing(msd_folder, small_config, tmp_path, capsys) -> None:
    config = _written(tmp_path, small_config)
    assert _train(config, "--data", msd_folder, "--output", tmp_path / "run", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "1 that cannot be used" in said
    assert "left out Task90_Cord/cord_6: image" in said
    assert "stage 'clips': 1 clips" in said
    assert "can start" in said
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"splits.json"}


def test_a_manifest_has_splits_of_its_own_and_a_recipe_may_name_data_sets(small_config, tmp_path, capsys) -> None:
    rows = [
        ("train", "cord", "spinalcord_t2"),
        ("train", "sarcoma", "sarcoma_mr"),
        ("val", "cord", "spinalcord_t2"),
        ("test", "cord", "spinalcord_t2"),
    ]
    with (tmp_path / "cases.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["split", "dataset", "case", "modality", "labels", "image", "label"])
        for split, dataset, name in rows:
            files = (f"{name}_img.nii.gz", f"{name}_lab.nii.gz")
            writer.writerow([split, dataset, f"{name} {split}", "MR", '{"1": "it"}', *files])
    small_config["data"] = {"path": "cases.csv", "root": str(SAMPLES), "fold": None}
    small_config["recipe"]["datasets"] = ["cord"]
    common = [_written(tmp_path, small_config), "--output", tmp_path / "run", "--dry-run"]
    assert _train(*common) == 0
    assert "cases: 1 to train, 1 to validate, 0 that cannot" in capsys.readouterr().out
    small_config["recipe"]["datasets"] = ["cord", "spleen"]
    _written(tmp_path, small_config)
    assert _train(*common) == 2
    assert "no data set 'spleen'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({}, [], "No data are given"),
        ({}, ["--data", "no_such_folder"], "does not exist"),
        ({"data": {"layout": "dicom"}}, [], "data.layout must be one of"),
        ({"data": {"fold": "x"}}, [], "data.fold must be a whole number"),
        ({"evaluation": {"protocols": ["boxes"]}}, [], "may hold box, point"),
        ({"evaluation": {"weights": "last"}}, [], "must be 'final' or 'best'"),
        ({"learning_rate": 1}, [], "no entry 'learning_rate'"),
        ({"recipe": "no_such.yaml"}, [], "the recipes are .*msd_spleen"),
        ({}, ["--weights", "none.pt"], "none.pt does not exist"),
    ],
)
def test_a_wrong_configuration_ends_with_one_sentence(small_config, tmp_path, capsys, change, arguments, message):
    config = _written(tmp_path, small_config | change)
    assert _train(config, "--output", tmp_path / "run", *arguments) == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    assert re.search(message, said), said


def test_an_archive_without_a_data_set_leaves_nothing_behind(small_config, tmp_path, capsys) -> None:
    archive = tmp_path / "broken.tar"
    archive.write_bytes(b"no archive at all" * 100)
    config = _written(tmp_path, small_config)
    assert _train(config, "--output", tmp_path / "run", "--data", archive) == 2
    assert "could not be unpacked" in capsys.readouterr().err
    assert not list((tmp_path / "run").rglob("*.nii.gz"))
    assert not list((tmp_path / "run").rglob(".partial*"))
