"""Containers, link types and headers: whatever the packets come in, the flows are the same."""

from __future__ import annotations

import gzip
import struct
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from capture_oracle import flows
from captures import (
    ACK,
    CLIENT,
    CLIENT6,
    SERVER,
    SERVER6,
    START,
    SYN,
    Record,
    conversation,
    enhanced,
    ethernet,
    frames,
    interface,
    ipv4,
    ipv6,
    obsolete,
    pcap,
    pcapng,
    section,
    simple,
    tcp,
    udp,
)

from netdiffus.capture import CaptureReport, Rules, import_captures
from netdiffus.capture.files import is_capture
from netdiffus.errors import InputError
from netdiffus.traces import Traces

SHARED = Path(__file__).parents[2] / "shared/data/pcap"
ALL = Rules(packets=None)
Found = list[tuple[Any, ...]]


def read(path: Path, rules: Rules = ALL) -> tuple[Traces, CaptureReport]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return import_captures(path, rules=rules)


def found(traces: Traces) -> Found:
    """(client, server, start, [(size, direction, ns)]) of each flow."""
    meta = traces.meta.to_pylist()
    rows = []
    for row, values, n in zip(meta, traces.values, traces.lengths, strict=True):
        sizes, directions, times = values[:, :n]
        points = zip(sizes, directions, np.rint(times * 1e9), strict=True)
        client, server = (row["client"], row["client_port"]), (row["server"], row["server_port"])
        rows.append((client, server, row["start"], [tuple(map(int, point)) for point in points]))
    return rows


def expected(path: Path, unit: int) -> Found:
    return [(one.client, one.server, one.start, one.points) for one in flows(path, unit)]


def write(folder: Path, data: bytes, name: str = "a.pcap") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


# Real captures: traces, packets, and packets left out by reason.
REAL = {
    "iotsentinel__Withings_Setup-A-1-STA.pcap": (
        6,
        66,
        {"not IP (ARP)": 8, "not IP (EtherType 0x888e)": 2},
    ),
    "tcpdump__LINKTYPE_IPV4.pcap": (1, 1, {}),
    "tcpdump__LINKTYPE_RAW_ipv6.pcap": (1, 1, {}),
    "tcpdump__afs.pcap": (17, 601, {}),
    "tcpdump__bigtcp-ipv4.pcap": (1, 1, {}),
    "tcpdump__dhcp-rfc4388.pcap": (9, 54, {"not IP (ARP)": 12}),
    "tcpdump__esp_truncated.pcap": (1, 1, {}),
    "tcpdump__ipv6_mobility_1.pcap": (1, 16, {}),
    "tcpdump__mptcp-v0.pcap": (2, 264, {}),
    "tcpdump__of13_ericsson.pcapng": (27, 174, {}),
    "tcpdump__quic_handshake.pcap": (1, 18, {}),
    "tcpdump__resp_1_benchmark.pcap": (15, 150, {}),
    "tcpdump__ssh.pcap": (1, 54, {}),
    "tcpdump__tcp-handshake-nano.pcap": (1, 3, {}),
    "tcpdump__various_gre.pcap": (
        1,
        100,
        {"not IP (no EtherType)": 65, "not IP (EtherType 0x9000)": 5},
    ),
    "vcfp__flip_a_coin_5_30s.pcap": (6, 861, {}),
}
UNREADABLE = {
    "tcpdump__802.1ad_QinQ.pcap": "2 not IP (ARP)",
    "tcpdump__HDLC.pcap": "38 link type 104, which is not read",
    "tcpdump__heap-overflow-1.pcap": "1 impossible header",
    "tcpdump__ieee802.11_exthdr.pcap": "26 link type 127, which is not read",
    "tcpdump__nflog.pcap": "4 link type 239, which is not read",
    "tcpdump__pppoes.pcap": "2 not IP (EtherType 0x8864)",  # LCP alone
    "tcpdump__unsupported-link-type-160.pcap": "1 link type 160, which is not read",
}
# dpkt takes the length of a frame check sequence for a part of the link type.
MISREAD_BY_DPKT = {"tcpdump__esp_truncated.pcap"}


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    return path


@pytest.mark.parametrize("name", REAL)
def test_real_capture(name: str) -> None:
    traces, report = read(shared(name))
    count, packets, dropped = REAL[name]
    assert (len(traces), report.packets, dict(report.dropped)) == (count, packets, dropped)
    assert not report.problems


