"""Every release on neighbouring data sets, through the whole of `privatise`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neighbours import LENGTH, Row, Seen, run

from netdiffus.privacy.counts import by_place, clipped, norm_of, once
from netdiffus.privacy.noise import UNIT

pytestmark = pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")

ROUNDING = 1e-6  # of float64 in a norm of at most 1e5


@st.composite
def rows(draw: st.DrawFn) -> Row:
    points = draw(st.integers(1, LENGTH + 2))
    same = draw(st.booleans())  # one value at all places is what clipping is for
    sizes = draw(st.lists(st.integers(0, 60), min_size=points, max_size=points))
    directions = draw(st.lists(st.sampled_from((-1, 1)), min_size=points, max_size=points))
    gaps = draw(
        st.lists(st.sampled_from((0.0, 1e-4, 0.1, 500.0)), min_size=points, max_size=points)
    )
    return Row(
        draw(st.sampled_from(("a", "b"))),
        (sizes[0],) * points if same else tuple(sizes),
        (directions[0],) * points if same else tuple(directions),
        (gaps[0],) * points if same else tuple(gaps),
        draw(st.sampled_from((6, 17, 999))),
        draw(st.sampled_from(("x", "y", "z"))),
    )


SOME = st.lists(rows(), min_size=5, max_size=9)


def check(one: Seen, other: Seen, factor: float) -> None:
    for (name, sensitivity, _), distance in zip(one.releases, one.distances(other), strict=True):
        assert distance <= factor * sensitivity * UNIT + ROUNDING, name


@settings(max_examples=40)
@given(SOME, st.data())
def test_a_trace_added_removed_or_changed_moves_no_release_by_more_than_stated(
    some: list[Row], data: st.DataObject
) -> None:
    row = data.draw(st.integers(0, len(some) - 1))
    before = run(some)
    check(before, run([*some, data.draw(rows())]), 1)
    check(before, run(some[:row] + some[row + 1 :]), 1)
    changed = [*some]
    changed[row] = data.draw(rows())  # another length, class, values: one removed, one added
    check(before, run(changed), 2)
    moved = data.draw(st.permutations(some))
    check(before, run(moved), 0)


@settings(max_examples=10)
@given(SOME, rows())
def test_nothing_but_the_answers_depends_on_the_traces(some: list[Row], new: Row) -> None:
    one, other = (run(each, make=True) for each in (some, [*some, new]))
    assert one.private is not None
    assert other.private is not None
    assert one.private.equals(other.private)
    assert one.private.ledger == other.private.ledger


@settings(max_examples=20)
@given(SOME, st.lists(rows(), min_size=1, max_size=5))
def test_a_group_moves_no_release_by_more_than_its_traces_that_are_kept(
    some: list[Row], more: list[Row]
) -> None:
    # The groups of the others are as large as may be kept, so that chance keeps all of them.
    others = [replace(row, user=f"u{i // 3}") for i, row in enumerate(some)]
    group = [replace(row, user="new") for row in more]
    check(run(others, by="user", most=3), run(others + group, by="user", most=3), 3)


def test_the_bounds_are_reached() -> None:
    """So they are not larger than needed, and a smaller one would be found."""
    labels = np.zeros(1, dtype=np.int64)
    different = np.arange(9)[None]
    same = np.zeros((1, 9), dtype=np.int64)
    assert np.linalg.norm(once(np.array([3]), 5)) == UNIT
    assert np.linalg.norm(by_place(different, labels, 1, 9)) == 3 * UNIT
    assert np.linalg.norm(clipped(different, labels, 1, 9, 3.0)) == 3 * UNIT
    # Without clipping it would be 9; what is cut off for rounding is less than 1 / UNIT.
    assert 3.9 * UNIT - 1 < np.linalg.norm(clipped(same, labels, 1, 9, 3.9)) <= 3.9 * UNIT
    assert norm_of(9, 1.3) == pytest.approx(3.9)
    assert norm_of(1, 1.6) == 1.0
