"""The numbers of traces whose distributions are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from netdiffus.channels import Channel
from netdiffus.errors import InputError
from netdiffus.traces.traces import Bools, Floats, Ints, Traces, values_of

ADDITIVE = ("size", "volume")
LOGARITHMIC = {"size": 1.0, "volume": 1.0, "gap": 1e6}
MICROSECOND = 1e-6

Rows = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Quantity:
    """Numbers of traces: one each (length, total, duration), or many (points of a channel).

    Attributes:
        name: Its name.
        unit: Its unit.
        kind: The channel's kind, or `length`, `total`, `duration`.
        values: The numbers of all traces.
        trace: The row of the trace that each number belongs to.
    """

    name: str
    unit: str
    kind: str
    values: Floats
    trace: Rows

    def part(self, place: Rows) -> Quantity:
        """The numbers of some traces; `place` (N,) has for each its new row, or -1."""
        kept = place[self.trace] >= 0
        return replace(self, values=self.values[kept], trace=place[self.trace[kept]])

    @property
    def title(self) -> str:
        """Name and unit, for axes and tables."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name


def quantities(traces: Traces) -> list[Quantity]:
    """Each channel's points, log gaps, bursts, and each trace's length, totals and duration.

    Gaps, which stand in place of times, are also taken as log10 of seconds, at least a microsecond.
    A burst is a run of points of one direction; where no direction is known, a run of volumes above
    0, and a trace without any has one burst of length 0.

    Raises:
        InputError: A channel has the name of a quantity that is computed.
    """
    rows = np.arange(len(traces), dtype=np.int32)  # there is one for each number
    points = np.repeat(rows, traces.lengths)
    channels = [
        Quantity(channel.name, channel.unit, channel.kind, traces.points(c), points)
        for c, channel in enumerate(traces.channels)
    ]
    lengths = traces.lengths.astype(np.float64)
    computed = [
        *_log_gaps(traces, points),
        *_bursts(traces),
        Quantity("trace length", "points", "length", lengths, rows),
        *totals(traces),
    ]
    _check_names(channels, computed)
    return channels + computed


def varying(a: Traces, b: Traces) -> list[tuple[Quantity, Quantity]]:
    """The quantities of two sets of the same channels, but for those that have one value in all."""
    return [
        (x, y)
        for x, y in zip(quantities(a), quantities(b), strict=True)
        if len(np.unique(np.concatenate([x.values, y.values]))) > 1
    ]


def _check_names(channels: Sequence[Quantity], computed: Sequence[Quantity]) -> None:
    taken = {q.name for q in computed}
    for channel in channels:
        if channel.name in taken:
            raise InputError(
                f"channel {channel.name!r} has the name of a quantity that is computed from the "
                "channels; name it otherwise"
            )


def totals(traces: Traces) -> list[Quantity]:
    """Of each trace the sum of its sizes or volumes, and its duration."""
    sums = traces.values.sum(axis=2)
    found: list[Quantity] = []
    for c, channel in enumerate(traces.channels):
        if (kind := _total_kind(channel)) is not None:
            lasts = kind == "duration" and all(q.kind != kind for q in found)
            # A second channel of gaps would give its sum the same name.
            name = "trace duration" if lasts else f"total {channel.name}"
            unit = "per trace" if channel.kind == "volume" else channel.unit
            rows = np.arange(len(traces), dtype=np.int32)
            found.append(Quantity(name, unit, kind, sums[:, c], rows))
    return found


def _log_gaps(traces: Traces, rows: Rows) -> list[Quantity]:
    return [
        Quantity(f"log {ch.name}", "log10 s", "log gap", logs, rows)
        for c, ch in enumerate(traces.channels)
        if ch.kind == "gap"
        for logs in [np.log10(np.maximum(traces.points(c), MICROSECOND))]
    ]


def _bursts(traces: Traces) -> list[Quantity]:
    """Lengths of bursts, by the direction, or by the first volume; none without either."""
    state = burst_states(traces)
    if state is None:
        return []
    lengths, of_state, rows = runs(state, traces.lengths)
    busy = of_state != 0
    idle = np.setdiff1d(rows, rows[busy])
    values = np.concatenate([lengths[busy], np.zeros(len(idle))])
    rows = np.concatenate([rows[busy], idle])
    return [Quantity("burst length", "points", "burst", values, rows.astype(np.int32))]


def burst_states(traces: Traces) -> Floats | None:
    """(N, L): what is one value all through a burst, 0 where there is none; None if not known."""
    directions, volumes = (values_of(traces, kind) for kind in ("direction", "volume"))
    if directions is not None:
        return directions
    return None if volumes is None else (volumes > 0).astype(np.float64)


def runs(state: Floats | Bools, lengths: Ints) -> tuple[Ints, Floats, Ints]:
    """Runs of equal values of states (N, L): their lengths, values and rows, (R,) each, row by row.

    States beyond the lengths (N,) do not count.
    """
    inside = np.arange(state.shape[1]) < lengths[:, None]
    starts = inside.copy()
    starts[:, 1:] &= state[:, 1:] != state[:, :-1]
    run = np.cumsum(starts[inside]) - 1  # of each point, all rows one after another
    return np.bincount(run), state[starts], np.nonzero(starts)[0]


def _total_kind(channel: Channel) -> str | None:
    if channel.kind in ADDITIVE:
        return "total"
    return "duration" if channel.kind == "gap" else None


def scales(traces: Traces) -> dict[str, float]:
    """Standard deviation of each quantity, over all classes: the unit of Wasserstein distances.

    0 for one that never varies, of which rounding would leave a small deviation.
    """
    return {
        q.name: float(q.values.std()) if q.values.max() > q.values.min() else 0.0
        for q in quantities(traces)
    }


def log_scale(values: Floats, kind: str) -> Floats:
    """The values of one channel, with the logarithm taken of sizes, volumes and gaps.

    ``log(1 + f x)`` with f = 1, and 1e6 for gaps, which differ down to microseconds.
    """
    return np.log1p(values * LOGARITHMIC[kind]) if kind in LOGARITHMIC else values
