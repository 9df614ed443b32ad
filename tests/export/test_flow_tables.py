"""Tables of flows against pandas, which knows nothing of how they are made."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from command import run
from small import packets, volumes

from netdiffus.errors import InputError
from netdiffus.export.flow_tables import TABLES, flow_table, ppi_table, splt_table, write_flows
from netdiffus.traces.lab import lab_traffic
from netdiffus.traces.traces import Traces

SIDES = {"bidirectional": (1, -1), "src2dst": (1,), "dst2src": (-1,)}


def rows_of(traces: Traces) -> list[pd.DataFrame]:
    """One frame per trace, a row per packet, times in whole ns."""
    table = traces.to_arrow().to_pandas()
    return [
        pd.DataFrame(
            {
                "ps": row.packet_length,
                "direction": row.direction,
                "ns": np.rint(np.asarray(row.timestamp, np.float64) * 1e9).astype(np.int64),
            }
        )
        for row in table.itertuples()
    ]


@pytest.mark.parametrize("traces", [packets(40, 12), lab_traffic("packets")[::30]])
def test_statistics_are_those_of_pandas(traces: Traces) -> None:
    found = flow_table(traces).to_pandas()
    for row, points in enumerate(rows_of(traces)):
        for side, directions in SIDES.items():
            mine = points[points.direction.isin(directions)]
            gaps = mine.ns.diff() / 1e6
            expected = {
                "packets": len(mine),
                "bytes": mine.ps.sum(),
                "duration_ms": (mine.ns.max() - mine.ns.min()) / 1e6,
            }
            for name, column in (("ps", mine.ps), ("piat_ms", gaps)):
                about = column.agg(["min", "mean", "std", "max"])
                expected |= {
                    f"{what}_{name}": value
                    for what, value in zip(("min", "mean", "stddev", "max"), about, strict=True)
                }
            got = {name: found[f"{side}_{name}"][row] for name in expected}
            np.testing.assert_allclose(
                np.array(list(got.values()), float),
                np.array(list(expected.values()), float),
                rtol=1e-9,  # pandas and Arrow sum in another order
                atol=1e-9,
                err_msg=f"{side} of trace {row}: {list(expected)}",
            )


def test_nfstream_gives_the_same() -> None:
    """What nfstream 6.6.0 wrote of a capture of this trace over UDP, sizes those of IP packets."""
    traces = Traces.from_lists(
        {
            "packet_length": [[60, 100, 1500, 60, 1200]],
            "direction": [[1, -1, -1, 1, -1]],
            "timestamp": [[0, 0.010, 0.030, 0.035, 0.135]],
        },
        ["a"],
    )
    nfstream = {
        "bidirectional_duration_ms": 135,
        "bidirectional_packets": 5,
        "bidirectional_bytes": 2920,
        "src2dst_duration_ms": 35,
        "src2dst_packets": 2,
        "src2dst_bytes": 120,
        "dst2src_duration_ms": 125,
        "dst2src_packets": 3,
        "dst2src_bytes": 2800,
        "bidirectional_min_ps": 60,
        "bidirectional_mean_ps": 584,
        "bidirectional_stddev_ps": 707.4461110218926,
        "bidirectional_max_ps": 1500,
        "src2dst_min_ps": 60,
        "src2dst_mean_ps": 60,
        "src2dst_stddev_ps": 0,
        "src2dst_max_ps": 60,
        "dst2src_min_ps": 100,
        "dst2src_mean_ps": 933.3333333333334,
        "dst2src_stddev_ps": 737.1114795831994,
        "dst2src_max_ps": 1500,
        "bidirectional_min_piat_ms": 5,
        "bidirectional_mean_piat_ms": 33.75,
        "bidirectional_stddev_piat_ms": 44.60474563690878,
        "bidirectional_max_piat_ms": 100,
        "src2dst_min_piat_ms": 35,
        "src2dst_mean_piat_ms": 35,
        "src2dst_stddev_piat_ms": None,  # of one gap; nfstream writes 0
        "src2dst_max_piat_ms": 35,
        "dst2src_min_piat_ms": 20,
        "dst2src_mean_piat_ms": 62.5,
        "dst2src_stddev_piat_ms": 60.10407640085654,
        "dst2src_max_piat_ms": 105,
    }
    found = flow_table(traces).drop_columns(["label"]).to_pydict()
    assert {name: cells[0] for name, cells in found.items()} == pytest.approx(nfstream)


def test_what_is_undefined_is_empty() -> None:
    traces = Traces.from_lists(
        {
            "packet_length": [[60], [60, 70]],
            "direction": [[1], [1, -1]],
            "iat": [[0.0], [0.0, 0.002]],
        },
        ["a", "b"],
    )
    found = flow_table(traces).to_pydict()
    assert found["dst2src_packets"] == [0, 1]
    assert found["dst2src_bytes"] == [0, 70]
    assert found["dst2src_duration_ms"] == [None, 0]
    assert found["bidirectional_stddev_ps"] == [None, pytest.approx(50**0.5)]
    assert found["bidirectional_mean_piat_ms"] == [None, 2]
    assert found["bidirectional_stddev_piat_ms"] == [None, None]
    assert found["label"] == ["a", "b"]


def test_meta_comes_along() -> None:
    traces = packets()
    for make in TABLES.values():
        assert make(traces)["trace_id"].to_pylist() == traces.meta["trace_id"].to_pylist()


@pytest.mark.parametrize("points", [1, 5, 30])
def test_ppi_lists_are_the_first_packets(points: int) -> None:
    traces = packets(20, 40)
    found = ppi_table(traces, points).to_pandas()
    for row, expected in enumerate(rows_of(traces)):
        first = expected[:points]
        assert found.PPI_PKT_LENGTHS[row].tolist() == first.ps.tolist()
        assert found.PPI_PKT_DIRECTIONS[row].tolist() == first.direction.tolist()
        since = pd.Series(found.PPI_PKT_TIMES[row]) - found.PPI_PKT_TIMES[row][0]
        # Either time is rounded to the µs.
        assert np.abs(since.dt.total_seconds() * 1e9 - (first.ns - first.ns[0])).max() <= 1000


def test_ppi_times_begin_at_the_start(tmp_path: Path) -> None:
    traces = Traces.from_lists(
        {"packet_length": [[60, 61]], "direction": [[1, -1]], "timestamp": [[0.0, 1.25]]},
        ["a"],
        {"start": [1_700_000_000_123_456_000]},
    )
    write_flows(traces, tmp_path / "t.csv", "ppi")
    cells = pd.read_csv(tmp_path / "t.csv").iloc[0]
    assert cells.PPI_PKT_LENGTHS == "[60|61]"
    assert cells.PPI_PKT_DIRECTIONS == "[1|-1]"
    texts = cells.PPI_PKT_TIMES[1:-1].split("|")
    assert texts == ["2023-11-14T22:13:20.123456", "2023-11-14T22:13:21.373456"]


@pytest.mark.parametrize("points", [4, 255])
def test_splt_lists_end_in_minus_one(points: int) -> None:
    traces = packets(20)
    found = splt_table(traces, points).to_pandas()
    for row, expected in enumerate(rows_of(traces)):
        first = expected[:points]
        rest = [-1] * (points - len(first))
        gaps = [0, *((b - a) / 1e6 for a, b in pairwise(first.ns))]
        assert found.splt_direction[row].tolist() == [*(first.direction < 0), *rest]
        assert found.splt_ps[row].tolist() == [*first.ps, *rest]
        assert found.splt_piat_ms[row].tolist() == pytest.approx([*gaps, *rest])


@pytest.mark.parametrize("kind", list(TABLES))
def test_files_hold_the_tables(kind: str, tmp_path: Path) -> None:
    traces = packets()
    write_flows(traces, tmp_path / "t.parquet", kind)
    assert pa.parquet.read_table(tmp_path / "t.parquet").equals(TABLES[kind](traces))
    traces.save(tmp_path / "traces.parquet")
    done = run("export", tmp_path / "traces.parquet", "-o", tmp_path / "t.csv", "--as", kind)
    assert done.code == 0
    read = pd.read_csv(tmp_path / "t.csv")
    expected = TABLES[kind](traces).to_pandas()
    assert list(read.columns) == list(expected.columns)
    for name in read.columns:
        if name.startswith("splt"):
            assert [json.loads(cell) for cell in read[name]] == [c.tolist() for c in expected[name]]
        elif not name.startswith("PPI"):
            wanted = expected[name].astype(read[name].dtype)
            # pandas 2 reads some decimals a unit of the last place off (2.2e-16 of the number).
            pd.testing.assert_series_equal(read[name], wanted, rtol=3e-16, atol=0)


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="volumes per bin"):
        write_flows(volumes(), tmp_path / "t.csv")
    with pytest.raises(InputError, match="kind must be one of flows, ppi, splt, got 'v5'"):
        write_flows(packets(), tmp_path / "t.csv", "v5")
    with pytest.raises(InputError, match=r"written to \.csv or \.parquet"):
        write_flows(packets(), tmp_path / "t.npz")
    with pytest.raises(InputError, match="points must be at least 1, got 0"):
        splt_table(packets(), 0)
    assert not list(tmp_path.iterdir())
    (tmp_path / "t.csv").write_text("mine")
    with pytest.raises(FileExistsError):
        write_flows(packets(), tmp_path / "t.csv")


def test_flows_for_spreadsheets_hold_no_formula(tmp_path: Path) -> None:
    traces = lab_traffic("packets")[:3]
    risky = replace(traces, classes=("=cmd|x", *traces.classes[1:]))
    risky.save(tmp_path / "t.parquet")
    of_flows = ("export", tmp_path / "t.parquet", "--as", "flows", "--for-spreadsheets")
    done = run(*of_flows, "-o", tmp_path / "f.csv")
    assert done.code == 0, done.err
    names = set(pd.read_csv(tmp_path / "f.csv")["label"])
    assert "'=cmd|x" in names
    assert "=cmd|x" not in names
    assert "for_spreadsheets is for .csv" in run(*of_flows, "-o", tmp_path / "f.parquet").err
    of_capture = ("export", tmp_path / "t.parquet", "--for-spreadsheets")
    assert "--for-spreadsheets" in run(*of_capture, "-o", tmp_path / "c.pcap").err
