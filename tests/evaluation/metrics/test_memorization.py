from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from netdiffus.evaluation import intervals
from netdiffus.evaluation.features.vector_set import VectorSet
from netdiffus.evaluation.metrics.memorization import (
    DIVISIONS,
    Closeness,
    CopyDetector,
    point_keys,
    usual_exact,
)
from netdiffus.traces.traces import Traces


def vectors(x: np.ndarray, labels: np.ndarray | None = None) -> VectorSet:
    """Independent traces, of one class unless labels say otherwise."""
    labels = np.zeros(len(x), dtype=np.int64) if labels is None else labels
    return VectorSet(x, labels, np.arange(len(x)))


def placed(seed: int, n: int, classes: int = 1) -> VectorSet:
    rng = np.random.default_rng(seed)
    return vectors(rng.normal(size=(n, 3)), np.arange(n) % classes)


def every(traces: VectorSet) -> np.ndarray:
    return np.arange(len(traces))


def floors(train: VectorSet, held: VectorSet) -> list[Closeness]:
    detector = CopyDetector(train, held)
    return [detector.of_train(every(train)), detector.of_holdout(every(held))]


def test_share_equals_that_over_every_choice_of_as_many():
    rng = np.random.default_rng(0)
    # Whole numbers, so that ties come up.
    made, train, held = (rng.integers(0, 4, (n, 2)).astype(float) for n in (6, 8, 3))
    found = CopyDetector(vectors(train), vectors(held)).of(vectors(made)).closer
    for i, point in enumerate(made):
        theirs = np.linalg.norm(held - point, axis=1).min()
        scores = [
            1.0
            if (d := np.linalg.norm(train[list(c)] - point, axis=1).min()) < theirs
            else 0.5 * (d == theirs)
            for c in combinations(range(8), 3)
        ]
        assert found[i] == pytest.approx(np.mean(scores), abs=1e-12)
    other = CopyDetector(vectors(held), vectors(train)).of(vectors(made)).closer
    np.testing.assert_allclose(found, 1 - other, atol=1e-12)


def test_new_traces_are_as_near_to_both_sides():
    train, held, new = placed(1, 200), placed(2, 80), placed(3, 400)
    # The scores hang together through the held-out traces: measured deviation over seeds 0.035.
    assert CopyDetector(train, held).of(new).closer.mean() == pytest.approx(0.5, abs=0.1)


def test_floors_leave_each_trace_itself_out():
    train, held = placed(4, 200), placed(5, 200)
    for floor in floors(train, held):
        assert floor.nearest.min() > 0
        assert floor.closer.mean() == pytest.approx(0.5, abs=0.12)
    assert CopyDetector(train, held).of_train(every(train)).near.mean() == pytest.approx(
        0.01
    )  # the 1 % quantile


def test_copies_are_found():
    train, held = placed(6, 100), placed(7, 100)
    found = CopyDetector(train, held).of(vectors(train.x.copy()))
    assert found.closer.mean() == 1
    assert found.near.mean() == 1
    assert found.nearest.max() == 0
    rng = np.random.default_rng(8)
    blurred = vectors(train.x + 1e-3 * rng.normal(size=train.x.shape))
    assert CopyDetector(train, held).of(blurred).closer.mean() > 0.99
    half = vectors(np.concatenate([train.x[:50], placed(9, 50).x]))
    assert CopyDetector(train, held).of(half).closer.mean() == pytest.approx(0.75, abs=0.1)


def test_only_traces_of_the_same_class_count():
    train, held = placed(10, 60, classes=2), placed(11, 60, classes=2)
    swapped = vectors(train.x.copy(), 1 - train.labels)
    assert CopyDetector(train, held).of(swapped).nearest.min() > 0


def test_a_training_set_of_duplicates_has_the_threshold_0():
    points = np.repeat(np.random.default_rng(12).normal(size=(20, 3)), 5, axis=0)
    detector = CopyDetector(vectors(points), placed(14, 50))
    assert detector.threshold == 0
    assert detector.of(placed(13, 50)).near.sum() == 0


def test_halves_tell_the_error_that_all_scores_share():
    shares, errors = [], []
    for seed in range(40):
        new, train, held = (placed(3 * seed + i, n) for i, n in enumerate((600, 150, 50)))
        found = CopyDetector(train, held).of(new)
        shares.append(found.closer.mean())
        halves = np.nanmean(found.halves, axis=2)
        assert np.isfinite(found.halves).sum() == DIVISIONS * 600
        errors.append(intervals.half_sample_sd(halves))
    # The deviation of 40 shares is known to 11 %; as if independent, it was 5 times too small.
    assert np.mean(errors) == pytest.approx(np.std(shares), rel=0.35)


def test_halves_leave_each_trace_itself_out():
    train, held = placed(50, 6), placed(51, 5)
    for floor in floors(train, held):
        both = np.isfinite(floor.halves).sum(axis=1)
        assert (both == 1).all()
        assert 0 <= np.nanmin(floor.halves) <= np.nanmax(floor.halves) <= 1
    pair = placed(52, 2)
    assert np.isnan(
        CopyDetector(pair, held).of_train(every(pair)).halves
    ).all()  # each alone in its half


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
    twins = np.repeat(placed(53, 40).x, 2, axis=0)
    detector = CopyDetector(vectors(twins[:60]), vectors(twins[60:]))
    assert detector.of_holdout(np.arange(20)).near.sum() == 0
    # Of the 79 others 60 are drawn: the one twin is among them with chance 60 / 79.
    np.testing.assert_allclose(detector.usual_near()[0], 60 / 79)
    classes = np.arange(80) % 2  # twins of another class are no copies
    other = CopyDetector(vectors(twins[:60], classes[:60]), vectors(twins[60:], classes[60:]))
    assert other.usual_near()[0].max() < 1


def test_large_sets_are_sampled_for_what_is_usual():
    train, held = placed(60, 400), placed(61, 100)
    whole, sampled = CopyDetector(train, held), CopyDetector(train, held, sample=200)
    # Two of 200 traces lie below it: the fraction of 400 that do is known to a factor of a few.
    share = whole.of_train(every(train)).nearest <= sampled.threshold
    assert 0 < share.mean() < 0.05
    chance, labels = sampled.usual_near()
    assert len(chance) == len(labels) == 200


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
