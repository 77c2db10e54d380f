"""What two logs say side by side."""

import json

import pytest
from SAM2_3dMedLib.training.throughput import read_pace, table


def _log(path, pace: float, losses: list[float]) -> None:
    path.parent.mkdir()
    steps = [{"step": 5 * (n + 1), "total": loss, "images_per_second": pace} for n, loss in enumerate(losses)]
    steps[0]["images_per_second"] = 1.0  # while graphs are captured
    lines = [*steps, {"step": 99, "validation": {"mean": 0.5}}]
    path.write_text("".join(json.dumps(facts) + "\n" for facts in lines))


def test_the_second_halves_are_compared(tmp_path):
    _log(tmp_path / "one" / "log.jsonl", 1000.0, [9.0, 9.0, 1.0, 2.0])
    _log(tmp_path / "two" / "log.jsonl", 1850.0, [9.0, 9.0, 1.1, 2.1])
    one, two = (read_pace(tmp_path / name / "log.jsonl") for name in ("one", "two"))
    assert (one.images_per_second, one.loss, one.steps) == (1000.0, 1.5, 20)
    assert one.loss_error == pytest.approx(0.5)
    assert "| two | 20 | 1850 | 1.85 | 1.6000 ± 0.5000 |" in table(["one", "two"], [one, two])


def test_steps_without_a_finite_loss_do_not_count(tmp_path):
    """The trainer leaves such a step out, and writes null into its log."""
    _log(tmp_path / "one" / "log.jsonl", 1000.0, [9.0, 9.0, 1.0, None, 2.0])
    assert read_pace(tmp_path / "one" / "log.jsonl").loss == 1.5


def test_too_short_a_log_is_refused(tmp_path):
    _log(tmp_path / "one" / "log.jsonl", 1000.0, [9.0, 1.0])
    with pytest.raises(ValueError, match="2 steps"):
        read_pace(tmp_path / "one" / "log.jsonl")
