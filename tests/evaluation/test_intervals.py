from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from netdiffus.evaluation import intervals
from netdiffus.evaluation.metrics.classification import Predictions


def test_half_samples_of_a_mean_give_its_standard_error():
    rng = np.random.default_rng(0)
    x = rng.exponential(size=100)
    halves = np.array([np.split(rng.permutation(x), 2) for _ in range(2000)]).mean(axis=2)
    # Over all divisions the mean of (a - b)² / 4 is exactly s² / n; 2,000 of them leave 2 %.
    assert intervals.half_sample_sd(halves) == pytest.approx(x.std(ddof=1) / 10, rel=0.07)


def test_interval_of_a_difference_of_means_covers_it():
    rng, hits = np.random.default_rng(1), 0
    for _ in range(300):
        x, y = rng.normal(1, 1, 60), rng.normal(0, 2, 60)
        halves = [
            [
                a.mean() - b.mean()
                for a, b in zip(*(np.split(rng.permutation(z), 2) for z in (x, y)), strict=True)
            ]
            for _ in range(6)
        ]
        found = intervals.figure(x.mean() - y.mean(), float(intervals.half_sample_sd(halves)))
        hits += found["low"] <= 1 <= found["high"]
    # Six divisions leave the interval a little short: 0.92 of 0.95, standard error 0.015.
    assert 0.86 < hits / 300 < 0.98


def test_auc_and_its_error_equal_scikit_learn_and_the_bootstrap():
    rng = np.random.default_rng(2)
    low, high = np.round(rng.normal(0, 1, 80), 1), np.round(rng.normal(1, 1, 60), 1)
    true = np.repeat([0, 1], [80, 60])
    found = intervals.auc_figure([(low, high)])
    assert found["mean"] == pytest.approx(roc_auc_score(true, np.concatenate([low, high])))
    drawn = [rng.choice(high, 60)[:, None] - rng.choice(low, 80) for _ in range(1000)]
    again = [np.mean((one > 0) + (one == 0) / 2) for one in drawn]
    assert found["sd"] == pytest.approx(np.std(again), rel=0.1)  # 2 % of it by chance


def test_what_is_lost_has_the_error_of_the_bootstrap_over_the_same_traces():
    rng = np.random.default_rng(4)
    true = np.repeat([0, 1], [60, 40])
    hard = rng.random(100) < 0.3  # for both
    given = [np.where(hard ^ (rng.random(100) < 0.05), 1 - true, true) for _ in range(2)]
    ours, real = (Predictions(true, one, 2) for one in given)
    found = intervals.lost_figure([ours], [real])
    assert found["mean"] == pytest.approx(real.balanced_accuracy - ours.balanced_accuracy)
    again = []
    for _ in range(2000):
        rows = np.concatenate([rng.choice(60, 60), 60 + rng.choice(40, 40)])
        a, b = (Predictions(true[rows], one[rows], 2) for one in given)
        again.append(b.balanced_accuracy - a.balanced_accuracy)
    assert found["sd"] == pytest.approx(np.std(again), rel=0.07)
    alone = [intervals.balanced_figure([test])["sd"] for test in (ours, real)]
    assert found["sd"] < 0.7 * np.hypot(*alone)
    assert intervals.lost_figure([real], [real]) == intervals.figure(0.0, 0.0)


def test_accuracies_have_the_error_of_the_bootstrap():
    rng = np.random.default_rng(3)
    true = np.repeat([0, 1, 2], [50, 30, 20])
    given = np.where(rng.random(100) < 0.7, true, (true + 1) % 3)
    tests = [Predictions(true, given, 3)]
    plain, balanced = [], []
    for _ in range(1000):
        rows = [rng.choice(np.flatnonzero(true == k), (true == k).sum()) for k in range(3)]
        again = Predictions(true[np.concatenate(rows)], given[np.concatenate(rows)], 3)
        balanced.append(again.balanced_accuracy)
        plain.append(np.mean(rng.choice(true == given, 100)))
    assert intervals.balanced_figure(tests)["sd"] == pytest.approx(np.std(balanced), rel=0.1)
    assert intervals.accuracy_figure(tests)["sd"] == pytest.approx(np.std(plain), rel=0.1)
    recalls = intervals.recall_figures(tests)
    assert [r["mean"] for r in recalls] == pytest.approx(tests[0].recalls)


def test_a_class_without_test_traces_is_left_out():
    test = Predictions(np.array([0, 0, 2]), np.array([0, 1, 2]), 3)
    assert test.balanced_accuracy == 0.75
    assert np.isnan(test.recalls[1])
    assert intervals.balanced_figure([test])["mean"] == 0.75


def test_spread_between_classifiers_counts_for_their_mean():
    rng, means, errors = np.random.default_rng(4), [], []
    true = np.zeros(4000, dtype=int)
    for _ in range(60):
        rights = np.rint(rng.normal(2800, 400, 10)).astype(int)
        tests = [Predictions(true, np.repeat([0, 1], [n, 4000 - n]), 2) for n in rights]
        found = intervals.accuracy_figure(tests)
        means.append(found["mean"])
        errors.append(found["sd"])
    # The deviation of 60 means is known to 9 %; that of the test traces, 0.007, is small.
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.3)


@pytest.mark.parametrize("right", [0, 1, 7, 19, 20])
def test_shares_have_wilsons_interval(right):
    known = binomtest(right, 20).proportion_ci(method="wilson")
    test = Predictions(np.zeros(20, dtype=int), np.repeat([0, 1], [right, 20 - right]), 1)
    for found in (intervals.accuracy_figure([test]), intervals.balanced_figure([test])):
        assert [found["low"], found["high"]] == pytest.approx([known.low, known.high], abs=1e-3)
    found = intervals.share_figure(np.repeat([1.0, 0.0], [right, 20 - right]))
    assert 0 <= found["low"] <= found["mean"] <= found["high"] <= 1


def test_no_error_is_null_and_not_nan():
    assert json.dumps(intervals.figure(1.0, np.nan), allow_nan=False)
    assert intervals.share_figure(np.array([1.0]))["sd"] is None
    assert set(intervals.figure(np.nan, 0.1).values()) == {None}
