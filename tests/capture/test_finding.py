"""Containers, link types and headers: whatever the packets come in, the flows are the same."""

from __future__ import annotations

import bz2
import ctypes.util
import gzip
import lzma
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
from netdiffus.capture.files.finding import is_capture
from netdiffus.errors import InputError, Note
from netdiffus.traces.traces import Traces

SHARED = Path(__file__).parents[3] / "shared/data/pcap"
ALL = Rules(packets=None)
Found = list[tuple[Any, ...]]


def read(path: Path, rules: Rules = ALL) -> tuple[Traces, CaptureReport]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", Note)
        return import_captures(path, label_from=None, rules=rules)


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
    "tcpdump__HDLC.pcap": (
        1,
        38,
        {"not IP (EtherType 0x8035)": 24, "not IP (EtherType 0x2000)": 4},
    ),
    "tcpdump__nflog.pcap": (4, 4, {}),
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
    "tcpdump__heap-overflow-1.pcap": "1 impossible header",
    "tcpdump__ieee802.11_exthdr.pcap": "26 802.11 frame without data",
    "tcpdump__pppoes.pcap": "2 not IP (EtherType 0x8864)",  # LCP alone
    "tcpdump__unsupported-link-type-160.pcap": "1 link type 160 (USER13), which is not read",
}
# dpkt takes the length of a frame check sequence for a part of the link type, and has no reader of
# two others.
MISREAD_BY_DPKT = {
    "tcpdump__esp_truncated.pcap",
    "tcpdump__HDLC.pcap",
    "tcpdump__nflog.pcap",
}


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


def modified(records: Sequence[Record], order: str) -> bytes:
    """The pcap of Alexey Kuznetsov: interface, protocol and kind of packet behind each header."""
    whole = pcap(records, nano=False, order=order)
    out, at = [struct.pack(order + "I", 0xA1B2CD34) + whole[4:24]], 24
    for record in records:
        end = at + 16 + len(record.data)
        out += [whole[at : at + 16], struct.pack(order + "IHBx", 3, 8, 0), whole[at + 16 : end]]
        at = end
    return b"".join(out)


