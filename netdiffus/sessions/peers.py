"""Peers of a host without addresses: whether it met them, or their network, before.

A model never gets an address. For each flow it learns a text, `peer`. The text is a replacement
address if 5 sessions share the peer. Otherwise it says that the host met this peer before, or met
another one in its network, or that the peer is new, and of which kind. `Addresses` turns such texts
into replacement addresses.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

from netdiffus.arrays import Ints
from netdiffus.codec.column import MOST_VALUES
from netdiffus.codec.vocabulary import needed
from netdiffus.errors import InputError
from netdiffus.sessions.flows import Flows

PEER = "peer"
FROM = "from "  # the peer began the flow
AGAIN, NEAR, NEW = "again", "near", "new"
MOST_BACK = 16  # peers, and networks, of a session that are told apart
HOSTS = 254  # of a network
# For each kind of peer a network for shared peers, and one for the other peers of a session:
# private (RFC 1918), benchmarking (RFC 2544) and multicast for documentation (RFC 6676).
SHARED = {"local": "10.1", "public": "198.18", "multicast": "233.252"}
OWN = {"local": "10.2", "public": "198.19", "multicast": "233.252"}
HOST = "10.0"
MULTICAST = 0  # the one third byte of 233.252.0.0/24
Address = IPv4Address | IPv6Address


def peers_of(flows: Flows, owners: Ints) -> list[str] | None:
    """The peer of each flow; None where `client` and `server` are not in the meta-data.

    An address of fewer than 5 `owners` (N,) gets no name.

    Raises:
        InputError: A cell that is not an address.
    """
    meta = flows.traces.meta
    if not {"client", "server"} <= set(meta.column_names):
        return None
    both = (map(_address, meta[name].to_pylist()) for name in ("client", "server"))
    ends = list(zip(*both, strict=True))
    hosts = _hosts(flows, ends)
    met = []
    for (client, server), number in zip(ends, flows.session.tolist(), strict=True):
        is_from = server == hosts[number] and client != server
        met.append((client if is_from else server, FROM if is_from else ""))
    names = _shared([peer for peer, _ in met], owners)
    found = []
    for number, first in enumerate(flows.first.tolist()):
        seen = _Seen()
        for peer, way in met[first : first + int(flows.counts[number])]:
            found.append(way + seen.told(peer, names))
    return found


@dataclass
class _Seen:
    """The peers and networks of one session so far, the latest first."""

    peers: list[object] = field(default_factory=list)
    networks: list[object] = field(default_factory=list)

    def told(self, peer: Address, names: dict[Address, str]) -> str:
        """The text of a peer; records the peer as met."""
        network = _network(peer)
        if peer in names:
            text = names[peer]
        elif peer in self.peers[:MOST_BACK]:
            text = f"{AGAIN} {self.peers.index(peer) + 1}"
        elif network in self.networks[:MOST_BACK]:
            text = f"{NEAR} {self.networks.index(network) + 1}"
        else:
            text = f"{NEW} {_kind(peer)}"
        if peer not in names:
            _to_front(self.peers, peer)
        _to_front(self.networks, network)
        return text


class Addresses:
    """Replacement addresses for the peers of sessions in one network."""

    def __init__(self) -> None:
        self.networks = 0  # that sessions have of their own
        self.taken: Counter[str] = Counter()  # addresses given out of each network

    def of_session(self, number: int, peers: list[str]) -> list[tuple[str, str]]:
        """Client and server of each flow of a session, from its texts of `peers_of` in order.

        The hosts of sessions 0 to 64,515 have different addresses; later ones repeat them.
        """
        mine = f"{HOST}.{number // HOSTS % HOSTS}.{1 + number % HOSTS}"
        own: list[object] = []
        networks: list[object] = []
        found = []
        for text in peers:
            name = text.removeprefix(FROM)
            peer = self._peer(name, own, networks)
            if ip_address_or_none(name) is None:
                _to_front(own, peer)
            _to_front(networks, peer.rpartition(".")[0])
            found.append((peer, mine) if text.startswith(FROM) else (mine, peer))
        return found

    def _peer(self, name: str, own: list[object], networks: list[object]) -> str:
        what, _, which = name.partition(" ")
        if ip_address_or_none(name) is not None:
            return name
        if what == AGAIN and own:
            return str(own[min(int(which), len(own)) - 1])
        if what == NEAR and networks:
            return self._next(str(networks[min(int(which), len(networks)) - 1]))
        return self._next(self._new_network(which if which in OWN else "public"))

    def _new_network(self, kind: str) -> str:
        if kind == "multicast":
            return f"{OWN[kind]}.{MULTICAST}"
        self.networks += 1
        return f"{OWN[kind]}.{self.networks % 256}"

    def _next(self, network: str) -> str:
        """The next address from the end of a network; shared addresses are at its beginning."""
        self.taken[network] += 1
        return f"{network}.{HOSTS + 1 - (1 + (self.taken[network] - 1) % HOSTS)}"


def ip_address_or_none(text: str) -> Address | None:
    """The address that a text is, if it is one."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def _address(text: object) -> Address:
    found = ip_address_or_none(str(text))
    if found is None:
        raise InputError(
            f"columns client and server: {text!r} is no IP address; leave the columns out, or name "
            "them otherwise"
        )
    return found


def _hosts(flows: Flows, ends: list[tuple[Address, Address]]) -> list[Address]:
    """(S,), the address that most flows of each session have."""
    counts: dict[int, Counter[Address]] = defaultdict(Counter)
    for number, pair in zip(flows.session.tolist(), ends, strict=True):
        counts[number].update(pair)
    return [counts[number].most_common(1)[0][0] for number in range(len(flows.counts))]


def _shared(peers: list[Address], owners: Ints) -> dict[Address, str]:
    """A replacement address for each address that 5 owners share; networks stay together."""
    of_peer: dict[Address, set[int]] = defaultdict(set)
    for peer, owner in zip(peers, owners.tolist(), strict=True):
        of_peer[peer].add(owner)
    shared = [peer for peer, mine in of_peer.items() if len(mine) >= needed()]
    shared = sorted(shared, key=lambda peer: (-len(of_peer[peer]), str(peer)))[:MOST_VALUES]
    names, networks = {}, {kind: dict[object, int]() for kind in SHARED}
    taken: Counter[str] = Counter()
    for peer in shared:
        kind = _kind(peer)
        mine = networks[kind]
        third = MULTICAST if kind == "multicast" else mine.setdefault(_network(peer), len(mine))
        prefix = f"{SHARED[kind]}.{third % 256}"
        taken[prefix] += 1
        names[peer] = f"{prefix}.{taken[prefix]}"
    return names


def _kind(peer: Address) -> str:
    if peer.is_multicast or str(peer) == "255.255.255.255":
        return "multicast"
    return "local" if peer.is_private or peer.is_link_local else "public"


def _network(peer: Address) -> object:
    """The /24 of IPv4, the /64 of IPv6."""
    return peer.version, int(peer) >> (8 if peer.version == 4 else 64)


def _to_front(latest: list[object], one: object) -> None:
    if one in latest:
        latest.remove(one)
    latest.insert(0, one)
