"""Tables with one row per packet: who sent it, whose file it is in, cells that are no numbers."""

from __future__ import annotations

import json
import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from netdiffus.errors import InputError, Note
from netdiffus.tables.formats.text import read_text
from netdiffus.tables.options import ReadOptions
from netdiffus.tables.report import Findings
from netdiffus.traces.traces import Traces

PACKETS = """tcp.stream,frame.time_epoch,frame.len,ip.src,label
0,0,60,10.0.0.1,a
0,0.5,1500,192.0.2.1,a
1,1,52,192.0.2.9,b
1,1.25,44,192.0.2.9,b
"""
ROWS = '"[60, 1500, 52]"\n"[60, 44]"\n'


def read(path: Path, **options: Any) -> tuple[dict[str, Any], list[str]]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        traces = Traces.load(path, **options)
    rows = {one.name: traces.to_arrow()[one.name].to_pylist() for one in traces.channels}
    return rows | {"label": traces.label_names.tolist()}, [str(one.message) for one in said]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_first_sender_is_the_client(tmp_path: Path) -> None:
    rows, said = read(write(tmp_path, "t.csv", PACKETS), by="tcp.stream")
    assert rows["direction"] == [[1, -1], [1, 1]]
    assert any("direction: from 'ip.src'" in one for one in said)


def test_more_than_two_senders_give_no_direction(tmp_path: Path) -> None:
    text = PACKETS + "0,0.75,60,198.51.100.1,a\n"
    rows, _ = read(write(tmp_path, "t.csv", text), by="tcp.stream")
    assert "direction" not in rows


def test_a_column_of_directions_comes_before_the_senders(tmp_path: Path) -> None:
    lines = PACKETS.splitlines()
    text = "\n".join([lines[0] + ",dir", *(f"{line},in" for line in lines[1:])]) + "\n"
    rows, _ = read(write(tmp_path, "t.csv", text), by="tcp.stream")
    assert rows["direction"] == [[-1, -1], [-1, -1]]


def test_streams_of_several_files_are_kept_apart(tmp_path: Path) -> None:
    for name in ("a/1.csv", "a/2.csv", "b/1.csv"):
        text = PACKETS.replace(",label", "").replace(",a\n", "\n").replace(",b\n", "\n")
        write(tmp_path, name, text)
    rows, said = read(tmp_path, by="tcp.stream")
    assert rows["label"] == ["a"] * 4 + ["b"] * 2
    assert rows["packet_length"] == [[60, 1500], [52, 44]] * 3
    assert any("begins anew in each file" in one for one in said)


def test_other_traces_go_on_in_the_next_file(tmp_path: Path) -> None:
    for k in range(2):
        write(tmp_path, f"{k}.csv", f"flow,label,timestamp,packet_length\n7,a,{k},60\n{k},b,0,9\n")
    rows, said = read(tmp_path, by="flow")
    assert rows["packet_length"] == [[60, 60], [9], [9]]
    assert any("1 traces of 'flow' have rows in several files" in one for one in said)


def test_cells_of_a_channel_must_be_numbers(tmp_path: Path) -> None:
    text = "flow,label,size,time\n1,a,60 B,0\n1,a,52 B,1\n"
    with pytest.raises(InputError, match=r"row 1: column 'size' .* '52 B' is no number"):
        read(write(tmp_path, "t.csv", text), by="flow")
    rows, _ = read(tmp_path / "t.csv", by="flow", channels=["timestamp"])
    assert rows == {"timestamp": [[0, 1]], "label": ["a"]}


def test_notes_in_a_folder_of_tables_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, "a/t.csv", f"packet_length\n{ROWS}")
    write(tmp_path, "a/readme.txt", "What was captured\nand when.\n")
    rows, said = read(tmp_path)
    assert rows["label"] == ["a", "a"]
    assert any("only tables were read, not readme.txt" in one for one in said)


def test_what_a_file_holds_counts_more_than_its_suffix(tmp_path: Path) -> None:
    table = pa.table({"label": ["a", "b"], "packet_length": [[60, 1500, 52], [60, 44]]})
    pyarrow.parquet.write_table(table, tmp_path / "parquet.csv")
    write(tmp_path, "json.csv", json.dumps(table.to_pylist()))
    write(tmp_path, "csv.parquet", 'label,packet_length\na,"[60, 1500, 52]"\nb,"[60, 44]"\n')
    for name in ("parquet.csv", "json.csv", "csv.parquet"):
        assert read(tmp_path / name)[0]["packet_length"] == [[60, 1500, 52], [60, 44]], name


