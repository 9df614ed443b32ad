"""Less usual ways of writing tables: each gives the same traces, or an error with the next step."""

from __future__ import annotations

import gzip
import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from netdiffus.errors import InputError
from netdiffus.traces.traces import Traces

LABELS = ["a", "a", "b", "b"]
SIZES = [[60, 1500, 52], [60, 44], [70, 80, 90], [61, 45]]
DIRECTIONS = [[1, -1, 1], [1, -1], [1, 1, -1], [1, -1]]
TIMES = [[0.0, 0.5, 0.75], [0.0, 0.125], [0.0, 0.25, 0.5], [0.0, 0.5]]
SIGNED = [[a * b for a, b in zip(*two, strict=True)] for two in zip(SIZES, DIRECTIONS, strict=True)]
PLAIN = [f"{label},{sizes}" for label, sizes in zip(LABELS, SIZES, strict=True)]


def read(path: Path, **options: Any) -> tuple[Traces, list[str]]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        traces = Traces.load(path, **options)
    return traces, [str(one.message) for one in said]


def lists(traces: Traces) -> dict[str, Any]:
    return {one.name: traces.to_arrow()[one.name].to_pylist() for one in traces.channels}


def csv(form: Callable[[list[Any]], str], values: list[list[Any]], name: str, mark: str) -> str:
    rows = (f'{k}{mark}"{form(row)}"' for k, row in zip(LABELS, values, strict=True))
    return "\n".join([f"label{mark}{name}", *rows]) + "\n"


LISTS: dict[str, Callable[[list[Any]], str]] = {
    "slashes": lambda row: "/".join(map(str, row)),
    "underscores": lambda row: "_".join(map(str, row)),
    "a separator at the end": lambda row: "".join(f"{one};" for one in row),
    "a call for each number": lambda row: str([f"numpy.int32({one})" for one in row]),
    "tabs in brackets": lambda row: "[" + "\t".join(map(str, row)) + "]",
}


