"""The benchmark: its files, its agreement, and that it runs where only torch, numpy and sam2 are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from SAM2_3dMedLib.cli import main
from SAM2_3dMedLib.commands import benchmark_measures as measures
from SAM2_3dMedLib.commands.benchmark_agreement import agreement_of
from SAM2_3dMedLib.commands.benchmark_clock import Seconds
from SAM2_3dMedLib.commands.benchmark_cost import CostAxis, CostPoint
from SAM2_3dMedLib.commands.benchmark_report import Report, markdown_of, plot_of
from SAM2_3dMedLib.commands.benchmark_scene import phantom_scene, random_network
from SAM2_3dMedLib.propagation.predictor import SlicePredictor
from SAM2_3dMedLib.propagation.session import VolumeSession

SAMPLE = str(Path(__file__).parents[2] / "Resources" / "Samples" / "sarcoma_mr_img.nii.gz")
SMALL = [
    "--slices",
    "6",
    "--side",
    "96",
    "--image-size",
    "128",
    "--repeats",
    "1",
    "--device",
    "cpu",
    "--dtype",
    "float32",
]

# Runs the module with everything refused that a bare GPU machine may lack.
BARE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"SimpleITK", "scipy", "typer", "rich", "safetensors", "monai"}:
            raise ModuleNotFoundError(f"{name} is not on this machine", name=name)

sys.meta_path.insert(0, Refuse())
from SAM2_3dMedLib.commands.benchmark import main
sys.exit(main(sys.argv[1:]))
"""


def test_it_runs_with_torch_numpy_and_sam2_alone_and_writes_all_files(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", BARE, "--output", str(tmp_path), "--size", "nano", *SMALL]
    ended = subprocess.run(
        [*arguments, "--span", "2", "--span", "6"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["benchmark.json", "benchmark.md", "cost.svg"]
    report = json.loads((tmp_path / "benchmark.json").read_text("utf-8"))
    (measured,) = report["measurements"]
    assert (measured["network"], measured["image_size"], measured["slices"]) == ("nano", 128, 6)
    # Trained weights: the masks are the predictor's.
    assert measured["agreement"]["dice"] >= 0.9999
    assert 0.01 < measured["agreement"]["foreground"] < 0.9
    steps = {step["step"]: step for step in measured["steps"]}
    for side in ("ours", "reference"):
        assert steps[measures.PROPAGATION][side]["wall"] > 0
        assert steps[measures.PROPAGATION][side]["processor"] > 0
    assert steps[measures.OPEN]["reference"] is None
    assert [point["spanned"] for point in report["cost"]] == [2, 6]
    assert report["cost"][0]["encoded"] < report["cost"][1]["encoded"] == 6
    page = (tmp_path / "benchmark.md").read_text("utf-8")
    assert page in ended.stdout + "\n"
    assert report["about"]["command"] in page


def test_random_masks_are_neither_empty_nor_full_and_agree_with_the_predictor() -> None:
    network = random_network("nano", 128)
    predictor = SlicePredictor(network, "cpu", torch.float32)
    agreement = agreement_of(network, predictor, phantom_scene(6, 96), torch.float32)
    assert 0.02 < agreement.foreground < 0.95
    assert agreement.dice >= 0.9999
    assert agreement.logit_error < 1e-4


def test_a_disagreement_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The measure falls when our side computes something else than the predictor."""
    network = random_network("nano", 128)
    predictor = SlicePredictor(network, "cpu", torch.float32)
    original = VolumeSession.mask
    monkeypatch.setattr(VolumeSession, "mask", lambda self, name: original(self, name)[::-1].copy())
    agreement = agreement_of(network, predictor, phantom_scene(6, 96), torch.float32)
    assert agreement.dice < 0.9999
    assert agreement.worst_slice_dice < 0.999


def test_the_report_says_what_is_random_and_marks_what_was_not_measured() -> None:
    subject = measures.Subject(random_network("nano", 128), "random", "cpu", torch.float32)
    entry = measures.measure(subject, phantom_scene(6, 96), 1, with_reference=False)
    page = markdown_of(Report({"date": "today"}, (entry,)))
    assert "(random)" in page
    assert "- date: today" in page
    assert "Agreement with the predictor" not in page
    rows = [line for line in page.splitlines() if line.startswith(f"| {measures.CORRECTION}")]
    assert rows[0].endswith("| - | - | - |")


def test_the_plot_has_a_line_for_each_volume() -> None:
    points = [CostPoint(slices, span, Seconds(span / 10, span / 10), span) for slices in (60, 120) for span in (10, 20)]
    picture = plot_of(points, "cost", CostAxis.WALL)
    assert picture.count("<polyline") == 2
    assert picture.count("<circle") == 4
    assert "120 slices" in picture


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--size", "gigantic"], "choose from nano, tiny"),
        (["--dtype", "float8"], "choose from auto"),
        (["--reference-dtype", "int8"], "choose from auto"),
        (["--image-size", "100"], "multiple of 32"),
        (["--slices", "2"], "at least 4 slices"),
        (["--span", "900"], "other --spans"),
        (["--weights", "nowhere.safetensors"], "nowhere"),
        (["--image", "nowhere.nii.gz"], "does not exist"),
        (["--box", "1,2,3,4,5,3"], "give --image too"),
        (["--image", SAMPLE, "--box", "1,2,3"], "six numbers"),
        (["--image", SAMPLE, "--box", "1,2,3,9,9,4"], "on one slice"),
    ],
)
def test_bad_options_end_with_a_sentence_and_write_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert main(["benchmark", "--output", str(tmp_path / "out"), *options]) == 2
    told = capsys.readouterr().err.strip()
    assert words in told
    assert "\n" not in told
    assert not list(tmp_path.glob("out/*"))
