"""The table of a training: means by structure, their mean, and of several folds all cases together."""

import csv
from dataclasses import fields
from pathlib import Path

import pytest
from SAM2_3dMedLib.commands.train_evaluation import write_table_of_folds
from SAM2_3dMedLib.commands.train_table import MEAN_ROW, table_rows
from SAM2_3dMedLib.training.evaluation.results import ObjectResult


def _objects(path: Path, *rows: tuple[str, float, str]) -> Path:
    """An evaluation's objects.csv with the given names, Dice and HD95."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(ObjectResult)], restval="0.5")
        writer.writeheader()
        writer.writerows({"name": name, "dice": dice, "hd95_mm": hd95} for name, dice, hd95 in rows)
    return path


def test_organ_and_tumor_are_told_apart_and_averaged_alike(tmp_path) -> None:
    """The mean is of the two structures, however many cases each has; a tumor that was not found has no HD95."""
    cases = [("pancreas", 0.8, "4"), ("pancreas", 0.6, "8"), ("pancreas", 0.7, "6"), ("cancer", 0.1, "")]
    cancer, pancreas, mean = table_rows("box", [_objects(tmp_path / "objects.csv", *cases)])
    assert (pancreas.structure, pancreas.objects, pancreas.unreached) == ("pancreas", 3, 0)
    assert (pancreas.dice, pancreas.hd95_mm) == pytest.approx((0.7, 6.0))
    assert (cancer.objects, cancer.unreached, cancer.hd95_mm) == (1, 1, None)
    assert (mean.structure, mean.objects, mean.hd95_mm) == (MEAN_ROW, 4, None)
    assert mean.dice == pytest.approx(0.4)


def test_the_table_of_all_folds_has_every_case_once(tmp_path) -> None:
    _objects(tmp_path / "fold0" / "evaluation" / "box" / "objects.csv", ("spleen", 0.9, "2"), ("spleen", 0.8, "2"))
    _objects(tmp_path / "fold3" / "evaluation" / "box" / "objects.csv", ("spleen", 0.4, "2"))
    (tmp_path / "fold1").mkdir()  # not evaluated yet
    write_table_of_folds(tmp_path, ["box", "point"])
    page = (tmp_path / "table.md").read_text()
    assert "folds: 0, 3" in page
    assert "| box | spleen | 3 | 0.7000 " in page