def test_flows_among_other_events_of_suricata(tmp_path: Path) -> None:
    flow = {"event_type": "flow", "label": "a", "flow": {"pkts_toserver": 3, "bytes_toserver": 9}}
    events = [flow, {"event_type": "stats", "stats": {"uptime": 1}}, flow]
    rows, said = read(write(tmp_path, "eve.json", "\n".join(map(json.dumps, events))))
    assert rows["flow_pkts_toserver"] == [[3], [3]]
    assert any("1 events that are no flows were left out" in one for one in said)


def test_the_first_line_of_joy_is_no_trace(tmp_path: Path) -> None:
    flow = {"label": "a", "packets": [{"b": 60, "dir": ">", "ipt": 0}]}
    text = "\n".join(map(json.dumps, [{"version": "4.5"}, flow, flow]))
    rows, _ = read(write(tmp_path, "t.json", text))
    assert rows["packet_length"] == [[60], [60]]


def test_ndpi(tmp_path: Path) -> None:
    text = "#flow_id|duration|c_to_s_pkts|s_to_c_pkts|app\n1|0.5|3|4|a\n2|0.25|1|0|b\n"
    rows, _ = read(write(tmp_path, "t.csv", text))
    assert rows["c_to_s_pkts"] == [[3], [1]]


def test_a_flow_without_a_number_is_found(tmp_path: Path) -> None:
    text = "duration,orig_bytes,resp_bytes,label\n,,,a\n1,,,b\n"
    with pytest.raises(InputError, match=r"cells without a number \(the first in row 0\)"):
        read(write(tmp_path, "t.csv", text))


def test_a_column_of_json_that_does_not_fit_is_named(tmp_path: Path) -> None:
    rows = [{"label": "a", "value": [1, 2]}, {"label": "b", "value": 3}]
    with pytest.raises(InputError, match="column 'value' does not hold values of one kind"):
        read(write(tmp_path, "t.json", json.dumps(rows)))


@pytest.mark.parametrize(
    ("name", "text", "advice"),
    [
        ("t.txt", "12:00:00.000000 IP 10.0.0.1.5 > 192.0.2.1.443: Flags [S]\n", "capture itself"),
        ("t.json", '[{"_source": {"layers": {"frame": {"frame.len": "60"}}}}]', "-e frame.len"),
        ("t.csv", "\n<!doctype html><html></html>\n", "this is a web page"),
        ("t.pt", "PK", "torch.load"),
    ],
)
def test_what_is_no_table_says_what_to_do(
    name: str, text: str, advice: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=advice):
        read(write(tmp_path, name, text))


def test_an_archive_of_tables_is_to_be_unpacked(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "t.tar.gz", "w:gz") as archive:
        archive.add(write(tmp_path, "t.csv", PACKETS), "t.csv")
    with pytest.raises(InputError, match="unpack it"):
        read(tmp_path / "t.tar.gz")


@pytest.mark.parametrize(
    "times",
    [
        ("2024-01-01 23:59:59.5", "2024-01-02 00:00:00.25"),
        ("2024-01-01T23:59:59.5+01:00", "2024-01-02T00:00:00.25+01:00"),
        ("23:59:59.5", "00:00:00.25"),
    ],
)
@pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")
def test_times_that_are_texts(times: tuple[str, str], tmp_path: Path) -> None:
    rows = f"1,a,{times[0]},0x28\n2,b,{times[0]},60\n1,a,{times[1]},50\n"
    path = tmp_path / "a.csv"
    path.write_text("flow,label,time,size\n" + rows)
    traces = Traces.load(path, by="flow")
    np.testing.assert_array_equal(traces.values[0], [[0, 0.75], [40, 50]])


