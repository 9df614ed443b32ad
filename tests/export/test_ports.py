"""Protocols and ports that flows are written on, as dpkt and tshark see them."""

from __future__ import annotations

import csv
import re
import subprocess
from pathlib import Path
from typing import Any

import captures
import dpkt
import numpy as np
import pyarrow as pa
import pytest
from command import run
from test_packets import imported, read, same_points, tool

from netdiffus.capture import import_captures
from netdiffus.errors import InputError
from netdiffus.export import ports as server_ports
from netdiffus.export.capture import write_capture
from netdiffus.export.packets import CLIENT_PORTS
from netdiffus.protocols import NUMBERS, TCP, UDP
from netdiffus.traces.traces import Traces

# Of a single class: it is what these traces have.
pytestmark = pytest.mark.filterwarnings("ignore:all traces are of one class")


def flows(protocol: Any, port: Any, payloads: list[list[int]]) -> Traces:
    """A trace per row of payload bytes, its packets going to and fro."""
    table = {
        "label": ["a"] * len(payloads),
        "packet_length": payloads,
        "direction": [[(-1) ** i for i in range(len(row))] for row in payloads],
        "iat": [[0.001] * len(row) for row in payloads],
    }
    return Traces.from_arrow(pa.table({**table, "protocol": protocol, "server_port": port}))


def write(traces: Traces, path: Path, **options: Any) -> dict[str, Any]:
    return write_capture(traces, path, size="payload", **options)


def sent(path: Path) -> list[tuple[str, int]]:
    """Transport and server port of each client, in the order of their addresses."""
    found = {}
    for one in read(path):
        data = one.ip.data
        client, port = (one.ip.src, data.dport) if one.from_client else (one.ip.dst, data.sport)
        found[client] = ("tcp" if isinstance(data, dpkt.tcp.TCP) else "udp", port)
    return [found[client] for client in sorted(found)]


def label_rows(path: Path) -> list[dict[str, str]]:
    with path.with_suffix(".labels.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([22, None, 0, 65535], [22, 8443, 8443, 65535]),
        ([22.0, None, float("nan"), 0.0], [22, 8443, 8443, 8443]),
        (["22", " 443 ", "", None], [22, 443, 8443, 8443]),
        (pa.array([22, 0, 1, 443], pa.uint16()), [22, 8443, 1, 443]),
        (pa.array(["22", "0", None, "443"]).dictionary_encode(), [22, 8443, 8443, 443]),
    ],
)
def test_ports_are_read_from_any_column(column: Any, expected: list[int], tmp_path: Path) -> None:
    traces = flows(["tcp"] * 4, column, [[60, 60]] * 4)
    write(traces, tmp_path / "t.pcap", server_port=8443)
    assert sent(tmp_path / "t.pcap") == [("tcp", port) for port in expected]


@pytest.mark.parametrize(
    ("column", "expected", "others"),
    [
        (["tcp", "UDP ", None, ""], ["tcp", "udp", "udp", "udp"], 0),
        ([6, 17, None, 6], ["tcp", "udp", "udp", "tcp"], 0),
        ([6.0, 17.0, float("nan"), None], ["tcp", "udp", "udp", "udp"], 0),
        (["6", "17", "1", "icmp"], ["tcp", "udp", "udp", "udp"], 2),
        ([1, 58, 0, 255], ["udp"] * 4, 4),
        (["ICMPv6", "gre", "sctp", "47"], ["udp"] * 4, 4),
    ],
)
def test_protocols_are_read_from_any_column(
    column: Any, expected: list[str], others: int, tmp_path: Path
) -> None:
    traces = flows(column, [443] * 4, [[60, 60]] * 4)
    written = write(traces, tmp_path / "t.pcap", protocol="udp")
    assert [protocol for protocol, _ in sent(tmp_path / "t.pcap")] == expected
    assert written["as_udp"] == others
    assert [row["protocol"] for row in label_rows(tmp_path / "t.pcap")] == expected


