from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from netdiffus.codec.vocabulary import PARTS, K, Vocabulary, _chunk_ends, without_rare
from netdiffus.errors import InputError

# Few owners and few values, so that values of four, five and six owners are all common.
points = st.lists(
    st.tuples(st.integers(0, 8), st.integers(-4, 12).map(lambda v: v / 2)), min_size=1, max_size=120
).filter(lambda rows: len({owner for owner, _ in rows}) >= K)


def owners_of(owners: np.ndarray, values: np.ndarray) -> dict[float, set[int]]:
    """Who has each value, counted one by one."""
    found: dict[float, set[int]] = defaultdict(set)
    for owner, value in zip(owners.tolist(), values.tolist(), strict=True):
        found[value].add(owner)
    return found


def shared_by_many(owners: np.ndarray, values: np.ndarray) -> set[float]:
    return {value for value, who in owners_of(owners, values).items() if len(who) >= 5}


def arrays(rows: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    owners, values = zip(*rows, strict=True)
    return np.array(owners), np.array(values, dtype=np.float64)


def cells_of(owners: np.ndarray, values: np.ndarray) -> list[list[float]]:
    """Neighbouring values in groups that five owners have, as few to a group as can be."""
    having = owners_of(owners, values)
    cells: list[list[float]] = [[]]
    inside: set[int] = set()
    for value in sorted(having):
        cells[-1].append(value)
        inside |= having[value]
        if len(inside) >= 5:
            cells.append([])
            inside = set()
    rest = cells.pop()
    if cells:
        cells[-1] += rest  # too few owners for a cell of their own
    return cells


def fitted(values: np.ndarray, owners: np.ndarray, bins: int = 64, atoms: int = 64) -> Vocabulary:
    return Vocabulary.fit(values, owners, bins, atoms)


def distinct(n: int = 4000, owners: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Values that no two owners share, and whose each is."""
    rng = np.random.default_rng(seed)
    return rng.lognormal(0, 2, n), rng.permutation(np.arange(n) % owners)


@given(points)
def test_atoms_are_the_values_that_five_owners_share(rows: list[tuple[int, float]]) -> None:
    """But for one point that stands for all other values, where these make up one cell alone."""
    owners, values = arrays(rows)
    values = np.abs(values)  # bins of negative values are apart
    shared = shared_by_many(owners, values)
    vocabulary = fitted(values, owners)
    found = vocabulary.table[vocabulary.is_atom, 0].tolist()
    rest = ~np.isin(values, list(shared))
    if len(cells_of(owners[rest], values[rest])) == 1:
        found.remove(pytest.approx(values[rest].mean(), rel=1e-12))  # a sum of 120 numbers rounds
    assert sorted(found) == sorted(shared)


@given(points)
def test_knots_lie_between_the_extremes_of_cells_of_five_owners(
    rows: list[tuple[int, float]],
) -> None:
    """Each between the means of two neighbouring cells, so inside what these two hold."""
    owners, values = arrays(rows)
    values = np.abs(values)  # bins of negative values are apart
    rest = ~np.isin(values, list(shared_by_many(owners, values)))
    cells = cells_of(owners[rest], values[rest])
    vocabulary = fitted(values, owners)
    bins = vocabulary.table[~vocabulary.is_atom]
    if len(cells) < 2:
        assert len(bins) == 0
        return
    means = [np.mean([v for v in values[rest] if min(c) <= v <= max(c)]) for c in cells]
    ends = [bins[0, 0], bins[-1, -1]]
    np.testing.assert_allclose(ends, [means[0], means[-1]], rtol=1e-12, atol=1e-12)
    for knot in bins.flatten():
        slack = 1e-9  # of interpolation
        assert any(a - slack <= knot <= b + slack for a, b in pairwise(means))


def test_knots_are_the_means_of_fives_where_each_owner_has_one_value() -> None:
    values = np.random.default_rng(0).uniform(1, 9, 5 * (3 * PARTS + 1))
    table = fitted(values, np.arange(len(values))).table
    assert table.shape == (3, PARTS + 1)
    expected = np.sort(values).reshape(-1, 5).mean(1)
    np.testing.assert_allclose(np.append(table[:, :-1], table[-1, -1]), expected, rtol=1e-12)


@pytest.mark.parametrize(("bins", "atoms"), [(256, 256), (7, 2), (10**6, 10**6)])
def test_no_number_is_a_value_that_fewer_than_five_owners_have(bins: int, atoms: int) -> None:
    values, owners = distinct()
    values[:60] = np.repeat([1.5, 2.5, 3.5], 20)
    owners[:60] = np.concatenate([np.arange(20) % 4, np.arange(20) % 5, np.arange(20)])
    rare = set(values.tolist()) - {2.5, 3.5}
    table = fitted(values, owners, bins, atoms).table
    assert len(table) > 1
    assert not rare & set(table.flatten().tolist())
    assert {2.5, 3.5} <= set(table.flatten().tolist())


def test_no_bin_crosses_zero() -> None:
    """A signed size is at least 1 away from it: what lies between is the size of no packet."""
    sizes = np.random.default_rng(0).uniform(45, 1500, 600)
    values = np.concatenate([-sizes[:300], sizes[300:]])
    vocabulary = fitted(values, np.arange(600))
    assert ((vocabulary.table[:, 0] < 0) == (vocabulary.table[:, -1] < 0)).all()
    assert np.abs(vocabulary.table).min() >= 45
    decoded = vocabulary.decode(vocabulary.encode(values), np.random.default_rng(1).random(600))
    np.testing.assert_array_equal(np.sign(decoded), np.sign(values))


def test_five_owners_of_both_signs_together_are_enough() -> None:
    vocabulary = fitted(np.array([-2.0, -1.0, 0.5, 1.0, 3.5]), np.arange(5))
    assert vocabulary.table[:, 0].tolist() == [pytest.approx(0.4)]


def test_values_of_one_owner_alone_do_not_move_the_ends() -> None:
    """Its 500 largest and smallest values lie in one cell with those of four others."""
    values, owners = distinct(1000, 20)
    owners = np.append(owners, np.full(1000, 20))
    values = np.append(values, [*np.linspace(-2e6, -1e6, 500), *np.linspace(1e6, 2e6, 500)])
    table = fitted(values, owners).table
    assert table.min() > -2e6
    assert table.max() < 2e6
    assert not set(values.tolist()) & set(table.flatten().tolist())


@given(points)
def test_whole_numbers_have_the_tokens_that_they_have_among_fractions(
    rows: list[tuple[int, float]],
) -> None:
    """Of whole numbers alone each is looked for once."""
    owners, values = arrays(rows)
    vocabulary = fitted(values, owners)
    asked = np.arange(-9, 15).repeat(2).astype(np.float64)
    among = vocabulary.encode(np.append(asked, 0.25))[:-1]
    np.testing.assert_array_equal(vocabulary.encode(asked), among)


@pytest.mark.parametrize("most", [7, 10**6])
def test_cells_end_behind_equal_values(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At as many places as are looked at, each the first end of a value from there on."""
    monkeypatch.setattr("netdiffus.codec.vocabulary.MOST_CHUNKS", most)
    values = np.sort(np.random.default_rng(0).integers(0, 40, 500).astype(np.float64))
    every = np.flatnonzero(np.diff(values)) + 1
    ends = [*every.tolist(), 500]
    if most < len(ends):
        places = np.linspace(0, 500, most + 1)[1:]
        ends = sorted({next(end for end in ends if end >= place) for place in places})
    assert _chunk_ends(values) == ends


@given(points, st.floats(0, 1, exclude_max=True))
def test_atoms_come_back_exactly(rows: list[tuple[int, float]], uniform: float) -> None:
    owners, values = arrays(rows)
    vocabulary = fitted(values, owners)
    atoms = np.array(sorted(shared_by_many(owners, values)))
    back = vocabulary.decode(vocabulary.encode(atoms), np.full(atoms.shape, uniform))
    np.testing.assert_array_equal(back, atoms)


@given(points)
def test_tokens_are_in_the_order_of_their_values(rows: list[tuple[int, float]]) -> None:
    owners, values = arrays(rows)
    vocabulary = fitted(values, owners)
    table = vocabulary.table
    assert np.all(np.diff(table, axis=1) >= 0)
    assert np.all(np.diff(table[:, 0] + table[:, -1]) >= 0)
    bins = table[~vocabulary.is_atom]
    np.testing.assert_array_equal(bins[1:, 0], bins[:-1, -1])  # no gap, and none over another


@given(points, st.floats(0, 1, exclude_max=True))
def test_what_is_drawn_of_a_token_lies_inside_it(
    rows: list[tuple[int, float]], uniform: float
) -> None:
    owners, values = arrays(rows)
    vocabulary = fitted(values, owners)
    tokens = np.arange(len(vocabulary))
    drawn = vocabulary.decode(tokens, np.full(len(tokens), uniform))
    room = 0.5 if vocabulary.is_whole else 1e-12  # rounding to whole numbers; to floats
    assert np.all(drawn >= vocabulary.table[:, 0] - room)
    assert np.all(drawn <= vocabulary.table[:, -1] + room)


def test_what_is_drawn_has_the_law_of_the_values() -> None:
    """By SciPy: bins of 50 values each, and values inside them as dense as the data's."""
    values, owners = distinct(10_000, 100)
    vocabulary = fitted(values, owners, 50)
    tokens = vocabulary.encode(values)
    drawn = vocabulary.decode(tokens, np.random.default_rng(1).random(len(tokens)))
    # Of two samples of 10,000 from one law the statistic is above 0.0276 once in a thousand.
    assert stats.ks_2samp(drawn, values, method="asymp").statistic < 0.0276


def test_whole_numbers_stay_whole() -> None:
    rng = np.random.default_rng(0)
    values, owners = rng.integers(0, 10**6, 3000).astype(float), np.arange(3000) % 30
    vocabulary = fitted(values, owners)
    assert vocabulary.is_whole
    drawn = vocabulary.decode(rng.integers(0, len(vocabulary), 5000), rng.random(5000))
    np.testing.assert_array_equal(drawn, np.rint(drawn))
    assert not fitted(values + 0.5, owners).is_whole


def test_fewer_than_five_owners_are_refused() -> None:
    values, owners = distinct(1000, 4)
    with pytest.raises(InputError, match=r"at least 5 traces \(or groups\) are needed, got 4"):
        fitted(values, owners)
    with pytest.raises(InputError, match=r"at least 5 traces \(or groups\) are needed, got 4"):
        without_rare(values, owners)


def test_an_unseen_value_goes_to_the_nearest_bin() -> None:
    values, owners = distinct()
    values[:200], owners[:200] = 1.0, np.arange(200) % 40
    vocabulary = fitted(values, owners, 9)
    low, high = vocabulary.table[:, 0], vocabulary.table[:, -1]
    for value in (-5.0, 0.03, 0.999, 1.001, 7.7, 1e9):
        away = np.maximum(np.maximum(low - value, value - high), 0)
        away[vocabulary.is_atom] = np.inf
        assert away[vocabulary.encode(np.array([value]))[0]] == away.min()


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=6, unique=True), st.floats(-12, 12))
def test_without_bins_an_unseen_value_goes_to_the_nearest_atom(
    atoms: list[int], value: float
) -> None:
    values = np.repeat(np.array(atoms, dtype=np.float64), 5)
    vocabulary = fitted(values, np.arange(len(values)) % 5)
    assert vocabulary.is_atom.all()
    away = np.abs(vocabulary.table[:, 0] - value)
    assert away[vocabulary.encode(np.array([value]))[0]] == away.min()


