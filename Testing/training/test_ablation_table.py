"""The tables of an ablation: paired gains, their spread over seeds and their interval over cases."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from SAM2_3dMedLib.training.ablation_arms import AblationRow, Cost
from SAM2_3dMedLib.training.ablation_scores import Gain, gain, score
from SAM2_3dMedLib.training.ablation_table import arms_table, memory_table, page
from SAM2_3dMedLib.training.packed_evaluation import PackedResult

PACKAGE = Path(__file__).parents[2] / "SAM2_3dMed"
COST = Cost(train_seconds=60.0, step_seconds=0.2, parameters=10_600_000, trained_parameters=4_400_000, gpu_gib=20.0)


def _rows(arm: str, seed: int, values: list[float], **changes) -> list[AblationRow]:
    made = [PackedResult("made", f"case{number}", "ball", value, 4.0, 0.5, 1.0) for number, value in enumerate(values)]
    return [replace(AblationRow(arm, seed, "bracketed", 1, "val", result, COST), **changes) for result in made]


PLAIN = [*_rows("plain SAM2", 1, [0.4, 0.6]), *_rows("plain SAM2", 2, [0.6, 0.8])]
FULL = [*_rows("all", 1, [0.5, 0.7]), *_rows("all", 2, [0.8, 1.0])]


def test_gains_are_to_the_same_object_of_the_same_seed():
    better = gain(FULL, PLAIN)
    assert better.mean == pytest.approx(0.15)
    assert better.spread == pytest.approx(np.std([0.1, 0.2], ddof=1))
    assert better.interval == pytest.approx((0.15, 0.15))
    assert gain(_rows("all", 3, [0.5]), PLAIN) is None, "no such seed"
    assert gain([row for row in FULL if row.seed == 1], PLAIN).mean == pytest.approx(0.1)


def test_a_gain_is_clear_beyond_the_chance_of_cases_and_of_seeds():
    def found(gains: list[float], more: float = 0.0) -> Gain:
        plain = [row for seed, _ in enumerate(gains) for row in _rows("plain SAM2", seed, [0.4, 0.6])]
        better = [
            row for seed, value in enumerate(gains) for row in _rows("all", seed, [0.4 + value + more, 0.6 + value])
        ]
        return gain(better, plain)

    assert found([0.10, 0.11, 0.12]).clear
    assert not found([0.10, 0.11]).clear, "two seeds"
    assert not found([0.02, 0.30, 0.02]).clear, "one seed makes the gain"
    assert found([-0.10, -0.11, -0.12]).clear
    assert found([-0.10, -0.11, -0.12], more=0.2).interval == pytest.approx((-0.11, 0.09))
    assert not found([-0.10, -0.11, -0.12], more=0.2).clear, "one case better, one worse"


def test_means_are_over_objects_then_over_seeds():
    sums = score(PLAIN)
    assert (sums.dice, sums.seeds, sums.objects) == (pytest.approx(0.6), 2, 2)
    assert sums.dice_spread == pytest.approx(np.std([0.5, 0.7], ddof=1))
    assert score([replace(row, result=replace(row.result, hd95_mm=None)) for row in PLAIN]).hd95_mm is None


def test_arms_stand_in_their_order_with_what_they_gain():
    lines = arms_table([*FULL, *PLAIN]).splitlines()
    assert lines[2] == "| plain SAM2 | 2 | 2 | 0.600 ± 0.141 | - | 4.0 | 0.500 |"
    assert lines[3] == "| all | 2 | 2 | 0.750 ± 0.212 | +0.150 ± 0.071 (+0.150 to +0.150) | 4.0 | 0.500 |"


def test_policies_are_compared_at_as_many_boxes():
    three = [replace(row, boxes=3, result=replace(row.result, dice=0.9)) for row in PLAIN]
    confident = [replace(row, policy="confident", result=replace(row.result, dice=0.95)) for row in three]
    text = memory_table([*PLAIN, *three, *confident])
    assert "| plain SAM2 | 1 | bracketed | 0.600 ± 0.141 | - |" in text
    assert "| plain SAM2 | 3 | confident | 0.950 ± 0.000 | +0.050 ± 0.000" in text
    assert memory_table(FULL).count("\n") == 2, "an arm with one trial has nothing to compare"


def test_the_page_has_every_split_and_data_set():
    unseen = [
        replace(row, split="val_unseen", result=replace(row.result, dataset="heart", dice=row.result.dice / 2))
        for row in [*PLAIN, *FULL]
    ]
    text = page([*PLAIN, *FULL, *unseen])
    assert "## Arms, `val`" in text
    assert "## Memory, `val_unseen`" in text
    assert "| arm | made (val) | heart (val_unseen) |" in text
    assert "| plain SAM2 | 0.600 | 0.300 |" in text
    assert "| all | +0.150 | +0.075 |" in text
    assert "| all | 0.200 | 60 | 10.60 | 4.40 | 20.0 |" in text


def test_a_training_machine_needs_neither_simpleitk_nor_what_the_command_line_needs():
    """Packs are made where the volumes are; torch, scipy, Pillow and MONAI are on both machines."""
    blocked = "; ".join(f"sys.modules[{name!r}] = None" for name in ("SimpleITK", "rich", "typer", "matplotlib"))
    modules = ", ".join(
        f"SAM2_3dMedLib.training.{name}" for name in ("ablation", "ablation_table", "throughput", "loop")
    )
    script = f"import sys; {blocked}; import {modules}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, cwd=PACKAGE)
    assert done.returncode == 0, done.stderr[-800:]
