"""Numbers that follow from the points of a trace, such as how many there are, and their sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netdiffus.channels import Channel
from netdiffus.traces.traces import Bools, Floats, Traces

RELATIVE, ABSOLUTE = 1e-6, 1e-6  # what float32 and rounding to microseconds change
POINTS = "number of points"
UP, DOWN = "points from the client", "points to the client"
SUM, LAST, SUM_UP, SUM_DOWN = "sum of ", "last ", "sum from the client of ", "sum to the client of "


def total_names(channels: Sequence[Channel]) -> list[str]:
    """The totals that traces of these channels have."""
    has_direction = any(channel.kind == "direction" for channel in channels)
    found = [POINTS, *([UP, DOWN] if has_direction else [])]
    for channel in channels:
        if channel.kind in ("size", "volume", "gap"):
            found.append(SUM + channel.name)
        if channel.kind == "time":
            found.append(LAST + channel.name)
        if channel.kind == "size" and has_direction:
            found += [SUM_UP + channel.name, SUM_DOWN + channel.name]
    return found


def total(traces: Traces, name: str) -> Floats:
    """(N,): the total of this name."""
    found: Floats
    if name == POINTS:
        found = traces.lengths.astype(np.float64)
    elif name in (UP, DOWN):
        found = _of_direction(traces, 1 if name == UP else -1).sum(1)
    elif name.startswith(LAST):
        found = _values(traces, name.removeprefix(LAST)).max(1)
    elif name.startswith(SUM):
        found = _values(traces, name.removeprefix(SUM)).sum(1)
    else:
        prefix, sign = (SUM_UP, 1) if name.startswith(SUM_UP) else (SUM_DOWN, -1)
        values = _values(traces, name.removeprefix(prefix))
        found = (values * _of_direction(traces, sign)).sum(1)
    return found


def equal_total(traces: Traces, numbers: Floats) -> str | None:
    """The name of the total that numbers (N,) are, in every trace; None if they are none."""
    for name in total_names(traces.channels):
        if is_close(numbers, total(traces, name)).all():
            return name
    return None


def is_close(numbers: Floats, totals: Floats) -> Bools:
    """(N,), whether each number is a total, but for rounding; an empty cell, NaN, is none."""
    return np.isclose(numbers, totals, rtol=RELATIVE, atol=ABSOLUTE)


def _values(traces: Traces, name: str) -> Any:
    """(N, T), 0 behind the end."""
    names = [channel.name for channel in traces.channels]
    return traces.values[:, names.index(name)]


def _of_direction(traces: Traces, sign: int) -> Any:
    """(N, T): 1 for points of this direction, 0 for others."""
    kinds = [channel.kind for channel in traces.channels]
    is_mine = (traces.values[:, kinds.index("direction")] == sign) & traces.mask
    return is_mine.astype(np.float64)
