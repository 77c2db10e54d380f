"""Intervals against resampling written out, and against how often they hold the truth."""

import numpy as np
import pytest
from SAM2_3dMedLib.training.bootstrap import LEVEL, RESAMPLES, SEED, mean_interval, median_interval


def written_out(values: dict[str, list[float]]) -> tuple[float, float]:
    """The same draws, each resample as a list of values and numpy's median of it."""
    names = sorted(values)
    drawn = np.random.default_rng(SEED).multinomial(len(names), [1 / len(names)] * len(names), size=RESAMPLES)
    medians = [
        np.median(np.concatenate([np.tile(values[name], times) for name, times in zip(names, row, strict=True)]))
        for row in drawn
    ]
    return tuple(np.percentile(medians, [50 * (1 - LEVEL), 50 * (1 + LEVEL)]))


def test_interval_equals_resampling_written_out():
    rng = np.random.default_rng(4)
    values = {f"case {number}": rng.random(1 + number % 4).tolist() for number in range(9)}
    rows = [(value, case) for case, entries in values.items() for value in entries]
    expected = written_out(values)
    np.testing.assert_allclose(median_interval(*zip(*rows, strict=True)), expected)
    shuffled = [rows[number] for number in rng.permutation(len(rows))]
    assert median_interval(*zip(*shuffled, strict=True)) == median_interval(*zip(*rows, strict=True))


def test_objects_of_one_case_do_not_count_as_independent():
    """Twenty equal objects of each of six cases say no more than six objects."""
    values = [0.5, 0.6, 0.7, 0.8, 0.85, 0.9]
    alone = median_interval(values, range(6))
    many = median_interval(np.repeat(values, 20), np.repeat(range(6), 20))
    independent = median_interval(np.repeat(values, 20), range(120))
    assert many[1] - many[0] >= alone[1] - alone[0] > 0
    assert independent[1] - independent[0] < 0.7 * (many[1] - many[0])


def test_intervals_hold_the_true_median_about_as_often_as_they_say():
    """300 experiments of 25 cases with 1 to 3 objects, whose case is good or bad as a whole."""
    rng, held = np.random.default_rng(1), 0
    for _ in range(300):
        cases = np.repeat(np.arange(25), rng.integers(1, 4, size=25))
        values = rng.normal(size=25)[cases] + 0.5 * rng.normal(size=len(cases))  # the true median is 0
        low, high = median_interval(values, cases)
        held += low <= 0 <= high
    assert 0.90 <= held / 300 <= 0.99


def test_one_case_says_nothing_about_others():
    assert median_interval([0.4, 0.5, 0.9], ["a", "a", "a"]) is None
    assert median_interval([0.7, 0.7], ["a", "b"]) == (0.7, 0.7)


def test_the_interval_of_a_mean_draws_whole_cases():
    values, cases = [0.0, 0.0, 0.0, 1.0], ["a", "a", "a", "b"]
    low, high = mean_interval(values, cases)
    assert (low, high) == (0.0, 1.0), "three rows of one case are no three cases"
    assert mean_interval(values[::-1], cases[::-1]) == (low, high)
    assert mean_interval([0.2, 0.4], ["a", "a"]) is None
    rng = np.random.default_rng(0)
    many = rng.normal(0.5, 0.1, 400)
    low, high = mean_interval(many, list(range(400)))
    assert low < many.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * 0.1 / 400**0.5, rel=0.15)
