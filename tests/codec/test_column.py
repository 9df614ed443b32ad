from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdiffus.codec.column import MOST_VALUES, UNKNOWN, Column
from netdiffus.errors import InputError

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.timezone.utc)


def fitted(cells: Any, owners: np.ndarray | None = None, name: str = "one") -> Column:
    cells = chunked(cells)
    return Column.fit(name, cells, np.arange(len(cells)) if owners is None else owners)


def chunked(cells: Any) -> pa.ChunkedArray:
    return pa.chunked_array([cells if isinstance(cells, pa.Array) else pa.array(cells)])


def back(column: Column, cells: Any, place: float = 0.5) -> pa.Array:
    tokens = column.encode(chunked(cells))
    places = np.full(len(tokens), place)
    if column.bins is None:
        return column.categories(tokens, places)
    return column.cells(column.numbers(tokens, places))


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 4)), min_size=1, max_size=60))
def test_values_of_a_category_are_those_of_five_owners(rows: list[tuple[int, int]]) -> None:
    """Counted one by one; the most shared first."""
    owners, ports = zip(*rows, strict=True)
    having = {port: {o for o, p in rows if p == port} for port in ports}
    shared = {p for p, who in having.items() if len(who) >= 5}
    if not shared:
        with pytest.raises(InputError, match="no value that 5 traces"):
            fitted(list(ports), np.array(owners), "protocol")
        return
    column = fitted(list(ports), np.array(owners), "protocol")
    counts = [len(having[port]) for port in column.values]
    assert set(column.values) == shared
    assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([i % 4 for i in range(80)], pa.uint8()),
        pa.array([0.5 * (i % 4) for i in range(80)], pa.float32()),
        pa.array([bool(i % 3) for i in range(80)]),
        pa.array([f"os {i % 3}" for i in range(80)]),
        pa.array([NOON + dt.timedelta(seconds=i % 5) for i in range(80)]),
        pa.array([(NOON + dt.timedelta(days=i % 5)).replace(tzinfo=None) for i in range(80)]),
        pa.array([(NOON + dt.timedelta(days=i % 5)).date() for i in range(80)]),
        pa.array([dt.time(i % 5, 30) for i in range(80)]),
        pa.array([dt.timedelta(seconds=i % 5) for i in range(80)]),
        pa.array([None if i % 2 else 1.5 for i in range(80)]),
    ],
    ids=lambda cells: str(cells.type),
)
def test_shared_values_of_every_type_come_back(cells: pa.Array) -> None:
    column = fitted(cells)
    again = Column.from_settings(
        column.settings(), None if column.bins is None else column.bins.table
    )
    for one in (column, again):
        assert back(one, cells).equals(cells)
        assert one.type == cells.type


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (pa.array(["a", "b"] * 20).dictionary_encode(), pa.string()),
        (pa.array(["a", "b"] * 20, pa.large_string()), pa.string()),
        (pa.array([NOON] * 40, pa.timestamp("ns", "UTC")), pa.timestamp("us", "UTC")),
        (pa.array([1, 2] * 20).cast(pa.decimal128(21, 1)), pa.float64()),
    ],
)
def test_types_that_are_the_same_to_a_reader_become_one(cells: pa.Array, kind: Any) -> None:
    made = back(fitted(cells), cells)
    assert made.type == kind
    assert [str(v) for v in made.to_pylist()] == [
        str(v if kind != pa.float64() else float(v)) for v in cells.to_pylist()
    ]


def test_numbers_lie_in_their_bins_and_whole_ones_are_whole() -> None:
    rng = np.random.default_rng(0)
    real, whole = rng.normal(size=2000), rng.integers(0, 10**6, 2000)
    for cells in (real, whole):
        column = fitted(pa.array(cells))
        assert column.size <= 2 * MOST_VALUES
        low, high = (np.asarray(back(column, pa.array(cells), p), dtype=float) for p in (0, 1))
        slack = 0.5 if cells is whole else 0
        inside = (low - slack <= cells) & (cells <= high + slack)
        assert inside.mean() > 0.99  # the ends of a bin are means of five cells
        assert np.corrcoef((low + high) / 2, cells)[0, 1] > 0.995


def test_no_number_is_that_of_fewer_than_five_owners() -> None:
    numbers = np.arange(1000) ** 2 + 0.5
    column = fitted(pa.array(numbers))
    assert column.bins is not None
    assert not set(column.bins.table.ravel()) & set(numbers)


@pytest.mark.parametrize("empty", [None, float("nan")])
@pytest.mark.parametrize("name", ["loss", "server_port"])
def test_empty_cells_have_a_token_if_five_owners_have_one(name: str, empty: float | None) -> None:
    cells = pa.array([443.0] * 6 + [empty] * 5, from_pandas=False)
    column = fitted(cells, name=name)
    assert column.encode(chunked(cells)).tolist() == [0] * 6 + [1] * 5
    assert back(column, cells).to_pylist() == [443.0] * 6 + [None] * 5
    fewer = fitted(cells[:10], name=name)
    assert fewer.size == 1
    assert fewer.encode(chunked(cells)).tolist() == [0] * 6 + [UNKNOWN] * 5