def test_one_value_alone_is_one_token() -> None:
    vocabulary = fitted(np.full(30, 0.1), np.arange(30) % 6)
    np.testing.assert_array_equal(vocabulary.table, np.full((1, PARTS + 1), 0.1))
    assert vocabulary.encode(np.array([[0.1], [5.0]])).tolist() == [[0], [0]]


def test_atoms_are_the_most_frequent_of_the_shared_values() -> None:
    values = np.repeat([1.0, 2.0, 3.0, 4.0], [50, 10, 40, 20])
    owners = np.arange(len(values)) % 5
    most = fitted(values, owners, atoms=2)
    often = Vocabulary.fit(values, owners, 64, 64, least_share=0.3)
    for vocabulary in (most, often):
        assert vocabulary.table[vocabulary.is_atom, 0].tolist() == [1.0, 3.0]


def test_a_hundred_thousand_distinct_values() -> None:
    values, owners = distinct(100_000, 1000)
    vocabulary = fitted(values, owners, 256)
    assert len(vocabulary) == 256
    used = np.bincount(vocabulary.encode(values), minlength=256)
    assert used.min() > 0.5 * used.mean()  # equal shares, but for what is beyond the last knots


def test_groups_count_as_one_owner_each() -> None:
    values = np.array([7.0] * 20 + [8.0] * 20)
    traces = np.concatenate([np.arange(20), np.arange(20)])
    fours = fitted(
        values, traces // 5 + np.repeat([0, 1], 20)
    )  # each value in four groups, of five
    assert fours.table.tolist() == [[7.5] * (PARTS + 1)]
    assert fitted(values, traces).table[:, 0].tolist() == [7.0, 8.0]


