from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from netdiffus.evaluation import intervals
from netdiffus.evaluation.metrics.memorization import copying, point_keys, usual_exact, usual_near
from netdiffus.traces import Traces


def placed(seed: int, n: int, classes: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)), np.arange(n) % classes


def test_share_equals_that_over_every_choice_of_as_many():
    rng = np.random.default_rng(0)
    # Whole numbers, so that ties come up.
    made, train, held = (rng.integers(0, 4, (n, 2)).astype(float) for n in (6, 8, 3))
    ones = [np.zeros(len(x), dtype=int) for x in (made, train, held)]
    found = copying((made, ones[0]), (train, ones[1]), (held, ones[2])).closer
    for i, point in enumerate(made):
        theirs = np.linalg.norm(held - point, axis=1).min()
        scores = [
            1.0
            if (d := np.linalg.norm(train[list(c)] - point, axis=1).min()) < theirs
            else 0.5 * (d == theirs)
            for c in combinations(range(8), 3)
        ]
        assert found[i] == pytest.approx(np.mean(scores), abs=1e-12)
    other = copying((made, ones[0]), (held, ones[2]), (train, ones[1])).closer
    np.testing.assert_allclose(found, 1 - other, atol=1e-12)


def test_new_traces_are_as_near_to_both_sides():
    train, held, new = placed(1, 200), placed(2, 80), placed(3, 400)
    # The scores hang together through the held-out traces: measured deviation over seeds 0.035.
    assert copying(new, train, held).closer.mean() == pytest.approx(0.5, abs=0.1)


def test_floors_leave_each_trace_itself_out():
    train, held = placed(4, 200), placed(5, 200)
    for floor in (copying(train, train, held), copying(held, train, held)):
        assert floor.nearest.min() > 0
        assert floor.closer.mean() == pytest.approx(0.5, abs=0.12)
    assert copying(train, train, held).near.mean() == pytest.approx(0.01)  # the 1 % quantile


def test_copies_are_found():
    train, held = placed(6, 100), placed(7, 100)
    exact = (train[0].copy(), train[1])
    found = copying(exact, train, held)
    assert found.closer.mean() == 1
    assert found.near.mean() == 1
    assert found.nearest.max() == 0
    rng = np.random.default_rng(8)
    blurred = (train[0] + 1e-3 * rng.normal(size=train[0].shape), train[1])
    assert copying(blurred, train, held).closer.mean() > 0.99
    half = (np.concatenate([train[0][:50], placed(9, 50)[0]]), train[1])
    assert copying(half, train, held).closer.mean() == pytest.approx(0.75, abs=0.1)


def test_only_traces_of_the_same_class_count():
    train, held = placed(10, 60, classes=2), placed(11, 60, classes=2)
    swapped = (train[0].copy(), 1 - train[1])
    assert copying(swapped, train, held).nearest.min() > 0


def test_a_training_set_of_duplicates_has_the_threshold_0():
    points = np.repeat(np.random.default_rng(12).normal(size=(20, 3)), 5, axis=0)
    train = (points, np.zeros(100, dtype=int))
    found = copying(placed(13, 50), train, placed(14, 50))
    assert found.threshold == 0
    assert found.near.sum() == 0


def test_halves_tell_the_error_that_all_scores_share():
    shares, errors = [], []
    for seed in range(40):
        new, train, held = (placed(3 * seed + i, n) for i, n in enumerate((600, 150, 50)))
        found = copying(new, train, held, divisions=8)
        shares.append(found.closer.mean())
        halves = np.nanmean(found.halves, axis=2)
        assert np.isfinite(found.halves).sum() == 8 * 600
        errors.append(intervals.half_sample_sd(halves))
    # The deviation of 40 shares is known to 11 %; as if independent, it was 5 times too small.
    assert np.mean(errors) == pytest.approx(np.std(shares), rel=0.35)


def test_halves_leave_each_trace_itself_out():
    train, held = placed(50, 6), placed(51, 5)
    for floor in (copying(train, train, held, 3), copying(held, train, held, 3)):
        both = np.isfinite(floor.halves).sum(axis=1)
        assert (both == 1).all()
        assert 0 <= np.nanmin(floor.halves) <= np.nanmax(floor.halves) <= 1
    pair = placed(52, 2)
    assert np.isnan(copying(pair, pair, held, 3).halves).all()  # each alone in its half


def test_usual_copies_equal_those_of_every_choice_of_others():
    real = [b"a", b"a", b"a", b"b", b"b", b"c"]
    others = [real[:i] + real[i + 1 :] for i in range(6)]
    for drawn in (1, 2, 4):
        expected = [
            np.mean([key in chosen for chosen in combinations(rest, drawn)])
            for key, rest in zip(real, others, strict=True)
        ]
        np.testing.assert_allclose(usual_exact(real, drawn), expected, atol=1e-12)
    assert usual_exact(real, 6).tolist() == [1, 1, 1, 1, 1, 0]


def test_usual_near_copies_are_found_across_a_split_that_parts_none():
    points = placed(53, 40)[0]
    twins = np.repeat(points, 2, axis=0)
    train, held = ((x, np.zeros(len(x), dtype=int)) for x in (twins[:60], twins[60:]))
    assert copying(held, train, held).near.sum() == 0
    # Of the 79 others 60 are drawn: the one twin is among them with chance 60 / 79.
    np.testing.assert_allclose(usual_near(train, held), 60 / 79)
    apart = (train[0], np.arange(60) % 2)  # twins of another class are no copies
    assert usual_near(apart, (held[0], np.arange(20) % 2)).max() < 1


def test_exact_copies_are_seen_through_a_capture_and_through_gaps():
    times = np.cumsum(np.random.default_rng(54).exponential(1e-5, (20, 300)), axis=1)
    times -= times[:, :1]
    gaps = np.diff(times, axis=1, prepend=0.0)
    written = Traces.from_lists({"timestamp": np.round(times, 6)}, ["a"] * 20)
    as_gaps = Traces.from_lists({"gap": gaps}, ["a"] * 20)
    keys = point_keys(Traces.from_lists({"timestamp": times}, ["a"] * 20).with_gaps())
    assert keys == point_keys(written.with_gaps()) == point_keys(as_gaps)
    later = replace(written, values=written.values + 2e-6)
    assert set(keys).isdisjoint(point_keys(later.with_gaps()))