def test_named_numbers_of_other_libraries() -> None:
    """Dictionaries of Arrow, as of Categorical in pandas and polars: texts, lists, in lists."""
    words = pa.array(["up", "down", "up"]).dictionary_encode()
    table = pa.table(
        {
            "flow": [1, 1, 2],
            "label": words.cast(pa.dictionary(pa.uint32(), pa.string())),
            "direction": words,
        }
    )
    with pytest.raises(InputError, match="has the class 'down' beside another"):
        Traces.from_arrow(table, by="flow")
    label = pa.array(["a", "a", "b"]).dictionary_encode()
    label = label.cast(pa.dictionary(pa.uint32(), pa.string()))
    traces = Traces.from_arrow(table.set_column(1, "label", label), by="flow")
    assert traces.values[0, 0].tolist() == [1, -1]
    lists = pa.ListArray.from_arrays([0, 2, 3], words)
    sizes = pa.DictionaryArray.from_arrays(pa.array([1, 0]), pa.array([[40], [50, 60]]))
    columns = {"label": ["a", "b"], "direction": lists, "packet_length": sizes}
    traces = Traces.from_arrow(pa.table(columns))
    assert traces.values[0].tolist() == [[1, -1], [50, 60]]
    assert traces.values[1, :, 0].tolist() == [1, 40]


def test_decimal_commas_of_single_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("flow;label;time;size;rate\n007;0,1;0,0;40;2,5\n007;0,1;0,5;50;2,5\n")
    traces = Traces.load(path, by="flow")
    np.testing.assert_array_equal(traces.values[0], [[0, 0.5], [40, 50]])
    assert traces.classes == ("0,1",)  # as it is written
    assert traces.meta.to_pylist() == [{"trace_id": "007", "rate": 2.5}]


def test_empty_files_beside_others_are_said(tmp_path: Path) -> None:
    for name, text in {"a": "label,packet_length\nx,[40]\n", "b": ""}.items():
        (tmp_path / f"{name}.csv").write_text(text)
    _, said = read(tmp_path)
    assert any("1 empty files" in one and "b.csv" in one for one in said)
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(InputError, match=r"a\.csv: the file is empty"):
        Traces.load(tmp_path)


@pytest.mark.parametrize("write", [json.dumps, repr])
def test_packets_with_names_in_cells(write: Any) -> None:
    """As pandas writes columns of lists of dictionaries."""
    packets = [
        [{"ts": 0.0, "len": 40, "dir": "up"}, {"ts": 0.5, "len": 50, "dir": "down"}],
        [{"ts": 0.0, "len": 60, "dir": "up"}],
    ]
    frame = pd.DataFrame({"label": ["a", "b"], "packets": list(map(write, packets))})
    lists = [{"len": [40, 50], "dir": ["up", "down"]}, {"len": [60], "dir": ["up"]}]
    other = pd.DataFrame({"label": ["a", "b"], "flow": list(map(write, lists)), "info": '{"k": 1}'})
    for one, first in ((frame, [[0, 0.5], [40, 50], [1, -1]]), (other, [[40, 50], [1, -1]])):
        text = pa.py_buffer(one.to_csv(index=False).encode())
        table = read_text(text, ReadOptions(), Findings())
        traces = Traces.from_arrow(table)
        assert traces.values[0].tolist() == first
        assert traces.lengths.tolist() == [2, 1]
    assert traces.meta["info"].to_pylist() == ['{"k": 1}'] * 2


def test_a_column_that_is_text_in_one_file_is_text_in_all(tmp_path: Path) -> None:
    for name, port in {"a": "80", "b": "http"}.items():
        (tmp_path / f"{name}.csv").write_text(f"label,port,packet_length\nx,{port},[40]\n")
    _, said = read(tmp_path)
    with pytest.warns(Note):
        traces = Traces.load(tmp_path)
    assert traces.meta["port"].to_pylist() == ["80", "http"]
    assert any("'port' is text in some files" in one for one in said)


@pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")
def test_arff_says_what_is_missing_by_a_question_mark(tmp_path: Path) -> None:
    head = "@relation x\n@attribute packet_length_1 numeric\n@attribute packet_length_2 numeric\n"
    text = head + "@attribute class1 {a?,b}\n@data\n40,50,a?\n% a comment\n60, ? ,b\r\n"
    traces = Traces.load(write(tmp_path, "a.arff", text))
    assert traces.values[:, 0, 0].tolist() == [40, 60]
    assert traces.lengths.tolist() == [2, 1]
    assert traces.counts() == {"a?": 1, "b": 1}
    with pytest.raises(InputError, match="column 'class1' is empty in row 0"):
        Traces.load(write(tmp_path, "b.arff", text.replace("50,a?", "50,?")))
