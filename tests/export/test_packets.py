"""Captures that are written, as dpkt, tcpdump and tshark read them."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from ipaddress import ip_address, ip_network
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import dpkt
import numpy as np
import pyarrow as pa
import pytest
from command import run
from hypothesis import given, settings
from hypothesis import strategies as st
from small import packets, volumes

from netdiffus.capture import Rules, import_captures
from netdiffus.channels import Channel
from netdiffus.errors import InputError
from netdiffus.export.capture import write_capture
from netdiffus.export.headers import headers
from netdiffus.export.packets import addresses, flows_of, frame, packet_points
from netdiffus.traces.lab import lab_traffic
from netdiffus.traces.traces import Traces

# Of a single class: it is what these traces have.
pytestmark = pytest.mark.filterwarnings("ignore:all traces are of one class")

HEADERS = {(4, "tcp"): 40, (4, "udp"): 28, (6, "tcp"): 60, (6, "udp"): 48}
DOCUMENTATION = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
Tcp, Udp = dpkt.tcp.TCP, dpkt.udp.UDP


class Frame(NamedTuple):
    time: int  # ns
    ethernet: dpkt.ethernet.Ethernet
    length: int

    @property
    def ip(self) -> Any:
        return self.ethernet.data

    @property
    def from_client(self) -> bool:
        return bool(self.ethernet.src[5] == 1)

    @property
    def generated(self) -> bool:
        return bool(self.ethernet.src[4] == 0)

    @property
    def flow(self) -> tuple[Any, ...]:
        ends = [(self.ip.src, self.ip.data.sport), (self.ip.dst, self.ip.data.dport)]
        return (type(self.ip.data), *ends[:: 1 if self.from_client else -1])


def read(path: Path) -> list[Frame]:
    """Every frame; where dpkt's times are floats, they are exact to the ns near the epoch."""
    with path.open("rb") as file:
        reader = dpkt.pcap.UniversalReader(file)
        assert reader.datalink() == dpkt.pcap.DLT_EN10MB
        return [
            Frame(round(Decimal(time) * 10**9), dpkt.ethernet.Ethernet(octets), len(octets))
            for time, octets in reader
        ]


def by_flow(frames: list[Frame]) -> dict[tuple[Any, ...], list[Frame]]:
    flows = defaultdict(list)
    for one in frames:
        flows[one.flow].append(one)
    return flows


def times(traces: Traces) -> np.ndarray:
    """ns of the first time channel, (N, L)."""
    index = [channel.kind for channel in traces.channels].index("time")
    return np.rint(traces.values[:, index] * 1e9).astype(np.int64)


def measured(one: Frame, size: str) -> int:
    return {
        "ip": one.length - 14,
        "wire": one.length,
        "payload": len(one.ip.data.data),
    }[size]


@pytest.mark.parametrize("suffix", [".pcap", ".pcapng"])
@pytest.mark.parametrize(("resolution", "step"), [("ns", 1), ("us", 1000)])
@pytest.mark.parametrize("ip", [4, 6])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("size", ["ip", "wire", "payload"])
def test_dpkt_reads_the_sizes_directions_and_times(
    suffix: str, resolution: str, step: int, ip: int, protocol: str, size: str, tmp_path: Path
) -> None:
    traces = packets(20)
    traces.values[:, 0][traces.mask] += 40  # room for headers
    path = tmp_path / f"t{suffix}"
    options: Any = {"resolution": resolution, "ip": ip, "protocol": protocol, "size": size}
    written = write_capture(traces, path, mtu=1700, **options)
    flows = by_flow(read(path))
    assert len(flows) == len(traces)
    assert written["packets"] == traces.lengths.sum()
    assert written["framing"] == (6 * len(traces) if protocol == "tcp" else 0)
    for row, frames in enumerate(flows.values()):
        made = [one for one in frames if one.generated]
        length = traces.lengths[row]
        assert [measured(one, size) for one in made] == traces.values[row, 0, :length].tolist()
        assert [1 if one.from_client else -1 for one in made] == traces.values[
            row, 1, :length
        ].tolist()
        expected = np.rint(times(traces)[row, :length] / step).astype(np.int64) * step
        assert np.array_equal([one.time - made[0].time for one in made], expected - expected[0])


