from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from netdiffus.codec.asked import Asked
from netdiffus.codec.column import Column
from netdiffus.errors import InputError

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.timezone.utc)
RNG = np.random.default_rng(0)
NORMAL = RNG.normal(size=4000)


def column(cells: Any, name: str = "one") -> Column:
    cells = pa.chunked_array([cells if isinstance(cells, pa.Array) else pa.array(cells)])
    return Column.fit(name, cells, np.arange(len(cells)))


def numbers(asked: Asked, shares: np.ndarray, n: int = 4000) -> np.ndarray:
    """Numbers drawn of a column whose tokens are so frequent, of what is asked for."""
    p = asked.weights * shares
    tokens = RNG.choice(len(p), n, p=p / p.sum())
    return asked.column.numbers(tokens, asked.places(tokens, RNG.random(n)))


def shares_of(one: Column, cells: np.ndarray) -> np.ndarray:
    tokens = one.encode(pa.chunked_array([pa.array(cells)]))
    return np.bincount(tokens, minlength=one.size) / len(tokens)


@pytest.mark.parametrize("ends", [(-0.3, 0.8), (None, -1.0), (1.2, None), (0.51, 0.52)])
def test_a_range_is_drawn_as_the_numbers_inside_it(ends: tuple[float | None, float | None]) -> None:
    one = column(NORMAL)
    asked = Asked.of(one, ends)
    shares = shares_of(one, NORMAL)
    least, greatest = (-np.inf if ends[0] is None else ends[0]), ends[1] or np.inf
    inside = NORMAL[(least <= NORMAL) & (greatest >= NORMAL)]
    # What share of all it is: a bin holds 1 / 256, and numbers in it are as even as in five parts.
    assert asked.weights @ shares == pytest.approx(len(inside) / 4000, abs=1 / 256)
    found = numbers(asked, shares)
    assert found.min() >= least - 1e-9
    assert found.max() <= greatest + 1e-9
    assert abs(found.mean() - inside.mean()) < 0.05


def test_one_number_is_made_as_it_is_asked_for() -> None:
    one = column(NORMAL)
    asked = Asked.of(one, 0.123456789)
    assert (asked.weights > 0).sum() == 1
    assert asked.bounds == (0.123456789, 0.123456789)
    found = numbers(asked, np.ones(one.size), 3)
    np.testing.assert_allclose(found, 0.123456789, atol=1e-12)


def test_whole_numbers_at_both_ends_of_a_range_are_inside() -> None:
    one = column(RNG.integers(0, 20_000, 4000))
    low = int(np.ceil(one.bins.table.min())) if one.bins else 0
    asked = Asked.of(one, (low + 100, low + 103))
    found = np.rint(numbers(asked, np.ones(one.size)))
    assert set(found) == {low + 100, low + 101, low + 102, low + 103}
    assert min(np.bincount((found - low - 100).astype(int))) > 800


@pytest.mark.parametrize(
    ("cells", "value", "wanted"),
    [
        ([True, False] * 10, "true", [True]),
        ([True, False] * 10, False, [False]),
        (["a", "b", "c"] * 9, ["a", "c"], ["a", "c"]),
        ([f"{443}", "22"] * 9, "443", ["443"]),
    ],
)
def test_values_of_a_category(cells: list[Any], value: Any, wanted: list[Any]) -> None:
    one = column(cells)
    asked = Asked.of(one, value)
    assert [one.values[k] for k in np.flatnonzero(asked.weights)] == wanted
    assert asked.bounds is None


def test_ports_are_read_as_numbers_and_have_no_order() -> None:
    one = column([443, 22] * 9, "server_port")
    assert one.values[int(Asked.of(one, "22").weights.argmax())] == 22
    with pytest.raises(InputError, match="where: server_port='https' is no number"):
        Asked.of(one, "https")
    with pytest.raises(InputError, match="is not among the values that are learned: 22, 443"):
        Asked.of(one, 80)


@pytest.mark.parametrize(
    ("cells", "value", "least", "greatest"),
    [
        ([NOON + dt.timedelta(hours=i) for i in range(90)],
         ("2026-03-02T00:00:00Z", NOON + dt.timedelta(days=2)),
         dt.datetime(2026, 3, 2, tzinfo=dt.timezone.utc), NOON + dt.timedelta(days=2)),
        ([(NOON + dt.timedelta(days=i % 45)).date() for i in range(90)], ("2026-03-10", None),
         dt.date(2026, 3, 10), dt.date(2026, 4, 14)),
        ([dt.timedelta(seconds=i) for i in range(90)], (10, "20"), dt.timedelta(seconds=10),
         dt.timedelta(seconds=20)),
        ([dt.time(i % 24) for i in range(240)], ("06:00:00", "08:00:00"), dt.time(6), dt.time(8)),
    ],
    ids=["timestamp", "date", "duration", "time"],
)  # fmt: skip
def test_ranges_of_times(cells: list[Any], value: Any, least: Any, greatest: Any) -> None:
    one = column(cells)
    found = one.cells(numbers(Asked.of(one, value), np.ones(one.size))).to_pylist()
    assert least <= min(found)
    assert max(found) <= greatest
    assert min(found) < max(found)


def test_an_empty_cell_is_asked_for_by_none() -> None:
    one = column([1.5, None] * 10)
    asked = Asked.of(one, None)
    assert asked.weights.tolist() == [0, 1]
    assert np.isnan(numbers(asked, np.ones(2), 2)).all()
    assert Asked.of(one, (None, None)).weights.tolist() == [1, 0]
    with pytest.raises(InputError, match="where: one: no cell of the training traces is empty"):
        Asked.of(column([1.5] * 10), None)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((1, 2, 3), "a tuple is a range of two"),
        ([], "give one number, or a range of two"),
        (np.zeros(2), "give one number, or a range of two"),
        ((3, 2), "where: one: no value lies in the range"),
        ((100, 200), r"where: one: the training traces reach -[23]\..*\.\.[23]\."),
        (["1", "2"], "where: one: give one number, or a range of two"),
        ("much", "where: one='much' cannot be read as double"),
        (object(), "give one number, or a range of two"),
    ],
)
def test_what_no_trace_has_is_refused(value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Asked.of(column(NORMAL), value)


def test_a_range_between_whole_numbers_is_refused() -> None:
    with pytest.raises(InputError, match="no value lies in the range"):
        Asked.of(column([1, 2] * 20), (1.2, 1.8))


def test_times_without_a_zone_are_in_utc() -> None:
    zoned = [NOON + dt.timedelta(hours=i) for i in range(90)]
    for cells in (zoned, [one.replace(tzinfo=None) for one in zoned]):
        found = [
            Asked.of(column(cells), (value, None)).bounds
            for value in ("2026-03-02T00:00:00Z", "2026-03-02", "2026-03-02T01:00:00+01:00")
        ]
        assert found[0] == found[1] == found[2]
    everything = Asked.of(column(NORMAL), (-np.inf, np.inf))
    assert (everything.weights == 1).all()


@pytest.mark.parametrize(("value", "message"), [([], "an empty list"), (("a", "b"), "are a list")])
def test_values_of_a_category_are_a_list(value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Asked.of(column(["a", "b"] * 9), value)
