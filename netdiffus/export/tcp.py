"""Flags of TCP and TTLs that a capture can have: what cannot be is mended, and counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from netdiffus.arrays import Bools, Ints
from netdiffus.export.packets import (
    ACK,
    FIN,
    RST,
    SYN,
    URG,
    FlowsToWrite,
    PointsToWrite,
    first_rows_of,
    sent_before,
)

PASSED = 0xFF & ~(FIN | SYN | RST | ACK | URG)  # PSH and congestion: right wherever they stand


def mended(points: PointsToWrite, flows: FlowsToWrite, payload: Ints) -> tuple[PointsToWrite, int]:
    """The points with flags and TTLs that can be; and of how many points one was changed.

    RFC 9293: an end opens with SYN, the client without and the server with ACK and after the
    client; all that follows has ACK, but an RST need not. After the FIN or RST of an end it sends
    no more data. There are no urgent data, and no packet with a TTL of 0 arrives.

    Args:
        points: With or without flags and TTLs.
        flows: The traces they belong to.
        payload: int64 (P,), bytes of each point after the transport header.
    """
    changed = np.zeros(len(points.trace), dtype=bool)
    if points.ttl is not None:
        changed |= points.ttl == 0
        points = replace(points, ttl=np.maximum(points.ttl, 1))
    if points.flags is not None:
        is_tcp = flows.is_tcp[points.trace]
        flags = np.where(is_tcp, _possible(points, points.flags, payload > 0), 0)
        changed |= is_tcp & (flags != points.flags)
        points = replace(points, flags=flags)
    return points, int(changed.sum())


def _possible(points: PointsToWrite, flags: Ints, has_data: Bools) -> Ints:
    up, first = points.direction > 0, first_rows_of(points.trace)
    syn, fin, rst = (flags & flag > 0 for flag in (SYN, FIN, RST))
    syn &= ~_before(~syn, up, first)
    syn &= up | (sent_before((syn & up).astype(np.int64), first) > 0)
    later = _after(has_data, up, points.trace, first)
    rst &= ~syn & ~later
    fin &= ~syn & ~later & ~rst
    ack = np.where(syn, ~up, ~rst | (flags & ACK > 0))
    passed = np.where(syn, 0, flags & PASSED)
    found: Ints = passed | SYN * syn | FIN * fin | RST * rst | ACK * ack
    return found


def _before(marked: Bools, up: Bools, first: Ints) -> Bools:
    """Bool (P,): whether an earlier point of the same side and trace is marked."""
    counts = [sent_before((marked & mine).astype(np.int64), first) for mine in (up, ~up)]
    return np.where(up, *counts) > 0


def _after(marked: Bools, up: Bools, trace: Ints, first: Ints) -> Bools:
    """The same of a later point."""
    turned = slice(None, None, -1)
    of_later = first_rows_of(trace.max() - trace[turned])
    return _before(marked[turned], up[turned], of_later)[turned]