@pytest.mark.parametrize("ip", [4, 6])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_dpkt_computes_the_same_checksums_and_lengths(
    ip: int, protocol: str, tmp_path: Path
) -> None:
    traces = packets(30)
    write_capture(traces, tmp_path / "t.pcap", ip=ip, protocol=protocol, small="raise")
    for one in read(tmp_path / "t.pcap"):
        packet = one.ip
        written = bytes(packet)
        assert len(written) == one.length - 14  # dpkt has cut it to the length in the header
        if ip == 4:
            packet.sum = 0
        packet.data.sum = 0
        assert bytes(packet) == written
        assert packet.data.sum != 0


def test_a_udp_checksum_of_zero_is_written_as_all_ones(tmp_path: Path) -> None:
    """Of zeros of every length one has checksum 0, which in UDP would mean none (RFC 768)."""
    sizes = [list(range(28, 65000, 1))]
    traces = Traces.from_lists(
        {
            "packet_length": sizes,
            "direction": [[1] * len(sizes[0])],
            "timestamp": [np.arange(len(sizes[0])) / 1e6],
        },
        ["a"],
    )
    points = packet_points(traces)
    flows = flows_of(traces, points, protocol="udp")
    framed = frame(points, flows, points.size - 28)
    ((_, rows),) = headers(framed, flows, 65535)
    checksums = rows[:, 40:42].copy().view(">u2")
    assert not (checksums == 0).any()
    assert (checksums == 0xFFFF).any()


def test_tcp_numbers_are_what_two_ends_would_send(tmp_path: Path) -> None:
    """Plays every flow: each side's next number, and what it has had from the other."""
    write_capture(packets(30, 40), tmp_path / "t.pcap")
    for frames in by_flow(read(tmp_path / "t.pcap")).values():
        sent = {True: 0, False: 0}
        for one in frames:
            tcp = one.ip.data
            assert tcp.seq == sent[one.from_client]
            assert tcp.ack == sent[not one.from_client]
            assert bool(tcp.flags & dpkt.tcp.TH_ACK) == (tcp is not frames[0].ip.data)
            sent[one.from_client] += len(tcp.data) + bool(tcp.flags & 3)
        flags = [one.ip.data.flags & ~dpkt.tcp.TH_PUSH for one in frames]
        assert flags == [0x02, 0x12, *[0x10] * (len(frames) - 5), 0x11, 0x11, 0x10]
        assert [one.generated for one in frames] == [
            *[False] * 3,
            *[True] * (len(frames) - 6),
            *[False] * 3,
        ]


def test_sequence_numbers_pass_4_gib(tmp_path: Path) -> None:
    n = 100_000  # 6.5 GB: past 4 GiB, and then past 2 GiB
    traces = Traces.from_lists(
        {
            "packet_length": [[65535] * n],
            "direction": [[-1] * n],
            "timestamp": [np.arange(n) / 1e6],
        },
        ["a"],
    )
    points = packet_points(traces)
    flows = flows_of(traces, points)
    framed = frame(points, flows, points.size - 52)
    assert framed.seq.max() > 2**32
    last = framed[-2:-1]  # the server's FIN
    ((_, rows),) = headers(last, flows, 1500)
    assert int.from_bytes(rows[0, 38:42].tobytes(), "big") == (1 + n * (65535 - 52)) % 2**32


def test_a_packet_of_52_bytes_is_an_acknowledgement_with_timestamps(tmp_path: Path) -> None:
    traces = Traces.from_lists(
        {
            "packet_length": [[60, 1500, 52], [60, 1500, 40]],
            "direction": [[1, -1, 1]] * 2,
            "iat": [[0, 0.5, 0.25]] * 2,
        },
        ["a", "b"],
    )
    write_capture(traces, tmp_path / "t.pcap")
    stamped, plain = by_flow(read(tmp_path / "t.pcap")).values()
    assert [len(one.ip.data.data) for one in stamped[3:-3]] == [8, 1448, 0]
    assert [len(one.ip.data.data) for one in plain[3:-3]] == [20, 1460, 0]
    stamps = []
    for one in stamped:
        options = dict(dpkt.tcp.parse_opts(one.ip.data.opts))
        stamps.append(np.frombuffer(options[dpkt.tcp.TCP_OPT_TIMESTAMP], ">u4").tolist())
    own = [997, 998, 999, 1000, 1500, 1750, 1751, 1752, 1753]  # ms
    echo = [0, 997, 998, 998, 1000, 1500, 1500, 1751, 1752]
    assert stamps == [list(pair) for pair in zip(own, echo, strict=True)]


