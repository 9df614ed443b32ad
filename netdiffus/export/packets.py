"""Traces to packets on a wire: endpoints, start times, TCP's handshake, numbers and teardown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

import numpy as np

from netdiffus.channels import Channel
from netdiffus.errors import InputError
from netdiffus.export import ports
from netdiffus.protocols import TCP, UDP
from netdiffus.traces.traces import Bools, Ints, Traces

Ends = tuple[tuple[str, ...], tuple[str, ...]]

SIZES = ("ip", "wire", "payload")
STARTS = ("meta", "sequence", "together")
PER_UNIT = {"s": 10**9, "ms": 10**6, "us": 10**3, "µs": 10**3, "ns": 1}  # nanoseconds
ETHERNET = 14  # header bytes, as are the next
IP = {4: 20, 6: 40}
UDP_HEADER, TCP_HEADER, TIMESTAMPS = 8, 20, 12
# Every network carries the smaller (RFC 791, RFC 8200); the length field, which counts IPv4's
# header but not IPv6's, ends at the larger.
MTUS = {4: (68, 65535), 6: (1280, 65575)}

# Addresses for documentation: RFC 5737 and RFC 3849; (clients, servers).
HOSTS = 254
NETWORKS = {
    4: (("192.0.2.0/24",), ("198.51.100.0/24", "203.0.113.0/24")),
    6: (("2001:db8:0:1::/64",), ("2001:db8:0:2::/64", "2001:db8:0:3::/64")),
}
ADDRESSES = ("own", "meta")
# RFC 1918, 2544, 5737, 6676, 3849 and 4193: private, for tests, or for documentation.
NOBODYS = (
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15", "192.0.2.0/24"),
    *("198.51.100.0/24", "203.0.113.0/24", "233.252.0.0/24", "2001:db8::/32", "fc00::/7"),
)
# RFC 6335: dynamic ports. Over UDP tcpdump takes 49152 for a protocol of Broadcom, and tshark 54328
# for Elasticsearch.
CLIENT_PORTS = np.setdiff1d(np.arange(49153, 65536), [54328])

# One second after the epoch: nobody takes such a time for that of a real capture.
FIRST_START = 10**9
PAUSE = 10**6  # ns between the packets of a handshake or a teardown
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
TTL, WINDOW = 64, 65535  # where traces do not say; scaled by 2**14: no trace can overrun it
SYN_OPTIONS = 8  # bytes
OF_HEADERS = {"flags": ("tcp_flags", 255), "ttl": ("ttl", 255), "window": ("tcp_window", 65535)}
# (position, direction, flags); the generated packets have positions 0, 1, 2 …
HANDSHAKE = ((-3, 1, SYN), (-2, -1, SYN | ACK), (-1, 1, ACK))
TEARDOWN = ((1, 1, FIN | ACK), (2, -1, FIN | ACK), (3, 1, ACK))


@dataclass(frozen=True)
class PointsToWrite:
    """The P points of all traces, trace after trace, each in the order of time.

    Attributes:
        trace: int64 (P,), row in the traces.
        position: int64 (P,), 0, 1, 2 … within each trace.
        time: int64 (P,), ns on the trace's own clock.
        size: int64 (P,), bytes.
        direction: int64 (P,), +1 from the client, -1 to it.
        flags: int64 (P,), of TCP, where the traces have a channel `tcp_flags`; else None.
        ttl: int64 (P,), likewise of `ttl`.
        window: int64 (P,), likewise of `tcp_window`.
    """

    trace: Ints
    position: Ints
    time: Ints
    size: Ints
    direction: Ints
    flags: Ints | None = None
    ttl: Ints | None = None
    window: Ints | None = None


@dataclass(frozen=True)
class FlowsToWrite:
    """What the packets of each of N traces share.

    Attributes:
        ip: IP version of all of them, 4 or 6.
        is_tcp: bool (N,); the others are UDP.
        ends: Addresses of the clients and of the servers, as text.
        client: int64 (N,), index into the first of `ends`.
        server: int64 (N,), index into the second of `ends`.
        client_port: int64 (N,).
        server_port: int64 (N,).
        stamped: bool (N,), whether TCP carries timestamps.
        as_udp: bool (N,), whether it stands for a protocol that is neither TCP nor UDP.
        counts_headers: Whether sizes count headers, so that options of a SYN lie within them.
        start: int64 (N,), ns since the epoch at which the trace's clock is zero.
    """

    ip: int
    is_tcp: Bools
    ends: Ends
    client: Ints
    server: Ints
    client_port: Ints
    server_port: Ints
    stamped: Bools
    as_udp: Bools
    counts_headers: bool
    start: Ints

    @property
    def header(self) -> Ints:
        """int64 (N,), bytes of the IP and transport headers of a generated packet."""
        tcp = TCP_HEADER + TIMESTAMPS * self.stamped
        return np.where(self.is_tcp, tcp, UDP_HEADER) + IP[self.ip]


@dataclass(frozen=True)
class Packets:
    """The packets of a capture in the order of time, as columns of length P.

    Attributes:
        flow: int64, row of the trace.
        time: int64, ns since the epoch.
        direction: int64, +1 from the client, -1 to it.
        generated: bool, whether it is a point of the trace; the others are framing.
        payload: int64, bytes after the transport header.
        flags: int64, of TCP; 0 for UDP.
        options: bool, whether it is a SYN with options.
        ttl: int64, or the hop limit.
        window: int64, of TCP.
        seq: int64, TCP sequence number; both sides count from 0.
        ack: int64, TCP acknowledgement: all that the other side has sent so far.
        echo: int64, time of the latest earlier packet of the other side, ns; 0 if none.
    """

    flow: Ints
    time: Ints
    direction: Ints
    generated: Bools
    payload: Ints
    flags: Ints
    options: Bools
    ttl: Ints
    window: Ints
    seq: Ints
    ack: Ints
    echo: Ints

    def __getitem__(self, index: slice | Ints | Bools) -> Packets:
        return Packets(**{name: column[index] for name, column in vars(self).items()})


def check_channels(channels: Sequence[Channel]) -> None:
    """Raises InputError unless there are sizes, directions and times or gaps, one of each."""
    kinds = [channel.kind for channel in channels]
    found = ", ".join(f"{channel.name} ({channel.kind})" for channel in channels)
    if "volume" in kinds:
        raise InputError(
            f"these are traces of volumes per bin, not of packets: {found}. Packets can be made "
            "of traces with the channels packet_length, direction and timestamp or iat"
        )
    if [kinds.count(kind) for kind in ("size", "direction")] != [1, 1] or (
        kinds.count("time") + kinds.count("gap") != 1
    ):
        raise InputError(
            "packets need one channel of sizes (packet_length), one of directions (direction) "
            f"and one of times or gaps (timestamp or iat); found {found}"
        )


def packet_points(traces: Traces, resolution: int = 1) -> PointsToWrite:
    """The points of traces of packets, with times as integers.

    Points of a trace whose times run backwards are put in the order of time.

    Args:
        traces: One channel of sizes, one of directions, one of times or gaps; see `Channel.unit`.
        resolution: Times are rounded to multiples of this many ns.

    Raises:
        InputError: Another set of channels, or an unknown unit of time.
    """
    check_channels(traces.channels)
    by_kind = {channel.kind: c for c, channel in enumerate(traces.channels)}
    names = [channel.name for channel in traces.channels]
    row = np.repeat(np.arange(len(traces)), traces.lengths)
    position = np.arange(len(row)) - np.repeat(_first_rows(traces.lengths), traces.lengths)
    time = _nanoseconds(traces, by_kind)
    time = np.rint(time / resolution).astype(np.int64) * resolution if resolution > 1 else time
    order = np.lexsort((position, time, row))
    return PointsToWrite(
        trace=row,
        position=position,
        time=time[order],
        size=np.rint(traces.points(by_kind["size"])).astype(np.int64)[order],
        direction=traces.points(by_kind["direction"]).astype(np.int64)[order],
        **{
            field: np.clip(np.rint(traces.points(name)), 0, most).astype(np.int64)[order]
            for field, (name, most) in OF_HEADERS.items()
            if name in names
        },
    )


def flows_of(
    traces: Traces,
    points: PointsToWrite,
    *,
    size: str = "ip",
    ip: int = 4,
    protocol: str = "tcp",
    server_port: int = 443,
    start: str | None = None,
    resolution: int = 1,
    addresses: str = "own",
) -> FlowsToWrite:
    """A distinct 5-tuple and a start for each trace. See `write_capture`.

    A TCP trace whose sizes all leave room for it has the timestamps option in every packet, so
    that a packet of 52 bytes is an acknowledgement without data, as it is where sizes come from.

    Raises:
        InputError: An option that is not one, an impossible protocol, port or start, or too many
            traces.
    """
    for name, value, choices in (
        ("size", size, SIZES),
        ("ip", ip, tuple(NETWORKS)),
        ("addresses", addresses, ADDRESSES),
    ):
        _check_choice(name, value, choices)
    ends, client, server = _ends(traces, ip, addresses)
    numbers = ports.protocols(traces, protocol)
    is_tcp = numbers == TCP
    room = ip_size(points.size, 0, size) - IP[ip] - TCP_HEADER - TIMESTAMPS
    stamped = is_tcp & (size != "payload")
    stamped[points.trace[room < 0]] = False
    return FlowsToWrite(
        ip=ip,
        is_tcp=is_tcp,
        ends=ends,
        client=client,
        server=server,
        client_port=_client_ports(client),
        server_port=ports.server_ports(traces, server_port),
        stamped=stamped,
        as_udp=~is_tcp & (numbers != UDP),
        counts_headers=size != "payload",
        start=starts_of(traces, points, start, resolution),
    )


def starts_of(
    traces: Traces, points: PointsToWrite, choice: str | None = None, resolution: int = 1
) -> Ints:
    """int64 (N,): when each trace's clock is zero, ns since the epoch, multiples of `resolution`.

    Raises:
        InputError: `choice` (see `start` of `write_capture`) or a start that cannot be used.
    """
    has_meta = "start" in traces.meta.column_names
    choice = choice or ("meta" if has_meta else "sequence")
    _check_choice("start", choice, STARTS)
    if choice == "together":
        return np.full(len(traces), FIRST_START)
    if choice == "sequence":
        taken = points.time[np.cumsum(traces.lengths) - 1] + 10 * PAUSE
        return FIRST_START + _first_rows(taken)
    if not has_meta:
        raise InputError("start='meta' needs a meta column 'start', in ns since the epoch")
    starts = traces.meta["start"].to_pylist()
    for row, one in enumerate(starts):
        if not isinstance(one, int) or one < len(HANDSHAKE) * PAUSE:
            raise InputError(
                f"trace {row}: meta 'start' is {one!r}, not a whole number of ns since the epoch "
                f"of at least {len(HANDSHAKE) * PAUSE}; use start='sequence'"
            )
    return (np.array(starts, dtype=np.int64) + resolution // 2) // resolution * resolution


def on_free_ports(flows: FlowsToWrite, points: PointsToWrite, payload: Ints) -> FlowsToWrite:
    """The flows, moved to free server ports where zeros would be malformed. See `write_capture`.

    Args:
        flows: Those on the ports that their traces ask for.
        points: The points of the traces.
        payload: int64 (P,), bytes of each point after the transport header.
    """
    empty = flows.is_tcp[points.trace] & (payload == 0)
    given = np.where(empty, ports.NEVER, payload)
    shortest = np.minimum.reduceat(given, np.flatnonzero(points.position == 0))
    free = ports.free_ports(flows.server_port, flows.is_tcp, shortest)
    return replace(flows, server_port=free)


def ip_size(size: Ints, header: Ints | int, meaning: str) -> Ints:
    """Bytes of the IP packet of a `size` that means ip, wire (Ethernet) or payload bytes."""
    return size + {"ip": 0, "wire": -ETHERNET, "payload": header}[meaning]


def frame(points: PointsToWrite, flows: FlowsToWrite, payload: Ints) -> Packets:
    """Packets in the order of time: the points, and what TCP puts around them.

    A TCP trace gets a handshake before and a teardown after, unless its flags say that it has one;
    sequence numbers count what a side has sent, acknowledgements what the other has sent by then.
    UDP has no framing.

    Args:
        points: The points of the traces.
        flows: The traces they belong to.
        payload: int64 (P,), bytes of each point after the transport header.
    """
    packets, position = _with_framing(points, flows, payload)
    packets = packets[np.lexsort((position, packets.flow))]
    packets = _numbered(packets)
    return packets[np.argsort(packets.time, kind="stable")]


def _ends(traces: Traces, ip: int, choice: str) -> tuple[Ends, Ints, Ints]:
    """Addresses of both ends, and which each trace has."""
    if choice == "own":
        row, ends = np.arange(len(traces)), addresses(ip)
        return ends, row % HOSTS, row % len(ends[1])
    if missing := {"client", "server"} - set(traces.meta.column_names):
        raise InputError(f"addresses='meta' needs the meta columns {', '.join(sorted(missing))}")
    found, index = [], []
    for name in ("client", "server"):
        texts = [str(cell) for cell in traces.meta[name].to_pylist()]
        known, which = np.unique(texts, return_inverse=True)
        for row in np.flatnonzero([not _is_nobodys(one, ip) for one in known]).tolist():
            raise InputError(
                f"trace {int((which == row).argmax())}: meta {name!r} is {known[row]!r}, no "
                f"IPv{ip} address for private use, tests or documentation; those of real hosts "
                "are not written: use addresses='own' (--addresses own)"
            )
        found.append(tuple(known.tolist()))
        index.append(which.astype(np.int64))
    return (found[0], found[1]), index[0], index[1]


def _is_nobodys(text: str, ip: int) -> bool:
    """Whether a text is an address that is no host's on the Internet."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    networks = [ip_network(one) for one in NOBODYS]
    return address.version == ip and any(address in one for one in networks)


