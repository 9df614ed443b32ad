"""Figures as SVG text in the page's colours."""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from netdiffus.traces.plots import COLOURS, EDGES, TICKS
from netdiffus.traces.plots import SOFT as SOFT
from netdiffus.traces.plots import STYLE as BASE

(REAL, SYNTHETIC), TRAIN = COLOURS, "#8a8f98"
LINES, NEAR = "#d5d8dc", "#e4efe8"
PAGE_COLOURS = {
    REAL: "real",
    SYNTHETIC: "made",
    TRAIN: "train",
    SOFT: "soft",
    TICKS: "soft",
    EDGES: "edge",
    LINES: "line",
    NEAR: "band",
}
WIDTH = 10.6  # inches, 72 of the page's pixels each
METADATA = ("Creator", "Date", "Format", "Type")  # left out: some change from day to day
STYLE = {**BASE, "svg.fonttype": "none"}


def svg(name: str, drawing: Any, *args: Any, width: float = WIDTH) -> str:
    """What `drawing(figure, *args)` draws, in the page's colours; it sets the figure's height.

    `name` keeps ids apart, and the same every time. `width` is in inches.
    """
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(width, 3))
        drawing(figure, *args)
        text = io.StringIO()
        figure.savefig(
            text, format="svg", metadata=dict.fromkeys(METADATA), dpi=72, transparent=True
        )
    found = text.getvalue()
    found = re.sub(r' d="[^"]*"', _rounded, found[found.index("<svg") :])
    return re.sub(r"(fill|stroke): (#[0-9a-f]{6})", _of_page, found)


def _of_page(style: re.Match[str]) -> str:
    """A colour that the page has a name for as that name: dark pages have their own."""
    name = PAGE_COLOURS.get(style[2])
    return f"{style[1]}: var(--{name}, {style[2]})" if name else style[0]


def _rounded(path: re.Match[str]) -> str:
    """A path to a tenth of a point: a quarter of the text."""
    return re.sub(r"\d+\.\d{2,}", lambda x: f"{float(x[0]):.1f}", path[0])


def frame(figure: Figure, height: float, **margins: float) -> None:
    """Sets the height and the margins, in inches, so that they do not grow with the figure."""
    width = figure.get_figwidth()
    figure.set_size_inches(width, height)
    figure.subplots_adjust(
        left=margins.get("left", 0.6) / width,
        right=1 - margins.get("right", 0.1) / width,
        bottom=margins.get("bottom", 0.45) / height,
        top=1 - margins.get("top", 0.35) / height,
        wspace=margins.get("wspace", 0.25),
        hspace=margins.get("hspace", 0.5),
    )
