"""How near the distributions and the time structure of two sets of traces are, class by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netdiffus.channels import Channel
from netdiffus.evaluation.distances import (
    autocorrelation,
    autocorrelation_distance,
    jensen_shannon,
    lag_count,
    wasserstein,
)
from netdiffus.traces import Floats, Traces

ADDITIVE = ("size", "volume")


@dataclass(frozen=True)
class Quantity:
    """Numbers that each trace has one (length, total, duration) or many of (a channel's points).

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
    trace: np.ndarray[tuple[int, ...], np.dtype[np.int64]]

    @property
    def title(self) -> str:
        """Name and unit, for axes and tables."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name


def quantities(traces: Traces) -> list[Quantity]:
    """Each channel's points, then each trace's length, total size or volume, and duration.

    Args:
        traces: With gaps in place of times.
    """
    rows = np.arange(len(traces))
    points = np.repeat(rows, traces.lengths)
    found = [
        Quantity(channel.name, channel.unit, channel.kind, traces.points(c), points)
        for c, channel in enumerate(traces.channels)
    ]
    found.append(
        Quantity("trace length", "points", "length", traces.lengths.astype(np.float64), rows)
    )
    sums = traces.values.sum(axis=2)
    for c, channel in enumerate(traces.channels):
        if (kind := _total_kind(channel)) is not None:
            name = "trace duration" if kind == "duration" else f"total {channel.name}"
            unit = "per trace" if channel.kind == "volume" else channel.unit
            found.append(Quantity(name, unit, kind, sums[:, c], rows))
    return found


def _total_kind(channel: Channel) -> str | None:
    if channel.kind in ADDITIVE:
        return "total"
    return "duration" if channel.kind == "gap" else None


def scales(traces: Traces) -> dict[str, float]:
    """Standard deviation of each quantity, over all classes: the yardstick of Wasserstein-1."""
    return {q.name: float(q.values.std()) for q in quantities(traces)}


def fidelity(candidate: Traces, reference: Traces) -> dict[str, dict[str, list[float]]]:
    """Distances of one set of traces from another.

    Args:
        candidate: Traces to judge.
        reference: Traces to judge them by, with the same classes and channels.

    Returns:
        For the measures `wasserstein` (in the quantity's unit), `jensen_shannon` (bits) and
        `autocorrelation`, for each quantity, one number per class.
    """
    pairs = list(zip(_by_class(candidate), _by_class(reference), strict=True))
    measured: dict[str, dict[str, list[float]]] = {
        "wasserstein": {},
        "jensen_shannon": {},
        "autocorrelation": {},
    }
    for ours, theirs in pairs:
        for x, y in zip(quantities(ours), quantities(theirs), strict=True):
            w = wasserstein(x.values, y.values)
            measured["wasserstein"].setdefault(x.name, []).append(w)
            js = jensen_shannon(x.values, y.values)
            measured["jensen_shannon"].setdefault(x.name, []).append(js)
        for name, distance in _autocorrelation_distances(ours, theirs).items():
            measured["autocorrelation"].setdefault(name, []).append(distance)
    return measured


def class_autocorrelation(traces: Traces, channel: int, lags: int) -> Floats:
    """(lags,): mean autocorrelation of one channel."""
    return autocorrelation(traces.values[:, channel], traces.lengths, lags)


def _by_class(traces: Traces) -> list[Traces]:
    return [traces[traces.labels == label] for label in range(len(traces.classes))]


def _autocorrelation_distances(candidate: Traces, reference: Traces) -> dict[str, float]:
    lags = lag_count(int(reference.lengths.max()))
    return {
        channel.name: autocorrelation_distance(
            class_autocorrelation(candidate, c, lags), class_autocorrelation(reference, c, lags)
        )
        for c, channel in enumerate(reference.channels)
    }
