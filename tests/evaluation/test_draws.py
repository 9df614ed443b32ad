from __future__ import annotations

import numpy as np
import pytest

from netdiffus.evaluation.draws import capped, draw_rows


@pytest.mark.parametrize("most", [10, 37, 100, 10_000])
def test_counts_are_cut_to_the_largest_that_fits(most):
    counts = np.array([3, 50, 7, 20, 2])
    found = capped(counts, most)
    cuts = [c for c in range(2, 51) if np.minimum(counts, c).sum() <= most]
    assert found.tolist() == np.minimum(counts, max(cuts, default=2)).tolist()


def test_every_class_keeps_two_traces():
    assert capped(np.full(1000, 9), 500).tolist() == [2] * 1000
    assert capped(np.array([2, 2]), 1).tolist() == [2, 2]


def test_draws_have_the_counts_and_no_row_twice():
    labels = np.random.default_rng(0).integers(0, 4, 200)
    counts = np.array([5, 0, 30, 1])
    rows = draw_rows(labels, counts, np.random.default_rng(1))
    assert np.bincount(labels[rows], minlength=4).tolist() == counts.tolist()
    assert len(set(rows.tolist())) == len(rows)
    assert (np.diff(labels[rows]) >= 0).all()
    other = draw_rows(labels, counts, np.random.default_rng(2))
    assert set(rows.tolist()) != set(other.tolist())


def test_a_large_class_takes_no_memory() -> None:
    """A terabyte, if each of its traces took one byte."""
    assert capped(np.array([10**12, 3, 10**11]), 100).tolist() == [48, 3, 48]
