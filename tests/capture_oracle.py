"""Flows as an independent reader makes them: dpkt takes the file and its headers apart."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import dpkt

LINKS = {
    0: dpkt.loopback.Loopback,
    1: dpkt.ethernet.Ethernet,
    108: dpkt.loopback.Loopback,
    113: dpkt.sll.SLL,
    276: dpkt.sll2.SLL2,
}
IP = (dpkt.ip.IP, dpkt.ip6.IP6)
Ends = tuple[tuple[str, int], tuple[str, int]]


@dataclass
class Flow:
    client: tuple[str, int]
    server: tuple[str, int]
    protocol: int
    start: int
    last: int
    points: list[tuple[int, int, int]] = field(default_factory=list)  # size, direction, ns
    fins: set[int] = field(default_factory=set)
    over: bool = False
    sent: set[int] = field(default_factory=set)  # by which end, of TCP
    numbers: dict[int, int] = field(default_factory=dict)  # of their SYNs

    def begins_anew(self, way: int, flags: int, number: int) -> bool:
        """Whether this packet of TCP is a SYN that is not of this flow."""
        if flags & 0x12 != 2:
            return False
        if self.over or way in self.numbers:
            return self.over or self.numbers[way] != number
        return way in self.sent or not self.numbers


def flows(path: Path, unit: int = 1000, idle: float = 120, active: float = 1800) -> list[Flow]:
    """All flows in order of their first packets.

    Args:
        path: The capture.
        unit: ns of the file's clock: dpkt's own times are floats.
        idle: As in `netdiffus.capture.Rules`.
        active: As in `netdiffus.capture.Rules`.
    """
    made: list[Flow] = []
    current: dict[Any, Flow] = {}
    for time, size, ends, protocol, flags, number in sorted(
        packets(path, unit), key=lambda p: p[0]
    ):
        key = (frozenset(ends), protocol)
        flow = current.get(key)
        client, server = ends
        if flow is not None and time - flow.last >= idle * 1e9:
            flow = None
        before = None
        if flow is not None:
            way = 1 if ends[0] == flow.client else -1
            anew = protocol == 6 and flow.begins_anew(way, flags, number)
            if not anew and not flow.over and time - flow.start >= active * 1e9:
                before, (client, server) = flow, (flow.client, flow.server)
            if anew or time - flow.start >= active * 1e9:
                flow = None
        if flow is None:
            flow = current[key] = Flow(client, server, protocol, time, time)
            if before is not None:
                flow.sent, flow.numbers = set(before.sent), dict(before.numbers)
            made.append(flow)
        direction = 1 if ends[0] == flow.client else -1
        flow.points.append((size, direction, time - flow.start))
        flow.last = time
        if protocol == 6:
            flow.sent.add(direction)
            flow.numbers |= {direction: number} if flags & 2 else {}
            flow.fins |= {direction} if flags & 1 else set()
            flow.over |= bool(flags & 4) or flow.fins == {1, -1}
    return made


def packets(path: Path, unit: int) -> Iterator[tuple[int, int, Ends, int, int, int]]:
    """Of each IP packet: ns since 1970, IP length, both ends, protocol, TCP flags and number."""
    datagrams: dict[Any, tuple[int, int]] = {}
    with path.open("rb") as file:
        reader = dpkt.pcap.UniversalReader(file)
        for time, frame in reader:
            ip = internet(reader.datalink(), frame)
            if ip is None:
                continue
            ns = round(Decimal(time) * 10**9 / unit) * unit
            sport, dport, flags = ports(ip.data)
            protocol = ip.p
            fragment = fragment_of(ip)
            if fragment is not None:
                number, first = fragment
                name = (ip.src, ip.dst, number)
                if first:
                    datagrams[name] = sport, dport
                if name not in datagrams:
                    continue
                sport, dport = datagrams[name]
            ends = (text(ip.src), sport), (text(ip.dst), dport)
            number = getattr(ip.data, "seq", 0) if protocol == 6 else 0
            yield ns, length(ip, frame), ends, protocol, flags, number


def internet(link: int, frame: bytes) -> Any:
    try:
        if link in LINKS:
            packet = LINKS[link](frame).data
        else:
            packet = (dpkt.ip6.IP6 if frame[0] >> 4 == 6 else dpkt.ip.IP)(frame)
    except dpkt.UnpackError:
        return None
    while isinstance(packet, dpkt.pppoe.PPPoE | dpkt.ppp.PPP):
        packet = packet.data
    return packet if isinstance(packet, IP) else None


def ports(data: Any) -> tuple[int, int, int]:
    if isinstance(data, dpkt.tcp.TCP):
        return data.sport, data.dport, data.flags
    if isinstance(data, dpkt.udp.UDP | dpkt.sctp.SCTP):
        return data.sport, data.dport, 0
    return 0, 0, 0


def length(ip: Any, frame: bytes) -> int:
    if isinstance(ip, dpkt.ip6.IP6):
        return 40 + int(ip.plen)
    return int(ip.len) or len(frame) - 14  # cut up by the network card: Ethernet's alone is tested


def fragment_of(ip: Any) -> tuple[int, bool] | None:
    if isinstance(ip, dpkt.ip.IP):
        return (ip.id, not ip.offset) if ip.mf or ip.offset else None
    header = ip.extension_hdrs.get(44)
    if header is None or not (header.frag_off or header.m_flag):
        return None
    return header.id, not header.frag_off


def text(address: bytes) -> str:
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, address)
