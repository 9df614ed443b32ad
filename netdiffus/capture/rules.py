"""How packets become traces: the rules, as they are stated in what is written."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from ipaddress import IPv4Network, ip_network
from typing import TYPE_CHECKING, Any

from netdiffus.channels import Channel
from netdiffus.errors import InputError

if TYPE_CHECKING:
    from netdiffus._capture import Reader

SIZES = ("ip", "wire", "payload")
PACKET_COLUMNS = {"tcp_flags": "uint8", "ttl": "uint8", "tcp_window": "uint16"}
PERS = ("flow", "host", "capture")
DIRECTIONS = ("first", "syn", "port")
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")
IDLE_S, ACTIVE_S = 120.0, 1800.0  # of flows: the defaults of nfstream and of most NetFlow exporters
NEVER_NS = 2**62


@dataclass(frozen=True)
class Rules:
    """What a trace is.

    A flow is all packets between two addresses and ports of one protocol, both ways; protocols
    without ports (ICMP) go by address. It ends when `idle` seconds bring no packet, or with the
    first packet `active` seconds or more after its start; the rest is a new flow between the same
    client and server. A TCP flow ends with the next SYN if it has seen an RST or a FIN from both
    ends, or if that SYN is another than its own: it has another sequence number, or the flow was
    under way without one. VLAN tags and MPLS labels are not looked at. Later fragments of a
    datagram belong to the flow of its first one. Each capture is read alone, and all traces end
    with it.

    Attributes:
        per: One trace per `flow`, per `host` (an address in `hosts`), or per `capture`.
        keep_flows: The packets of a host or a capture are not joined: each flow remains a trace,
            and the column `session` says whose it is. A flow between two hosts is its client's.
        packets: Packets kept of each trace, from its first; None for all.
        bin_width: Seconds; bytes down and up in bins of that width instead of single packets.
        bins: Bins of every trace: zero after its last packet, and what comes later left out. None:
            up to the last packet, or to that in the last of 1,000,000 bins.
        size: Bytes of a packet: `ip`, from the IP header on; `wire`, the frame as captured without
            regard to snap length; `payload`, what TCP, UDP or ICMP carries.
        direction: Who the client is: the sender of the `first` packet; that of the `syn` where
            there is one; or, by `port`, that of the SYN, and where there is none the end with the
            higher port: for captures that begin within connections. +1 is from the client. Of a
            host's trace the client is the host, of a capture's it is the sender of the first packet
            or, if given, all of `hosts`.
        hosts: Networks whose addresses are hosts; the private ones for `per="host"` if not given.
        idle: Seconds; 120 for flows and never for the others if not given.
        active: Seconds; 1800 for flows and never for the others if not given.
        packet_columns: Of each packet that is kept also `tcp_flags` (the byte of its header), `ttl`
            (or IPv6's hop limit) and `tcp_window` (as in the header, not scaled), each a channel; 0
            where the protocol has none.
        tunnels: Count packets in tunnels by the inner packet's headers: IP in IP, GRE, PPTP, ERSPAN
            (I to III), GRE in UDP, EtherIP, VXLAN (ports 4789, 8472 and, GPE, 4790), Geneve, GTP-U,
            L2TP, Teredo, LISP, MPLS in IP or UDP, TZSP. Where nothing is found inside that can be
            read, the outer headers count.
        dedup: Leave out packets that came less than 10 ms before with the same bytes from the IP
            header on, as where a mirror (SPAN) port shows them twice. The latest 16,384 packets are
            remembered.

    Raises:
        InputError: Names the rule that cannot be.
    """

    per: str = "flow"
    keep_flows: bool = False
    packets: int | None = 64
    bin_width: float | None = None
    bins: int | None = None
    size: str = "ip"
    direction: str = "first"
    hosts: tuple[str, ...] = ()
    idle: float | None = None
    active: float | None = None
    packet_columns: tuple[str, ...] = ()
    tunnels: bool = False
    dedup: bool = False

    def __post_init__(self) -> None:
        _one_of("per", self.per, PERS)
        _one_of("size", self.size, SIZES)
        _one_of("direction", self.direction, DIRECTIONS)
        for name in ("packets", "bin_width", "bins", "idle", "active"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} must be above 0, got {value}")
        if self.bins is not None and self.bin_width is None:
            raise InputError("bins is given without bin_width: say how many seconds a bin has")
        if self.bin_width is not None and not 1e-9 <= self.bin_width < 1e9:
            raise InputError(f"bin_width must be 1 ns at least, got {self.bin_width} s")
        if self.bins is not None and self.bins > 1_000_000:
            raise InputError(f"bins must be at most 1000000, got {self.bins}; take wider bins")
        for name in self.packet_columns:
            _one_of("packet_columns", name, tuple(PACKET_COLUMNS))
        if self.packet_columns and self.bin_width is not None:
            raise InputError("packet_columns are of packets, not of bins: leave one of them out")
        if self.keep_flows and self.per == "flow":
            raise InputError("keep_flows is a rule for per='host' and 'capture': a session is one")
        if self.direction != "first" and self.trace != "flow":
            raise InputError(
                f"direction {self.direction!r} is a rule for flows, not for per={self.per!r}"
            )
        if self.hosts and self.per == "flow":
            raise InputError("hosts are a rule for per='host' and 'capture', not for flows")
        if self.per == "host" and not self.hosts:
            object.__setattr__(self, "hosts", PRIVATE)
        for name, seconds in (("idle", IDLE_S), ("active", ACTIVE_S)):
            if getattr(self, name) is None:
                object.__setattr__(self, name, seconds if self.trace == "flow" else math.inf)
        _networks(self.hosts)

    @property
    def trace(self) -> str:
        """What becomes one trace: `flow`, `host` or `capture`."""
        return "flow" if self.keep_flows else self.per

    def channels(self) -> tuple[Channel, ...]:
        """What the lists of a trace are."""
        if self.bin_width is None:
            return (
                Channel.named("packet_length", "int32"),
                Channel.named("direction", "int8"),
                Channel.named("timestamp", "double"),
                *(
                    Channel.named(name, PACKET_COLUMNS[name])
                    for name in dict.fromkeys(self.packet_columns)
                ),
            )
        return tuple(
            Channel(name, "volume", "per bin", "int64", self.bin_width)
            for name in ("value", "value_up")
        )

    def about(self) -> dict[str, Any]:
        """The rules as JSON can hold them."""
        finite = {k: None if v == math.inf else v for k, v in asdict(self).items()}
        lists = {"hosts": list(self.hosts), "packet_columns": list(self.packet_columns)}
        return {**finite, **lists}

    def reader(self, sort_in: int | None = None) -> Reader:
        """A native reader that goes by these rules.

        Args:
            sort_in: Descriptor of an empty file in which it sorts all packets by time; None if they
                come nearly in order.
        """
        try:
            from netdiffus._capture import Reader
        except ImportError as error:
            raise InputError(
                f"captures are read by compiled code, which is not there ({error}): install "
                "netdiffus again without NETDIFFUS_EXT=0"
            ) from None
        return Reader(
            size=SIZES.index(self.size),
            tunnels=self.tunnels,
            dedup=self.dedup,
            per=PERS.index(self.trace),
            client=DIRECTIONS.index(self.direction),
            packets=self.packets or NEVER_NS,
            bin_ns=_ns(self.bin_width) if self.bin_width else 0,
            bins=self.bins or 0,
            idle_ns=_ns(self.idle),
            active_ns=_ns(self.active),
            hosts=_networks(self.hosts if self.trace != "flow" else ()),
            headers=bool(self.packet_columns),
            sort_in=sort_in,
        )


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{name} must be one of {', '.join(known)}, got {value!r}")


def _ns(seconds: float | None) -> int:
    return NEVER_NS if seconds is None or seconds > 1e9 else round(seconds * 1e9)


def _networks(hosts: tuple[str, ...]) -> list[tuple[bytes, int]]:
    """Each network as 16 bytes and the number of bits that count, IPv4 mapped into IPv6."""
    found = []
    for host in hosts:
        try:
            network = ip_network(host, strict=False)
        except ValueError as error:
            raise InputError(f"hosts: {error}; write a network such as 192.168.0.0/16") from None
        first, bits = network.network_address.packed, network.prefixlen
        if isinstance(network, IPv4Network):
            first, bits = bytes(10) + b"\xff\xff" + first, bits + 96
        found.append((first, bits))
    return found
