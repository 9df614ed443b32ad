"""Samples that do not depend on the parts and the order of traces."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import stats
from small import packets

from netdiffus import Traces
from netdiffus.parts.sketch import hashes, lowest
from netdiffus.traces.traces import Ints

N = 120


def rows_of(traces: Traces, rows: Ints) -> list[Any]:
    """What each of the rows holds."""
    return traces[rows].to_arrow().to_pylist()


def some(seed: int = 0) -> Traces:
    """Traces of which many are equal, some but for a cell of the meta-data."""
    traces = packets(N, longest=3, seed=seed)
    return replace(traces, meta=pa.table({"user": [f"u{i % 7}" for i in range(N)]}))[
        np.arange(N) // 3 * 2
    ]


class TestLowest:
    def test_is_the_same_in_any_order_and_parts(self) -> None:
        traces = some()
        shuffled = traces[np.random.default_rng(1).permutation(N)]
        first = rows_of(traces, lowest([traces], 50, 7))
        other = rows_of(shuffled, lowest([shuffled[:1], shuffled[1:70], shuffled[70:]], 50, 7))
        assert first == other
        assert first != rows_of(traces, lowest([traces], 50, 8))

    def test_a_larger_one_begins_with_a_smaller_one(self) -> None:
        traces = some()
        assert lowest([traces], 50, 7)[:20].tolist() == lowest([traces], 20, 7).tolist()
        assert sorted(lowest([traces], N, 7).tolist()) == list(range(N))

    def test_every_trace_is_as_likely_also_where_many_are_equal(self) -> None:
        """Of 40 different traces and 80 equal ones, drawn 30 by 400 seeds."""
        traces = packets(N, longest=9)
        rows = np.append(np.arange(40), np.full(80, 40))
        chosen = np.zeros(N)
        for seed in range(400):
            chosen[lowest([traces[rows]], 30, seed)] += 1
        equal = chosen[40:].sum()
        share = 30 * 80 / N
        sd = np.sqrt(share * 40 / N * (N - 30) / (N - 1))  # hypergeometric
        assert abs(equal / 400 - share) < 4 * sd / np.sqrt(400)
        assert stats.chisquare(chosen[:40]).pvalue > 1e-3


class TestHashes:
    def test_are_of_class_points_and_meta_data(self) -> None:
        when = pa.array([1, 1, 1, 1, 2], pa.timestamp("ns"))
        sizes = [[1, 2], [1, 2], [1, 3], [1], [1, 2]]
        plain = Traces.from_lists({"x": sizes}, list("aaaaa"))
        traces = replace(plain, meta=pa.table({"when": when, "n": [5, 5, 5, 5, 5]}))
        assert len(set(hashes(traces).tolist())) == 4
        assert hashes(traces)[0] == hashes(traces)[1]
        assert hashes(traces[[2]])[0] == hashes(traces)[2]  # padded by less
        other = replace(traces, classes=("b",))
        assert not np.isin(hashes(other), hashes(traces)).any()
        assert not np.isin(hashes(plain), hashes(traces)).any()
        assert not np.isin(hashes(traces, 1), hashes(traces)).any()