@pytest.mark.parametrize(
    ("name", "column", "found"),
    [
        ("server_port", ["443", None, "https"], "'https'"),
        ("server_port", ["443", "80", "٤٤٣"], "'٤٤٣'"),
        ("server_port", ["443", "80", "1" * 5000], "'1111"),
        ("server_port", [443, None, 65536], "65536"),
        ("server_port", [443, 0, -1], "-1"),
        ("server_port", [443, 80, 53.5], "53.5"),
        ("server_port", [443, 80, float("inf")], "inf"),
        ("server_port", [None, None, True], "True"),
        ("protocol", ["tcp", None, "QUIC"], "'QUIC'"),
        ("protocol", [6, 17, 256], "256"),
        ("protocol", [6, 17, -6], "-6"),
        ("protocol", [6, 17, 6.5], "6.5"),
    ],
)
def test_a_cell_that_cannot_be_written_is_named(
    name: str, column: list[Any], found: str, tmp_path: Path
) -> None:
    columns = {"protocol": ["tcp"] * 3, "server_port": [443] * 3, name: column}
    traces = flows(columns["protocol"], columns["server_port"], [[60, 60]] * 3)
    option = f"--{name.replace('_', '-')}"
    message = f"^trace 2: meta '{name}' is {re.escape(found)}.*, not .*leave the cell.*{option}"
    (tmp_path / "t.pcap").write_text("mine")
    with pytest.raises(InputError, match=message):
        write(traces, tmp_path / "t.pcap", force=True)
    assert [one.name for one in tmp_path.iterdir()] == ["t.pcap"]
    assert (tmp_path / "t.pcap").read_text() == "mine"


@pytest.mark.parametrize("port", [0, -1, 65536, "443", None])
def test_a_default_port_that_is_none_is_named(port: Any, tmp_path: Path) -> None:
    traces = flows(["tcp"], [None], [[60]])
    with pytest.raises(InputError, match=rf"server_port must be .* 1\.\.65535, got {port!r}"):
        write(traces, tmp_path / "t.pcap", server_port=port)
    assert not list(tmp_path.iterdir())


def test_what_stops_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: float, note: str) -> None:
        raise KeyboardInterrupt

    traces = flows(["tcp"], [443], [[60] * 9])
    with pytest.raises(KeyboardInterrupt):
        write(traces, tmp_path / "t.pcap", progress=stop)
    assert not list(tmp_path.iterdir())


def test_pings_come_back_from_udp(tmp_path: Path) -> None:
    """As they were imported: ICMP has a header as long as UDP's, and port 0."""
    path = tmp_path / "talk.pcap"
    path.write_bytes(captures.pcap(captures.frames(captures.conversation())))
    traces, _ = import_captures(path, label_from=None)
    assert "icmp" in traces.meta["protocol"].to_pylist()
    for size in ("ip", "wire", "payload"):
        written = write_capture(traces, tmp_path / f"{size}.pcap", size=size, small="raise")
        assert written["as_udp"] == 1
    same_points(imported(tmp_path / "ip.pcap"), traces)


@pytest.mark.parametrize("ip", [4, 6])
@pytest.mark.parametrize(
    ("protocol", "port", "payload", "expected"),
    [
        ("udp", 53, 64, 50053),
        ("tcp", 53, 64, 50053),
        ("udp", 5353, 64, 55353),
        ("udp", 161, 64, 161),
        ("udp", 443, 1, 443),
        ("tcp", 443, 1, 443),
        ("tcp", 80, 1, 80),
        ("tcp", 22, 5, 22),
        ("tcp", 22, 4, 50022),
        ("udp", 67, 300, 67),
        ("udp", 67, 299, 50067),
        ("udp", 68, 300, 68),
        ("udp", 68, 299, 50068),
        ("udp", 123, 48, 123),
        ("udp", 123, 47, 50123),
        ("udp", 500, 28, 500),
        ("udp", 500, 27, 50500),
        ("udp", 4500, 32, 4500),
        ("udp", 4500, 31, 54500),
        ("udp", 4500, 0, 54500),
        ("udp", 49152, 64, 59152),
        ("udp", 54328, 64, 50000),
        ("tcp", 54328, 64, 54328),
    ],
)
def test_flows_move_where_zeros_are_no_message(
    protocol: str, port: int, payload: int, expected: int, ip: int, tmp_path: Path
) -> None:
    """The other flow is on a port that is no protocol's."""
    traces = flows([protocol] * 2, [port, 9999], [[300, payload, 300], [1]])
    written = write(traces, tmp_path / "t.pcap", ip=ip)
    assert sent(tmp_path / "t.pcap") == [(protocol, expected), (protocol, 9999)]
    assert written["moved"] == (expected != port)
    ports = [int(row["dst_port"]) for row in label_rows(tmp_path / "t.pcap")]
    assert ports == [expected, 9999]
    kept = write(traces, tmp_path / "k.pcap", ip=ip, ports="keep")
    assert kept["moved"] == 0
    assert sent(tmp_path / "k.pcap") == [(protocol, port), (protocol, 9999)]


