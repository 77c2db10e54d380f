"""`sam2-3dmed evaluate`: the tables it writes for labeled volumes."""

import json

import numpy as np
import pytest
from PIL import Image
from SAM2_3dMedLib.commands.summary import markdown_of, summarize

from .evaluation_data import move_labels, result, rows_of, write_balls


@pytest.fixture
def data(tmp_path):
    write_balls(tmp_path)
    return tmp_path


def tables(folder, pictures=("dice.png", "worst.png")):
    expected = {"objects.csv", "summary.json", "summary.md", *pictures}
    assert {path.name for path in folder.iterdir()} == expected
    page = (folder / "summary.md").read_text()
    for name in pictures:
        assert f"]({name})" in page
        with Image.open(folder / name) as picture:
            assert np.asarray(picture.convert("L")).std() > 5, f"{name} shows something"
    return rows_of(folder / "objects.csv"), json.loads((folder / "summary.json").read_text())


@pytest.mark.parametrize(("protocol", "memory"), [("box", "bracketed"), ("point", "confident")])
def test_tables_of_one_prompt(cli, data, weights, protocol, memory):
    command = ("evaluate", "--manifest", data / "manifest.csv", "--root", data, "--weights", weights)
    chosen = () if memory == "bracketed" else ("--memory", memory)  # the default is left out
    ended = cli(*command, "--output", data / "out", "--protocol", protocol, *chosen)
    assert ended.code == 0, ended.err
    rows, summary = tables(data / "out")
    assert [(row["case"], row["name"], row["protocol"], row["axis"]) for row in rows] == [
        ("a", "ball", protocol, "K"),
        ("b", "ball", protocol, "K"),
    ]
    for row in rows:
        assert 0 <= float(row["iou"]) <= float(row["dice"]) <= 1
        assert 0 <= float(row["slice_consistency"]) <= 1
        assert row["gpu_memory_mib"] == ""
        assert float(row["ellipsoid_dice"]) > 0.9  # and the ball is an ellipsoid
        assert float(row["ellipse_slice_dice"]) > 0.9  # the ball's slice is an ellipse in its box
        assert len(row["dice_by_clicks"].split()) == 1
        assert float(row["seconds"]) >= float(row["seconds_to_preview"]) > 0
    assert float(rows[0]["hd95_mm"]) >= 0
    assert rows[1]["hd95_mm"] == rows[1]["nsd_1mm"] == rows[1]["nsd_2mm"] == ""
    assert (summary["about"]["protocol"], summary["about"]["memory"]) == (protocol, memory)
    assert len(summary["about"]["weights_sha256"]) == 64
    groups = {(group["dataset"], group["name"]): group for group in summary["groups"]}
    dices = [pytest.approx(float(row["dice"]), abs=1e-4) for row in sorted(rows, key=lambda row: float(row["dice"]))]
    assert groups["all", "all"]["objects"] == 2
    assert groups["train/set_b", "ball"]["hd95_mm"] is None
    assert groups["all", "all"]["intervals"]["dice"] == dices  # of two cases
    assert groups["val/set_a", "ball"]["intervals"]["dice"] is None
    assert groups["all", "all"]["gpu_memory_mib"] is None  # the tests run on the CPU
    assert "| val/set_a | ball |" in (data / "out" / "summary.md").read_text()


def test_corrections_are_counted(cli, data, weights):
    command = ("evaluate", "--manifest", data / "manifest.csv", "--root", data, "--weights", weights)
    ended = cli(*command, "--output", data / "out", "--protocol", "corrections", "--split", "val", "--limit", 1)
    assert ended.code == 0, ended.err
    (row,), summary = tables(data / "out", ("clicks.png", "dice.png", "worst.png"))
    by_clicks = [float(value) for value in row["dice_by_clicks"].split()]
    assert 2 <= len(by_clicks) <= 6
    assert by_clicks[-1] == float(row["dice"])
    assert summary["groups"][0]["dice_by_clicks"] == pytest.approx(by_clicks, abs=1e-4)


def test_choice_of_split_and_data_set(cli, data, weights):
    command = ("evaluate", "--manifest", data / "manifest.csv", "--root", data, "--weights", weights)
    for option, value in (("--split", "val"), ("--dataset", "set_a")):
        ended = cli(*command, "--output", data / "out", option, value)
        assert ended.code == 0, ended.err
        assert [row["case"] for row in tables(data / "out")[0]] == ["a"]
    ended = cli(*command, "--output", data / "out", "--split", "test")
    assert (ended.code, "train, val" in ended.err) == (2, True)


@pytest.mark.parametrize(("window", "said"), [("nonsense", "is not known; use auto"), ("40/0", "has no width")])
def test_a_window_that_is_none_is_refused_before_anything_is_read(cli, data, weights, monkeypatch, window, said):
    for place in ("read_cases", "load_predictor"):
        monkeypatch.setattr(f"SAM2_3dMedLib.commands.evaluate.{place}", lambda *_: pytest.fail("it was read"))
    command = ("evaluate", "--manifest", data / "manifest.csv", "--root", data, "--weights", weights)
    ended = cli(*command, "--output", data / "out", "--window", window)
    assert ended.code == 2
    assert f"The window '{window}' {said}" in ended.err
    assert not (data / "out").exists()


def test_labels_on_another_grid_are_refused(cli, data, weights):
    move_labels(data, "a")
    command = ("evaluate", "--manifest", data / "manifest.csv", "--root", data, "--weights", weights)
    ended = cli(*command, "--output", data / "out")
    assert ended.code == 2
    assert "'a'" in ended.err
    assert "one grid" in ended.err


def test_a_value_that_is_no_number_counts_for_nothing():
    summary = summarize([result(case="1", hd95_mm=float("nan")), result(case="2", hd95_mm=4.0)], {})
    assert summary.groups[0].hd95_mm == 4.0
    assert summary.groups[0].intervals.hd95_mm is None  # only one case is left


def test_summary_takes_medians_and_counts_the_lost():
    results = [
        result(dice=0.9, hd95_mm=None, name="y"),
        result(dice=0.05, hd95_mm=30.0, dice_by_clicks=(0.05,)),
        result(dice=0.6, hd95_mm=10.0, dice_by_clicks=(0.2, 0.4, 0.6)),
    ]
    summary = summarize(results, {"model": "m"})
    everything, dataset, x, y = summary.groups
    assert (everything.dataset, dataset.dataset, x.name, y.name) == ("all", "val/d", "x", "y")
    assert (everything.dice, everything.objects, everything.lost) == (0.6, 3, pytest.approx(1 / 3))
    assert everything.dice_mean == pytest.approx(1.55 / 3)
    assert (everything.hd95_mm, y.hd95_mm) == (20.0, None)
    assert x.dice_by_clicks == pytest.approx((0.125, 0.225, 0.325))  # one that needed no more clicks keeps its Dice
    page = markdown_of(summary)
    assert "| all | all | 3 | 1 | 0.600 |" in page  # one case: no interval
    assert summarize([], {}).groups == ()