def _client_ports(client: Ints) -> Ints:
    """int64 (N,): of the flows of one client each has another."""
    order = np.argsort(client, kind="stable")
    rank = np.empty_like(client)
    rank[order] = np.arange(len(client)) - np.searchsorted(client[order], client[order])
    if rank.max() >= len(CLIENT_PORTS):
        raise InputError(
            f"{int(rank.max()) + 1} traces of one client: a capture holds {len(CLIENT_PORTS)}; "
            "write several files"
        )
    return CLIENT_PORTS[rank]


@lru_cache
def addresses(ip: int) -> Ends:
    """Addresses for documentation of the clients and of the servers, as text."""
    clients, servers = (
        tuple(str(ip_network(network)[1 + k]) for network in networks for k in range(HOSTS))
        for networks in NETWORKS[ip]
    )
    return clients, servers


def refuse(wrong: Bools, points: PointsToWrite, what: str, advice: str) -> None:
    """Raises InputError naming the first wrong point and counting the others."""
    if wrong.any():
        first = int(np.argmax(wrong))
        raise InputError(
            f"trace {points.trace[first]}, point {points.position[first]}: {what}, found "
            f"{points.size[first]} ({int(wrong.sum())} packets of "
            f"{len(np.unique(points.trace[wrong]))} traces affected): {advice}"
        )


