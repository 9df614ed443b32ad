"""Captures that tests make, byte by byte, from the formats' descriptions."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import ip_address
from typing import NamedTuple

CLIENT, SERVER = "192.168.1.5", "203.0.113.9"
CLIENT6, SERVER6 = "fd00::5", "2001:db8::9"
FIN, SYN, RST, ACK = 1, 2, 4, 16
SECOND = 10**9
START = 1_700_000_000 * SECOND


class Record(NamedTuple):
    """A frame and its time, ns since 1970; `length` on the wire if it was cut."""

    time: int
    data: bytes
    length: int | None = None


def tcp(
    sport: int, dport: int, payload: int = 0, flags: int = ACK, options: int = 0, number: int = 0
) -> bytes:
    offset = (20 + options) // 4 << 4
    head = struct.pack("!HHIIBBHHH", sport, dport, number, 0, offset, flags, 0, 0, 0)
    return head + bytes(options) + bytes(payload)


def udp(sport: int, dport: int, payload: int | bytes = 0) -> bytes:
    body = bytes(payload)
    return struct.pack("!HHHH", sport, dport, 8 + len(body), 0) + body


def ipv4(
    source: str,
    destination: str,
    protocol: int,
    body: bytes,
    *,
    options: int = 0,
    cut: int = 0,
    number: int = 0,
    total: int | None = None,
) -> bytes:
    """`cut` is the 16-bit field of flags and fragment offset."""
    total = 20 + options + len(body) if total is None else total
    first = 0x45 + options // 4
    ends = ip_address(source).packed + ip_address(destination).packed
    head = struct.pack("!BBHHHBBH", first, 0, total, number, cut, 64, protocol, 0)
    return head + ends + bytes(options) + body


def ipv6(
    source: str, destination: str, protocol: int, body: bytes, *, length: int | None = None
) -> bytes:
    """`length` is the field of the payload's length."""
    length = len(body) if length is None else length
    ends = ip_address(source).packed + ip_address(destination).packed
    return struct.pack("!IHBB", 6 << 28, length, protocol, 64) + ends + body


def ethernet(packet: bytes, *, tags: Sequence[int] = (), source: bytes = bytes(6)) -> bytes:
    """`tags` are EtherTypes of VLAN tags, the outermost first."""
    kind = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    types = [*tags, kind]
    tagged = b"".join(struct.pack("!HH", 100, after) for after in types[1:])
    return bytes(6) + source + struct.pack("!H", types[0]) + tagged + packet


def pcap(records: Sequence[Record], *, link: int = 1, nano: bool = True, order: str = "<") -> bytes:
    magic, unit = (0xA1B23C4D, 1) if nano else (0xA1B2C3D4, 1000)
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, link)]
    for time, data, length in records:
        seconds, rest = divmod(time, SECOND)
        sizes = len(data), len(data) if length is None else length
        out += [struct.pack(order + "IIII", seconds, rest // unit, *sizes), data]
    return b"".join(out)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + size + body + size


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(
    link: int = 1, resolution: int | None = None, offset: int = 0, order: str = "<", snap: int = 0
) -> bytes:
    options = b""
    if resolution is not None:
        options += struct.pack(order + "HHBxxx", 9, 1, resolution)
    if offset:
        options += struct.pack(order + "HHq", 14, 8, offset)
    if options:
        options += struct.pack(order + "HH", 0, 0)
    return block(1, struct.pack(order + "HHI", link, 0, snap) + options, order)


def enhanced(units: int, data: bytes, index: int = 0, order: str = "<") -> bytes:
    head = struct.pack(
        order + "IIIII", index, units >> 32, units & 0xFFFFFFFF, len(data), len(data)
    )
    return block(6, head + data, order)


def obsolete(units: int, data: bytes, index: int = 0, order: str = "<") -> bytes:
    high, low = units >> 32, units & 0xFFFFFFFF
    head = struct.pack(order + "HHIIII", index, 0, high, low, len(data), len(data))
    return block(2, head + data, order)


def simple(data: bytes, order: str = "<") -> bytes:
    return block(3, struct.pack(order + "I", len(data)) + data, order)


def pcapng(records: Sequence[Record], *, resolution: int = 9, order: str = "<") -> bytes:
    """One interface; `resolution` is a power of ten, and times must fit it."""
    blocks = [section(order), interface(resolution=resolution, order=order)]
    for record in records:
        blocks.append(enhanced(record.time // 10 ** (9 - resolution), record.data, order=order))
    return b"".join(blocks)


def conversation(step: int = 1_000_001_000, v6: bool = False) -> list[tuple[int, bytes]]:
    """A TCP connection, a DNS exchange and a ping: times and IP packets."""
    c, s = (CLIENT6, SERVER6) if v6 else (CLIENT, SERVER)
    wrap = ipv6 if v6 else ipv4
    ping = 58 if v6 else 1
    packets = [
        wrap(c, s, 6, tcp(50000, 443, 0, SYN, 20)),
        wrap(c, s, 17, udp(50001, 53, 30)),
        wrap(s, c, 6, tcp(443, 50000, 0, SYN | ACK, 12)),
        wrap(s, c, 17, udp(53, 50001, 200)),
        wrap(c, s, 6, tcp(50000, 443, 517)),
        wrap(c, s, ping, bytes(64)),
        wrap(s, c, 6, tcp(443, 50000, 1400)),
        wrap(s, c, ping, bytes(64)),
        wrap(c, s, 6, tcp(50000, 443, 0, FIN | ACK)),
        wrap(s, c, 6, tcp(443, 50000, 0, FIN | ACK)),
        wrap(c, s, 6, tcp(50000, 443)),
    ]
    return [(START + i * step, packet) for i, packet in enumerate(packets)]


def frames(packets: Sequence[tuple[int, bytes]]) -> list[Record]:
    """The packets in plain Ethernet frames."""
    return [Record(time, ethernet(packet)) for time, packet in packets]