def test_a_connection_without_data_stays(tmp_path: Path) -> None:
    """No program is given any of it."""
    traces = flows(["tcp", "udp"], [53, 53], [[0, 0, 0], [0, 0, 0]])
    assert write(traces, tmp_path / "t.pcap")["moved"] == 1
    assert sent(tmp_path / "t.pcap") == [("tcp", 53), ("udp", 50053)]


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_moved_flows_come_back_and_stay(protocol: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ports = [53, 123, 500, 1194, 3306, 4500, 5353, 6379, 9999, 24800]
    payloads = [rng.integers(1, 1400, 6).tolist() for _ in ports]
    traces = flows([protocol] * len(ports), ports, payloads)
    written = write(traces, tmp_path / "t.pcap")
    assert written["moved"] >= 5
    back = imported(tmp_path / "t.pcap", "payload")
    assert np.array_equal(back.points("packet_length"), traces.points("packet_length"))
    assert np.array_equal(back.points("direction"), traces.points("direction"))
    assert write(back, tmp_path / "again.pcap")["moved"] == 0
    assert (tmp_path / "again.pcap").read_bytes() == (tmp_path / "t.pcap").read_bytes()


def test_no_flow_moves_to_where_it_would_have_to_move_from() -> None:
    for protocol in (TCP, UDP):
        watched = server_ports.watched_ports(protocol)
        assert not np.isin(server_ports.FREE[watched], watched).any()
    assert server_ports.FREE.min() == 50000
    assert server_ports.FREE.max() == 59999


def test_clients_keep_off_the_watched_ports() -> None:
    for protocol in (TCP, UDP):
        assert not np.isin(CLIENT_PORTS, server_ports.watched_ports(protocol)).any()
    assert CLIENT_PORTS.min() > 49151  # RFC 6335
    assert len(np.unique(CLIENT_PORTS)) == len(CLIENT_PORTS)


def known_ports(protocol: str) -> list[int]:
    """All that tshark has a dissector for, and all that are watched."""
    table = subprocess.run(
        [tool("tshark"), "-G", "decodes"], capture_output=True, text=True, check=True
    ).stdout
    found = {int(port) for port in re.findall(rf"^{protocol}\.port\t(\d+)\t", table, re.M)}
    number = NUMBERS[protocol]
    return sorted((found | set(server_ports.watched_ports(number).tolist())) - {0})


def complaints(path: Path) -> str:
    command = [tool("tshark"), "-r", path, "-q", "-z", "expert,warn"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_tshark_finds_no_fault_on_any_port_it_knows(protocol: str, tmp_path: Path) -> None:
    ports = known_ports(protocol)
    rng = np.random.default_rng(0)
    payloads = [rng.integers(0, (20, 200, 1400)[i % 3], 20).tolist() for i in range(len(ports))]
    traces = flows([protocol] * len(ports), ports, payloads)
    assert write(traces, tmp_path / "t.pcap")["moved"] > 100
    assert complaints(tmp_path / "t.pcap") == ""
    write(traces, tmp_path / "k.pcap", ports="keep")
    assert "Malformed" in complaints(tmp_path / "k.pcap")


class TestCommand:
    def test_a_bad_cell_is_one_line(self, tmp_path: Path) -> None:
        flows(["tcp"] * 2, ["443", "https"], [[60]] * 2).save(tmp_path / "t.parquet")
        done = run("export", tmp_path / "t.parquet", "-o", tmp_path / "t.pcap", "--size", "payload")
        assert done.code == 2
        assert "trace 1: meta 'server_port' is 'https'" in done.err
        assert [one.name for one in tmp_path.iterdir()] == ["t.parquet"]

    def test_flows_on_other_ports_are_counted(self, tmp_path: Path) -> None:
        flows(["udp", "icmp"], [53, 0], [[60]] * 2).save(tmp_path / "t.parquet")
        done = run("export", tmp_path / "t.parquet", "-o", tmp_path / "t.pcap", "--size", "payload")
        assert done.code == 0
        assert "as_udp: 1\nmoved: 1\n" in done.out
