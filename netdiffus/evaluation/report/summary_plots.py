"""The small plots beside the three answers that a report gives first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from netdiffus.errors import shortened
from netdiffus.evaluation.report.grades import HeadlineMetric
from netdiffus.evaluation.report.summary import WORSE, Share, Spot
from netdiffus.evaluation.report.svg import LINES, NEAR, REAL, SOFT, SYNTHETIC, TRAIN, frame, svg

WIDTH = 3.3  # inches
HEIGHT = 2.95
SMALL = 7.5
MARKS = {
    "synthetic": ("o", SYNTHETIC),
    "real": ("|", REAL),
    "usual": ("|", REAL),
    "jitter": ("D", TRAIN),
    "bootstrap": ("s", TRAIN),
    "markov": ("^", TRAIN),
    "copy": ("X", TRAIN),
}
HEADS = {"class": "Classes", "field": "Fields"}
HEAD: dict[str, Any] = {"fontsize": 8, "ha": "right", "va": "center", "color": SOFT}
BELOW: dict[str, Any] = {"fontsize": SMALL, "va": "top", "color": SOFT}
MIDDLE: dict[str, Any] = {**BELOW, "ha": "center"}
VALUE: dict[str, Any] = {"fontsize": SMALL, "va": "center", "color": SOFT}
LABELS = {
    "values": "",
    "order": ", order",
    "whole traces": ", whole",
    "beyond": ", beyond range",
    "learned": ", recognised",
}
NAMES = {"markov": "Markov chain", "usual": "usual of real"}


@dataclass(frozen=True)
class Row:
    """One line of dots, one for each set; title left and value right above it.

    The band is shaded, from and to.
    """

    title: str
    value: str
    dots: Mapping[str, float]
    band: tuple[float, float] = (0.0, 0.0)


def good_plot(metrics: Sequence[HeadlineMetric]) -> str:
    """Each headline metric of the synthetic traces beside real traces and baselines, as SVG.

    Real traces stand at 0; 1 is the largest distance from them in the row, and at least that
    which is still near.
    """
    return svg("good", _draw_good, [_metric_row(metric) for metric in metrics], width=WIDTH)


def private_plot(shares: Sequence[Share]) -> str:
    """Shares of traces that show copying, beside what is usual and copies, as SVG."""
    rows = [
        Row(s.title, f"{s.of['synthetic']:.1%}, usual {s.of['usual']:.1%}", s.of) for s in shares
    ]
    return svg("private", _draw_private, rows, width=WIDTH)


def worst_plot(spots: Sequence[Spot]) -> str:
    """The worst classes and fields, by how many times as far off as real traces, as SVG."""
    return svg("worst", _draw_worst, spots, width=WIDTH)


def _metric_row(metric: HeadlineMetric) -> Row:
    floor = metric.losses["real"]
    excess = {name: loss - floor for name, loss in metric.losses.items()}
    unit = max(metric.near, *(abs(x) for x in excess.values())) or 1.0
    return Row(
        metric.short,
        f"{metric.value}, real {metric.floor}",
        {name: x / unit for name, x in excess.items()},
        (0.0, metric.near / unit),
    )


def _draw_good(figure: Figure, rows: Sequence[Row]) -> None:
    axis = _draw_rows(figure, rows)
    low = min(min(row.dots.values()) for row in rows)
    axis.set_xlim(min(low, 0.0) - 0.06, 1.06)
    axis.set_xticks([])
    for x, side, text in ((0, "left", "← better"), (1, "right", "further from real, worse →")):
        axis.text(x, -0.01, text, transform=axis.transAxes, ha=side, **BELOW)


def _draw_private(figure: Figure, rows: Sequence[Row]) -> None:
    axis = _draw_rows(figure, rows)
    axis.set_xlim(-0.05, 1.05)
    axis.set_xticks([])
    for share in (0, 0.5, 1):
        axis.text(share, -0.01, f"{share:.0%}", transform=axis.get_xaxis_transform(), **MIDDLE)


def _draw_rows(figure: Figure, rows: Sequence[Row]) -> Axes:
    frame(figure, HEIGHT, left=0.1, bottom=0.62, top=0.05)
    axis = figure.add_subplot()
    axis.set_ylim(len(rows) - 0.5, -0.7)
    axis.set_yticks([])
    axis.spines[["left", "bottom"]].set_visible(False)
    for y, row in enumerate(rows):
        _draw_row(axis, y, row)
    _legend(figure, list(rows[0].dots))
    return axis


def _draw_row(axis: Axes, y: float, row: Row) -> None:
    place = axis.get_yaxis_transform()
    axis.text(0, y - 0.3, row.title, transform=place, fontsize=8)
    axis.text(1, y - 0.3, row.value, transform=place, fontsize=SMALL, color=SOFT, ha="right")
    axis.axhline(y, color=LINES, lw=0.8, zorder=0)
    axis.fill_betweenx([y - 0.2, y + 0.2], *row.band, color=NEAR, lw=0, zorder=0.5)
    for name, x in reversed(list(row.dots.items())):
        axis.add_line(_dot(name, x, y))


def _dot(name: str, x: float, y: float) -> Line2D:
    marker, colour = MARKS[name]
    size, edge = (12.0, 2.0) if marker == "|" else (7.0 if name == "synthetic" else 5.5, 0.0)
    return Line2D([x], [y], ls="", marker=marker, color=colour, ms=size, mew=edge)


def _legend(figure: Figure, names: Sequence[str]) -> None:
    dots = [_dot(name, 0, 0) for name in names]
    figure.legend(
        dots,
        [NAMES.get(name, name) for name in names],
        loc="lower center",
        ncols=3,
        fontsize=SMALL,
        handletextpad=0.1,
        columnspacing=1.0,
        borderaxespad=0,
    )


def _draw_worst(figure: Figure, spots: Sequence[Spot]) -> None:
    kinds = list(dict.fromkeys(spot.kind for spot in spots))
    places = [i + 1 + kinds.index(spot.kind) for i, spot in enumerate(spots)]
    frame(figure, 0.5 + 0.24 * (places[-1] + 1), left=1.4, bottom=0.4, top=0.05)
    axis = figure.add_subplot()
    axis.spines[["left", "bottom"]].set_visible(False)
    for kind in kinds:
        first = min(y for y, spot in zip(places, spots, strict=True) if spot.kind == kind)
        axis.text(-0.03, first - 1, HEADS[kind], transform=axis.get_yaxis_transform(), **HEAD)
    _draw_bars(axis, places, spots)
    axis.set_ylim(places[-1] + 0.6, -0.6)
    axis.set_xlabel("times as far as real traces", fontsize=SMALL, labelpad=1)


def _draw_bars(axis: Axes, places: Sequence[int], spots: Sequence[Spot]) -> None:
    ratios = [spot.ratio for spot in spots]
    axis.axvspan(1, 2, color=NEAR, lw=0, zorder=0)
    colours = [SYNTHETIC if spot.grade in WORSE else TRAIN for spot in spots]
    axis.barh(places, ratios, 0.62, color=colours)
    axis.axvline(1, color=REAL, lw=2)
    for y, spot in zip(places, spots, strict=True):
        label = f"{spot.ratio:.1f}{LABELS[spot.aspect]}"
        axis.annotate(label, (max(spot.ratio, 1), y), (3, 0), textcoords="offset points", **VALUE)
    axis.set_xlim(0, 1.9 * max(2.0, *ratios))  # room for the words beside the bars
    axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axis.set_yticks(places, [shortened(spot.title, 19) for spot in spots])
    axis.tick_params(length=0, pad=2, labelsize=SMALL)
