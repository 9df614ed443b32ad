"""Flows of made-up hosts: each asks a resolver, then a web server a few times."""

from __future__ import annotations

import numpy as np

from netdiffus.traces.traces import Traces

SECOND = 10**9
RESOLVER, WEB = "192.168.1.1", "142.250.1.1"


def host_flows(sessions: int = 40, seed: int = 0) -> Traces:
    """Flows of `dns`, then of 2 or 3 of `web`, of which the last goes to a server of its own."""
    rng = np.random.default_rng(seed)
    rows = []
    for s in range(sessions):
        host, own, start = f"192.168.1.{10 + s}", f"99.{s}.1.7", (1000 + 100 * s) * SECOND
        ends = [("dns", RESOLVER, 53), *[("web", WEB, 443)] * (2 + s % 2), ("web", own, 443)]
        for label, server, port in [*ends, ends[-1]]:
            sizes = [60, 120] if label == "dns" else [100, 1400, 1400, 52]
            rows.append((f"host-{s}", start, label, host, server, port, sizes))
            start += int((0.01 if label == "dns" else 0.5 + rng.random()) * SECOND)
    session, start, label, client, server, port, sizes = map(list, zip(*rows, strict=True))
    return Traces.from_lists(
        {
            "packet_length": sizes,
            "direction": [[1, -1, -1, 1][: len(one)] for one in sizes],
            "timestamp": [[0.02 * k for k in range(len(one))] for one in sizes],
        },
        label,
        {
            "session": session,
            "start": start,
            "client": client,
            "server": server,
            "protocol": ["udp" if p == 53 else "tcp" for p in port],
            "server_port": port,
            "os": ["linux" if int(one[5:]) % 4 else "mac" for one in session],
        },
    )
