"""`sam2-3dmed evaluate` as a run: the same twice, on disk after every case, by several processes, nothing found."""

import json
import os
import pickle
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from SAM2_3dMedLib.commands import evaluate as evaluate_command
from SAM2_3dMedLib.commands import study
from SAM2_3dMedLib.commands.evaluate import Finished
from SAM2_3dMedLib.training.evaluation import EvaluationProcesses

from .evaluation_data import TIMES, move_labels, rows_of, write_balls

SOURCE = Path(study.__file__).parents[2]


@pytest.fixture
def command(tmp_path, weights):
    """`evaluate` on the two balls."""
    manifest = write_balls(tmp_path)
    return ["evaluate", "--manifest", manifest, "--root", tmp_path, "--weights", weights]


def without_times(path: Path):
    """A JSON file without what differs between two runs of the same."""

    def kept(value):
        if isinstance(value, dict):
            return {name: kept(entry) for name, entry in value.items() if name not in (*TIMES, "processes")}
        return [kept(entry) for entry in value] if isinstance(value, list) else value

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return kept(json.loads(path.read_text(), parse_constant=refuse))


@pytest.mark.parametrize("protocol", ["corrections", "jitter"])
def test_two_runs_give_the_same_tables_and_pictures(cli, command, tmp_path, protocol):
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        ended = cli(*command, "--output", folder, "--protocol", protocol)
        assert ended.code == 0, ended.err
    first, second = folders
    assert sorted(path.name for path in first.iterdir()) == sorted(path.name for path in second.iterdir())
    for path in first.iterdir():
        other = second / path.name
        if path.suffix == ".csv":
            assert rows_of(path, TIMES) == rows_of(other, TIMES)
        elif path.suffix == ".json":
            assert without_times(path) == without_times(other)
        elif path.suffix == ".png":
            assert path.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("protocol", "settings"),
    [
        ("jitter", ["0", "5", "10", "20"]),
        ("point-position", ["center", "random", "edge"]),
        ("off-slice", ["-75", "-50", "-25", "0", "+25", "+50", "+75"]),
    ],
)
def test_careless_prompts_have_files_of_their_own(cli, command, tmp_path, protocol, settings):
    folder = tmp_path / "out"
    ended = cli(*command, "--output", folder, "--protocol", protocol)
    assert ended.code == 0, ended.err
    assert {path.name for path in folder.iterdir()} == {f"{protocol}.{end}" for end in ("csv", "json", "md", "png")}
    rows = rows_of(folder / f"{protocol}.csv")
    assert {row["protocol"] for row in rows} == {protocol}
    for case in "ab":
        assert [row["setting"] for row in rows if row["case"] == case] == settings
    clicked = protocol == "point-position"
    for row in rows:
        assert 0 <= float(row["dice"]) <= 1
        assert (row["ellipse_slice_dice"] == row["ellipsoid_dice"] == "") == clicked
    groups = json.loads((folder / f"{protocol}.json").read_text())["groups"]
    everything = [group for group in groups if group["dataset"] == "all"]
    assert [group["setting"] for group in everything] == settings
    careful = next(group for group in everything if group["setting"] in ("0", "center"))
    assert (careful["objects"], careful["cases"], careful["dice_change"]) == (2, 2, 0)
    dices = sorted(float(row["dice"]) for row in rows if row["setting"] == careful["setting"])
    assert careful["dice"] == pytest.approx(sum(dices) / 2, abs=1e-4)
    assert careful["dice_interval"] == pytest.approx(dices, abs=1e-4)
    assert f"]({protocol}.png)" in (folder / f"{protocol}.md").read_text()
    assert "| all |" in ended.out


def test_change_is_that_of_each_object(cli, command, tmp_path):
    """Not the difference of two medians."""
    folder = tmp_path / "out"
    assert cli(*command, "--output", folder, "--protocol", "jitter", "--split", "val").code == 0
    dice = {row["setting"]: float(row["dice"]) for row in rows_of(folder / "jitter.csv")}
    groups = json.loads((folder / "jitter.json").read_text())["groups"]
    for group in groups:
        assert group["dice_change"] == pytest.approx(dice[group["setting"]] - dice["0"], abs=2e-4)
        assert group["dice_change_interval"] is None  # a single case


def test_a_case_that_fails_leaves_the_tables_of_those_before(cli, command, tmp_path):
    move_labels(tmp_path, "b")
    folder = tmp_path / "out"
    ended = cli(*command, "--output", folder)
    assert (ended.code, "'b'" in ended.err, "one grid" in ended.err) == (2, True, True)
    assert [row["case"] for row in rows_of(folder / "objects.csv")] == ["a"]
    about = json.loads((folder / "summary.json").read_text())["about"]
    assert (about["cases"], about["cases_evaluated"]) == (2, 1)
    assert not list(folder.glob(".partial-*"))