def test_rare_values_of_a_category_count_as_empty() -> None:
    cells = ["a"] * 6 + ["b"] * 5 + ["c"] * 3 + ["d", None]
    column = fitted(cells)
    assert column.values == ("a", "b")
    assert back(column, cells).to_pylist() == ["a"] * 6 + ["b"] * 5 + [None] * 5
    assert fitted(cells[:14]).encode(chunked(cells)).tolist() == [0] * 6 + [1] * 5 + [UNKNOWN] * 5


class TestRarePorts:
    def test_count_as_any_of_their_range_if_five_owners_have_one_there(self) -> None:
        rare = [5001, 5005, 6000, 7777, 8191, 50_001, 65_535, 50_002, 49_152, 60_000]
        cells = pa.array([443] * 6 + rare + [9999, 30], pa.int32())  # the last are nearest to 5
        column = fitted(cells, name="server_port")
        assert (column.values, column.rare) == ((443,), ("4096..8191", "49152..65535"))
        assert column.encode(chunked(cells)).tolist() == [0] * 6 + [1] * 5 + [2] * 5 + [1, 1]
        low, high = (back(column, cells, place).to_pylist() for place in (0.0, 1 - 2**-53))
        assert low[6:16] == [4096] * 5 + [49_152] * 5
        assert high[6:16] == [8191] * 5 + [65_535] * 5
        assert back(column, cells).type == pa.int32()
        assert Column.from_settings(column.settings(), None).settings() == column.settings()

    def test_any_port_is_drawn(self) -> None:
        column = fitted(list(range(2048, 2148)), name="server_port")
        places = np.random.default_rng(0).random(5000)
        ports = np.asarray(column.categories(np.zeros(5000, dtype=np.int64), places))
        assert len(set(ports)) > 1000
        assert abs(ports.mean() - 3071.5) < 4 * 2048 / (12 * 5000) ** 0.5

    def test_beside_empty_cells(self) -> None:
        cells = pa.array([443] * 6 + [2049] * 3 + [3000, 4095] + [None] * 5, pa.int64())
        column = fitted(cells, name="server_port")
        assert column.encode(chunked(cells)).tolist() == [0] * 6 + [1] * 5 + [2] * 5
        assert back(column, cells).to_pylist()[-5:] == [None] * 5

    def test_what_is_no_port_counts_as_empty(self) -> None:
        cells = pa.array([443] * 6 + [2049, 2050, 2051, 2052, 2053, -1, -2, 65_536, 2**30, None])
        column = fitted(cells, name="server_port")
        assert column.encode(chunked(cells)).tolist() == [0] * 6 + [1] * 5 + [2] * 5
        assert back(column, cells).to_pylist()[-5:] == [None] * 5

    def test_no_port_is_drawn_that_the_type_does_not_hold(self) -> None:
        small = pa.array([80] * 6 + [1, 2, 3, 4, 5, 6], pa.uint8())
        column = fitted(small, name="server_port")
        assert (column.rare, column.has_empty) == ((), True)
        large = pa.array([80] * 6 + [32_761, 32_762, 32_763, 32_764, 32_765], pa.int16())
        assert max(back(fitted(large, name="server_port"), large, 1 - 2**-53).to_pylist()) == 32_767


def test_at_most_so_many_values_are_kept() -> None:
    cells = [f"v{i // 5}" for i in range(5 * (MOST_VALUES + 8))]
    column = fitted([*cells, "v9", "v9"])
    assert len(column.values) == MOST_VALUES
    assert column.values[0] == "v9"


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (pa.array([[1]] * 9), "column 'one': cells of type list.* are not learned; leave it out"),
        (pa.array([b"x"] * 9), "cells of type binary"),
        (pa.array([None] * 9), "cells of type null"),
        (pa.array([None] * 9, pa.float64()), "fewer than 5 traces"),
        (pa.array([f"{i}" for i in range(9)]), "no value that 5 traces .* share"),
        (pa.array([2**60 + i for i in range(9)]), r"beyond 2\*\*53, which are identifiers"),
        (pa.array([1.0] * 8 + [np.inf]), "column 'one' holds infinity"),
    ],
)
def test_what_cannot_be_learned_is_refused_by_name(cells: pa.Array, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fitted(cells)


@pytest.mark.parametrize("unit", ["s", "ms", "ns"])
def test_cells_of_another_unit_or_type_are_the_same_cells(unit: str) -> None:
    times = pa.array([NOON + dt.timedelta(seconds=i % 7) for i in range(80)])
    column = fitted(times)
    other = times.cast(pa.timestamp(unit, "UTC"))
    assert column.encode(chunked(other)).tolist() == column.encode(chunked(times)).tolist()
    ports = fitted([443, 22] * 9, name="server_port")
    assert ports.encode(chunked(["443", "22"])).tolist() == [1, 0]
    with pytest.raises(InputError, match="cells of type string cannot be read as int64"):
        ports.encode(chunked(["https"]))


def test_days_are_days_whatever_their_type() -> None:
    days = pa.array([dt.date(2026, 3, 1 + i % 9) for i in range(80)])
    assert back(fitted(days.cast(pa.date64())), days).equals(days)