@pytest.mark.parametrize("name", sorted(REAL.keys() - MISREAD_BY_DPKT))
def test_real_capture_is_as_dpkt_reads_it(name: str) -> None:
    path = shared(name)
    in_ns = "nano" in name or name.startswith("vcfp")
    ours, theirs = found(read(path)[0]), expected(path, 1 if in_ns else 1000)
    if name.startswith("vcfp"):  # pcapng in ns, which dpkt rounds to 256, then to 238
        assert without_times(ours) == without_times(theirs)
        np.testing.assert_allclose(times(ours), times(theirs), rtol=0, atol=500)
    else:
        assert ours == theirs


def without_times(rows: Found) -> Found:
    return [(*row[:2], [point[:2] for point in row[3]]) for row in rows]


def times(rows: Found) -> list[int]:
    return [ns for row in rows for *_, ns in row[3]]


@pytest.mark.parametrize("name", UNREADABLE)
def test_real_capture_without_traces(name: str) -> None:
    with pytest.raises(InputError, match="no traces") as caught:
        read(shared(name))
    assert UNREADABLE[name] in str(caught.value)


def test_every_real_capture_is_tested() -> None:
    there = {path.name for path in shared("tcpdump__ssh.pcap").parent.iterdir()}
    assert there == REAL.keys() | UNREADABLE.keys()