def _first_rows(counts: Ints) -> Ints:
    """Where each of several runs of rows begins."""
    return np.cumsum(counts) - counts


def _nanoseconds(traces: Traces, by_kind: dict[str, int]) -> Ints:
    """int64 (P,): times on each trace's clock; of gaps, the sum so far."""
    kind = "time" if "time" in by_kind else "gap"
    channel = traces.channels[by_kind[kind]]
    if channel.unit not in PER_UNIT:
        raise InputError(
            f"channel {channel.name!r} has the unit {channel.unit!r}; times are in "
            f"{', '.join(PER_UNIT)}"
        )
    values = traces.points(by_kind[kind])
    time: Ints = np.rint(values * PER_UNIT[channel.unit]).astype(np.int64)
    if kind == "time":
        return time
    total = np.cumsum(time)
    before = (total - time)[_first_rows(traces.lengths)]
    return total - np.repeat(before, traces.lengths)


def _check_choice(name: str, value: object, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name} must be one of {', '.join(map(str, choices))}, got {value!r}")


def _with_framing(
    points: PointsToWrite, flows: FlowsToWrite, payload: Ints
) -> tuple[Packets, Ints]:
    """The points and, for TCP, the packets around them; and each one's place in its flow."""
    tcp = flows.is_tcp[points.trace]
    marks = np.where(payload > 0, PSH | ACK, ACK) if points.flags is None else points.flags
    options = tcp & (marks & SYN > 0) & (payload >= SYN_OPTIONS) & flows.counts_headers
    payload = payload - SYN_OPTIONS * options
    ends = np.append(np.flatnonzero(np.diff(points.trace)), len(points.trace) - 1)
    begins = np.append(0, ends[:-1] + 1)
    has_end = np.maximum.reduceat(marks & (FIN | RST), begins) > 0
    clock = flows.start[points.trace] + points.time
    parts = [(points.trace, clock, points.direction, payload, marks * tcp, points.position)]
    for steps, edge, is_there in (
        (HANDSHAKE, begins, marks[begins] & SYN > 0),
        (TEARDOWN, ends, has_end),
    ):
        rows = np.flatnonzero(flows.is_tcp & ~is_there)
        for step, way, flags in steps:
            same = [np.full(len(rows), value) for value in (way, 0, flags)]
            at = points.position[edge[rows]] + step
            parts.append((rows, clock[edge[rows]] + step * PAUSE, *same, at))
    flow, time, direction, lengths, marks, position = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    zero = np.zeros_like(flow)
    generated = np.arange(len(flow)) < len(points.trace)
    more = len(flow) - len(points.trace)
    options = np.append(options, marks[len(points.trace) :] & SYN > 0)
    ttl, window = (
        np.full(len(flow), usual) if one is None else np.append(one, np.full(more, usual))
        for one, usual in ((points.ttl, TTL), (points.window, WINDOW))
    )
    about = flow, time, direction, generated, lengths, marks, options, ttl, window
    return Packets(*about, zero, zero, zero), position


