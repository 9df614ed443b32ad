"""Pictures of traces, for notebooks and scripts. They need matplotlib, of the extra `eval`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from netdiffus.channels import Channel
from netdiffus.errors import InputError, whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from netdiffus.traces.traces import Traces

COLOURS = ("#1f5fa8", "#d9661f")  # of the traces, and of those beside them
MOST_CLASSES = 12
INCHES = 1.1, 4.0  # height of a row, width of a column


def plot(traces: Traces, other: Traces | None = None, *, each: int = 3, seed: int = 0) -> Figure:
    """Some traces of each class: a row for each class, a column for each channel.

    Values stand over the time since the first packet, over the start of their bin, or over the
    number of the point. A size is drawn below zero where it goes to the client.

    Args:
        traces: Drawn in blue.
        other: Drawn in orange beside them, such as synthetic traces; the same channels are needed.
        each: Traces of a class, of either.
        seed: Which traces are drawn.

    Returns:
        A figure of at most 12 classes, evenly spread over all.

    Raises:
        InputError: Other channels, or `each` below 1.
    """
    from matplotlib.figure import Figure

    each = whole("each", each, 1)
    sets = [traces] if other is None else [traces, other]
    if other is not None and _names(other) != _names(traces):
        raise InputError(f"other has the channels {_names(other)}, traces have {_names(traces)}")
    even = np.linspace(0, len(traces.classes) - 1, MOST_CLASSES).round().astype(int)
    shown = [traces.classes[k] for k in np.unique(even)]
    drawn = _drawn(traces)
    size = INCHES[1] * len(drawn), INCHES[0] * len(shown) + 0.6
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(shown), len(drawn), squeeze=False, sharey="col")
    rng = np.random.default_rng(seed)
    for row, name in zip(axes, shown, strict=True):
        for one, colour in zip(sets, COLOURS, strict=False):
            _draw(row, one, _chosen(one, name, each, rng), drawn, colour)
        row[0].set_title(name, loc="left", fontsize=8)
    for column, (channel, _) in zip(axes.T, drawn, strict=True):
        column[0].set_title(channel.title, loc="right", fontsize=8)
        column[-1].set_xlabel(_axis(traces, channel), fontsize=8)
    return figure


def _axis(traces: Traces, channel: Channel) -> str:
    if channel.kind == "volume":
        return "s" if channel.bin_width else "bin"
    return "s" if any(one.kind == "time" for one in traces.channels) else "point"


def _names(traces: Traces) -> list[str]:
    return [channel.name for channel in traces.channels]


def _drawn(traces: Traces) -> list[tuple[Channel, int]]:
    """The channels that are drawn, and their places; times are the axis, directions the sign."""
    kinds = [channel.kind for channel in traces.channels]
    hidden = {"time"} | ({"direction"} if "size" in kinds else set())
    found = [(c, k) for k, c in enumerate(traces.channels) if c.kind not in hidden]
    return found or list(zip(traces.channels, range(len(kinds)), strict=True))


def _chosen(traces: Traces, name: str, each: int, rng: np.random.Generator) -> Any:
    """(n,): rows of a class, `each` or all that there are; none if it is not there."""
    if name not in traces.classes:
        return np.zeros(0, dtype=np.int64)
    mine = np.flatnonzero(traces.labels == traces.classes.index(name))
    return rng.permutation(mine)[:each]


def _draw(
    axes: Any, traces: Traces, rows: Any, drawn: list[tuple[Channel, int]], colour: str
) -> None:
    for row in rows:
        n = int(traces.lengths[row])
        for axis, (channel, c) in zip(axes, drawn, strict=True):
            y = traces.values[row, c, :n]
            x, y = _places(traces, row, channel, n), _signed(traces, row, channel, y)
            _line(axis, x, y, colour, is_size=channel.kind == "size")


def _line(axis: Axes, x: Any, y: Any, colour: str, is_size: bool) -> None:
    if is_size:  # packets are apart
        axis.vlines(x, 0, y, color=colour, lw=0.8, alpha=0.7)
    else:
        axis.plot(x, y, color=colour, lw=0.8, alpha=0.7)
    axis.tick_params(labelsize=7)


def _places(traces: Traces, row: int, channel: Channel, n: int) -> Any:
    if channel.kind == "volume":
        return np.arange(n) * (channel.bin_width or 1.0)
    kinds = [one.kind for one in traces.channels]
    return traces.values[row, kinds.index("time"), :n] if "time" in kinds else np.arange(n)


def _signed(traces: Traces, row: int, channel: Channel, y: Any) -> Any:
    kinds = [one.kind for one in traces.channels]
    if channel.kind != "size" or "direction" not in kinds:
        return y
    return y * traces.values[row, kinds.index("direction"), : len(y)]
