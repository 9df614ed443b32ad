"""What single traces are like as wholes: plateaus, ceilings, idle times, bursts, totals.

Distributions of points can be right where no trace is: a call that stays on one rate, and one that
wanders between all rates, have the same points.
"""

from __future__ import annotations

import numpy as np

from netdiffus.evaluation.features.quantities import (
    LOGARITHMIC,
    Quantity,
    burst_states,
    log_scale,
    runs,
    totals,
)
from netdiffus.traces.traces import Bools, Floats, Traces

SAME = 0.1  # neighbours that differ by less, in logarithms, are on one plateau
BOUNDS = ("total", "duration")  # kinds of traits that a trace may be beyond the real range by


def traits(traces: Traces) -> list[Quantity]:
    """One number of each trace and trait.

    Of each channel of sizes, volumes or gaps: `spread`, the standard deviation of the logarithm
    within the trace; `step`, the mean absolute difference of its neighbours; `plateau`, the longest
    run of points above 0 that differ from the one before by less than a tenth; `peak`. Of volumes
    `idle points` and `longest idle` (all volumes 0); of these or of directions `bursts` and
    `longest burst`. Sums and duration. None where no channel has a size, volume, gap or direction.

    Args:
        traces: With gaps in place of times.
    """
    found: list[Quantity] = []
    for c, channel in enumerate(traces.channels):
        if channel.kind in LOGARITHMIC:
            found += _of_channel(traces, c)
    return [*found, *_of_volumes(traces), *_bursts(traces), *totals(traces)]


def beyond(real: Traces, traces: Traces) -> Bools:
    """(N,): whether a peak, a sum or the duration is outside what it is in `real`, of the class."""
    found = np.zeros(len(traces), dtype=np.bool_)
    for known, asked in zip(traits(real), traits(traces), strict=True):
        if known.kind in BOUNDS or known.name.startswith("peak of "):
            low, high = _range(known.values, real)
            found |= (asked.values < low[traces.labels]) | (asked.values > high[traces.labels])
    return found


def _range(values: Floats, traces: Traces) -> tuple[Floats, Floats]:
    """(K,) least and (K,) most of each class; of a class without traces, all is outside."""
    low, high = np.full(len(traces.classes), np.inf), np.full(len(traces.classes), -np.inf)
    np.minimum.at(low, traces.labels, values)
    np.maximum.at(high, traces.labels, values)
    return low, high


def _of_channel(traces: Traces, c: int) -> list[Quantity]:
    channel, inside = traces.channels[c], traces.mask
    x = log_scale(traces.values[:, c], channel.kind)
    step = np.abs(np.diff(x, axis=1))
    stays = np.zeros_like(inside)
    stays[:, 1:] = (step < SAME) & (x[:, 1:] > 0)
    spread = np.sqrt(_mean((x - _mean(x, inside)[:, None]) ** 2, inside))
    return [
        _trait(f"spread of {channel.name}", "log", spread),
        _trait(f"step of {channel.name}", "log", _mean(step, inside[:, 1:])),
        _trait(f"plateau of {channel.name}", "points", 1.0 + _longest(stays, traces)),
        _trait(f"peak of {channel.name}", channel.unit, traces.values[:, c].max(axis=1)),
    ]


def _of_volumes(traces: Traces) -> list[Quantity]:
    volumes = [c for c, channel in enumerate(traces.channels) if channel.kind == "volume"]
    if not volumes:
        return []
    idle = (traces.values[:, volumes] == 0).all(axis=1)
    return [
        _trait("idle points", "share", _mean(idle.astype(np.float64), traces.mask)),
        _trait("longest idle", "points", _longest(idle, traces)),
    ]


def _bursts(traces: Traces) -> list[Quantity]:
    state = burst_states(traces)
    if state is None:
        return []
    _, of_state, rows = runs(state, traces.lengths)
    number = np.bincount(rows[of_state != 0], minlength=len(traces)).astype(np.float64)
    return [
        _trait("bursts", "per trace", number),
        _trait("longest burst", "points", _longest(state, traces)),
    ]


def _longest(state: Floats | Bools, traces: Traces) -> Floats:
    """(N,): points of the longest run of one value that is not 0."""
    length, of_state, rows = runs(state, traces.lengths)
    found = np.zeros(len(traces))
    np.maximum.at(found, rows[of_state != 0], length[of_state != 0])
    return found


def _mean(x: Floats, inside: Bools) -> Floats:
    """(N,), of the places that are inside; 0 where none is."""
    found: Floats = np.where(inside, x, 0.0).sum(axis=1) / np.maximum(inside.sum(axis=1), 1)
    return found


def _trait(name: str, unit: str, values: Floats) -> Quantity:
    return Quantity(name, unit, "trait", values, np.arange(len(values), dtype=np.int32))