def test_addresses_are_for_documentation_and_every_flow_is_its_own() -> None:
    n = 100_000
    columns = {"packet_length": [[60]] * n, "direction": [[1]] * n, "timestamp": [[0.0]] * n}
    traces = Traces.from_arrow(pa.table({"label": ["a"] * n, **columns}))
    points = packet_points(traces)
    for ip in (4, 6):
        flows = flows_of(traces, points, ip=ip)
        clients, servers = addresses(ip)
        for one in clients + servers:
            assert any(
                ip_address(one) in ip_network(network)
                for network in DOCUMENTATION
                if ip_network(network).version == ip
            )
        assert not set(clients) & set(servers)
        tuples = zip(flows.client, flows.client_port, flows.server, strict=True)
        assert len(set(tuples)) == n
        assert flows.client_port.max() <= 65535


def test_addresses_of_the_meta_are_nobodys(tmp_path: Path) -> None:
    columns = {"packet_length": [[60]] * 2, "direction": [[1]] * 2, "timestamp": [[0.0]] * 2}
    ends = {"client": ["10.0.0.1", "10.0.0.1"], "server": ["198.18.0.1", "233.252.0.9"]}
    write_capture(
        Traces.from_lists(columns, ["a", "b"], ends), tmp_path / "a.pcap", addresses="meta"
    )
    with (tmp_path / "a.labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(one["src_ip"], one["dst_ip"]) for one in rows] == list(
        zip(*ends.values(), strict=True)
    )
    for cell in ("8.8.8.8", "fd00::1", None, "x"):
        traces = Traces.from_lists(columns, ["a", "b"], {**ends, "server": ["10.0.0.2", cell]})
        with pytest.raises(InputError, match="trace 1: meta 'server'"):
            write_capture(traces, tmp_path / "b.pcap", addresses="meta")


def test_meta_says_protocol_port_and_start(tmp_path: Path) -> None:
    start = [1_700_000_000_123_456_789, 1_600_000_000_000_000_001, 5_000_000_000]
    traces = Traces.from_lists(
        {"packet_length": [[99]] * 3, "direction": [[-1]] * 3, "timestamp": [[0.0]] * 3},
        ["a", "b", "c"],
        {"protocol": ["udp", "TCP", "17"], "server_port": [161, 22, None], "start": start},
    )
    write_capture(traces, tmp_path / "t.pcapng", server_port=8443)
    made = [one for one in read(tmp_path / "t.pcapng") if one.generated]
    assert [type(one.ip.data) for one in made] == [Udp, Tcp, Udp]  # in the order of start
    assert [one.ip.data.sport for one in made] == [8443, 22, 161]
    assert [seconds(row["start"]) for row in labels(tmp_path / "t.labels.csv")] == start


