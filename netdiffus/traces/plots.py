"""Pictures of traces, for notebooks and scripts. They need matplotlib, of the extra `eval`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

try:
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, MaxNLocator, NullLocator
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"pictures need {error.name}, which is not installed: pip install 'netdiffus[eval]'",
        name=error.name,
    ) from error

from netdiffus.channels import Channel
from netdiffus.errors import InputError, shortened, whole
from netdiffus.notebook import image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

    from netdiffus.traces.traces import Traces

COLOURS = ("#1f5fa8", "#d9661f")  # of the traces, and of those beside them
MOST_CLASSES = 12
INCHES = 1.1, 4.0  # height of a row, width of a column
LONGEST = 26  # characters of a name
NOTEBOOK_CLASSES, NOTEBOOK_POINTS = 6, 500  # of a set that a notebook shows
SHARP = 2.0  # pixels of an image to a pixel of the page
SOFT, TICKS, EDGES = "#444a52", "#666c75", "#9aa0a8"
STYLE: dict[Any, Any] = {
    "font.size": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": EDGES,
    "axes.labelcolor": SOFT,
    "axes.titlesize": 9,
    "axes.linewidth": 0.7,
    "xtick.color": TICKS,
    "ytick.color": TICKS,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.frameon": False,
    "text.parse_math": False,  # a class may be called $x$
}


def styled() -> AbstractContextManager[None]:
    """While it lasts, figures are made and drawn in our style."""
    return rc_context(STYLE)


class Picture(Figure):
    """A figure that a notebook shows, whether or not the notebook has set up pyplot."""

    def _repr_png_(self) -> bytes:
        return png(self)

    def _repr_html_(self) -> str:
        return image(png(self), "png", "figure", self.get_figwidth())


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    found = io.BytesIO()
    with styled():  # labels of ticks are made while a figure is drawn
        figure.savefig(found, format="png", dpi=72 * SHARP)
    return found.getvalue()


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
    each = whole("each", each, 1)
    sets = [traces] if other is None else [traces, other]
    if other is not None and _names(other) != _names(traces):
        raise InputError(f"other has the channels {_names(other)}, traces have {_names(traces)}")
    names = [traces.classes[k] for k in shown_classes(traces.classes)]
    count = len(drawn_channels(traces))
    with styled():
        figure = Picture((INCHES[1] * count, INCHES[0] * len(names) + 0.6), layout="constrained")
        axes = figure.subplots(len(names), count, squeeze=False, sharey="col")
        rng = np.random.default_rng(seed)
        for one, colour in zip(sets, COLOURS, strict=False):
            draw_examples(axes, one, names, each, colour, rng)
    return figure


def notebook_classes(traces: Traces) -> list[str]:
    """The classes that a small picture shows."""
    return [traces.classes[k] for k in shown_classes(traces.classes, NOTEBOOK_CLASSES)]


def thumbnail(traces: Traces) -> str:
    """A small picture as HTML: one trace of each of at most 6 classes, its first 500 points."""
    names = notebook_classes(traces)
    rng = np.random.default_rng(0)
    few = traces[np.concatenate([_chosen(traces, name, 1, rng) for name in names])]
    count = len(drawn_channels(few))
    with styled():
        figure = Picture((3.6 * count, 0.7 * len(names) + 0.4), layout="constrained")
        axes = example_axes(figure, few, len(names), count)
        draw_examples(axes, few.truncate(NOTEBOOK_POINTS), names, 1, COLOURS[0], rng)
    return image(png(figure), "png", "a trace of each class", figure.get_figwidth())


def shown_classes(classes: Sequence[str], most: int = MOST_CLASSES) -> list[int]:
    """At most so many classes, evenly spread over the list."""
    even = np.linspace(0, len(classes) - 1, most).round()
    return [int(k) for k in np.unique(even)]


def example_axes(figure: Any, traces: Traces, rows: int, columns: int) -> Any:
    """Axes of one time for all rows, but for packets, whose traces last from ms to minutes."""
    has_times = any(channel.kind == "time" for channel in traces.channels)
    return figure.subplots(rows, columns, squeeze=False, sharex=not has_times)


def draw_examples(
    axes: Any, traces: Traces, names: Sequence[str], each: int, colour: str, rng: Any
) -> None:
    """Some traces of each class.

    Args:
        axes: A row for each of the classes, a column for each of `drawn_channels`.
        traces: Of any classes.
        names: The classes that are drawn.
        each: Traces of a class.
        colour: Of their lines.
        rng: Chooses them.
    """
    drawn = drawn_channels(traces)
    for row, name in zip(axes, names, strict=True):
        _draw(row, traces, _chosen(traces, name, each, rng), drawn, colour)
        row[0].set_title(shortened(name, LONGEST), loc="left")
    for column, (channel, _) in zip(axes.T, drawn, strict=True):
        for axis in column:
            axis.yaxis.set_major_locator(MaxNLocator(3))
            plain_ticks(axis.yaxis)
        column[0].set_title(shortened(channel.title, LONGEST), loc="right")
        column[-1].set_xlabel(_axis(traces, channel))


def plain_ticks(axis: Axis, unit: str = "") -> None:
    """Few labels, as 10 k or 5 µs, and none between them."""
    eng = EngFormatter(unit if unit in ("s", "B") else "", sep=" ")
    axis.set_major_formatter(lambda x, _: eng(x) if eng.unit or abs(x) >= 1000 else f"{x:g}")
    axis.set_minor_locator(NullLocator())


def same_limits(axes: Sequence[Axes]) -> None:
    """Both axes from the least to the most of all; axes without data take those of the others."""
    filled = [axis for axis in axes if axis.has_data()] or axes
    for which in ("x", "y"):
        limits = [getattr(axis, f"get_{which}lim")() for axis in filled]
        ends = min(low for low, _ in limits), max(high for _, high in limits)
        for axis in axes:
            getattr(axis, f"set_{which}lim")(ends)


def drawn_channels(traces: Traces) -> list[tuple[Channel, int]]:
    """The channels that are drawn, and their places; times are the axis, directions the sign."""
    kinds = [channel.kind for channel in traces.channels]
    hidden = {"time"} | ({"direction"} if "size" in kinds else set())
    found = [(c, k) for k, c in enumerate(traces.channels) if c.kind not in hidden]
    return found or list(zip(traces.channels, range(len(kinds)), strict=True))


def is_signed(traces: Traces, channel: Channel) -> bool:
    """Whether a channel is of sizes that are drawn with the sign of their direction."""
    return channel.kind == "size" and any(one.kind == "direction" for one in traces.channels)


def drawn_values(traces: Traces, c: int, rows: Any = slice(None)) -> Any:
    """(n, L): the values of a channel, sizes below zero where they go to the client."""
    values = traces.values[rows]
    if not is_signed(traces, traces.channels[c]):
        return values[:, c]
    direction = [one.kind for one in traces.channels].index("direction")
    return values[:, c] * values[:, direction]


def draw_line(axis: Axes, x: Any, y: Any, colour: str, bars: bool) -> None:
    """The values of a trace; of packets, which are apart, as bars."""
    if bars:
        axis.vlines(x, 0, y, color=colour, lw=0.8, alpha=0.7)
    else:
        axis.plot(x, y, color=colour, lw=0.8, alpha=0.7)


def _axis(traces: Traces, channel: Channel) -> str:
    if channel.kind == "volume":
        return "s" if channel.bin_width else "bin"
    return "s" if any(one.kind == "time" for one in traces.channels) else "point"


def _names(traces: Traces) -> list[str]:
    return [channel.name for channel in traces.channels]


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
            x, y = _places(traces, row, channel, n), drawn_values(traces, c, [row])[0, :n]
            draw_line(axis, x, y, colour, bars=channel.kind == "size")


def _places(traces: Traces, row: int, channel: Channel, n: int) -> Any:
    if channel.kind == "volume":
        return np.arange(n) * (channel.bin_width or 1.0)
    kinds = [one.kind for one in traces.channels]
    return traces.values[row, kinds.index("time"), :n] if "time" in kinds else np.arange(n)
