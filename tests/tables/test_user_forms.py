"""Forms in which users of public data sets and tools keep traces."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from netdiffus.errors import InputError, Note
from netdiffus.traces.traces import Traces

SIZES, SIDES = [[60, 1500, 52], [70, 120]], [[1, -1, 1], [1, -1]]
TIMES = [[0.0, 0.02, 0.05], [0.0, 0.03]]
LABELS = ["web", "dns"]


def rows_of(traces: Traces, channel: str) -> list[list[float]]:
    rows: list[list[float]] = traces.to_arrow()[channel].to_pylist()
    return rows


def loaded(path: Path, text: str, **options: Any) -> tuple[Traces, str]:
    """The traces in a file of this text, and what was said."""
    path.write_text(text)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        traces = Traces.load(path, **options)
    return traces, "\n".join(str(note.message) for note in said)


def csv_of(name: str, cells: list[str]) -> str:
    return f"label;{name}\n" + "".join(
        f'{label};"{cell}"\n' for label, cell in zip(LABELS, cells, strict=True)
    )


def pairs(*columns: list[list[Any]]) -> list[list[list[Any]]]:
    """Per trace its packets, each a list of its numbers."""
    return [[list(one) for one in zip(*trace, strict=True)] for trace in zip(*columns, strict=True)]


def of_text(cells: list[Any], folder: Path) -> Traces:
    tuples = [str([tuple(one) for one in row]) for row in cells]
    (folder / "t.csv").write_text(csv_of("packets", tuples))
    return Traces.load(folder / "t.csv")


def of_parquet(cells: list[Any], folder: Path) -> Traces:
    table = pa.table({"label": LABELS, "packets": cells})
    pa.parquet.write_table(table, folder / "t.parquet")
    return Traces.load(folder / "t.parquet")


def of_pandas(cells: list[Any], _: Path) -> Traces:
    return Traces.from_frame(pd.DataFrame({"label": LABELS, "packets": cells}))


def of_arrays(cells: list[Any], folder: Path) -> Traces:
    return of_pandas([np.array(one) for one in cells], folder)


@pytest.mark.parametrize("read", [of_text, of_parquet, of_pandas, of_arrays])
def test_packets_that_are_lists_are_named_by_their_values(
    read: Callable[[list[Any], Path], Traces], tmp_path: Path
) -> None:
    said = "number 0 as timestamp, number 1 as packet_length, number 2 as direction, by the values"
    with pytest.warns(Note, match=said):
        traces = read(pairs(TIMES, SIZES, SIDES), tmp_path)
    assert rows_of(traces, "packet_length") == SIZES
    assert rows_of(traces, "direction") == SIDES
    assert rows_of(traces, "timestamp") == TIMES


def test_a_matrix_per_trace_with_a_row_per_channel() -> None:
    cells = [np.array([SIZES[0] * 2, SIDES[0] * 2]), np.array([SIZES[1], SIDES[1]])]
    with pytest.warns(Note, match="number 0 as packet_length, number 1 as direction"):
        traces = Traces.from_frame(pd.DataFrame({"label": LABELS, "packets": cells}))
    assert rows_of(traces, "packet_length") == [SIZES[0] * 2, SIZES[1]]
    assert rows_of(traces, "direction") == [SIDES[0] * 2, SIDES[1]]


def test_a_square_of_numbers_does_not_say_which_side_is_the_channels() -> None:
    table = pa.table({"label": LABELS, "packets": [[[60, 1], [70, -1]]] * 2})
    with pytest.raises(InputError, match="'packets' was left out"):
        Traces.from_arrow(table)


@pytest.mark.parametrize("columns", [(SIZES, SIZES), (SIZES, [[0.3, 0.1, 0.2], [0.2, 0.1]])])
def test_packets_of_doubtful_numbers_are_refused(columns: tuple[Any, Any]) -> None:
    table = pa.table({"label": LABELS, "packets": pairs(*columns)})
    with pytest.raises(
        InputError, match=r"'packets' was left out.*write a column of lists for each"
    ):
        Traces.from_arrow(table)


PRINTED = {
    "pandas with a zone": "Timestamp('2021-03-04 10:00:00.{0:06}+0100', tz='Europe/Berlin')",
    "datetime": "datetime.datetime(2021, 3, 4, 10, 0, 0, {0})",
    "datetime in UTC": "datetime.datetime(2021, 3, 4, 10, 0, 0, {0}, tzinfo=datetime.timezone.utc)",
    "timedelta": "datetime.timedelta(seconds=3661, microseconds={0})",
}


@pytest.mark.parametrize("form", PRINTED.values(), ids=PRINTED.keys())
def test_times_as_python_prints_them(form: str, tmp_path: Path) -> None:
    cells = ["[" + ", ".join(form.format(round(one * 1e6)) for one in row) + "]" for row in TIMES]
    traces, _ = loaded(tmp_path / "t.csv", csv_of("timestamp", cells))
    for found, right in zip(rows_of(traces, "timestamp"), TIMES, strict=True):
        assert found == pytest.approx(right, abs=1e-9)


def test_python_leaves_out_what_is_zero(tmp_path: Path) -> None:
    cells = [
        "[datetime.datetime(2021, 3, 4, 10, 0), datetime.datetime(2021, 3, 4, 10, 0, 1)]",
        "[datetime.datetime(2021, 3, 4, 10, 0)]",
    ]
    traces, _ = loaded(tmp_path / "t.csv", csv_of("timestamp", cells))
    assert rows_of(traces, "timestamp") == [[0, 1], [0]]
    cells = ["[datetime.timedelta(0), datetime.timedelta(seconds=2)]", "[datetime.timedelta(0)]"]
    traces, _ = loaded(tmp_path / "t.csv", csv_of("iat_ms", cells))
    assert rows_of(traces, traces.channels[0].name) == [[0, 2], [0]]


def test_decimal_commas_between_blanks(tmp_path: Path) -> None:
    cells = [" ".join(str(one).replace(".", ",") for one in row) for row in TIMES]
    traces, _ = loaded(tmp_path / "t.csv", csv_of("timestamp", cells))
    assert rows_of(traces, "timestamp") == TIMES


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_directions_that_an_unsigned_number_cannot_hold(dtype: type) -> None:
    wrapped = [np.array(row, np.int64).astype(dtype) for row in SIDES]
    frame = pd.DataFrame({"label": LABELS, "packet_length": SIZES, "direction": wrapped})
    with pytest.warns(Note, match="was read as -1, which an unsigned number cannot hold"):
        traces = Traces.from_frame(frame)
    assert rows_of(traces, "direction") == SIDES
    frame["direction"] = [[1, 255, 254], [1, 255]]
    with pytest.raises(InputError, match="direction is 255"):
        Traces.from_frame(frame)


def test_directions_of_mobile_networks(tmp_path: Path) -> None:
    cells = [" ".join("UL" if one > 0 else "DL" for one in row) for row in SIDES]
    traces, _ = loaded(tmp_path / "t.csv", csv_of("direction", cells))
    assert rows_of(traces, "direction") == SIDES


def test_nulls_at_the_end_are_padding() -> None:
    rows = [[*SIZES[0], None], [*SIZES[1], None, None]]
    with pytest.warns(Note, match="padding at the end of traces was cut off"):
        traces = Traces.from_arrow(pa.table({"label": LABELS, "packet_length": rows}))
    assert rows_of(traces, "packet_length") == SIZES
    rows[0][1] = None
    with pytest.raises(InputError, match="missing value in row 0 at point 1"):
        Traces.from_arrow(pa.table({"label": LABELS, "packet_length": rows}))


def test_parts_of_bytes_are_said(tmp_path: Path) -> None:
    """1.500 is 1500 where the comma is the decimal point."""
    _, said = loaded(tmp_path / "t.csv", csv_of("packet_length", ["[60 1.500]", "[70 52]"]))
    assert "sizes such as 1.5 are no whole bytes" in said


CIDDS = (
    "Date first seen,Duration,Proto,Src IP Addr,Dst IP Addr,Dst Pt,Packets,Bytes,class\n"
    "2017-03-15 00:01:16.632,0.000,TCP  ,192.0.2.5,192.0.2.6,445,1,     108,normal\n"
    "2017-03-15 00:01:16.552,2.500,TCP  ,192.0.2.5,192.0.2.7,445,30,    1.2 M,attacker\n"
)


def test_rounded_totals_of_nfdump(tmp_path: Path) -> None:
    """As in the data set CIDDS-001."""
    traces, said = loaded(tmp_path / "t.csv", CIDDS)
    assert rows_of(traces, "Bytes") == [[108], [1_200_000]]
    assert "column 'Bytes': rounded numbers with K, M, G or T were read as such (1 rows)" in said


@pytest.mark.parametrize("name", ["conn", "flow"])
@pytest.mark.parametrize("label", [{}, {"label": "web"}])
def test_flows_inside_an_object(label: dict[str, str], name: str, tmp_path: Path) -> None:
    """As Zeek's plugin for Kafka and super_mediator write them."""
    flow = {"proto": "tcp", "duration": 1.5, "orig_bytes": 900, "resp_bytes": 5000}
    text = f"{json.dumps({name: flow, **label})}\n" * 2
    traces, _ = loaded(tmp_path / "t.json", text, label_column=None if label else "=web")
    assert [one.name for one in traces.channels] == ["duration", "orig_bytes", "resp_bytes"]
    assert traces.meta.column_names == ["protocol"]


def test_lists_by_class_in_json(tmp_path: Path) -> None:
    text = json.dumps({"web": [SIZES[0], SIZES[0]], "dns": [SIZES[1]]})
    traces, _ = loaded(tmp_path / "t.json", text, channels="packet_length")
    assert traces.counts() == {"dns": 1, "web": 2}
    assert rows_of(traces, "packet_length") == [SIZES[0], SIZES[0], SIZES[1]]
    with pytest.raises(InputError, match="lists of numbers by class: say what the numbers are"):
        Traces.load(tmp_path / "t.json")


def test_notes_beside_a_table_in_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data/t.csv", csv_of("packet_length", list(map(str, SIZES))))
        archive.writestr("data/.DS_Store", "x")
        archive.writestr("data/README.md", "notes")
    with pytest.warns(Note, match=r"of the archive data/README.md and the like were not read"):
        traces = Traces.load(path)
    assert rows_of(traces, "packet_length") == SIZES
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("data/u.csv", "label;packet_length\n")
    with pytest.raises(InputError, match="an archive of 2 files; unpack it"):
        Traces.load(path)
