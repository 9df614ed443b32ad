from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from netdiffus.evaluation.copying import copying


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
