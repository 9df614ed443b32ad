"""Ethernet frames of packets: headers, lengths, checksums. Payloads are zeros."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import numpy as np
import numpy.typing as npt

from netdiffus.arrays import Bools, Ints
from netdiffus.export.packets import (
    ETHERNET,
    IP,
    SYN_OPTIONS,
    TCP_HEADER,
    TIMESTAMPS,
    FlowsToWrite,
    Packets,
)

Bytes = npt.NDArray[np.uint8]

# Locally administered; "ndf" for short, then 0 generated or 1 framing, then 1 client or 2 server.
MAC = (0x02, 0x6E, 0x64, 0x66)
SCALE = 14  # of windows; 65,535 of them are 1 GiB

_ETHERNET = [("target_mac", "u1", 6), ("source_mac", "u1", 6), ("ethertype", ">u2")]
_IP = {
    4: [
        ("version", ">u2"),  # with header length and type of service
        ("ip_length", ">u2"),
        ("identification", ">u2"),
        ("fragment", ">u2"),
        ("ttl", "u1"),
        ("protocol", "u1"),
        ("ip_checksum", ">u2"),
        ("source", "u1", 4),
        ("target", "u1", 4),
    ],
    6: [
        ("version", ">u4"),  # with traffic class and flow label
        ("ip_length", ">u2"),
        ("protocol", "u1"),
        ("ttl", "u1"),
        ("source", "u1", 16),
        ("target", "u1", 16),
    ],
}
_PORTS = [("source_port", ">u2"), ("target_port", ">u2")]
_UDP = [*_PORTS, ("udp_length", ">u2"), ("checksum", ">u2")]
_TCP = [
    *_PORTS,
    ("seq", ">u4"),
    ("ack", ">u4"),
    ("offset", "u1"),
    ("flags", "u1"),
    ("window", ">u2"),
    ("checksum", ">u2"),
    ("urgent", ">u2"),
]
_SYN_OPTIONS = [("mss_option", ">u2"), ("mss", ">u2"), ("scale_option", ">u4")]
_TIMESTAMPS = [("stamp_option", ">u4"), ("stamp", ">u4"), ("echo", ">u4")]


def frame_lengths(packets: Packets, flows: FlowsToWrite) -> Ints:
    """int64 (P,), bytes of each packet's Ethernet frame, without check sequence."""
    return ETHERNET + flows.header[packets.flow] + SYN_OPTIONS * packets.options + packets.payload


def headers(packets: Packets, flows: FlowsToWrite, mtu: int) -> Iterator[tuple[Ints, Bytes]]:
    """The headers of packets, from Ethernet to TCP or UDP, checksums filled in.

    Yields:
        For packets with equally long headers: their rows, and uint8 (rows, bytes).
    """
    tcp, stamped = flows.is_tcp[packets.flow], flows.stamped[packets.flow]
    kinds = 4 * tcp + 2 * stamped + packets.options
    for kind in np.unique(kinds):
        rows = np.flatnonzero(kinds == kind)
        yield rows, _headers(packets[rows], flows, bool(kind & 1), mtu)


def _headers(packets: Packets, flows: FlowsToWrite, opens: bool, mtu: int) -> Bytes:
    first = packets.flow[0]
    is_tcp, stamped = bool(flows.is_tcp[first]), bool(flows.stamped[first])
    layout = [*_ETHERNET, *_IP[flows.ip], *(_TCP if is_tcp else _UDP)]
    layout += _SYN_OPTIONS * opens + _TIMESTAMPS * stamped
    out = np.zeros(len(packets.flow), np.dtype(layout))
    up = packets.direction > 0
    length = out.itemsize - ETHERNET - IP[flows.ip] + packets.payload
    _put_ethernet(out, packets, flows, up)
    _put_ip(out, packets, flows, up, length)
    client, server = (ports[packets.flow] for ports in (flows.client_port, flows.server_port))
    out["source_port"], out["target_port"] = np.where(up, (client, server), (server, client))
    if is_tcp:
        _put_tcp(out, packets, mtu - IP[flows.ip] - TCP_HEADER)
    else:
        out["udp_length"] = length
    out["checksum"] = _transport_checksum(out, length, ETHERNET + IP[flows.ip])
    return _bytes(out)


def _put_ethernet(
    out: npt.NDArray[np.void], packets: Packets, flows: FlowsToWrite, up: Bools
) -> None:
    for field, other in (("source_mac", up), ("target_mac", ~up)):
        out[field][:, :4] = MAC
        out[field][:, 4] = ~packets.generated
        out[field][:, 5] = np.where(other, 1, 2)
    out["ethertype"] = 0x0800 if flows.ip == 4 else 0x86DD


def _put_ip(
    out: npt.NDArray[np.void], packets: Packets, flows: FlowsToWrite, up: Bools, length: Ints
) -> None:
    client, server = (
        np.array([list(ip_address(one).packed) for one in side], np.uint8)[index[packets.flow]]
        for side, index in zip(flows.ends, (flows.client, flows.server), strict=True)
    )
    out["source"] = np.where(up[:, None], client, server)
    out["target"] = np.where(up[:, None], server, client)
    out["ttl"] = packets.ttl
    out["protocol"] = 6 if flows.is_tcp[packets.flow[0]] else 17
    if flows.ip == 6:
        out["version"], out["ip_length"] = 6 << 28, length
    else:
        out["version"], out["ip_length"] = 0x4500, length + IP[4]
        out["fragment"] = 0x4000  # do not fragment: the identification may then be 0 (RFC 6864)
        out["ip_checksum"] = ~_sum_words(_bytes(out)[:, ETHERNET : ETHERNET + IP[4]]) & 0xFFFF


def _put_tcp(out: npt.NDArray[np.void], packets: Packets, mss: int) -> None:
    names = out.dtype.names or ()
    for field in ("seq", "ack"):
        out[field] = getattr(packets, field) & 0xFFFFFFFF
    options = SYN_OPTIONS * ("mss" in names) + TIMESTAMPS * ("stamp" in names)
    out["offset"] = (TCP_HEADER + options) // 4 << 4
    out["flags"] = packets.flags
    out["window"] = packets.window
    if "mss" in names:
        out["mss_option"], out["mss"] = 0x0204, min(mss, 65535)
        out["scale_option"] = 0x01030300 | SCALE
    if "stamp" in names:
        out["stamp_option"] = 0x0101080A
        out["stamp"] = packets.time // 10**6 & 0xFFFFFFFF
        out["echo"] = packets.echo // 10**6 & 0xFFFFFFFF


def _transport_checksum(out: npt.NDArray[np.void], length: Ints, at: int) -> Ints:
    """RFC 9293 and RFC 768: over pseudo-header, header and payload, whose zeros add nothing."""
    words = _sum_words(_bytes(out)[:, at:])
    ends = sum(_sum_words(np.ascontiguousarray(out[field])) for field in ("source", "target"))
    total = words + ends + out["protocol"] + length
    checksum = ~_fold(total) & 0xFFFF
    # In UDP 0 says that there is none; the same number in one's complement says it is 0.
    return np.where((out["protocol"] == 17) & (checksum == 0), 0xFFFF, checksum)


def _sum_words(octets: Bytes) -> Ints:
    """One's complement sum of the 16-bit words of each row."""
    words = np.ascontiguousarray(octets).view(">u2")
    return _fold(words.sum(axis=1, dtype=np.int64))


def _fold(total: Ints) -> Ints:
    for _ in range(2):
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _bytes(out: npt.NDArray[np.void]) -> Bytes:
    return out.view(np.uint8).reshape(len(out), out.itemsize)