@pytest.mark.parametrize("form", LISTS.values(), ids=LISTS.keys())
def test_lists(form: Callable[[list[Any]], str], tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(csv(form, SIZES, "packet_length", ","))
    assert lists(read(path)[0]) == {"packet_length": SIZES}


def test_a_separator_at_the_end_of_some_cells_is_a_missing_number(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("label,packet_length\na,1;2;\nb,1;2;3\n")
    with pytest.raises(InputError, match="row 0: 'packet_length' has a missing number"):
        read(tmp_path / "t.csv")


@pytest.mark.parametrize("mark", ["||", "\x01", ", ", "; "])
def test_separators(mark: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(csv(str, SIZES, "packet_length", mark))
    assert lists(read(path)[0]) == {"packet_length": SIZES}


def test_a_header_with_another_separator_than_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text(csv(str, SIZES, "packet_length", "\t").replace("\t", ",", 1))
    assert lists(read(path)[0]) == {"packet_length": SIZES}


def test_lists_without_quotes(tmp_path: Path) -> None:
    rows = [f"{row},{way}" for row, way in zip(PLAIN, DIRECTIONS, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["label,packet_length,direction", *rows]))
    found = lists(read(tmp_path / "t.csv")[0])
    assert found == {"packet_length": SIZES, "direction": DIRECTIONS}


def test_a_row_with_more_cells_is_shown(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('label,packet_length\na,"[1,2]",x\nb,"[3]"\n')
    with pytest.raises(InputError, match="a row has 3 cells, the header 2: 'a,\"\\[1,2\\]\",x'"):
        read(tmp_path / "t.csv")


@pytest.mark.parametrize(
    "clock", ["{:02d}:00:{:09.6f}", "Timedelta('0 days {:02d}:00:{:09.6f}')"], ids=["", "pandas"]
)
def test_times_of_day(clock: str, tmp_path: Path) -> None:
    form = lambda row: str([clock.format(0, one) for one in row]).replace('"', "")  # noqa: E731
    (tmp_path / "t.csv").write_text(csv(form, TIMES, "timestamp", ","))
    assert lists(read(tmp_path / "t.csv")[0]) == {"timestamp": TIMES}


def test_times_of_day_go_on_past_midnight(tmp_path: Path) -> None:
    text = 'label,timestamp\na,"[23:59:59.5, 00:00:00.25]"\nb,"[01:00:00, 01:00:02]"\n'
    (tmp_path / "t.csv").write_text(text)
    assert lists(read(tmp_path / "t.csv")[0]) == {"timestamp": [[0, 0.75], [0, 2]]}
    (tmp_path / "t.csv").write_text('label,iat\na,"[13:00:00, 00:00:01]"\n')
    assert lists(read(tmp_path / "t.csv")[0]) == {"iat": [[46800, 1]]}


def test_times_of_pandas(tmp_path: Path) -> None:
    day = pd.Timestamp("2024-02-29 23:59:59.5")
    rows = [[day + pd.Timedelta(seconds=one) for one in row] for row in TIMES]
    pd.DataFrame({"label": LABELS, "timestamp": rows}).to_csv(tmp_path / "t.csv", index=False)
    assert lists(read(tmp_path / "t.csv")[0]) == {"timestamp": TIMES}


@pytest.mark.parametrize(("unit", "count"), [("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_the_unit_of_times_since_1970_is_seen(unit: str, count: int, tmp_path: Path) -> None:
    start = 1_700_000_000 * count
    times = [[start + round(one * count) for one in row] for row in TIMES]
    pa.parquet.write_table(pa.table({"label": LABELS, "timestamp": times}), tmp_path / "t.parquet")
    traces, said = read(tmp_path / "t.parquet")
    assert lists(traces) == {"timestamp": TIMES}
    assert f"were read as {unit} since 1970" in said[0]


def test_lists_of_arrows_times() -> None:
    times = [[round(one * 1e6) for one in row] for row in TIMES]
    column = pa.array(times, pa.list_(pa.time64("us")))
    traces = Traces.from_arrow(pa.table({"label": LABELS, "timestamp": column}))
    assert lists(traces) == {"timestamp": TIMES}


@pytest.mark.parametrize("padding", [float("nan"), -1.0])
def test_padding_at_the_end(padding: float) -> None:
    columns = {"packet_length": SIZES, "direction": DIRECTIONS}
    padded = {name: [[*row, padding] for row in rows] for name, rows in columns.items()}
    with pytest.warns(match="padding at the end of traces was cut off"):
        traces = Traces.from_arrow(pa.table({"label": LABELS, **padded}))
    assert lists(traces) == columns


@pytest.mark.parametrize("words", [("+", "-"), ("C", "S"), ("f", "b")])
def test_signs_and_letters_as_directions(words: tuple[str, str], tmp_path: Path) -> None:
    rows = [[words[one < 0] for one in row] for row in DIRECTIONS]
    (tmp_path / "t.csv").write_text(csv(lambda row: f"[{','.join(row)}]", rows, "direction", ","))
    assert lists(read(tmp_path / "t.csv")[0]) == {"direction": DIRECTIONS}


@pytest.mark.parametrize("name", ["Traffic Type", "ground_truth", "device"])
def test_names_of_the_class(name: str) -> None:
    assert Traces.from_arrow(pa.table({name: LABELS, "value": SIZES})).classes == ("a", "b")


FRAME = pd.DataFrame({"label": LABELS, "packet_length": SIZES})
ROWS = FRAME.to_dict("records")
OF_CLASSES = {one: [{"packet_length": row["packet_length"]} for row in ROWS if row["label"] == one]
              for one in "ab"}  # fmt: skip
JSON = {
    **{orient: FRAME.to_json(orient=orient) for orient in ("columns", "index", "split", "table")},
    "inside": json.dumps({"made": "today", "flows": ROWS}),
    "by class": json.dumps(OF_CLASSES),
}


@pytest.mark.parametrize("form", JSON.values(), ids=JSON.keys())
def test_json(form: str, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(form)
    traces, _ = read(tmp_path / "t.json")
    assert lists(traces) == {"packet_length": SIZES}
    assert traces.labels.tolist() == [0, 0, 1, 1]


def zipped(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("t.csv", data)
    return file.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "t.csv.zip": zipped,
    "t.zip": zipped,
    "t.csv.lz4": lambda data: pa.compress(data, codec="lz4", asbytes=True),
    "t.csv.gzip": gzip.compress,
    "t.psv": bytes,
    "t": bytes,
    "packed": gzip.compress,
}


@pytest.mark.parametrize("name", PACKED)
def test_what_other_suffixes_hold(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(PACKED[name](csv(str, SIZES, "packet_length", ",").encode()))
    assert lists(read(tmp_path / name)[0]) == {"packet_length": SIZES}


def test_parquet_of_another_suffix(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"label": LABELS, "value": SIZES}), tmp_path / "t.parq")
    assert lists(read(tmp_path / "t.parq")[0]) == {"value": SIZES}


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("t.xlsx", b"PK", "pandas.read_excel"),
        ("t.bin", bytes(range(99)), "unknown kind of file"),
        ("t", b"<!DOCTYPE html>", "t: this is a web page"),
        ("t.parquets.zip", zipped(b"").replace(b"t.csv", b"t.npz"), "with a .npz in it; unpack it"),
    ],
)
def test_what_is_not_read_says_what_to_do(
    name: str, data: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message):
        read(tmp_path / name)


@pytest.mark.parametrize("mark", [",", "\t", "  "])
def test_lines_without_a_header(mark: str, tmp_path: Path) -> None:
    """AppScanner, and the UCR archive: a class, then points; not all lines are equally long."""
    path = tmp_path / "t.csv"
    rows = zip(LABELS, SIGNED, strict=True)
    path.write_text("\n".join(mark.join([one, *map(str, row)]) for one, row in rows) + "\n")
    if mark != "  ":
        with pytest.raises(InputError, match="if each line is a class and then the points"):
            read(path)
    traces, said = read(path, channels=["packet_length"])
    assert lists(traces) == {"packet_length": SIZES, "direction": DIRECTIONS}
    assert "lines without a header" in said[0]


def test_a_channel_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"label": LABELS, "value": SIZES}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="channel 'nosuch' is not there; columns: value"):
        read(tmp_path / "t.parquet", channels=["nosuch"])
