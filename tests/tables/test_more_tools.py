"""Tables of flows and documents of more tools, and what their text forms are answered."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from netdiffus import Traces
from netdiffus.errors import InputError, Note

pytestmark = pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")

YAF = (
    "start-time|end-time|duration|rtt|proto|sip|sp|dip|dp|iflags|pkt|oct|rpkt|roct|label\n"
    "2009-06-09 12:26:40.123|2009-06-09 12:26:41.123|1.5|0.1|6|192.0.2.1|40000|192.0.2.2|443|S|10|"
    "900|12|5000|web\n"
    "2009-06-09 12:26:42.123|2009-06-09 12:26:43.123|0.5|0.1|17|192.0.2.1|40001|192.0.2.2|53|0|1|"
    "70|1|120|dns\n"
)
TRANALYZER = (
    "%dir\tflowInd\ttimeFirst\tduration\tdstPort\tl4Proto\tnumPktsSnt\tnumPktsRcvd\tnumBytesSnt\t"
    "numBytesRcvd\tlabel\n"
    "A\t1\t1700000000.1\t1.5\t443\t6\t10\t12\t900\t5000\tweb\n"
    "A\t2\t1700000000.2\t0.5\t53\t17\t1\t1\t70\t120\tdns\n"
)
TON_IOT = (
    "ts,src_ip,dst_port,proto,service,duration,src_bytes,dst_bytes,conn_state,missed_bytes,"
    "src_pkts,src_ip_bytes,dst_pkts,dst_ip_bytes,label\n"
    "1554198358,192.0.2.1,443,tcp,-,1.5,900,5000,OTH,0,10,1300,12,5500,web\n"
    "1554198359,192.0.2.1,53,udp,-,0.5,70,120,OTH,0,1,98,1,148,dns\n"
)
NFDUMP = (
    "ts,te,td,sa,da,sp,dp,pr,ipkt,ibyt,opkt,obyt,label\n"
    "2023-01-01 10:00:00,2023-01-01 10:00:01,1.5,a,b,40000,443,TCP,10,900,12,5000,web\n"
    "2023-01-01 10:00:02,2023-01-01 10:00:03,0.5,a,b,40001,53,UDP,1,70,1,120,dns\n"
    "Summary\nflows,bytes,packets,avg_bps,avg_pps,avg_bpp\n2,6090,24,1,1,1\n"
)
TABLES = {
    "yaf": (YAF, {"duration": 1.5, "pkt": 10, "oct": 900, "rpkt": 12, "roct": 5000}),
    "tranalyzer": (TRANALYZER, {"duration": 1.5, "numPktsSnt": 10, "numPktsRcvd": 12,
                                "numBytesSnt": 900, "numBytesRcvd": 5000}),
    "ton_iot": (TON_IOT, {"duration": 1.5, "src_bytes": 900, "dst_bytes": 5000, "src_pkts": 10,
                          "dst_pkts": 12, "src_ip_bytes": 1300, "dst_ip_bytes": 5500,
                          "missed_bytes": 0}),
    "nfdump": (NFDUMP, {"td": 1.5, "ipkt": 10, "ibyt": 900, "opkt": 12, "obyt": 5000}),
}  # fmt: skip


def load(folder: Path, name: str, text: str, **options: Any) -> Traces:
    (folder / name).write_text(text, encoding="utf-8")
    return Traces.load(folder / name, **options)


@pytest.mark.parametrize(("text", "totals"), TABLES.values(), ids=TABLES.keys())
def test_totals_of_flows(text: str, totals: dict[str, float], tmp_path: Path) -> None:
    traces = load(tmp_path, "t.txt", text)
    first = dict(zip([one.name for one in traces.channels], traces.values[0, :, 0], strict=True))
    assert first == totals
    assert traces.label_names.tolist() == ["web", "dns"]
    assert traces.meta["server_port"].to_pylist() == [443, 53]


def test_a_summary_below_the_rows_is_said(tmp_path: Path) -> None:
    with pytest.warns(Note, match="the summary below the rows was left out"):
        load(tmp_path, "t.csv", NFDUMP)


def test_one_class_of_all(tmp_path: Path) -> None:
    text = YAF.replace("|label", "").replace("|web", "").replace("|dns", "")
    with pytest.raises(InputError, match="=NAME is one class of all"):
        load(tmp_path, "t.csv", text)
    assert load(tmp_path, "t.csv", text, label_column="=office").counts() == {"office": 2}
    with pytest.raises(InputError, match="a column 'label' is there"):
        load(tmp_path, "t.csv", YAF, label_column="=office")


ROWS = [
    {"label": "web", "packet_length": [60, 1500], "direction": [1, -1]},
    {"label": "dns", "packet_length": [90, 120], "direction": [1, -1]},
]
HITS = [{"_index": "flows", "_id": str(k), "_source": row} for k, row in enumerate(ROWS)]
DOCUMENTS = {
    "elasticsearch": json.dumps({"took": 1, "hits": {"total": 2, "hits": HITS}}),
    "elasticdump": "\n".join(map(json.dumps, HITS)),
    "clickhouse": json.dumps({
        "meta": [{"name": name, "type": "x"} for name in ROWS[0]],
        "data": [list(row.values()) for row in ROWS], "rows": 2}),
}  # fmt: skip


@pytest.mark.parametrize("text", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_documents(text: str, tmp_path: Path) -> None:
    traces = load(tmp_path, "t.json", text)
    assert traces.counts() == {"dns": 1, "web": 1}
    assert traces.values[0].tolist() == [[60, 1500], [1, -1]]


@pytest.mark.parametrize(
    ("name", "text", "advice"),
    [
        ("t.txt", "1700000000.123456 IP 192.0.2.1.5 > 192.0.2.2.443: Flags [S]\n", "tcpdump -w"),
        ("t.txt", " 00:00:00.000000 IP6 ::1.5 > ::2.443: Flags [S], length 0\n", "tcpdump -w"),
        ("t.txt", "12:00:00.000000 02:00:00:00:00:01 > 02:00:00:00:00:02, ether", "tcpdump -w"),
        ("t.txt", "    1   0.000000    192.0.2.1 → 192.0.2.2 TCP 74 5 → 443 [SYN]\n", "tshark pri"),
        ("t.txt", "=" * 80 + "\nTCP Conversations\n", "tshark printed"),
        ("t.pdml", '<?xml version="1.0"?>\n<pdml></pdml>\n', "this is XML"),
        ("t.txt", "Date first seen          Duration Proto\n", "nfdump -o csv"),
        ("t.yaml", "- label: web\n", "YAML is not read; write JSON"),
    ],
)
def test_text_forms_are_answered(name: str, text: str, advice: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=advice):
        load(tmp_path, name, text)


def test_times_that_lost_their_digits_are_said(tmp_path: Path) -> None:
    text = 'label,timestamp\na,"[1.7E+09, 1.7E+09]"\nb,"[1.7E+09, 1.7E+09]"\n'
    with pytest.warns(Note, match="have the same time, in every trace; if the file lost digits"):
        load(tmp_path, "t.csv", text)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        load(tmp_path, "t.csv", text.replace("1.7E+09]", "1700000000.5]"))
    assert not any("lost digits" in str(one.message) for one in said)


TS = """# of the archive
@problemName Toy
@timeStamps false
@univariate false
@dimensions 2
@classLabel true web dns
@data
60.0,1500.0,52.0:1,-1,1:web
90,120:1,-1:dns
"""


def test_ts_of_aeon(tmp_path: Path) -> None:
    traces = load(tmp_path, "t.ts", TS, channels=["packet_length", "direction"])
    assert traces.label_names.tolist() == ["web", "dns"]
    assert traces.lengths.tolist() == [3, 2]
    assert traces.values[0].tolist() == [[60, 1500, 52], [1, -1, 1]]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("120:1,-1", "?:1,-1", "line 9: .*fill missing values"),
        ("90,120:", "", "line 9: 1 dimensions, not 2"),
        ("@classLabel true web dns\n", "", "@classLabel is not true"),
        ("@timeStamps false", "@timeStamps true", "write the values alone"),
        ("@data\n", "", "has a line @data"),
    ],
)
def test_ts_that_cannot_be_read(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        load(tmp_path, "t.ts", TS.replace(old, new), channels=["packet_length", "direction"])


def test_dimensions_of_ts_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"2 dimension\(s\) without names: say what"):
        load(tmp_path, "t.ts", TS)
