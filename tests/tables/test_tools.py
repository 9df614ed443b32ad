"""Tables of the field's tools, and our own exports, come in by their column names."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from small import packets

from netdiffus.errors import InputError, Note
from netdiffus.export.flow_tables import write_flows
from netdiffus.traces.traces import Traces

SIZES, DIRECTIONS = [[60, 1500, 52], [60, 44]], [[1, -1, 1], [1, -1]]
GAPS_MS = [[0, 500, 250], [0, 125]]
TIMES = [[0.0, 0.5, 0.75], [0.0, 0.125]]


def read(source: Any, **options: Any) -> tuple[Traces, list[str]]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        if isinstance(source, pa.Table):
            traces = Traces.from_arrow(source, **options)
        else:
            traces = Traces.load(source, **options)
    return traces, [str(note.message) for note in said]


def assert_packets(traces: Traces) -> None:
    """The sizes, directions and times or gaps above."""
    rows = {channel.kind: traces.to_arrow()[channel.name] for channel in traces.channels}
    assert rows["size"].to_pylist() == SIZES
    assert rows["direction"].to_pylist() == DIRECTIONS
    if "time" in rows:
        assert rows["time"].to_pylist() == TIMES
    else:
        assert rows["gap"].to_pylist() == [[gap / 1000 for gap in row] for row in GAPS_MS]


def test_tcbench() -> None:
    columns = {"pkts_size": SIZES, "pkts_dir": [[0, 1, 0], [0, 1]], "timetofirst": TIMES}
    app = pa.array(["x", "y"]).dictionary_encode()
    assert_packets(read(pa.table({"app": app, **columns}))[0])


def test_nfstream_splt() -> None:
    def padded(rows: list[list[Any]]) -> list[list[Any]]:
        return [row + [-1] * (5 - len(row)) for row in rows]

    columns = {
        "application_name": ["TLS", "DNS"],
        "dst_port": [443, 53],
        "splt_direction": padded([[0, 1, 0], [0, 1]]),
        "splt_ps": padded(SIZES),
        "splt_piat_ms": padded(GAPS_MS),
    }
    traces, said = read(pa.table(columns))
    assert_packets(traces)
    assert traces.meta["server_port"].to_pylist() == [443, 53]
    assert any("padding at the end" in note for note in said)


@pytest.mark.parametrize("types", [True, False])
def test_ipfixprobe(types: bool, tmp_path: Path) -> None:
    names = [
        ("uint16", "DST_PORT"), ("uint8", "PROTOCOL"), ("int8*", "PPI_PKT_DIRECTIONS"),
        ("uint16*", "PPI_PKT_LENGTHS"), ("time*", "PPI_PKT_TIMES"), ("", "label"),
    ]  # fmt: skip
    head = ",".join(f"{kind} {name}".strip() if types else name for kind, name in names)
    days = ["2024-02-29T23:59:59.", "2024-03-01T00:00:00."]
    times = [
        f"[{days[0]}500000|{days[1]}000000|{days[1]}250000]",
        f"[{days[0]}000000|{days[0]}125000]",
    ]
    path = tmp_path / "t.csv"
    path.write_text(
        f"{head}\n443,6,[1|-1|1],[60|1500|52],{times[0]},a\n53,17,[1|-1],[60|44],{times[1]},b\n"
    )
    traces, _ = read(path)
    assert_packets(traces)
    assert traces.meta["protocol"].to_pylist() == [6, 17]


@pytest.mark.parametrize("lists", [3, 4])
def test_cesnet_ppi(lists: int, tmp_path: Path) -> None:
    rows = [
        [gaps, directions, sizes, [0] * len(sizes)][:lists]
        for gaps, directions, sizes in zip(GAPS_MS, DIRECTIONS, SIZES, strict=True)
    ]
    assert_packets(read(pa.table({"APP": ["a", "b"], "PPI": rows}))[0])
    padded = [[one + [0] * (30 - len(one)) for one in row] for row in rows]
    assert_packets(read(pa.table({"APP": ["a", "b"], "ppi": padded}))[0])
    (tmp_path / "t.csv").write_text(f'label,PPI\na,"{rows[0]}"\nb,"{rows[1]}"\n')
    assert_packets(read(tmp_path / "t.csv")[0])
    with pytest.raises(InputError, match="'PPI' has 2 lists in row 1"):
        read(pa.table({"label": ["a", "b"], "PPI": [rows[0], rows[1][:2]]}))


def test_mirage(tmp_path: Path) -> None:
    flows = {
        f"192.0.2.1,4000{k},198.51.100.2,443,6": {
            "packet_data": {
                "L4_payload_bytes": SIZES[k],
                "packet_dir": [(1 - one) // 2 for one in DIRECTIONS[k]],
                "iat": [gap / 1000 for gap in GAPS_MS[k]],
            },
            "flow_metadata": {"BF_label": f"app{k}"},
        }
        for k in range(2)
    }
    (tmp_path / "t.json").write_text(json.dumps(flows))
    traces, _ = read(tmp_path / "t.json")
    assert_packets(traces)
    assert traces.classes == ("app0", "app1")


def test_joy(tmp_path: Path) -> None:
    rows = [
        {
            "label": "x",
            "packets": [
                {"b": size, "dir": "><"[direction < 0], "ipt": gap}
                for size, direction, gap in zip(*columns, strict=True)
            ],
        }
        for columns in zip(SIZES, DIRECTIONS, GAPS_MS, strict=True)
    ]
    assert_packets(read(pa.Table.from_pylist(rows))[0])
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert_packets(read(tmp_path / "t.jsonl")[0])


def test_cicflowmeter(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "Flow ID, Dst Port, Protocol, Flow Duration, Tot Fwd Pkts, Tot Bwd Pkts, Label\n"
        "f1,443,6,50000,3,2,BENIGN\nf2,53,17,900,1,1,DoS\n"
    )
    traces, said = read(path)
    assert traces.lengths.tolist() == [1, 1]
    assert traces.points("Flow Duration").tolist() == [50000, 900]
    assert traces.meta["server_port"].to_pylist() == [443, 53]
    assert "one row is one flow (CICFlowMeter)" in said[0]


def test_netflow(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "ts,td,sa,da,sp,dp,pr,ipkt,ibyt,label\n"
        "2024-06-28 23:17:41,3.5,192.0.2.1,198.51.100.2,443,10693,UDP,4,11214,a\n"
    )
    traces, _ = read(path)
    found = {channel.name: traces.points(channel.name).tolist() for channel in traces.channels}
    assert found == {"td": [3.5], "ipkt": [4], "ibyt": [11214]}
    assert traces.meta["protocol"].to_pylist() == ["UDP"]


def test_netflow_of_ugr16(tmp_path: Path) -> None:
    """As NetShare names its columns, with addresses as numbers."""
    found, traces, said = flows(
        tmp_path / "raw.csv",
        "srcip,dstip,srcport,dstport,proto,ts,td,pkt,byt,type\n"
        "1730436467,719036359,55987,443,TCP,1458298072364000.0,305.6,62,1736,background\n",
        label_column="type",
    )
    assert found == {"td": [305.6], "pkt": [62], "byt": [1736]}
    assert {"srcport", "server_port", "protocol"} < set(traces.meta.column_names)
    assert "one row is one flow (NetFlow)" in said


def flows(path: Path, text: str, **options: Any) -> tuple[dict[str, list[float]], Traces, str]:
    """The channels of a table of flows, its traces, and what was said."""
    path.write_text(text)
    traces, said = read(path, **options)
    found = {one.name: traces.points(one.name).tolist() for one in traces.channels}
    return found, traces, said[-1]


def test_cicflowmeter_with_dates(tmp_path: Path) -> None:
    """Its `Timestamp` is when a flow began, in one of several ways of writing."""
    for date in (
        "7/7/2017 3:30",
        "14/02/2018 08:31:01",
        "2024-06-28 23:17:41",
        "28/06/2017 1:17:41 AM",
    ):
        found, traces, _ = flows(
            tmp_path / "t.csv",
            " Protocol, Timestamp, Flow Duration, Total Fwd Packets,Flow Bytes/s, Label\n"
            f"6,{date},3,2,Infinity,BENIGN\n17,{date},1,1,NaN,DDoS\n",
        )
        assert found == {"Flow Duration": [3, 1], "Total Fwd Packets": [2, 1]}
        assert traces.meta.column_names == ["protocol", "Timestamp", "Flow Bytes/s"]


ZEEK = (
    "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n"
    "#fields\tts\tuid\tid.orig_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\torig_pkts"
    "\tresp_pkts\ttunnel_parents{0}\n#types\ttime\tstring\taddr\tport\tenum\tstring\tinterval"
    "\tcount\tcount\tcount\tset[string]{1}\n"
    "1521911721.25\tC1\t192.0.2.1\t53\tudp\tdns\t0.5\t62\t2\t2\t(empty){2}\n"
    "1521911722.25\tC2\t192.0.2.1\t443\ttcp\tssl\t-\t-\t1\t0\t(empty){2}\n#close\t2024\n"
)


@pytest.mark.parametrize("name", ["conn.log", "conn.csv", "conn.txt"])
def test_zeek(name: str, tmp_path: Path) -> None:
    plain = ZEEK.format("", "", "")
    found, traces, said = flows(tmp_path / name, plain, label_column="service")
    assert found == {"orig_pkts": [2, 1], "resp_pkts": [2, 0]}
    assert traces.classes == ("dns", "ssl")
    assert traces.meta["server_port"].to_pylist() == [53, 443]
    assert traces.meta["duration"].to_pylist() == [0.5, None]
    assert "duration, orig_bytes, which have cells without a number" in said


@pytest.mark.parametrize("mark", ["\t", "   "])
def test_zeek_of_iot23(mark: str, tmp_path: Path) -> None:
    extra = [mark + mark.join(one) for one in (("label", "detailed-label"), "ss", ("Benign", "-"))]
    _, traces, _ = flows(tmp_path / "conn.log.labeled", ZEEK.format(*extra))
    assert traces.counts() == {"Benign": 2}


def test_zeek_in_json(tmp_path: Path) -> None:
    line = {"ts": 1.5, "id.resp_p": 53, "proto": "udp", "orig_pkts": 2, "resp_pkts": 1}
    text = "".join(json.dumps(line | {"service": name}) + "\n" for name in ("dns", "ntp"))
    found, *_ = flows(tmp_path / "conn.log", text, label_column="service")
    assert found == {"orig_pkts": [2, 2], "resp_pkts": [1, 1]}


def test_flows_of_argus_silk_nfdump_and_netflow5(tmp_path: Path) -> None:
    argus = (
        "StartTime,Dur,Proto,Dir,Dport,TotPkts,TotBytes,Label\n"
        "2011/08/10 09:46:59.607825,1.5,tcp,   ->,6881,4,276,x\n"
    )
    found, traces, _ = flows(tmp_path / "t.binetflow", argus)
    assert found == {"Dur": [1.5], "TotPkts": [4], "TotBytes": [276]}
    assert traces.meta["server_port"].to_pylist() == [6881]
    silk = (
        "      sIP|dPort|pro|   packets|     bytes|                  sTime| duration|label|\n"
        "192.0.2.1|  443|  6|         4|     11214|2024/06/28T23:17:41.100|    3.500|    a|\n"
    )
    found, traces, _ = flows(tmp_path / "t.txt", silk)
    assert found == {"packets": [4], "bytes": [11214], "duration": [3.5]}
    assert traces.classes == ("a",)
    nfdump = (
        "firstSeen,duration,proto,dstPort,packets,bytes,label\n2024-06-28,3.5,TCP,443,4,112,a\n"
    )
    assert flows(tmp_path / "t.csv", nfdump)[0] == {
        "packets": [4],
        "bytes": [112],
        "duration": [3.5],
    }
    five = "#:srcaddr,dPkts,dOctets,first,last,dstport,prot,label\n192.0.2.1,10,4000,1,2,443,6,a\n"
    assert flows(tmp_path / "t.csv", five)[0] == {"dPkts": [10], "dOctets": [4000]}


def test_signed_sizes_of_appscanner_and_fsnet(tmp_path: Path) -> None:
    for name in ("lengths", "packet_sizes", "signed_sizes"):
        (tmp_path / "t.csv").write_text(f'label,{name}\na,"[60,-1500,52]"\nb,"[60,-44]"\n')
        traces, said = read(tmp_path / "t.csv")
        assert traces.to_arrow()["packet_length"].to_pylist() == SIZES
        assert traces.to_arrow()["direction"].to_pylist() == DIRECTIONS
        assert "signed sizes were read as sizes and directions" in said[-1]


def test_fields_of_tshark(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "tcp.stream,frame.time_epoch,frame.len,label\n"
        "0,1500.0,60,a\n1,1500.25,60,b\n0,1500.5,1500,a\n1,1500.375,44,b\n0,1500.75,52,a\n"
    )
    traces, _ = read(tmp_path / "t.csv", by="tcp.stream")
    assert traces.to_arrow()["packet_length"].to_pylist() == SIZES
    assert traces.to_arrow()["timestamp"].to_pylist() == TIMES


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("kind", ["ppi", "splt"])
def test_what_export_writes_is_read_back(kind: str, suffix: str, tmp_path: Path) -> None:
    traces = packets(20)
    write_flows(traces, tmp_path / f"t{suffix}", kind)
    back, _ = read(tmp_path / f"t{suffix}")
    assert back.label_names.tolist() == traces.label_names.tolist()
    assert back.lengths.tolist() == traces.lengths.tolist()
    for name in ("packet_length", "direction"):
        assert back.points(name).tolist() == traces.points(name).tolist()
    times = traces if kind == "ppi" else traces.with_gaps()
    name = "timestamp" if kind == "ppi" else "gap"
    found = back.points("timestamp" if kind == "ppi" else "iat")
    # PPI has times to the µs, SPLT gaps to the ns.
    np.testing.assert_allclose(found, times.points(name), rtol=0, atol=1e-6 + 1e-12)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_flows_that_export_writes_are_traces_of_one_point(suffix: str, tmp_path: Path) -> None:
    traces = packets(20)
    write_flows(traces, tmp_path / f"t{suffix}", "flows")
    back, said = read(tmp_path / f"t{suffix}")
    assert back.points("bidirectional_packets").tolist() == traces.lengths.tolist()
    assert "one row is one flow (nfstream flows)" in said[0]


class TestFiles:
    def test_feather_and_arrow_streams(self, tmp_path: Path) -> None:
        one = packets().to_arrow()
        pa.feather.write_feather(one, tmp_path / "t.feather")
        with pa.ipc.new_stream(tmp_path / "t.arrow", one.schema) as stream:
            stream.write_table(one)
        for name in ("t.feather", "t.arrow"):
            assert read(tmp_path / name)[0].equals(packets())

    def test_folders_and_globs_of_parts(self, tmp_path: Path) -> None:
        one = packets(12).to_arrow()
        for k in range(3):
            part = tmp_path / "d" / f"part={k}" / "p.PARQUET"
            part.parent.mkdir(parents=True)
            pa.parquet.write_table(one.slice(4 * k, 4), part)
        (tmp_path / "d" / "_SUCCESS").write_text("")
        for path in (tmp_path / "d", tmp_path / "d" / "*" / "*.PARQUET"):
            traces, _ = read(path)
            assert traces.values.tolist() == packets(12).values.tolist()
            assert traces.meta["part"].to_pylist() == [k for k in "012" for _ in range(4)]

    def test_the_class_in_the_folder_name(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            (tmp_path / f"label={name}").mkdir()
            pa.parquet.write_table(pa.table({"value": [[1]]}), tmp_path / f"label={name}" / "p.pq")
        assert read(tmp_path)[0].counts() == {"a": 1, "b": 1}

    def test_parts_that_do_not_fit_are_named(self, tmp_path: Path) -> None:
        pa.parquet.write_table(pa.table({"label": ["a"], "value": [[1]]}), tmp_path / "1.parquet")
        pa.parquet.write_table(pa.table({"label": ["a"], "x": [[1]]}), tmp_path / "2.parquet")
        with pytest.raises(InputError, match=r"2\.parquet: other columns than .*: value, x"):
            Traces.load(tmp_path)

    def test_json(self, tmp_path: Path) -> None:
        rows = [{"label": "a", "value": [1, 2]}, {"label": "b", "value": [3], "port": 443}]
        (tmp_path / "t.json").write_text(json.dumps(rows))
        (tmp_path / "t.ndjson").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
        for name in ("t.json", "t.ndjson"):
            traces, _ = read(tmp_path / name)
            assert traces.points("value").tolist() == [1, 2, 3]
            assert traces.meta["port"].to_pylist() == [None, 443]

    def test_notes_are_of_the_kind_that_the_command_line_prints(self, tmp_path: Path) -> None:
        pa.parquet.write_table(pa.table({"label": ["a"], "timestamp": [[5.0]]}), tmp_path / "t.pq")
        with pytest.warns(Note, match=r"t\.pq: timestamp: times did not start at 0"):
            Traces.load(tmp_path / "t.pq")
