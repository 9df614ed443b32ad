"""Numbers that follow from the points of a trace: their count, sums, means, extremes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netdiffus.channels import Channel
from netdiffus.traces.traces import Bools, Floats, Traces

RELATIVE, ABSOLUTE = 1e-6, 1e-6  # what float32 and rounding to microseconds change
PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}  # units of a duration
POINTS = "number of points"
UP, DOWN = "points from the client", "points to the client"
LAST = "last "
STATISTICS = ("sum", "mean", "largest", "smallest")
SIDES = {"": 0, " from the client": 1, " to the client": -1}


def total_names(channels: Sequence[Channel]) -> list[str]:
    """The totals that traces of these channels have."""
    has_direction = any(channel.kind == "direction" for channel in channels)
    found = [POINTS, *([UP, DOWN] if has_direction else [])]
    for channel in channels:
        sides = SIDES if channel.kind == "size" and has_direction else ("",)
        if channel.kind in ("size", "volume", "gap"):
            found += [f"{of}{side} of {channel.name}" for of in STATISTICS for side in sides]
        if channel.kind == "time":
            found.append(LAST + channel.name)
    return found


def total(traces: Traces, name: str) -> Floats:
    """(N,): the total of this name; 0 of no points."""
    if name == POINTS:
        return traces.lengths.astype(np.float64)
    if name in (UP, DOWN):
        return np.asarray(_inside(traces, 1 if name == UP else -1).sum(1), dtype=np.float64)
    if name.startswith(LAST):
        return np.asarray(_values(traces, name.removeprefix(LAST)).max(1))
    what, _, channel = name.partition(" of ")
    of, _, side = what.partition(" ")
    return _statistic(of, _values(traces, channel), _inside(traces, SIDES[f" {side}".rstrip()]))


def _statistic(of: str, values: Floats, inside: Bools) -> Floats:
    """(N,): of the values (N, T) that are inside (N, T)."""
    count = inside.sum(1)
    if of in ("sum", "mean"):
        sums = np.where(inside, values, 0.0).sum(1)
        return np.asarray(sums / np.maximum(count, 1) if of == "mean" else sums)
    is_largest = of == "largest"
    extreme = np.where(inside, values, -np.inf if is_largest else np.inf)
    found = extreme.max(1) if is_largest else extreme.min(1)
    return np.where(count > 0, found, 0.0)


def equal_total(traces: Traces, numbers: Floats) -> str | None:
    """The name of the total that numbers (N,) equal in every trace; None if there is none."""
    for name in total_names(traces.channels):
        if is_close(numbers, total(traces, name)).all():
            return name
    return None


def is_close(numbers: Floats, totals: Floats) -> Bools:
    """(N,), whether each number is a total, but for rounding; an empty cell, NaN, is none."""
    return np.isclose(numbers, totals, rtol=RELATIVE, atol=ABSOLUTE)


def _values(traces: Traces, name: str) -> Floats:
    """(N, T), 0 behind the end."""
    names = [channel.name for channel in traces.channels]
    found: Floats = traces.values[:, names.index(name)]
    return found


def _inside(traces: Traces, sign: int) -> Bools:
    """(N, T): which places are points, of this direction if it is not 0."""
    if not sign:
        return traces.mask
    kinds = [channel.kind for channel in traces.channels]
    found: Bools = (traces.values[:, kinds.index("direction")] == sign) & traces.mask
    return found