def _numbered(packets: Packets) -> Packets:
    """With seq, ack and echo; packets come flow after flow."""
    up, first = packets.direction > 0, first_rows_of(packets.flow)
    again = {flag: _is_again(packets.flags & flag > 0, up, first) for flag in (SYN, FIN)}
    opens, closes = (packets.flags & flag > 0 for flag in (SYN, FIN))
    advance = packets.payload + ((opens & ~again[SYN]) | (closes & ~again[FIN]))
    client, server = (sent_before(advance * mine, first) for mine in (up, ~up))
    # A SYN or FIN that is sent again has the number that it had.
    repeated = again[SYN] | again[FIN]
    client, server = client - (repeated & up), server - (repeated & ~up)
    of_client, of_server = (_latest(mine, first, packets.time) for mine in (up, ~up))
    return replace(
        packets,
        seq=np.where(up, client, server),
        ack=np.where(up, server, client),
        echo=np.where(up, of_server, of_client),
    )


def first_rows_of(flow: Ints) -> Ints:
    """int64 (P,): of rows that come flow after flow, where the flow of each begins."""
    new = np.diff(flow, prepend=-1) > 0
    return np.maximum.accumulate(np.where(new, np.arange(len(flow)), 0))


def _is_again(marked: Bools, up: Bools, first: Ints) -> Bools:
    """Bool (P,): which rows are marked as an earlier one of the same side and flow is."""
    before = [sent_before((marked & mine).astype(np.int64), first) for mine in (up, ~up)]
    return marked & (np.where(up, *before) > 0)


def sent_before(advance: Ints, first: Ints) -> Ints:
    """Sum of the earlier values of the same flow."""
    before = np.cumsum(advance) - advance
    return before - before[first]


def _latest(mine: Bools, first: Ints, time: Ints) -> Ints:
    """Time of the latest row at or before each that is `mine` and of the same flow, else 0."""
    row = np.maximum.accumulate(np.where(mine, np.arange(len(mine)), -1))
    return np.where(row >= first, time[row], 0)