def test_rows_are_on_disk_before_the_next_case_begins(cli, command, tmp_path, monkeypatch):
    """So that a killed process loses one case at most."""
    seen, real = [], study.evaluate_case

    def watched(predictor, case, *more):
        path = tmp_path / "out" / "objects.csv"
        seen.append([row["case"] for row in rows_of(path)] if path.exists() else None)
        return real(predictor, case, *more)

    monkeypatch.setattr(study, "evaluate_case", watched)
    assert cli(*command, "--output", tmp_path / "out").code == 0
    assert seen == [None, ["a"]]


@pytest.fixture
def as_process(monkeypatch):
    """Let this process be one of two; what it hands over, and what it gets, stand in for the other."""

    def pretend(rank: int, answer) -> list[Finished]:
        handed = []

        @contextmanager
        def joined():
            yield EvaluationProcesses(rank, 2)

        monkeypatch.setattr(evaluate_command, "join_evaluation", joined)
        monkeypatch.setattr(EvaluationProcesses, "gather", lambda self, mine: handed.append(mine) or answer(mine))
        return handed

    return pretend


def test_the_second_of_two_processes_keeps_a_file_of_its_own_and_says_nothing(cli, command, tmp_path, as_process):
    as_process(1, lambda mine: None)
    ended = cli(*command, "--output", tmp_path / "out")
    assert (ended.code, ended.out) == (0, "")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["objects.rank1.csv"]
    assert [row["case"] for row in rows_of(tmp_path / "out" / "objects.rank1.csv")] == ["b"]


def test_a_case_that_fails_elsewhere_is_told_once_and_costs_nobody_elses_work(cli, command, tmp_path, as_process):
    move_labels(tmp_path, "b")
    handed = as_process(1, lambda mine: None)
    ended = cli(*command, "--output", tmp_path / "out")
    assert (ended.code, ended.err.strip()) == (0, "")  # the first process speaks for it
    other = pickle.loads(pickle.dumps(handed[0]))
    as_process(0, lambda mine: [mine, other])
    ended = cli(*command, "--output", tmp_path / "out")
    assert (ended.code, "'b' are not on one grid" in ended.err) == (2, True)
    assert [row["case"] for row in rows_of(tmp_path / "out" / "objects.csv")] == ["a"]
    assert (tmp_path / "out" / "summary.md").exists()
    assert not list((tmp_path / "out").glob("objects.rank*"))


def test_an_interruption_leaves_the_report_on_what_is_finished(cli, command, tmp_path, monkeypatch):
    real = study.evaluate_case

    def interrupted(predictor, case, *more):
        if case.case == "b":
            raise KeyboardInterrupt
        return real(predictor, case, *more)

    monkeypatch.setattr(study, "evaluate_case", interrupted)
    ended = cli(*command, "--output", tmp_path / "out")
    assert (ended.code, "Canceled" in ended.err) == (130, True)
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"objects.csv", "summary.json", "worst.png"}
    assert [row["case"] for row in rows_of(tmp_path / "out" / "objects.csv")] == ["a"]


@pytest.mark.parametrize("protocol", ["box", "off-slice"])
def test_labels_without_a_voxel_are_told_and_nothing_is_written(cli, tmp_path, weights, protocol):
    manifest = write_balls(tmp_path, '"{""7"": ""nothing""}"')
    command = ("evaluate", "--manifest", manifest, "--root", tmp_path, "--weights", weights, "--protocol", protocol)
    ended = cli(*command, "--output", tmp_path / "out")
    assert ended.code == 2
    assert "None of the 2 cases" in ended.err
    assert "labels" in ended.err
    assert list((tmp_path / "out").iterdir()) == []


def test_two_processes_find_what_one_finds(cli, samples, weights, tmp_path, one_thread):
    """`torchrun` on the bundled volumes: the same tables and pictures, in the same order, times apart."""
    manifest = tmp_path / "manifest.csv"
    names = {"sarcoma_ct": "CT", "sarcoma_mr": "MR T1", "spinalcord_t2": "MR T2"}
    rows = [f'x,s,{n},{m},"{{""1"": ""it""}}",{n}_img.nii.gz,{n}_lab.nii.gz' for n, m in names.items()]
    manifest.write_text("\n".join(["split,dataset,case,modality,labels,image,label", *rows]) + "\n")
    command = ["evaluate", "--manifest", manifest, "--root", samples, "--weights", weights, "--protocol", "box"]
    alone, together = tmp_path / "alone", tmp_path / "together"
    assert cli(*command, "--output", alone).code == 0

    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    program = [*launch, "-m", "SAM2_3dMedLib.cli", *map(str, command), "--output", str(together)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(program, capture_output=True, text=True, timeout=600, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("# Evaluation") == 1
    assert {path.name for path in together.iterdir()} == {path.name for path in alone.iterdir()}
    assert [row["case"] for row in rows_of(together / "objects.csv")] == list(names)
    assert rows_of(together / "objects.csv", TIMES) == rows_of(alone / "objects.csv", TIMES)
    assert without_times(together / "summary.json") == without_times(alone / "summary.json")
    assert json.loads((together / "summary.json").read_text())["about"]["processes"] == 2
    assert (together / "worst.png").read_bytes() == (alone / "worst.png").read_bytes()