def snoop(records: Sequence[Record], media: int = 4) -> bytes:
    """RFC 1761."""
    out = [b"snoop\0\0\0" + struct.pack("!II", 2, media)]
    for time, data, _ in records:
        room = -len(data) % 4
        seconds, rest = divmod(time, 10**9)
        sizes = len(data), len(data), 24 + len(data) + room, 0
        out.append(struct.pack("!IIIIII", *sizes, seconds, rest // 1000) + data + bytes(room))
    return b"".join(out)


SNOOP = snoop(RECORDS)
FILES = {
    "snoop": SNOOP,
    "modified": modified(RECORDS, "<"),
    "modified big-endian": modified(RECORDS, ">"),
    "xz": lzma.compress(pcap(RECORDS)),
    "bzip2": bz2.compress(pcap(RECORDS)),
    "xz in gzip": gzip.compress(lzma.compress(pcap(RECORDS))),
    "micro": pcap(RECORDS, nano=False),
    "micro big-endian": pcap(RECORDS, nano=False, order=">"),
    "nano": pcap(RECORDS),
    "nano big-endian": pcap(RECORDS, order=">"),
    "pcapng": pcapng(RECORDS, resolution=6),
    "pcapng big-endian": pcapng(RECORDS, resolution=9, order=">"),
    "pcapng of sections, interfaces, obsolete blocks": MIXED,
    "gzip": gzip.compress(pcap(RECORDS)),
    "lz4": pa.compress(pcap(RECORDS), codec="lz4", asbytes=True),
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


def kind_of(packet: bytes) -> bytes:
    return b"\x08\0" if packet[0] >> 4 == 4 else b"\x86\xdd"


def ppp(packet: bytes) -> bytes:
    return (b"\0\x21" if packet[0] >> 4 == 4 else b"\0\x57") + packet


def snap(packet: bytes) -> bytes:
    return b"\xaa\xaa\x03\0\0\0" + kind_of(packet) + packet


def tagged(kind: str, tag: bytes, packet: bytes) -> bytes:
    """An Ethernet frame with a tag of this EtherType before the packet's own."""
    return bytes(12) + bytes.fromhex(kind) + tag + kind_of(packet) + packet


def wifi(packet: bytes, control: int, header: int) -> bytes:
    return struct.pack("<H", control) + bytes(header - 2) + snap(packet)


def radiotap(packet: bytes, *, padded: bool = False) -> bytes:
    """A time and flags; with padding between a header of 26 bytes and what follows."""
    head = struct.pack("<BxHIQB", 0, 17, 3, 0, 0x20 if padded else 0x10)
    if padded:
        return head + wifi(packet, 0x0288, 28)
    return head + wifi(packet, 0x0108, 24) + bytes(4)  # and a checksum at the end


def ppi(packet: bytes) -> bytes:
    return struct.pack("<BBHI", 0, 0, 12, 105) + bytes(4) + wifi(packet, 0x0308, 30)


def nflog(packet: bytes, order: str) -> bytes:
    family = 2 if packet[0] >> 4 == 4 else 10
    prefix = struct.pack(order + "HH", 5, 10) + bytes(4)
    return (
        bytes([family, 0, 0, 1]) + prefix + struct.pack(order + "HH", 4 + len(packet), 9) + packet
    )


def pktap(packet: bytes, link: int = 1) -> bytes:
    body = ethernet(packet) if link == 1 else packet
    return struct.pack("<III", 108, 1, link) + bytes(96) + body


MACS = bytes.fromhex("02aabbccdd01 02aabbccdd02")
LINKS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "Ethernet": (1, ethernet),
    "VLAN": (1, lambda packet: ethernet(packet, tags=[0x8100])),
    "QinQ": (1, lambda packet: ethernet(packet, tags=[0x88A8, 0x8100])),
    "PPPoE": (1, pppoe),
    "MPLS": (1, mpls),
    "NULL": (0, lambda packet: loop(packet, "<")),
    "NULL big-endian": (0, lambda packet: loop(packet, ">")),
    "LOOP": (108, lambda packet: loop(packet, ">")),
    "MPLS pseudowire": (1, lambda packet: mpls(ethernet(packet))),
    "MPLS pseudowire of a host 4c:...": (1, lambda p: mpls(b"\x4c" + MACS[1:] + kind_of(p) + p)),
    "MPLS pseudowire with control word": (1, lambda packet: mpls(bytes(4) + ethernet(packet))),
    "MPLS pseudowire of VLAN": (1, lambda packet: mpls(ethernet(packet, tags=[0x8100]))),
    "SNAP": (1, lambda packet: MACS + struct.pack("!H", 8 + len(packet)) + snap(packet)),
    "PBB": (1, lambda packet: bytes(12) + b"\x88\xe7" + bytes(4) + ethernet(packet)),
    "PBB in VLAN": (1, lambda p: tagged("88a8", bytes(2) + b"\x88\xe7" + bytes(4) + MACS, p)),
    "VN-tag": (1, lambda packet: tagged("8926", bytes(4), packet)),
    "802.1BR": (1, lambda packet: tagged("893f", bytes(6), packet)),
    "Cisco metadata": (1, lambda packet: tagged("8909", b"\1\1\0\1\0\2", packet)),
    "MACsec without encryption": (1, lambda packet: tagged("88e5", b"\x20" + bytes(13), packet)),
    "bare IP as Ethernet": (1, bytes),
    "PPP": (9, ppp),
    "PPP with address": (9, lambda packet: b"\xff\x03" + ppp(packet)),
    "PPP with a brief protocol": (9, lambda packet: ppp(packet)[1:]),
    "PPP_PPPD": (166, lambda packet: b"\1\3" + ppp(packet)),
    "PPP_WITH_DIR": (204, lambda packet: b"\1\xff\3" + ppp(packet)),
    "C_HDLC_WITH_DIR": (205, lambda packet: b"\1\x8f\0" + kind_of(packet) + packet),
    "FRELAY_WITH_DIR": (206, lambda packet: b"\1\x18\x41" + kind_of(packet) + packet),
    "SLIP": (8, lambda packet: bytes(16) + packet),
    "FDDI": (10, lambda packet: b"\x50" + bytes(12) + snap(packet)),
    "APPLE_IP_OVER_IEEE1394": (138, lambda packet: bytes(16) + kind_of(packet) + packet),
    "IEEE802_11_PRISM": (
        119,
        lambda p: struct.pack("<II136x", 0x44, 144) + wifi(p, 0x0108, 24),
    ),
    "IEEE802_11_AVS": (
        163,
        lambda p: struct.pack("!II56x", 0x80211001, 64) + wifi(p, 0x0108, 24),
    ),
    "PPP_HDLC": (50, lambda packet: b"\xff\x03" + ppp(packet)),
    "PPP_HDLC of Cisco": (50, lambda packet: b"\x0f\0" + kind_of(packet) + packet),
    "PPP_ETHER": (51, lambda packet: pppoe(packet)[14:]),
    "C_HDLC": (104, lambda packet: b"\x8f\0" + kind_of(packet) + packet),
    "FRELAY": (107, lambda p: b"\x18\x41\x03" + (b"\xcc" if p[0] >> 4 == 4 else b"\x8e") + p),
    "FRELAY with SNAP": (107, lambda p: b"\x18\x41\x03\0\x80\0\0\0" + kind_of(p) + p),
    "FRELAY of Cisco": (107, lambda packet: b"\x18\x41" + kind_of(packet) + packet),
    "ATM_RFC1483": (100, snap),
    "ENC": (109, lambda packet: loop(packet, "<")[:4] + bytes(8) + packet),
    "MPLS alone": (219, lambda packet: mpls(packet)[14:]),
    "IPNET": (226, lambda packet: bytes(24) + packet),
    "IEEE802_11": (105, lambda packet: wifi(packet, 0x0108, 24)),
    "radiotap": (127, radiotap),
    "radiotap with padding": (127, lambda packet: radiotap(packet, padded=True)),
    "PPI": (192, ppi),
    "NFLOG": (239, lambda packet: nflog(packet, "<")),
    "NFLOG big-endian": (239, lambda packet: nflog(packet, ">")),
    "PKTAP": (258, pktap),
    "PKTAP of RAW": (258, lambda packet: pktap(packet, 12)),
    "LINUX_SLL of radiotap": (113, lambda p: struct.pack("!HH12x", 0, 803) + radiotap(p)),
    "LINUX_SLL with SNAP": (113, lambda p: struct.pack("!HH10xH", 0, 1, 4) + snap(p)),
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


@pytest.mark.parametrize("number", [147, 160, 189, 195, 227, 253, 271, 289])
def test_other_link_types_are_named_as_libpcap_names_them(number: int, tmp_path: Path) -> None:
    name = pcap_name(number) or f"USER{number - 147}"
    with pytest.raises(InputError, match=rf"link type {number} \({name}\), which .*editcap -C"):
        read(write(tmp_path, pcap([Record(START, bytes(60))], link=number)))


def pcap_name(number: int) -> str | None:
    library = ctypes.util.find_library("pcap")
    if library is None:
        pytest.skip("no libpcap: it comes with tcpdump")
    name = ctypes.CDLL(library).pcap_datalink_val_to_name
    name.restype = ctypes.c_char_p
    found = name(number)
    return found.decode() if found else None


WIFI = {
    "802.11 frame without data": [b"\x80\0" + bytes(30), b"\x48\1" + bytes(30)],
    "encrypted 802.11 frame; decrypt it first: airdecap-ng": [b"\x08\x41" + bytes(60)],
    "802.11 fragment without its first": [b"\x08\1" + bytes(20) + b"\1\0" + bytes(40)],
    "802.11 aggregate of several packets": [b"\x88\1" + bytes(22) + b"\x80\0" + bytes(60)],
}


@pytest.mark.parametrize("reason", WIFI)
def test_frames_of_802_11_without_a_packet(reason: str, tmp_path: Path) -> None:
    records = [Record(START, frame) for frame in WIFI[reason]]
    with pytest.raises(InputError, match=f"left out: {len(records)} {reason}"):
        read(write(tmp_path, pcap(records, link=105)))


def test_ports_are_enough_of_a_tcp_header(tmp_path: Path) -> None:
    frame = ethernet(ipv4(CLIENT, SERVER, 6, tcp(5, 80, 100, SYN)))
    path = write(tmp_path, pcap([Record(START, frame[:40], len(frame))]))
    traces, report = read(path)
    assert found(traces) == [((CLIENT, 5), (SERVER, 80), START, [(140, 1, 0)])]
    assert report.notes["cut within the TCP header, so that ends of connections are not seen"] == 1
    with pytest.raises(InputError, match="1 cut short within its headers"):
        read(path, Rules(size="payload"))


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


def in_udp(port: int, head: bytes, body: bytes) -> bytes:
    return ipv4("10.0.0.1", "10.0.0.2", 17, udp(9, port, head + body))


def in_gre(flags: int, kind: int, body: bytes) -> bytes:
    return ipv4("10.0.0.1", "10.0.0.2", 47, struct.pack("!HH", flags, kind) + body)


FRAME = ethernet(INNER)
TUNNELS |= {
    "ERSPAN I": in_gre(0, 0x88BE, FRAME),
    "ERSPAN II": in_gre(0x1000, 0x88BE, bytes(4) + b"\x10" + bytes(7) + FRAME),
    "ERSPAN III": in_gre(0x1000, 0x22EB, bytes(4) + b"\x20" + bytes(11) + FRAME),
    "ERSPAN III, more": in_gre(
        0x1000, 0x22EB, bytes(4) + b"\x20" + bytes(10) + b"\1" + bytes(8) + FRAME
    ),
    "PPTP": in_gre(0x3081, 0x880B, bytes(12) + b"\xff\3" + ppp(INNER)),
    "PPTP without acknowledgement": in_gre(0x3001, 0x880B, bytes(8) + ppp(INNER)),
    "VXLAN of Linux": in_udp(8472, bytes([8] + [0] * 7), FRAME),
    "VXLAN-GPE": in_udp(4790, bytes([12, 0, 0, 1] + [0] * 4), INNER),
    "GRE in UDP": ipv4("10.0.0.1", "10.0.0.2", 17, udp(9, 4754, gre(INNER))),
    "Geneve": in_udp(6081, b"\2\0\x65\x58" + bytes(12), FRAME),
    "Geneve with IP": in_udp(6081, b"\0\0\x08\0" + bytes(4), INNER),
    "GTP-U": in_udp(2152, b"\x30\xff" + bytes(6), INNER),
    "GTP-U with number": in_udp(2152, b"\x32\xff" + bytes(10), INNER),
    "GTP-U with extensions": in_udp(
        2152, b"\x34\xff" + bytes(9) + b"\x85\1\0\0\xc0\1\0\0\0", INNER
    ),
    "TZSP": in_udp(37008, b"\1\0\0\1\0\x0a\1\5\1", FRAME),
    "TZSP of 802.11": in_udp(37008, b"\1\0\0\x12\1", wifi(INNER, 0x0108, 24)),
    "L2TP": in_udp(1701, b"\x40\2" + bytes(6), ppp(INNER)),
    "L2TP with number and offset": in_udp(1701, b"\x0a\2" + bytes(8) + b"\0\2\0\0", ppp(INNER)),
    "LISP": in_udp(4341, bytes(8), INNER),
    "MPLS in UDP": in_udp(6635, bytes.fromhex("00010140"), INNER),
    "MPLS in IP": ipv4("10.0.0.1", "10.0.0.2", 137, bytes.fromhex("00010140") + INNER),
    "EtherIP": ipv4("10.0.0.1", "10.0.0.2", 97, b"\x30\0" + FRAME),
    "GRE with MPLS": in_gre(0, 0x8847, bytes.fromhex("00010140") + INNER),
    "GTP-U in VXLAN": in_udp(
        4789, bytes([8] + [0] * 7), ethernet(in_udp(2152, b"\x30\xff" + bytes(6), INNER))
    ),
}
ARP = bytes(12) + b"\x08\x06" + bytes(28)
CLOSED = {
    "GRE of source routes": in_gre(0x4000, 0x0800, bytes(8) + INNER),
    "GRE of an unknown kind": in_gre(0, 0x9000, INNER),
    "PPTP without data": in_gre(0x2081, 0x880B, bytes(8)),
    "PPTP of compressed data": in_gre(0x3001, 0x880B, bytes(8) + b"\0\xfd" + bytes(9)),
    "VXLAN of ARP": in_udp(4789, bytes([8] + [0] * 7), ARP),
    "VXLAN cut short": in_udp(4789, bytes([8]), b""),
    "GTP-U of an echo": in_udp(2152, b"\x32\1" + bytes(10), b""),
    "Geneve of another version": in_udp(6081, b"\x40\0\x65\x58" + bytes(4), FRAME),
    "TZSP without an end": in_udp(37008, b"\1\0\0\1\0\0", b""),
    "L2TP control": in_udp(1701, b"\xc8\2" + bytes(10), b""),
}


@pytest.mark.parametrize("kind", CLOSED)
def test_a_tunnel_that_is_not_opened_counts_by_its_outer_header(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path, pcap([Record(START, ethernet(CLOSED[kind]))]))
    for tunnels in (False, True):
        traces, report = read(path, Rules(tunnels=tunnels))
        assert found(traces)[0][3] == [(len(CLOSED[kind]), 1, 0)]
        assert traces.meta["client"].to_pylist() == ["10.0.0.1"]
        assert not report.dropped
        assert [count for what, count in report.notes.items() if "in tunnels" in what] == [1]


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
    "cut short within its headers": [ethernet(INNER)[:n] for n in (0, 13, 14, 33, 34, 37)],
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
    for cut in range(4, len(whole)):  # of fewer bytes nothing says what they are
        there = sum(end <= cut for end in ends)
        path = write(tmp_path, whole[:cut])
        if there == 0:
            place = "" if cut in boundaries(kind) else f"{path}: byte "
            with pytest.raises(InputError, match=f"no traces.*{place}"):
                read(path)
            continue
        traces, report = import_captures(path, label_from=None, rules=ALL, lenient=True)
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
    ("data", "problem", "left"),
    [
        (damage(pcap(RECORDS), 32, 0x7FFFFFFF), "byte 24: a packet of 2147483647 bytes", 10),
        (damage(pcapng(RECORDS), 64, 13), "byte 60: a block of 13 bytes", 10),
        (damage(pcapng(RECORDS), 64, 0x7FFFFFFC), "byte 60: a block of 2147483644 bytes", 10),
        (damage(pcapng(RECORDS), 68, 1), "byte 60: a packet of interface 1, which is not", 10),
        (damage(pcapng(RECORDS), 80, 9999), "byte 60: a packet longer than its block", 10),
        (damage(pcapng(RECORDS), 72, 0x7FFFFFFF), "byte 60: a packet with an impossible time", 10),
        (damage(pcapng(RECORDS), 8, 7), "byte 0: a section with byte-order magic 0x07000000", 11),
        (
            damage(pcapng(RECORDS, resolution=6), 44, 99 << 16 | 9),
            "byte 28: an option longer than its block",
            11,
        ),
        # Without its description an interface has no packets.
        (damage(pcapng(RECORDS), 56, 99), "byte 28: a block whose two lengths differ: 32 and 9", 0),
        (damage(pcapng(RECORDS), 12, 2), "byte 0: pcapng version 2, of which only 1 is read", 0),
        (damage(pcap(RECORDS), 4, 3), "byte 0: pcap version 3, of which only 2 is read", 0),
    ],
)
def test_a_damage_costs_what_it_hits_and_is_named(
    data: bytes, problem: str, left: int, tmp_path: Path
) -> None:
    path = write(tmp_path, data)
    try:
        traces, report = import_captures(path, label_from=None, rules=ALL, lenient=True)
    except InputError as error:
        assert left == 0
        assert f"{path}: {problem}" in str(error)  # noqa: PT017
    else:
        assert len(report.problems) == 1
        assert report.problems[0].startswith(f"{path}: {problem}")
        assert traces.lengths.sum() == left


def lie(whole: bytes, at: int, head: int, order: str) -> bytes:
    """With a wrong length in the header of the packet whose data begins at `at`."""
    return damage(whole, at - head + (8 if head == 16 else 4), 0x00FFFFFC, order + "I")


def lose(whole: bytes, at: int, head: int, order: str) -> bytes:
    """Without some bytes of the data."""
    return whole[: at + 5] + whole[at + 12 :]


def insert(whole: bytes, at: int, head: int, order: str) -> bytes:
    """With text between two packets."""
    return whole[: at - head] + b"some text\n" + whole[at - head :]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [pcap, pcapng])
@pytest.mark.parametrize("harm", [lie, lose, insert])
def test_behind_a_damage_the_packets_are_found_again(
    kind: Any, harm: Any, order: str, tmp_path: Path
) -> None:
    data = kind(RECORDS, order=order)
    head = 16 if kind is pcap else 28
    data = harm(data, data.index(RECORDS[5].data), head, order)
    data = harm(data, data.index(RECORDS[1].data), head, order)
    path = write(tmp_path, data)
    _, report = import_captures(path, label_from=None, rules=ALL, lenient=True)
    # A pcap where bytes are missing: the packet takes them from the one behind it.
    lost = {insert: 0, lie: 2, lose: 2}[harm]
    assert report.packets == len(RECORDS) - lost
    assert len(report.problems) == 1
    assert "1 more damages behind it; " in report.problems[0]
    assert "bytes were left out and what follows was read" in report.problems[0]


FOLLOWING = {
    "pcap and pcap": pcap(RECORDS[:4]) + pcap(RECORDS[4:], nano=False, order=">"),
    "pcap and pcapng": pcap(RECORDS[:4]) + pcapng(RECORDS[4:], order=">"),
    "pcapng and pcap": pcapng(RECORDS[:4]) + pcap(RECORDS[4:]),
    "of other link types": pcap(RECORDS[:4])
    + pcap([Record(*one) for one in PACKETS[4:]], link=101),
}


@pytest.mark.parametrize("kind", FOLLOWING)
def test_files_one_behind_the_other_are_read(kind: str, tmp_path: Path) -> None:
    traces, report = read(write(tmp_path, FOLLOWING[kind]))
    reference = write(tmp_path, pcap(RECORDS), "plain.pcap")
    assert found(traces) == expected(reference, 1)
    assert report.notes["captures written one behind the other in a file"] == 2


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_compressed_file_cut_short_gives_what_it_holds(codec: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(1200)  # so that compressing leaves bytes to cut
    packets = [ipv4(CLIENT, SERVER, 17, udp(1, 2, noise), number=i) for i in range(500)]
    data = pcap([Record(START + i, ethernet(packet)) for i, packet in enumerate(packets)])
    packed = gzip.compress(data) if codec == "gzip" else pa.compress(data, codec, asbytes=True)
    path = write(tmp_path, packed[: len(packed) * 4 // 5])
    with pytest.warns(UserWarning, match=f"{path}: .*compressed") as caught:
        traces, report = import_captures(path, label_from=None, rules=ALL)
    assert len(caught) == 1
    assert 100 <= traces.lengths[0] == report.packets < 500


def test_only_zeros_behind_a_gzip_are_no_damage(tmp_path: Path) -> None:
    packed = gzip.compress(pcap(RECORDS))
    for rest in (bytes(9) + b"x", b"text"):
        with pytest.warns(UserWarning, match="the gzip compressed data"):
            _, report = import_captures(write(tmp_path, packed + rest), label_from=None, rules=ALL)
        assert report.packets == len(PACKETS)


def test_syn_shows_the_client(tmp_path: Path) -> None:
    answer = ipv4(SERVER, CLIENT, 6, tcp(80, 5, 0, SYN | ACK))
    data = ipv4(CLIENT, SERVER, 6, tcp(5, 80, 10))
    first = only(tmp_path, [answer, data])
    assert first == [((SERVER, 80), (CLIENT, 5), START, [(40, 1, 0), (50, -1, 1)])]
    syn = only(tmp_path, [answer, data], Rules(direction="syn"))
    assert syn == [((CLIENT, 5), (SERVER, 80), START, [(40, -1, 0), (50, 1, 1)])]