PACKETS = conversation()
RECORDS = frames(PACKETS)
MIXED = (
    section("<")
    + interface(order="<")
    + enhanced(RECORDS[0].time // 1000, RECORDS[0].data)
    + section(">")
    + interface(101, 9, order=">")
    + interface(1, 6, order=">")
    + b"".join(enhanced(r.time // 1000, r.data, 1, ">") for r in RECORDS[1:4])
    + b"".join(enhanced(t, p, 0, ">") for t, p in PACKETS[4:6])
    + b"".join(obsolete(r.time // 1000, r.data, 1, ">") for r in RECORDS[6:])
)
FILES = {
    "micro": pcap(RECORDS, nano=False),
    "micro big-endian": pcap(RECORDS, nano=False, order=">"),
    "nano": pcap(RECORDS),
    "nano big-endian": pcap(RECORDS, order=">"),
    "pcapng": pcapng(RECORDS, resolution=6),
    "pcapng big-endian": pcapng(RECORDS, resolution=9, order=">"),
    "pcapng of sections, interfaces, obsolete blocks": MIXED,
    "gzip": gzip.compress(pcap(RECORDS)),
    "gzip of two members": gzip.compress(pcap(RECORDS)[:100]) + gzip.compress(pcap(RECORDS)[100:]),
    "gzip padded with zeros": gzip.compress(pcap(RECORDS)) + bytes(700),
    "zstd": pa.compress(pcapng(RECORDS), codec="zstd", asbytes=True),
    "zstd behind a frame to skip": bytes.fromhex("5a2a4d18 03000000 616263")
    + pa.compress(pcap(RECORDS), codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("kind", FILES)
def test_every_container_gives_the_same_flows(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path, FILES[kind], "name says nothing.txt")
    reference = write(tmp_path, pcap(RECORDS))
    traces, report = read(path)
    assert is_capture(path)
    assert report.packets == len(PACKETS)
    assert found(traces) == expected(reference, 1)
    assert traces.meta["protocol"].to_pylist() == ["tcp", "udp", "icmp"]


@pytest.mark.parametrize(
    ("resolution", "units", "ns"),
    [
        (None, 1_700_000_000_123_456, 1_700_000_000_123_456_000),
        (0, 1_700_000_000, 1_700_000_000 * 10**9),
        (3, 1_700_000_000_123, 1_700_000_000_123_000_000),
        (9, 1_700_000_000_123_456_789, 1_700_000_000_123_456_789),
        (10, 17_000_000_001_234_567_891, 1_700_000_000_123_456_789),  # cut to ns
        (0x80 | 30, (7 << 30) + (1 << 29) + 1, 7_500_000_000),
        (0x80 | 10, (1_700_000_000 << 10) + 512, 1_700_000_000_500_000_000),
        (0x80 | 64, 1 << 63, 500_000_000),
    ],
)
def test_resolution_of_pcapng(tmp_path: Path, resolution: int | None, units: int, ns: int) -> None:
    data = section() + interface(resolution=resolution) + enhanced(units, RECORDS[0].data)
    traces, _ = read(write(tmp_path, data))
    assert traces.meta["start"].to_pylist() == [ns]


def test_time_offset_of_an_interface(tmp_path: Path) -> None:
    data = section() + interface(offset=3600) + enhanced(5, RECORDS[0].data)
    assert read(write(tmp_path, data))[0].meta["start"].to_pylist() == [3600 * 10**9 + 5000]


def test_simple_packets_have_the_time_before_them(tmp_path: Path) -> None:
    data = section() + interface() + enhanced(1000, RECORDS[0].data)
    data += b"".join(simple(record.data) for record in RECORDS[1:])
    traces, report = read(write(tmp_path, data))
    assert report.notes == {"without a time of their own": len(RECORDS) - 1}
    assert traces.values[:, 2].max() == 0
    assert traces.lengths.sum() == len(RECORDS)


def sll(packet: bytes) -> bytes:
    kind = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    return struct.pack("!HHH8sH", 4, 1, 6, bytes(8), kind) + packet


def sll2(packet: bytes) -> bytes:
    kind = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    return struct.pack("!HHIHBB8s", kind, 0, 3, 1, 4, 6, bytes(8)) + packet


def loop(packet: bytes, order: str) -> bytes:
    return struct.pack(order + "I", 2 if packet[0] >> 4 == 4 else 30) + packet


def pppoe(packet: bytes) -> bytes:
    protocol = 0x21 if packet[0] >> 4 == 4 else 0x57
    body = struct.pack("!BBHHH", 0x11, 0, 1, len(packet) + 2, protocol) + packet
    return bytes(12) + b"\x88\x64" + body


def mpls(packet: bytes) -> bytes:
    return bytes(12) + b"\x88\x47" + bytes.fromhex("00010040 00020140") + packet


LINKS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "Ethernet": (1, ethernet),
    "VLAN": (1, lambda packet: ethernet(packet, tags=[0x8100])),
    "QinQ": (1, lambda packet: ethernet(packet, tags=[0x88A8, 0x8100])),
    "PPPoE": (1, pppoe),
    "MPLS": (1, mpls),
    "NULL": (0, lambda packet: loop(packet, "<")),
    "NULL big-endian": (0, lambda packet: loop(packet, ">")),
    "LOOP": (108, lambda packet: loop(packet, ">")),
    "RAW": (101, bytes),
    "RAW of OpenBSD": (14, bytes),
    "LINUX_SLL": (113, sll),
    "LINUX_SLL2": (276, sll2),
}


@pytest.mark.parametrize("v6", [False, True], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("link", LINKS)
def test_every_link_type_gives_the_same_flows(link: str, v6: bool, tmp_path: Path) -> None:
    packets = conversation(v6=v6)
    number, wrap = LINKS[link]
    records = [Record(time, wrap(packet)) for time, packet in packets]
    traces, report = read(write(tmp_path, pcap(records, link=number)))
    assert not report.dropped
    reference = write(tmp_path, pcap(frames(packets)), "plain.pcap")
    assert found(traces) == expected(reference, 1)


@pytest.mark.parametrize("number", [228, 229])
def test_link_types_of_one_ip_version(number: int, tmp_path: Path) -> None:
    packets = conversation(v6=number == 229)
    records = [Record(*packet) for packet in packets]
    assert len(read(write(tmp_path, pcap(records, link=number)))[0]) == 3


@pytest.mark.parametrize(("size", "expected"), [("ip", 552), ("wire", 566), ("payload", 500)])
def test_sizes_come_from_the_headers_whatever_was_kept(
    size: str, expected: int, tmp_path: Path
) -> None:
    packet = ethernet(ipv4(CLIENT, SERVER, 6, tcp(1, 2, 500, ACK, 12)))
    path = write(tmp_path, pcap([Record(START, packet[:60], len(packet))]))
    traces, report = read(path, Rules(size=size))
    assert traces.values[0, 0, 0] == expected
    assert traces.meta["bytes_up"].to_pylist() == [expected]
    assert report.notes == {"cut by snap length": 1}


def test_padding_of_short_frames_counts_on_the_wire_alone(tmp_path: Path) -> None:
    packet = ethernet(ipv4(CLIENT, SERVER, 17, udp(1, 2, 4)))
    path = write(tmp_path, pcap([Record(START, packet + bytes(60 - len(packet)))]))
    sizes = {size: read(path, Rules(size=size))[0].values[0, 0, 0] for size in ("ip", "payload")}
    assert sizes == {"ip": 32, "payload": 4}
    assert read(path, Rules(size="wire"))[0].values[0, 0, 0] == 60


def only(tmp_path: Path, packets: Sequence[bytes], rules: Rules = ALL) -> Found:
    records = [Record(START + i, ethernet(packet)) for i, packet in enumerate(packets)]
    return found(read(write(tmp_path, pcap(records)), rules)[0])


def test_options_and_extension_headers(tmp_path: Path) -> None:
    segment = tcp(5, 80, 10)
    options = bytes([60, 0]) + bytes(6)  # hop-by-hop, then destination options
    routing = bytes([51, 2]) + bytes(22)
    authentication = bytes([6, 4]) + bytes(22)
    chain = options + bytes([43, 0]) + bytes(6) + routing + authentication + segment
    assert only(tmp_path, [ipv4(CLIENT, SERVER, 6, segment, options=24)]) == [
        ((CLIENT, 5), (SERVER, 80), START, [(74, 1, 0)])
    ]
    assert only(tmp_path, [ipv6(CLIENT6, SERVER6, 0, chain)]) == [
        ((CLIENT6, 5), (SERVER6, 80), START, [(40 + len(chain), 1, 0)])
    ]


def test_authenticated_packets_are_of_their_flow(tmp_path: Path) -> None:
    authentication = bytes([6, 4]) + bytes(22)
    packet = ipv4(CLIENT, SERVER, 51, authentication + tcp(5, 80, 10))
    assert only(tmp_path, [packet], Rules(size="payload")) == [
        ((CLIENT, 5), (SERVER, 80), START, [(10, 1, 0)])
    ]


@pytest.mark.parametrize(("protocol", "header"), [(33, 16), (132, 12), (136, 8)])
def test_other_protocols_with_ports(protocol: int, header: int, tmp_path: Path) -> None:
    # The fifth byte is DCCP's length of the header, in fours.
    body = struct.pack("!HHB", 5, 80, header // 4) + bytes(header - 5 + 10)
    packet = ipv4(CLIENT, SERVER, protocol, body)
    assert only(tmp_path, [packet], Rules(size="payload")) == [
        ((CLIENT, 5), (SERVER, 80), START, [(10, 1, 0)])
    ]


def test_a_host_without_an_address_yet_is_a_client(tmp_path: Path) -> None:
    packet = ipv6("::", "ff02::16", 58, bytes(28))
    assert only(tmp_path, [packet])[0][:2] == (("::", 0), ("ff02::16", 0))


@pytest.mark.parametrize("v6", [False, True], ids=["IPv4", "IPv6"])
def test_fragments_belong_to_their_datagrams_flow(v6: bool, tmp_path: Path) -> None:
    whole = udp(7, 53, 3000)

    def piece(start: int, end: int, number: int = 9) -> bytes:
        more = end < len(whole)
        if v6:
            head = struct.pack("!BBHI", 17, 0, start | more, number)
            return ipv6(CLIENT6, SERVER6, 44, head + whole[start:end])
        cut = start // 8 | more << 13
        return ipv4(CLIENT, SERVER, 17, whole[start:end], cut=cut, number=number)

    pieces = [piece(0, 1480), piece(1480, 2960), piece(2960, 3008)]
    stray = piece(1480, 2960, number=10)
    path = write(tmp_path, pcap([Record(START, ethernet(p)) for p in [*pieces, stray]]))
    traces, report = read(path)
    assert [len(p) for p in pieces] == traces.values[0, 0].tolist()
    assert report.notes["fragments"] == 4
    assert report.dropped == {"fragment without its datagram's first": 1}
    assert found(traces) == expected(path, 1)


def gre(packet: bytes, flags: int = 0, kind: int = 0x0800) -> bytes:
    words = sum(bool(flags & bit) for bit in (0x8000, 0x2000, 0x1000))
    return struct.pack("!HH", flags, kind) + bytes(4 * words) + packet


INNER = ipv4(CLIENT, SERVER, 6, tcp(5, 80, 10))
TUNNELS = {
    "GRE": ipv4("10.0.0.1", "10.0.0.2", 47, gre(INNER)),
    "GRE with key, sequence, checksum": ipv4("10.0.0.1", "10.0.0.2", 47, gre(INNER, 0xB000)),
    "GRE with Ethernet": ipv4("10.0.0.1", "10.0.0.2", 47, gre(ethernet(INNER), kind=0x6558)),
    "VXLAN": ipv4("10.0.0.1", "10.0.0.2", 17, udp(9, 4789, bytes([8] + [0] * 7) + ethernet(INNER))),
    "IP in IP": ipv4("10.0.0.1", "10.0.0.2", 4, INNER),
    "IPv4 in IPv6": ipv6(CLIENT6, SERVER6, 4, INNER),
}


@pytest.mark.parametrize("kind", TUNNELS)
def test_tunnels(kind: str, tmp_path: Path) -> None:
    outer = only(tmp_path, [TUNNELS[kind]])
    assert outer[0][0][0] in ("10.0.0.1", CLIENT6)
    inner = only(tmp_path, [TUNNELS[kind]], Rules(tunnels=True))
    assert inner == [((CLIENT, 5), (SERVER, 80), START, [(50, 1, 0)])]


def test_a_packet_whose_length_its_card_was_to_fill_in(tmp_path: Path) -> None:
    packet = ipv4(CLIENT, SERVER, 6, tcp(5, 80, 70_000), total=0)
    assert only(tmp_path, [packet])[0][3] == [(70_040, 1, 0)]
    packet = ipv6(CLIENT6, SERVER6, 6, tcp(5, 80, 70_000), length=0)
    assert only(tmp_path, [packet])[0][3] == [(70_060, 1, 0)]
    nothing = ipv6(CLIENT6, SERVER6, 59, bytes(6), length=0)  # padded
    assert only(tmp_path, [nothing])[0][3] == [(40, 1, 0)]


BAD = {
    "cut short within its headers": [ethernet(INNER)[:n] for n in (0, 13, 14, 33, 34, 47)],
    "impossible header": [
        ethernet(ipv4(CLIENT, SERVER, 6, tcp(1, 2), total=19)),
        bytes(12) + b"\x08\x00\x42" + bytes(60),  # a header of 8 bytes
        bytes(12) + b"\x08\x00\x73" + bytes(60),  # IP version 7
        ethernet(ipv4(CLIENT, SERVER, 6, bytes(20))),  # TCP without a header length
        ethernet(ipv4(CLIENT, SERVER, 33, bytes(20))),  # DCCP without one
        ethernet(ipv6(CLIENT6, SERVER6, 60, bytes([6, 3]) + bytes(6)) + bytes(40)),
    ],
    "not IP (ARP)": [bytes(12) + b"\x08\x06" + bytes(28)],
    "not IP (no EtherType)": [bytes(12) + b"\x00\x26" + bytes(38)],
    "not IP (EtherType 0x8864)": [bytes(12) + b"\x88\x64" + bytes(6) + b"\xc0\x21" + bytes(8)],
}


@pytest.mark.parametrize("reason", BAD)
def test_packets_left_out_are_counted_by_reason(reason: str, tmp_path: Path) -> None:
    records = [Record(START, data) for data in BAD[reason]]
    with pytest.raises(InputError, match="no traces") as caught:
        read(write(tmp_path, pcap(records)))
    assert str(caught.value).endswith(f"left out: {len(records)} {reason}")


SMALL = {
    "pcap": pcap(RECORDS[:3]),
    "pcapng": pcapng(RECORDS[:3], order=">"),
}


@pytest.mark.parametrize("kind", SMALL)
def test_a_file_cut_anywhere_gives_what_comes_before(kind: str, tmp_path: Path) -> None:
    whole = SMALL[kind]
    ends = ends_of_records(kind)
    for cut in range(len(whole)):
        there = sum(end <= cut for end in ends)
        path = write(tmp_path, whole[:cut])
        if there == 0:
            place = "" if cut in boundaries(kind) else f"{path}: byte "
            with pytest.raises(InputError, match=f"no traces.*{place}"):
                read(path)
            continue
        traces, report = import_captures(path, rules=ALL, lenient=True)
        assert (report.packets, int(traces.lengths.sum())) == (there, there)
        if cut in boundaries(kind):
            assert not report.problems
        else:
            at = max(end for end in boundaries(kind) if end < cut)
            assert report.problems == [
                f"{path}: byte {at}: the file ends within a packet or block, {cut - at} bytes "
                "after its start; what comes before was read"
            ]


def boundaries(kind: str) -> list[int]:
    sizes = [len(record.data) for record in RECORDS[:3]]
    parts = (
        [24, *(16 + size for size in sizes)]
        if kind == "pcap"
        else [28, 32, *(32 + (size + 3) // 4 * 4 for size in sizes)]
    )
    return np.cumsum(parts).tolist()


def ends_of_records(kind: str) -> list[int]:
    return boundaries(kind)[-3:]


def damage(data: bytes, at: int, value: int, order: str = "<I") -> bytes:
    return data[:at] + struct.pack(order, value) + data[at + 4 :]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (damage(pcap(RECORDS), 32, 0x7FFFFFFF), "byte 24: a packet of 2147483647 bytes"),
        (damage(pcapng(RECORDS), 64, 13), "byte 60: a block of 13 bytes"),
        (damage(pcapng(RECORDS), 64, 0x7FFFFFFC), "byte 60: a block of 2147483644 bytes"),
        (damage(pcapng(RECORDS), 68, 1), "byte 60: a packet of interface 1, which is not"),
        (damage(pcapng(RECORDS), 80, 9999), "byte 60: a packet longer than its block"),
        (damage(pcapng(RECORDS), 56, 99), "byte 28: a block whose two lengths differ: 32 and 99"),
        (damage(pcapng(RECORDS), 8, 7), "byte 0: a section with byte-order magic 0x07000000"),
        (damage(pcapng(RECORDS), 12, 2), "byte 0: pcapng version 2, of which only 1 is read"),
        (damage(pcap(RECORDS), 4, 3), "byte 0: pcap version 3, of which only 2 is read"),
        (b"not a capture", "byte 0: no pcap or pcapng: it begins with 0x6e6f7420"),
        (b"", "byte 0: no pcap or pcapng: the file is too short"),
    ],
)
def test_damage_is_named_with_its_place(data: bytes, problem: str, tmp_path: Path) -> None:
    path = write(tmp_path, data)
    with pytest.raises(InputError, match="no traces; captures: 1, packets: 0") as caught:
        read(path)
    assert f"{path}: {problem}" in str(caught.value)


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_compressed_file_cut_short_gives_what_it_holds(codec: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(1200)  # so that compressing leaves bytes to cut
    packet = ethernet(ipv4(CLIENT, SERVER, 17, udp(1, 2, 1200))[:28] + noise)
    data = pcap([Record(START + i, packet) for i in range(500)])
    packed = gzip.compress(data) if codec == "gzip" else pa.compress(data, codec, asbytes=True)
    path = write(tmp_path, packed[: len(packed) * 4 // 5])
    with pytest.warns(UserWarning, match=f"{path}: .*compressed") as caught:
        traces, report = import_captures(path, rules=ALL)
    assert len(caught) == 1
    assert 100 <= traces.lengths[0] == report.packets < 500


def test_only_zeros_behind_a_gzip_are_no_damage(tmp_path: Path) -> None:
    packed = gzip.compress(pcap(RECORDS))
    for rest in (bytes(9) + b"x", bytes(9) + packed):  # the latter gzip reads, but not we
        with pytest.warns(UserWarning, match="inflate failed"):
            _, report = import_captures(write(tmp_path, packed + rest), rules=ALL)
        assert report.packets == len(PACKETS)


def test_syn_shows_the_client(tmp_path: Path) -> None:
    answer = ipv4(SERVER, CLIENT, 6, tcp(80, 5, 0, SYN | ACK))
    data = ipv4(CLIENT, SERVER, 6, tcp(5, 80, 10))
    first = only(tmp_path, [answer, data])
    assert first == [((SERVER, 80), (CLIENT, 5), START, [(40, 1, 0), (50, -1, 1)])]
    syn = only(tmp_path, [answer, data], Rules(direction="syn"))
    assert syn == [((CLIENT, 5), (SERVER, 80), START, [(40, -1, 0), (50, 1, 1)])]
