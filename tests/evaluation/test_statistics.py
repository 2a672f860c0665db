"""Intervals and tests of differences, against textbook values and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from damgan_cli.evaluation.statistics import RESAMPLES, holm, interval, paired_difference


@pytest.mark.parametrize("count", [2, 50])
def test_interval_is_that_of_scipy(count):
    values = np.random.default_rng(7).normal(25, 4, count)
    reference = stats.bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0)
    )
    assert interval(values) == pytest.approx(tuple(reference.confidence_interval), abs=1e-9)


def test_interval_of_a_large_sample_is_that_of_the_normal_distribution():
    values = np.random.default_rng(3).normal(25, 4, 2000)
    low, high = interval(values)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)
    assert interval(values) == (low, high)  # seeded


def test_interval_covers_the_true_mean_about_nineteen_times_in_twenty():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        low, high = interval(rng.normal(0, 1, 40))
        covered += low <= 0 <= high
    assert 87 <= covered <= 99


def test_no_interval_of_fewer_than_two_values():
    assert interval([]) is None
    assert interval([3.0]) is None
    assert interval([3.0, 3.0]) == (3.0, 3.0)


def by_name(values):
    return {str(i): value for i, value in enumerate(values)}


def test_sign_flip_test_against_all_flips_of_a_small_sample():
    values = np.array([0.9, 1.1, 0.4, -0.2, 0.8, 0.5, 1.3, -0.1])
    flips = np.array(np.meshgrid(*[[-1, 1]] * 8)).reshape(8, -1).T
    exact = np.mean(np.abs(flips @ values) >= abs(values.sum()) - 1e-9)
    found = paired_difference(by_name(values + 5), by_name(np.full(8, 5.0)))
    assert found.p == pytest.approx(exact, abs=0.01)
    assert found.mean == pytest.approx(values.mean())
    assert found.low < found.mean < found.high


def test_false_alarms_are_as_rare_as_promised():
    rng = np.random.default_rng(1)
    p = [
        paired_difference(by_name(rng.normal(0, 1, 30)), by_name(rng.normal(0, 1, 30))).p for _ in range(100)
    ]
    assert sum(value < 0.05 for value in p) <= 12
    assert 0.35 < np.mean(p) < 0.65


def test_values_without_partner_or_not_finite_are_left_out():
    ours = {"a": 1.0, "b": np.inf, "c": 3.0, "d": 9.0, "e": np.nan}
    theirs = {"a": 0.0, "b": 1.0, "c": 1.0, "e": 1.0}
    assert paired_difference(ours, theirs).count == 2
    assert paired_difference(ours, {"a": 0.0}) is None


def test_holm():
    # The example of Holm's procedure: 0.01 * 4, 0.02 * 3, then never below the one before.
    assert holm([0.01, 0.04, 0.03, 0.02]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
