"""What is written: numbers that every reader of CSV and JSON understands, pictures of the worst, plots of all."""

import csv
import json
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image
from SAM2_3dMedLib.cli_names import DeviceName, FieldName, MemoryName, ProtocolName
from SAM2_3dMedLib.commands.engine import Device
from SAM2_3dMedLib.commands.markdown import row_of, with_interval
from SAM2_3dMedLib.commands.tables import write_csv, write_json
from SAM2_3dMedLib.commands.worst_cases import REFERENCE, RESULT, SHOWN, WorstCases, draw_worst, worst_of
from SAM2_3dMedLib.propagation.policy_choice import PolicyChoice
from SAM2_3dMedLib.propagation.zoom import FieldChoice
from SAM2_3dMedLib.training.evaluation import ObjectEvaluation
from SAM2_3dMedLib.training.protocols import Protocol
from SAM2_3dMedLib.volume.images import Volume
from SAM2_3dMedLib.volume.intensity import Window

from .evaluation_data import result


@dataclass(frozen=True)
class Row:
    name: str
    value: float | None
    several: tuple[float | None, ...]


NUMBERS = Row("a, b", float("nan"), (0.25, float("inf"), None))


def test_json_has_null_where_there_is_no_number(tmp_path):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    write_json(tmp_path / "x.json", NUMBERS)
    read = json.loads((tmp_path / "x.json").read_text(), parse_constant=refuse)
    assert read == {"name": "a, b", "value": None, "several": [0.25, None, None]}


def test_csv_has_an_empty_cell_where_there_is_no_number(tmp_path):
    write_csv(tmp_path / "x.csv", Row, [NUMBERS, Row("c", 0.5, ())])
    with (tmp_path / "x.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows == [["name", "value", "several"], ["a, b", "", "0.2500  "], ["c", "0.5000", ""]]


def test_medians_in_markdown():
    assert with_interval(0.81234, (0.75, 0.862)) == "0.812 (0.75 to 0.86)"
    assert with_interval(-0.0001, (-0.031, -0.0001)) == "0.000 (-0.03 to 0.00)"
    assert (with_interval(None, None), with_interval(5.0, None, 1)) == ("-", "5.0")
    assert row_of(["a|b", "c"]) == r"| a\|b | c |"


def evaluation_of(dice: float, label: int) -> ObjectEvaluation:
    """An object of 4 slices whose result is shifted on K 2, its worst slice."""
    reference = np.zeros((4, 40, 40), dtype=bool)
    reference[:, 10:20, 10:20] = True
    prediction = reference.copy()
    prediction[2] = np.roll(reference[2], 8, axis=1)
    volume = Volume(np.zeros(reference.shape, dtype=np.int16), np.eye(4), "dark")
    row = result(dice=dice, label=label, worst_slice=2, worst_slice_dice=0.2)
    return ObjectEvaluation(row, volume, Window(0, 1), (), prediction, reference)


def pixels_of(color, picture) -> np.ndarray:
    return np.argwhere((np.asarray(picture)[85:] == np.round(np.array(color) * 255)).all(-1))


def test_the_worst_slice_is_shown_with_both_outlines():
    worst = WorstCases()
    worst.offer(0, evaluation_of(0.4, 1))
    picture = draw_worst(worst.tiles)
    true, found = (pixels_of(segment.color, picture) for segment in (REFERENCE, RESULT))
    assert len(true) > 50
    assert len(found) > 50
    # Columns run toward the patient's left, I of this volume toward the right: 8 voxels more are farther left there.
    assert true[:, 1].mean() - found[:, 1].mean() > 20


def test_only_the_worst_are_kept_in_whatever_order_they_come():
    rng = np.random.default_rng(0)
    dices = rng.permutation(np.arange(40) // 2 / 20)  # each twice: ties are settled by the place in the manifest
    offers = [(number, float(dice), 1 + number % 3) for number, dice in enumerate(dices)]
    kept = []
    for order in (offers, offers[::-1]):
        worst = WorstCases()
        for number, dice, label in order:
            worst.offer(number, evaluation_of(dice, label))
        kept.append([tile.rank for tile in worst.tiles])
    expected = sorted((dice, number, label) for number, dice, label in offers)[:SHOWN]
    assert kept[0] == kept[1] == expected
    halves = []
    for part in (offers[::2], offers[1::2]):
        worst = WorstCases()
        for number, dice, label in part:
            worst.offer(number, evaluation_of(dice, label))
        halves.extend(worst.tiles)
    assert [tile.rank for tile in worst_of(halves)] == expected
    assert isinstance(draw_worst(worst_of(halves)), Image.Image)


@pytest.mark.parametrize(
    ("names", "meant"),
    [(ProtocolName, Protocol), (MemoryName, PolicyChoice), (FieldName, FieldChoice), (DeviceName, Device)],
)
def test_the_command_line_knows_every_name(names, meant):
    """Its lists are written a second time, because the first ones import scipy and torch."""
    assert [name.value for name in names] == [entry.value for entry in meant]