def labels(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def seconds(text: str) -> int:
    return int(Decimal(text) * 10**9)


@pytest.mark.parametrize("ip", [4, 6])
def test_labels_name_the_flows(ip: int, tmp_path: Path) -> None:
    traces = packets()
    write_capture(traces, tmp_path / "t.pcap", ip=ip, small="raise")
    flows = by_flow(read(tmp_path / "t.pcap"))
    rows = labels(tmp_path / "t.labels.csv")
    assert [row["label"] for row in rows] == traces.label_names.tolist()
    for row in rows:
        client, server = (
            (ip_address(row[f"{end}_ip"]).packed, int(row[f"{end}_port"])) for end in ("src", "dst")
        )
        made = [one.time for one in flows[(Tcp, client, server)] if one.generated]
        assert [seconds(row["start"]), seconds(row["end"])] == [made[0], made[-1]]


def test_start_one_after_another_or_together(tmp_path: Path) -> None:
    traces = packets(8)
    for start in ("sequence", "together"):
        path = tmp_path / f"{start}.pcap"
        write_capture(traces, path, start=start)
        frames = read(path)
        when = [one.time for one in frames]
        assert when == sorted(when)
        order = [one.flow for one in frames]
        changes = sum(a != b for a, b in pairwise(order))
        assert (changes == len(traces) - 1) == (start == "sequence")
        firsts = [next(f.time for f in some if f.generated) for some in by_flow(frames).values()]
        offsets = times(traces)[:, 0]
        if start == "sequence":
            assert firsts[0] == 10**9 + offsets[0]
        else:
            assert np.array_equal(np.sort(firsts), 10**9 + np.sort(offsets))


def test_same_traces_same_bytes(tmp_path: Path) -> None:
    for name in ("a.pcapng", "b.pcapng"):
        write_capture(packets(), tmp_path / name)
    assert (tmp_path / "a.pcapng").read_bytes() == (tmp_path / "b.pcapng").read_bytes()


def test_pcapng_says_that_it_is_synthetic(tmp_path: Path) -> None:
    write_capture(packets(), tmp_path / "t.pcapng")
    octets = (tmp_path / "t.pcapng").read_bytes()
    block = dpkt.pcapng.SectionHeaderBlockLE(octets[: int.from_bytes(octets[4:8], "little")])
    comment, *_ = block.opts
    assert "Synthetic" in comment.text
    options = {one.code: one.data for one in block.opts}
    assert options[4].startswith(b"netdiffus ")  # shb_userappl


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_any_trace_survives(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    protocol = data.draw(st.sampled_from(["tcp", "udp"]))
    ip = data.draw(st.sampled_from([4, 6]))
    point = st.tuples(
        st.integers(HEADERS[ip, protocol], 65535),
        st.sampled_from([-1, 1]),
        st.integers(0, 10**14),
    )
    rows = data.draw(
        st.lists(st.lists(point, min_size=1, max_size=6).map(from_first), min_size=1, max_size=5)
    )
    traces = Traces.from_lists(
        {
            "packet_length": [[size for size, _, _ in row] for row in rows],
            "direction": [[direction for _, direction, _ in row] for row in rows],
            "timestamp": [[time / 1e9 for _, _, time in row] for row in rows],
        },
        ["a"] * len(rows),
    )
    path = tmp_path_factory.mktemp("t") / f"t.{data.draw(st.sampled_from(['pcap', 'pcapng']))}"
    start = data.draw(st.sampled_from(["sequence", "together"]))
    write_capture(traces, path, mtu=65535, ip=ip, protocol=protocol, start=start)
    flows = by_flow(read(path))
    found = [
        [(f.length - 14, 1 if f.from_client else -1, f.time) for f in some if f.generated]
        for some in sorted(flows.values(), key=lambda some: number(some[0]))
    ]
    for row, made in zip(rows, found, strict=True):
        assert [one[:2] for one in made] == [one[:2] for one in row]
        assert [one[2] - made[0][2] for one in made] == [one[2] - row[0][2] for one in row]
    back = imported(path)
    order = np.argsort([int(ip_address(one).packed[-1]) for one in back.meta["client"].to_pylist()])
    same_points(back[order], traces)


def imported(path: Path, size: str = "ip") -> Traces:
    rules = Rules(packets=None, size=size)
    back, report = import_captures(path, label_from=path.with_suffix(".labels.csv"), rules=rules)
    assert not report.problems
    return back


def same_points(back: Traces, traces: Traces, step: int = 1) -> None:
    """Sizes, directions, labels, and times since the first packet, to the file's resolution."""
    assert back.meta["synthetic"].to_pylist() == [True] * len(traces)
    assert np.array_equal(back.lengths, traces.lengths)
    assert np.array_equal(back.label_names, traces.label_names)
    for name in ("packet_length", "direction"):
        assert np.array_equal(back.points(name), traces.points(name))
    expected = np.rint(times(traces) / step).astype(np.int64) * step
    expected = np.where(traces.mask, expected - expected[:, :1], 0)
    assert np.array_equal(times(back), expected)


@pytest.mark.parametrize("suffix", [".pcap", ".pcapng"])
@pytest.mark.parametrize(("resolution", "step"), [("ns", 1), ("us", 1000)])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize(("size", "mtu"), [("ip", 1500), ("wire", 1500), ("payload", 1540)])
def test_import_gives_the_traces_back(
    suffix: str, resolution: str, step: int, protocol: str, size: str, mtu: int, tmp_path: Path
) -> None:
    traces = lab_traffic("packets")[::15]
    traces.values[:, 0][traces.mask & (traces.values[:, 0] < 54)] = 54
    options: Any = {"resolution": resolution, "protocol": protocol, "size": size, "mtu": mtu}
    first, again = tmp_path / f"t{suffix}", tmp_path / f"again{suffix}"
    write_capture(traces, first, **options)
    back = imported(first, size)
    same_points(back, traces, step)
    write_capture(back, again, **options)  # now with start, protocol and port from the meta
    assert first.read_bytes() == again.read_bytes()
    assert (tmp_path / "t.labels.csv").read_text() == (tmp_path / "again.labels.csv").read_text()


def from_first(row: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """In the order of time, which counts from the first."""
    first = min(time for _, _, time in row)
    shifted = [(size, direction, time - first) for size, direction, time in row]
    return sorted(shifted, key=lambda one: one[2])


def number(one: Frame) -> int:
    """Row of the trace, told by the client's address."""
    return int((one.ip.src if one.from_client else one.ip.dst)[-1])


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"direction": None}, {}, "one of directions.*found packet_length"),
        ({"timestamp": None}, {}, "times or gaps"),
        ({"packet_length": [[99, 39]]}, {}, r"trace 0, point 1.*40 bytes, found 39 \(1 packets"),
        ({"packet_length": [[1501, 60]]}, {}, r"trace 0, point 0.*MTU of 1500 .*found 1501"),
        ({}, {"mtu": 65536}, r"mtu of IPv4 must be in 68\.\.65535, got 65536"),
        ({}, {"mtu": 1279, "ip": 6}, r"mtu of IPv6 must be in 1280\.\.65575, got 1279"),
        ({}, {"size": "frame"}, "size must be one of ip, wire, payload, got 'frame'"),
        ({}, {"ip": 5}, "ip must be one of 4, 6, got 5"),
        ({}, {"protocol": "icmp"}, "protocol must be one of tcp, udp, got 'icmp'"),
        ({}, {"start": "meta"}, "needs a meta column 'start'"),
        ({}, {"start": "now"}, "start must be one of meta, sequence, together, got 'now'"),
        ({}, {"resolution": "ms"}, "resolution must be one of ns, us, got 'ms'"),
        ({}, {"small": "drop"}, "small must be one of refuse, raise, got 'drop'"),
        ({"start": [1.5]}, {}, "trace 0: meta 'start' is 1.5"),
        ({"start": [0]}, {}, "trace 0: meta 'start' is 0"),
        ({"start": [2**62]}, {}, "does not fit into pcap; write .pcapng"),
    ],
)
def test_what_cannot_be_written_is_named(
    columns: dict[str, Any], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    whole = {"packet_length": [[60, 60]], "direction": [[1, -1]], "timestamp": [[0, 0.5]]}
    found = {name: one for name, one in {**whole, **columns}.items() if one is not None}
    traces = Traces.from_arrow(pa.table({"label": ["a"], **found}))
    with pytest.raises(InputError, match=message):
        write_capture(traces, tmp_path / "t.pcap", **options)
    assert not list(tmp_path.iterdir())


def test_volumes_are_no_packets(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="volumes per bin, not of packets: value"):
        write_capture(volumes(), tmp_path / "t.pcap")


def test_an_unknown_unit_of_time_is_named() -> None:
    traces = packets()
    channels = (*traces.channels[:2], Channel("timestamp", "time", "min"))
    odd = Traces(traces.values, traces.lengths, channels, traces.labels, traces.classes)
    with pytest.raises(InputError, match="'timestamp' has the unit 'min'"):
        packet_points(odd)


def test_other_names_and_files_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a capture is written to \.pcap or \.pcapng"):
        write_capture(packets(), tmp_path / "t.cap")
    (tmp_path / "t.labels.csv").write_text("mine")
    with pytest.raises(FileExistsError, match=r"t\.labels\.csv exists"):
        write_capture(packets(), tmp_path / "t.pcap")
    assert [p.name for p in tmp_path.iterdir()] == ["t.labels.csv"]
    (tmp_path / "u.labels.csv").mkdir()
    with pytest.raises(InputError, match=r"u\.labels\.csv is a folder; choose another name"):
        write_capture(packets(), tmp_path / "u.pcap", force=True)
    assert not (tmp_path / "u.pcap").exists()


def test_small_sizes_are_raised_and_counted(tmp_path: Path) -> None:
    traces = Traces.from_lists(
        {"packet_length": [[10, 39, 40, 99]], "direction": [[1] * 4], "iat": [[0.0] * 4]}, ["a"]
    )
    assert write_capture(traces, tmp_path / "t.pcap", small="raise")["raised"] == 2
    made = [one.length - 14 for one in read(tmp_path / "t.pcap") if one.generated]
    assert made == [40, 40, 40, 99]


def at_times(times: list[float]) -> Traces:
    """A trace with these times, which no file could bring in this way."""
    columns = {"packet_length": [[60, 61, 62]], "direction": [[1, -1, 1]]}
    traces = Traces.from_lists({**columns, "timestamp": [[0.0] * 3]}, ["a"])
    values = traces.values.copy()
    values[0, 2] = times
    return replace(traces, values=values)


def test_times_before_the_epoch_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="before the epoch"):
        write_capture(at_times([-9, 0, 0]), tmp_path / "t.pcap", start="together")
    assert not list(tmp_path.iterdir())