@given(points)
def test_without_rare_leaves_shared_values_and_means(rows: list[tuple[int, float]]) -> None:
    owners, values = arrays(rows)
    shared = shared_by_many(owners, values)
    kept = np.isin(values, list(shared))
    cells = cells_of(owners[~kept], values[~kept])
    left = without_rare(values, owners)
    np.testing.assert_array_equal(left[kept], values[kept])
    means = [np.mean([v for v in values[~kept] if min(c) <= v <= max(c)]) for c in cells]
    for value in left[~kept]:
        assert any(value == pytest.approx(m, rel=1e-12) for m in means or shared)


def test_without_rare_keeps_no_value_of_fewer_than_five_owners() -> None:
    values, owners = distinct()
    left = without_rare(values, owners)
    assert not set(values.tolist()) & set(left.tolist())
    assert stats.spearmanr(left, values).statistic > 0.99


def test_values_that_may_not_be_changed() -> None:
    values = np.arange(20.0) / 8
    owners = np.arange(20)
    known = Vocabulary.fit(values, owners, 8, 8)
    values.setflags(write=False)
    assert np.array_equal(Vocabulary.fit(values, owners, 8, 8).table, known.table)
    assert np.array_equal(Vocabulary.fit(values[::-1], owners, 8, 8).table, known.table)
