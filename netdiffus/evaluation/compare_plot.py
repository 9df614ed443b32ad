"""The picture of a comparison: classes, distributions, and example traces of both sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from netdiffus.errors import shortened
from netdiffus.evaluation.features.quantities import Quantity, varying
from netdiffus.evaluation.report.plots import draw_shares
from netdiffus.traces.plots import (
    COLOURS,
    Picture,
    draw_examples,
    drawn_channels,
    example_axes,
    same_limits,
    shown_classes,
    styled,
)

if TYPE_CHECKING:
    from netdiffus.evaluation.compare import Comparison

WIDTH = 11.0  # inches
ACROSS = 4  # plots in a row
EACH = 2  # traces of a class


def draw(found: Comparison) -> Figure:
    """Top: classes and distributions; bottom: traces of each class, the two sets side by side."""
    pairs = varying(found.first.with_gaps(), found.second.with_gaps())
    names = [list(found.counts)[k] for k in shown_classes(list(found.counts))]
    rows = -(-(1 + len(pairs)) // ACROSS)
    heights = 1.75 * rows + 0.4, 0.95 * len(names) + 0.4
    with styled():
        figure = Picture((WIDTH, sum(heights)), layout="constrained")
        parts = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
        _draw_shares(parts[0].subplots(rows, ACROSS, squeeze=False).ravel(), found, names, pairs)
        _draw_traces(parts[1], found, names)
        lines = [Line2D([], [], color=colour, lw=3) for colour in COLOURS]
        figure.legend(
            lines, [shortened(name, 30) for name in found.names], loc="outside upper right", ncols=2
        )
    return figure


def _draw_shares(
    axes: Any,
    found: Comparison,
    names: Sequence[str],
    pairs: Sequence[tuple[Quantity, Quantity]],
) -> None:
    _draw_classes(axes[0], found, names)
    for axis, pair in zip(axes[1:], pairs, strict=False):
        draw_shares(axis, *pair)
    for axis in axes[1 + len(pairs) :]:
        axis.set_axis_off()


def _draw_classes(axis: Any, found: Comparison, names: Sequence[str]) -> None:
    """Shares of the classes in each set."""
    places = np.arange(len(names))
    for side, colour, shift in zip((0, 1), COLOURS, (-0.2, 0.2), strict=True):
        total = sum(count[side] for count in found.counts.values())
        shares = [100 * found.counts[name][side] / total for name in names]
        axis.barh(places + shift, shares, 0.4, color=colour)
    axis.set_yticks(places, [shortened(name) for name in names])
    axis.invert_yaxis()
    left_out = len(names) < len(found.counts)
    axis.set_title(
        f"{len(names)} of {len(found.counts)} classes" if left_out else "classes", loc="left"
    )
    axis.set_xlabel("% of traces")


def _draw_traces(figure: Any, found: Comparison, names: Sequence[str]) -> None:
    count = len(drawn_channels(found.first))
    axes = example_axes(figure, found.first, len(names), 2 * count)
    rng = np.random.default_rng(found.seed)
    for side, traces in enumerate((found.first, found.second)):
        draw_examples(axes[:, side::2], traces, names, EACH, COLOURS[side], rng)
    for pair in axes.reshape(-1, 2):
        same_limits(pair)
