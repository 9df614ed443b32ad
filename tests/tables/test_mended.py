"""What is mended in a table is said, and what cannot be is named."""

from __future__ import annotations

import datetime as dt
import logging
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from command import run
from small import packets

from netdiffus.errors import InputError, Note
from netdiffus.traces.traces import Traces


def table(labels: tuple[Any, ...] = ("a", "b"), **columns: Any) -> pa.Table:
    return pa.table({"label": list(labels), **columns})


def loaded(one: pa.Table, **options: Any) -> tuple[Traces, list[str]]:
    """The traces, and the notes."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        traces = Traces.from_arrow(one, **options)
    assert all(issubclass(note.category, Note) for note in said)
    return traces, [str(note.message) for note in said]


def lists(traces: Traces, name: str) -> list[list[float]]:
    rows: list[list[float]] = traces.to_arrow()[name].to_pylist()
    return rows


def test_nothing_is_said_where_nothing_is_mended() -> None:
    assert loaded(packets().to_arrow())[1] == []


class TestTimes:
    def test_absolute_times_count_from_the_first_packet(self) -> None:
        times = [[1.7e9, 1.7e9 + 0.5], [0.0, 1.0], [5.0]]
        traces, said = loaded(table(("a", "b", "c"), timestamp=times))
        assert lists(traces, "timestamp") == [[0, 0.5], [0, 1], [0]]
        assert said == [
            "timestamp: times did not start at 0; each trace's times now count from its first "
            "packet (2 of 3 traces)"
        ]

    def test_points_of_all_channels_are_sorted_by_time(self) -> None:
        columns = {"packet_length": [[1, 2, 3], [4, 5, 6]], "x": [[7, 8, 9], [1, 1, 2]]}
        traces, said = loaded(table(timestamp=[[3.0, 1.0, 2.0], [0.0, 1.0, 1.0]], **columns))
        assert lists(traces, "timestamp") == [[0, 1, 2], [0, 1, 1]]
        assert lists(traces, "packet_length") == [[2, 3, 1], [4, 5, 6]]
        assert lists(traces, "x") == [[8, 9, 7], [1, 1, 2]]
        assert any("ran backwards" in note and "(1 of 2 traces)" in note for note in said)

    def test_the_earliest_points_are_kept_by_length(self) -> None:
        traces, _ = loaded(table(timestamp=[[3.0, 1.0, 2.0], [0.0, 1.0, 2.0]]), length=2)
        assert lists(traces, "timestamp") == [[0, 1], [0, 1]]

    def test_gaps_beside_times_are_left_out(self) -> None:
        both = {"timestamp": [[0.0, 2.0], [0.0, 1.0]], "iat": [[0.0, 2.0], [0.0, 1.0]]}
        traces, said = loaded(table(**both))
        assert [channel.name for channel in traces.channels] == ["timestamp"]
        assert said[0].startswith("iat was left out: timestamp tells the times too; to keep it")
        both["iat"][1][1] = 3.0
        assert "but differs in 1 traces" in loaded(table(**both))[1][0]
        kept, said = loaded(table(**both), channels=["iat"])
        assert [channel.name for channel in kept.channels] == ["iat"]
        assert "not among the channels that were asked for" in said[0]

    @pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
    def test_units_in_types_and_in_names(self, unit: str) -> None:
        count = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
        start = 1_700_000_000 * count  # beyond 2**53 for ns: only the difference must fit
        whole = [[start, start + 2 * count], [start, start + count]]
        for kind in (pa.timestamp(unit), pa.timestamp(unit, "UTC")):
            column = pa.array(whole, pa.list_(kind))
            assert lists(loaded(table(timestamp=column))[0], "timestamp") == [[0, 2], [0, 1]]
        gaps = pa.array([[0, 2 * count], [0, count]], pa.list_(pa.duration(unit)))
        assert lists(loaded(table(iat=gaps))[0], "iat") == [[0, 2], [0, 1]]
        named, _ = loaded(table(**{f"timestamp_{unit}": whole}))
        assert lists(named, "timestamp") == [[0, 2], [0, 1]]
        renamed, _ = loaded(table(t=whole), columns={"t": f"timestamp_{unit}"})
        assert lists(renamed, "timestamp") == [[0, 2], [0, 1]]

    @pytest.mark.parametrize("name", ["timestamp", "iat"])
    def test_years_are_refused_by_name(self, name: str) -> None:
        columns = {name: [[0, 1], [0, 5 * 10**8]]}
        with pytest.raises(InputError, match=rf"{name}: trace 1 lasts 5e\+08 s, 15.9 years .*_us"):
            Traces.from_arrow(table(**columns))

    def test_floats_too_coarse_for_absolute_times_are_refused(self) -> None:
        times = pa.array([[1.7e9, 1.7e9 + 1], [0.0, 1.0]], pa.list_(pa.float32()))
        with pytest.raises(InputError, match="32 bits, which holds only steps of 128 s there"):
            Traces.from_arrow(table(timestamp=times))


class TestDirectionsAndSizes:
    @pytest.mark.parametrize("kind", [pa.int8(), pa.uint8(), pa.bool_(), pa.float32()])
    def test_0_and_1(self, kind: pa.DataType) -> None:
        column = pa.array([[1, 0], [1, 1]]).cast(pa.list_(kind))
        traces, said = loaded(table(direction=column))
        assert lists(traces, "direction") == [[1, -1], [1, 1]]
        assert "1 was read as +1, from the client, 0 as -1" in said[0]

    def test_signed_sizes_are_sizes_and_directions(self) -> None:
        traces, said = loaded(table(packet_length=[[60, -1500], [-40]]))
        assert lists(traces, "packet_length") == [[60, 1500], [40]]
        assert lists(traces, "direction") == [[1, -1], [-1]]
        assert "signed sizes" in said[0]

    def test_signed_sizes_beside_directions(self) -> None:
        both = {"packet_length": [[60, -1500], [40]], "direction": [[1, -1], [1]]}
        assert lists(loaded(table(**both))[0], "packet_length") == [[60, 1500], [40]]
        both["direction"][0][1] = 1
        with pytest.raises(InputError, match=r"-1500 at point 1 of trace 0 .*contradicts"):
            Traces.from_arrow(table(**both))

    def test_a_signed_size_of_0_has_no_direction(self) -> None:
        with pytest.raises(InputError, match="packet_length is 0 at point 1 of trace 0"):
            Traces.from_arrow(table(packet_length=[[60, 0, -5], [40]]))

    def test_the_smallest_signed_number(self) -> None:
        column = pa.array([[-128], [5]], pa.list_(pa.int8()))
        assert lists(loaded(table(packet_length=column))[0], "packet_length") == [[128], [5]]

    def test_zeros_behind_the_last_packet_are_padding(self) -> None:
        both = {"packet_length": [[60, 90, 0], [40, 0, 0]], "direction": [[1, -1, 0], [1, 0, 0]]}
        traces, said = loaded(table(**both))
        assert lists(traces, "packet_length") == [[60, 90], [40]]
        assert said == ["padding at the end of traces was cut off (2 of 2 traces)"]


class TestColumns:
    @pytest.mark.parametrize("kind", [pa.list_, pa.large_list, pa.list_view, pa.large_list_view])
    def test_every_kind_of_list(self, kind: Any) -> None:
        column = pa.array([[1, 2], [3]], kind(pa.int64()))
        assert lists(loaded(table(value=column))[0], "value") == [[1, 2], [3]]
        fixed = pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2))
        assert lists(loaded(table(value=fixed))[0], "value") == [[1, 2], [3, 4]]

    def test_decimals(self) -> None:
        gaps = pa.array([[Decimal("0.25")], [Decimal("0.10")]], pa.list_(pa.decimal128(3, 2)))
        assert lists(loaded(table(iat=gaps))[0], "iat") == [[0.25], [0.1]]

    @pytest.mark.parametrize("items", [["x"], [{"a": "b"}], [dt.date(2024, 1, 1)], [b"x"]])
    def test_lists_of_no_numbers_are_left_out(self, items: list[Any]) -> None:
        traces, said = loaded(table(value=[[1], [2]], other=[items, items]))
        assert [channel.name for channel in traces.channels] == ["value"]
        assert traces.meta.column_names == []
        assert "was left out: it holds lists of" in said[0]

    def test_plain_numbers_of_another_length_are_left_out(self) -> None:
        traces, said = loaded(table(scores=[[1, 2, 3], [4]], value=[[1], [2]]))
        assert [channel.name for channel in traces.channels] == ["value"]
        assert said == [
            "column 'scores' was left out: row 0: 'value' has 1 points but 'scores' has 3"
        ]

    def test_channels_choose_before_anything_is_checked(self, tmp_path: Path) -> None:
        bad = {"direction": [["x"], ["y"]], "iat": [[None], [-1.0]], "packet_length": "no list"}
        one = table(**{**bad, "packet_length": ["x", "y"], "value": [[1], [2]]})
        assert lists(loaded(one, channels=["value"])[0], "value") == [[1], [2]]
        pa.parquet.write_table(one, tmp_path / "t.parquet")
        traces = Traces.load(tmp_path / "t.parquet", channels="value")
        assert traces.meta["packet_length"].to_pylist() == ["x", "y"]
        (tmp_path / "t.csv").write_text('label,value,iat\na,"[1]",x\n')
        assert Traces.load(tmp_path / "t.csv", channels="value").meta["iat"].to_pylist() == ["x"]

    def test_channels_have_the_order_asked_for(self) -> None:
        one = table(value=[[1], [2]], value_up=[[3], [4]])
        names = [
            channel.name for channel in loaded(one, channels=["value_up", "value"])[0].channels
        ]
        assert names == ["value_up", "value"]
        with pytest.raises(InputError, match="channel 'size' is not there; columns: value"):
            Traces.from_arrow(one, channels=["size"])

    @pytest.mark.parametrize("cells", [["x", "y"], [1, 2], [None, 1.5]])
    def test_a_channel_that_is_no_list_is_named(self, cells: list[Any]) -> None:
        message = (
            f"row 0: column 'direction' has the name of a channel, but {cells[0]!r} is no list"
        )
        with pytest.raises(InputError, match=message):
            Traces.from_arrow(table(direction=cells, value=[[1], [2]]))

    @pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)])
    def test_whole_numbers_that_doubles_cannot_hold(self, number: int) -> None:
        column = pa.array([[1], [2, number]], pa.list_(pa.int64()))
        with pytest.raises(InputError, match=rf"'x' has {number} in row 1 at point 1: .*2\*\*53"):
            Traces.from_arrow(table(x=column))
        largest = pa.array([[2**64 - 1], [0]], pa.list_(pa.uint64()))
        with pytest.raises(InputError, match=f"'x' has {2**64 - 1} in row 0 at point 0"):
            Traces.from_arrow(table(x=largest))
        assert lists(loaded(table(x=[[2**53], [-(2**53)]]))[0], "x") == [[2**53], [-(2**53)]]

    def test_what_the_file_says_of_its_channels_is_kept(self, tmp_path: Path) -> None:
        about = b'{"channels": [{"name": "v", "kind": "volume", "unit": "kbit", "bin_width": 0.5}]}'
        one = table(v=[[1], [2]]).replace_schema_metadata({"netdiffus": about})
        channel = loaded(one)[0].channels[0]
        assert (channel.kind, channel.unit, channel.bin_width) == ("volume", "kbit", 0.5)
        traces = Traces.from_arrow(one)
        for suffix in (".parquet", ".npz"):
            traces.save(tmp_path / f"t{suffix}")
            assert Traces.load(tmp_path / f"t{suffix}").channels == traces.channels

    @pytest.mark.parametrize(
        "about",
        [
            "[", "[]", '{"channels": 1}', '{"channels": [{}]}', '{"channels": [{"name": 1}]}',
            '{"channels": [{"name": "v", "kind": "x"}]}', '{"channels": [{"name": "v", "no": 1}]}',
            '{"channels": [{"name": "v", "dtype": "no"}]}', "[" * 100_000,
            '{"channels": [{"name": "v", "bin_width": -1}]}',
        ],
    )  # fmt: skip
    def test_damaged_metadata_is_named(self, about: str) -> None:
        one = table(v=[[1], [2]]).replace_schema_metadata({"netdiffus": about})
        with pytest.raises(InputError, match=r"the metadata 'netdiffus'.* is damaged"):
            Traces.from_arrow(one)


class TestLabels:
    @pytest.mark.parametrize(
        "labels",
        [
            pa.array([0, 1]), pa.array([0.0, 1.0]), pa.array(["0", "1"]), pa.array(["0.0", "1.0"]),
            pa.array(["0", "1"]).dictionary_encode(), pa.array([0, 1], pa.uint8()),
        ],
        ids=lambda labels: str(labels.type),
    )  # fmt: skip
    def test_0_and_0_point_0_are_the_same_class(self, labels: pa.Array) -> None:
        assert loaded(pa.table({"label": labels, "value": [[1], [2]]}))[0].classes == ("0", "1")

    def test_versions_and_numbers_with_zeros_stay(self) -> None:
        assert loaded(table(("1.0", "1.3"), value=[[1], [2]]))[0].classes == ("1.0", "1.3")
        assert loaded(table(("01", "1"), value=[[1], [2]]))[0].classes == ("01", "1")
        assert loaded(table((1.0, 1.5), value=[[1], [2]]))[0].classes == ("1", "1.5")

    def test_a_label_that_is_no_name(self) -> None:
        labels = pa.array([[1], [2]])
        with pytest.raises(InputError, match=r"'label' holds list.*--label-column"):
            Traces.from_arrow(pa.table({"label": labels, "value": [[1], [2]]}))
        with pytest.raises(InputError, match="'label' is empty in row 1"):
            Traces.from_arrow(table((1.0, float("nan")), value=[[1], [2]]))


def test_the_report_says_what_was_read_as_what(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "t.csv"
    path.write_text('Label,pkts_size,port,tags\na,"[1,2]",443,x\nb,"[3]",53,y\n')
    with caplog.at_level(logging.INFO, "netdiffus"):
        traces, report = Traces.load_with_report(path)
    assert report.summary() == {
        "source": str(path),
        "format": "CSV, separator comma, UTF-8",
        "traces": 2,
        "points": 3,
        "classes": {"a": 1, "b": 1},
        "label": "Label",
        "channels": {"packet_length": "size, B, from 'pkts_size'"},
        "meta": ["port", "tags"],
        "left_out": {},
        "mended": [],
    }
    assert str(report) in caplog.text
    assert "a 1, b 1" in str(report)
    assert traces.meta["port"].to_pylist() == [443, 53]


def test_commands_print_what_was_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = "".join(f'{"ab"[k % 2]},"[{k + 5.0},{k + 1.0}]","{k} 2",{k}\n' for k in range(8))
    path.write_text("kind,when,value,id\n" + rows)
    options = ["--label-column", "kind", "--columns", "when=timestamp_ms", "--json"]
    done = run("split", path, "--fraction", 0.5, "-o", tmp_path / "p", *options)
    assert done.code == 0
    assert "classes of 'kind': a 4, b 4" in done.err
    assert "timestamp (time, s, from 'timestamp_ms')" in done.err
    assert "times ran backwards" in done.err
    held = Traces.load(tmp_path / "p" / "holdout.parquet")
    assert set(held.points("timestamp")) == {0.0, 0.004}
    assert "OLD=NEW" in run("split", path, "-o", tmp_path / "q", "--columns", "x").err


def test_one_row_per_packet_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [(f"f{k % 4}", "ab"[k % 2], 60 + k, (-1) ** (k // 4), float(k)) for k in range(16)]
    lines = [",".join(map(str, row)) for row in rows]
    path.write_text("flow,label,packet_length,direction,timestamp\n" + "\n".join(lines))
    assert "--flow-column" in run("split", path, "-o", tmp_path / "p").err
    done = run("split", path, "-o", tmp_path / "p", "--fraction", 0.5, "--flow-column", "flow")
    assert done.code == 0
    both = [Traces.load(tmp_path / "p" / f"{name}.parquet") for name in ("train", "holdout")]
    assert sorted(id for one in both for id in one.meta["trace_id"].to_pylist()) == [
        "f0", "f1", "f2", "f3",
    ]  # fmt: skip
    assert np.unique(both[0].points("timestamp")).tolist() == [0, 4, 8, 12]