def test_gaps_are_summed_and_disorder_is_put_in_order() -> None:
    columns = {"packet_length": [[60, 61, 62]], "direction": [[1, -1, 1]]}
    gaps = Traces.from_lists({**columns, "iat": [[0.0, 1e-9, 0.5]]}, ["a"])
    assert packet_points(gaps).time.tolist() == [0, 1, 500_000_001]
    back = packet_points(at_times([0.0, 0.2, 0.1]))
    assert back.time.tolist() == [0, 100_000_000, 200_000_000]
    assert back.size.tolist() == [60, 62, 61]
    assert back.direction.tolist() == [1, 1, -1]


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


LAB = [
    {"suffix": ".pcap"},
    {"suffix": ".pcap", "resolution": "us", "start": "together"},
    {"suffix": ".pcapng", "ip": 6, "size": "payload", "mtu": 1600},
    {"suffix": ".pcap", "protocol": "udp"},
    {"suffix": ".pcapng", "protocol": "udp", "ip": 6},
]


@pytest.fixture(
    scope="module", params=LAB, ids=lambda options: " ".join(map(str, options.values()))
)
def lab_capture(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = dict(request.param)
    path = tmp_path_factory.mktemp("lab") / f"lab{options.pop('suffix')}"
    written = write_capture(lab_traffic("packets")[::9], path, small="raise", **options)
    assert written["packets"] > 10_000
    return path


def test_tcpdump_finds_nothing_wrong(lab_capture: Path) -> None:
    command = [tool("tcpdump"), "-nn", "-vvv", "-r", lab_capture]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "192.0.2." in done.stdout or "2001:db8:" in done.stdout
    fault = re.compile(r"incorrect|bad|invalid|truncated|\[\|")
    by_accident = re.compile(r"cksum 0x\w*bad")
    assert [
        line
        for line in done.stdout.lower().splitlines()
        if fault.search(line) and not by_accident.search(line)
    ] == []
    assert done.stderr.startswith("reading from file")
    assert done.stderr.count("\n") == 1


def test_tshark_finds_nothing_wrong(lab_capture: Path) -> None:
    checks = [f"-o{name}.check_checksum:TRUE" for name in ("ip", "tcp", "udp")]
    command = [tool("tshark"), "-r", lab_capture, *checks, "-q", "-z", "expert,warn"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    fields = ["-T", "fields", "-e", "frame.len", "-Y", "ip or ipv6"]
    listed = subprocess.run(
        [tool("tshark"), "-r", lab_capture, *fields], capture_output=True, text=True, check=True
    )
    assert listed.stdout.count("\n") == len(read(lab_capture))


def trained(folder: Path, traces: Traces) -> Path:
    traces.save(folder / "train.parquet")
    small = ("--steps", 2, "--width", 8)
    assert run("train", folder / "train.parquet", *small, "-o", folder / "model").code == 0
    return folder / "model"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("small"), packets(60))


@pytest.fixture(scope="module")
def model_of_large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of packets above the usual MTU."""
    traces = packets(60)
    traces.values[:, 0][traces.mask] += 1500
    return trained(tmp_path_factory.mktemp("large"), traces)


class TestCommand:
    def test_export(self, tmp_path: Path) -> None:
        packets().save(tmp_path / "t.parquet")
        done = run("export", tmp_path / "t.parquet", "-o", tmp_path / "t.pcapng", "--json")
        assert done.code == 0
        assert '"traces": 12' in done.out
        write_capture(packets(), tmp_path / "python.pcapng")
        assert (tmp_path / "t.pcapng").read_bytes() == (tmp_path / "python.pcapng").read_bytes()

    def test_sample_writes_a_capture_that_export_would(self, model: Path, tmp_path: Path) -> None:
        made = ("sample", model, "-n", 6, "--seed", 1, "-o")
        assert run(*made, tmp_path / "t.pcap").code == 0
        assert run(*made, tmp_path / "t.parquet").code == 0
        assert run("export", tmp_path / "t.parquet", "-o", tmp_path / "e.pcap").code == 0
        assert (tmp_path / "t.pcap").read_bytes() == (tmp_path / "e.pcap").read_bytes()

    def test_sample_takes_the_choices_of_export(self, model_of_large: Path, tmp_path: Path) -> None:
        made = ("sample", model_of_large, "-n", 6, "--seed", 1, "-o")
        choices = ("--mtu", 9000, "--ip", 6, "--server-port", 8443, "--resolution", "us")
        choices += ("--small", "raise", "--ports", "keep", "--protocol", "udp")
        assert run(*made, tmp_path / "t.parquet").code == 0
        assert run(*made, tmp_path / "t.pcap", *choices, "--starts", "together").code == 0
        export = ("export", tmp_path / "t.parquet", "-o", tmp_path / "e.pcap", "--start")
        assert run(*export, "together", *choices).code == 0
        assert (tmp_path / "t.pcap").read_bytes() == (tmp_path / "e.pcap").read_bytes()
        refused = run(*made, tmp_path / "u.parquet", "--mtu", 9000)
        assert refused.code == 2
        assert "a table has no use for --mtu" in refused.err

    def test_sampled_traces_that_are_refused_are_kept(
        self, model_of_large: Path, tmp_path: Path
    ) -> None:
        done = run("sample", model_of_large, "-n", 6, "-o", tmp_path / "t.pcap")
        assert done.code == 2
        assert "MTU of 1500" in done.err
        assert len(Traces.load(tmp_path / "t.parquet")) == 6
        assert not (tmp_path / "t.pcap").exists()
        there = ["t.parquet", "t.traces.parquet"]
        for name in there:
            (tmp_path / name).write_text("mine")
        asked = ("sample", model_of_large, "-n", 6, "-o", tmp_path / "t.pcap")
        for kept, force in (("t.traces-2.parquet", ()), ("t.traces-3.parquet", ("--force",))):
            done = run(*asked, *force)
            assert "MTU of 1500" in done.err
            assert f"kept in {tmp_path / kept}:" in done.err
            assert len(Traces.load(tmp_path / kept)) == 6
        assert {(tmp_path / name).read_text() for name in there} == {"mine"}

    def test_volumes_are_refused_before_the_work(self, tmp_path: Path) -> None:
        model = trained(tmp_path, volumes(60))
        done = run("sample", model, "-n", 10**9, "-o", tmp_path / "t.pcap")
        assert done.code == 2
        assert "volumes per bin" in done.err

    def test_files_that_are_there_are_refused_first(self, model: Path, tmp_path: Path) -> None:
        (tmp_path / "t.labels.csv").write_text("mine")
        done = run("sample", model, "-n", 10**9, "-o", tmp_path / "t.pcap")
        assert done.code == 2
        assert "t.labels.csv exists" in done.err
