"""The report's plots, as SVG text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from netdiffus.channels import Channel
from netdiffus.errors import shortened
from netdiffus.evaluation.draws import draw_rows
from netdiffus.evaluation.features.quantities import Quantity, log_scale, varying
from netdiffus.evaluation.metrics.distances import lag_count
from netdiffus.evaluation.metrics.distributions import class_autocorrelation
from netdiffus.evaluation.report.svg import LINES, REAL, SOFT, SYNTHETIC, TRAIN, WIDTH, frame, svg
from netdiffus.ops.gasf import gasf_image
from netdiffus.traces.plots import (
    drawn_channels,
    drawn_values,
    is_signed,
    plain_ticks,
    same_limits,
    shown_classes,
)
from netdiffus.traces.traces import Floats, Traces

EXAMPLES = 4
IMAGES_ACROSS = 12
IMAGE_POINTS = 128
PIXELS = 200_000  # of all images together, so that the page stays small
FEW_VALUES = 8  # drawn as bars
POINTS = 4_608  # of all example traces of one plot together


def example_points(classes: Sequence[str]) -> int:
    """Points of each example that are drawn, a multiple of 8."""
    return POINTS // (2 * EXAMPLES * len(shown_classes(classes))) // 8 * 8


def examples(real: Traces, synthetic: Traces, seed: int) -> list[tuple[str, str]]:
    """For each kind of series (title, SVG): some traces of each class, real above synthetic."""
    rng = np.random.default_rng(seed)
    points = example_points(real.classes)
    chosen = [_examples_of(t.truncate(points), rng) for t in (real, synthetic)]
    return [
        (title, svg(f"examples {title}", _draw_examples, real.classes, *chosen, c, channel))
        for title, c, channel in _series(real)
    ]


def gasf_images(real: Traces, synthetic: Traces, seed: int) -> str:
    """GASF images of traces of each class, real left, synthetic right, for each channel."""
    return svg("gasf", _draw_gasf, real, synthetic, np.random.default_rng(seed))


def distributions(real: Traces, synthetic: Traces) -> str:
    """Histogram and distribution function of each quantity that varies, all classes together."""
    pairs = varying(real, synthetic)
    return svg("distributions", _draw_distributions, pairs) if pairs else ""


def autocorrelations(train: Traces, real: Traces, synthetic: Traces) -> list[tuple[str, str]]:
    """For each channel (title, SVG): mean autocorrelation of each class."""
    return [
        (c.title, svg(f"acf {c.name}", _draw_acf, i, train, real, synthetic))
        for i, c in enumerate(real.channels)
    ]


def confusions(classes: Sequence[str], real: Any, synthetic: Any) -> str:
    """Confusion matrices, rows true classes, each row adding up to 100 %."""
    return svg("confusion", _draw_confusions, classes, real, synthetic)


def early_decision(figures: Mapping[str, Any]) -> str:
    """Accuracy by how much of a trace is known, in points and in seconds."""
    return svg("early", _draw_early, figures)


def training_curve(history: Sequence[Mapping[str, Any]]) -> str:
    """Loss over steps."""
    points = [(h["step"], h["loss"]) for h in history if "step" in h and "loss" in h]
    return svg("training", _draw_training, np.array(points)) if points else ""


def _legend(figure: Figure, colours: Mapping[str, str]) -> None:
    lines = [matplotlib.lines.Line2D([], [], color=c, lw=3) for c in colours.values()]
    figure.legend(lines, list(colours), loc="upper right", ncols=len(lines), borderaxespad=0)


def _examples_of(traces: Traces, rng: np.random.Generator) -> list[Traces]:
    counts = np.full(len(traces.classes), EXAMPLES)
    drawn = traces[draw_rows(traces.labels, counts, rng)]
    return [drawn[drawn.labels == k] for k in range(len(traces.classes))]


def _series(traces: Traces) -> list[tuple[str, int, Channel]]:
    """What to draw of a trace: its channels, but sizes carry the direction as their sign."""
    ways = {True: ", up from the client, down to it", False: ""}
    return [(c.title + ways[is_signed(traces, c)], i, c) for c, i in drawn_channels(traces)]


def _drawn_values(traces: Traces, c: int) -> list[Floats]:
    """For each trace the numbers to draw."""
    return [row[:n] for row, n in zip(drawn_values(traces, c), traces.lengths, strict=True)]


def _draw_examples(
    figure: Figure,
    classes: Sequence[str],
    real: list[Traces],
    synthetic: list[Traces],
    c: int,
    channel: Channel,
) -> None:
    shown = shown_classes(classes)
    axes = figure.subplots(2 * len(shown), 1, squeeze=False)[:, 0]
    frame(figure, 0.45 + 1.15 * len(shown), left=2.2, hspace=0.32, bottom=0.1)
    _legend(figure, {"real": REAL, "synthetic": SYNTHETIC})
    for i, k in enumerate(shown):
        pair = axes[2 * i : 2 * i + 2]
        sets = [_drawn_values(t[k], c) for t in (real, synthetic)]
        width = max(len(v) for values in sets for v in values)
        for axis, values, colour in zip(pair, sets, (REAL, SYNTHETIC), strict=True):
            _draw_row(axis, values, width, channel.kind, colour)
            _set_row_axes(axis, width, channel)
        same_limits(list(pair))
        place = {"xy": (0, -0.05), "xycoords": "axes fraction", "textcoords": "offset points"}
        pair[0].annotate(
            shortened(classes[k]), xytext=(-44, 0), ha="right", va="center", fontsize=9, **place
        )


def _draw_row(axis: Axes, values: list[Floats], width: int, kind: str, colour: str) -> None:
    """The traces of one row, side by side: gaps as dashes, anything else as bars."""
    thickness = 0.75 * 72 * (WIDTH - 2.3) / (EXAMPLES * width * 1.06)
    for j, series in enumerate(values):
        x = np.arange(len(series), dtype=np.float64) + j * (1.06 * width)
        if kind == "gap":
            y = np.maximum(series, 1e-6)
            axis.plot(*_strokes(x - 0.5, x + 0.5, y, y), color=colour, lw=1.6)
        else:
            bars = _strokes(x, x, np.zeros_like(series), series)
            axis.plot(*bars, color=colour, lw=max(thickness, 0.6), solid_capstyle="butt")


def _strokes(x0: Floats, x1: Floats, y0: Floats, y1: Floats) -> tuple[Floats, Floats]:
    """One broken line of a stroke each: far less text than as many shapes."""
    nothing = np.full(len(x0), np.nan)
    return np.stack([x0, x1, nothing], axis=1).ravel(), np.stack([y0, y1, nothing], axis=1).ravel()


def _set_row_axes(axis: Axes, width: int, channel: Channel) -> None:
    kind = channel.kind
    if kind == "gap":
        axis.set_yscale("log")
    elif kind == "volume":
        axis.set_yscale("function", functions=(_root, np.square))
    axis.set_xlim(-1, EXAMPLES * width * 1.06)
    axis.set_xticks([])
    axis.spines["bottom"].set_visible(False)
    axis.yaxis.set_major_locator(LogLocator(numticks=3) if kind == "gap" else MaxNLocator(2))
    plain_ticks(axis.yaxis, channel.unit)


def _root(x: Floats) -> Floats:
    return np.sqrt(np.maximum(x, 0.0))


def _draw_gasf(figure: Figure, real: Traces, synthetic: Traces, rng: np.random.Generator) -> None:
    shown = shown_classes(real.classes)
    across = max(IMAGES_ACROSS // (2 * len(real.channels)), 1)
    pixels = min(64, int((PIXELS / (len(shown) * 2 * across * len(real.channels))) ** 0.5))
    blocks = 2 * len(real.channels)
    axes = figure.subplots(1, blocks, squeeze=False)[0]
    cell = (WIDTH - 1.55) / (blocks * across)
    frame(figure, 0.5 + cell * len(shown), left=1.45, bottom=0.05, top=0.45, wspace=0.04)
    chosen = [
        t[draw_rows(t.labels, np.full(len(t.classes), across), rng)] for t in (real, synthetic)
    ]
    for c, channel in enumerate(real.channels):
        for side, (name, traces) in enumerate(zip(("real", "synthetic"), chosen, strict=True)):
            axis = axes[2 * c + side]
            images = _images(traces, real, c, pixels)
            mosaic = _mosaic(images, traces, shown, across)
            axis.imshow(mosaic, cmap="viridis", vmin=0, vmax=1, interpolation="none", aspect="auto")
            axis.set_title(f"{shortened(channel.name)}: {name}")
            axis.set_axis_off()
    for i, k in enumerate(shown):
        y = (i + 0.5) / len(shown)
        axes[0].text(
            -0.03,
            1 - y,
            shortened(real.classes[k]),
            transform=axes[0].transAxes,
            ha="right",
            va="center",
            fontsize=8.5,
        )


def _images(traces: Traces, real: Traces, c: int, pixels: int) -> Floats:
    """(N, pixels, pixels): GASF of one channel, scaled by the range of the real traces."""
    kind, first = traces.channels[c].kind, traces.values[:, c, :IMAGE_POINTS]
    known, values = (log_scale(x, kind) for x in (real.points(c), first))
    low, high = known.min(), known.max()
    scaled = np.clip((values - low) / max(high - low, 1e-300), 0.0, 1.0)
    images: Floats = gasf_image(torch.from_numpy(scaled), pixels).numpy()
    return images


def _mosaic(images: Floats, traces: Traces, shown: Sequence[int], across: int) -> Floats:
    """Images of one class in each row, white (NaN) between them."""
    size = images.shape[1]
    gap = max(size // 16, 1)
    mosaic = np.full((len(shown) * (size + gap), across * (size + gap)), np.nan)
    for i, k in enumerate(shown):
        for j, image in enumerate(images[traces.labels == k][:across]):
            y, x = i * (size + gap), j * (size + gap)
            mosaic[y : y + size, x : x + size] = image
    return mosaic


def _draw_distributions(figure: Figure, pairs: list[tuple[Quantity, Quantity]]) -> None:
    rows = -(-len(pairs) // 2)
    axes = figure.subplots(rows, 4, squeeze=False).reshape(-1, 2)
    frame(figure, 0.35 + 2.0 * rows, left=0.5, hspace=0.75, wspace=0.3)
    _legend(figure, {"real (holdout)": REAL, "synthetic": SYNTHETIC})
    for (shares, steps), (real, synthetic) in zip(axes, pairs, strict=False):
        if draw_shares(shares, real, synthetic) <= FEW_VALUES:
            steps.set_axis_off()
        else:
            _draw_steps(steps, real, synthetic)
    for axis in axes[len(pairs) :].ravel():
        axis.set_axis_off()


def draw_shares(axis: Axes, real: Quantity, synthetic: Quantity) -> int:
    """Shares of the values of both: bars of few, else a histogram. How many there are."""
    values = np.unique(np.concatenate([real.values, synthetic.values]))
    axis.set_title(shortened(real.title, 40), loc="left")
    axis.set_ylabel("% of values")
    draw = _draw_bars if len(values) <= FEW_VALUES else _draw_histogram
    draw(axis, real, synthetic, values)
    return len(values)


def _is_skewed(values: Floats) -> bool:
    """Whether positive numbers span so much that a linear axis would hide most of them."""
    positive = values[values > 0]
    if values.min() < 0 or len(positive) == 0:
        return False
    return bool(np.quantile(positive, 0.99) > 20 * np.median(positive)) or bool(
        np.median(positive) > 50 * np.quantile(positive, 0.01)
    )


def _draw_histogram(axis: Axes, real: Quantity, synthetic: Quantity, values: Floats) -> None:
    _set_value_axis(axis, real)
    if _is_skewed(real.values):
        positive = values[values > 0]
        edges = np.geomspace(positive.min(), positive.max(), 41)
    else:
        edges = np.linspace(values.min(), values.max(), 41)
    for q, colour in ((real, REAL), (synthetic, SYNTHETIC)):
        axis.hist(
            q.values,
            edges.tolist(),
            weights=np.full(len(q.values), 100 / len(q.values)),
            histtype="stepfilled",
            fc=matplotlib.colors.to_rgba(colour, 0.28),
            ec=colour,
        )


def _set_value_axis(axis: Axes, real: Quantity) -> None:
    if _is_skewed(real.values):
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(numticks=4))
    else:
        axis.xaxis.set_major_locator(MaxNLocator(4))
    plain_ticks(axis.xaxis, real.unit)


def _draw_bars(axis: Axes, real: Quantity, synthetic: Quantity, values: Floats) -> None:
    place = np.arange(len(values))
    for q, colour, shift in ((real, REAL, -0.2), (synthetic, SYNTHETIC, 0.2)):
        shares = [100 * float(np.mean(q.values == v)) for v in values]
        axis.bar(place + shift, shares, 0.4, color=colour)
    axis.set_xticks(place, [f"{v:g}" for v in values])


def _draw_steps(axis: Axes, real: Quantity, synthetic: Quantity) -> None:
    """Distribution functions, at most 400 points each."""
    _set_value_axis(axis, real)
    for q, colour in ((real, REAL), (synthetic, SYNTHETIC)):
        shares = np.linspace(0, 1, 400)
        axis.plot(np.quantile(q.values, shares, method="inverted_cdf"), shares * 100, color=colour)
    axis.set_ylim(0, 102)
    axis.set_ylabel("% at most")


def _draw_acf(figure: Figure, c: int, train: Traces, real: Traces, synthetic: Traces) -> None:
    shown = shown_classes(real.classes)
    across = min(4, len(shown))
    rows = -(-len(shown) // across)
    axes = figure.subplots(rows, across, squeeze=False, sharex=True, sharey=True).ravel()
    frame(figure, 0.8 + 1.35 * rows, top=0.5, wspace=0.1)
    _legend(figure, {"real (holdout)": REAL, "real (training)": TRAIN, "synthetic": SYNTHETIC})
    styles = ((train, TRAIN, "--"), (real, REAL, "-"), (synthetic, SYNTHETIC, "-"))
    for axis, k in zip(axes, shown, strict=False):
        axis.axhline(0, color=LINES, lw=0.7)
        for traces, colour, line in styles:
            mine = traces[traces.labels == k]
            lags = lag_count(int(mine.lengths.max()))
            r = class_autocorrelation(mine, c, lags)
            axis.plot(np.arange(1, lags + 1), r, line, color=colour, lw=1.4)
        axis.set_title(shortened(real.classes[k]), loc="left")
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    figure.supxlabel("lag, points", fontsize=8.5, color=SOFT, y=0.06 / figure.get_figheight())


def _draw_confusions(figure: Figure, classes: Sequence[str], real: Any, synthetic: Any) -> None:
    named = len(classes) <= 20
    axes = figure.subplots(1, 2)
    if named:
        height = 1.5 + min(0.7 + 0.3 * len(classes), 4.0)
        frame(figure, height, left=1.5, bottom=1.1, wspace=0.45)
    else:
        frame(figure, 5.0, left=0.5, wspace=0.15)
    for axis, matrix, title in zip(
        axes, (real, synthetic), ("trained on real", "trained on synthetic"), strict=True
    ):
        counts = np.array(matrix)
        shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto", interpolation="none")
        axis.set_title(title, loc="left")
        _label_matrix(axis, shares, classes if named else None)


def _label_matrix(axis: Axes, shares: Floats, classes: Sequence[str] | None) -> None:
    if classes is None:
        axis.set_xlabel("given class")
        axis.set_ylabel("true class")
        return
    names = [shortened(name, 15) for name in classes]
    axis.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(names)), names)
    if len(names) <= 14:
        for (i, j), share in np.ndenumerate(shares):
            colour = "white" if share > 55 else "#333"
            axis.text(j, i, f"{share:.0f}", ha="center", va="center", color=colour, fontsize=7.5)


def _draw_early(figure: Figure, figures: Mapping[str, Any]) -> None:
    frame(figure, 3.0, wspace=0.25)
    colours = {"real": REAL, "synthetic": SYNTHETIC, "both": TRAIN}
    _legend(figure, colours)
    axes = figure.subplots(1, 2, squeeze=False, sharey=True)[0]
    for axis, unit in zip(axes, ("points", "seconds"), strict=True):
        if unit not in figures:
            axis.set_axis_off()
            continue
        for name, colour in colours.items():
            shares = [100 * one["mean"] for one in figures[unit][name]]
            axis.plot(figures[unit]["at"], shares, "o-", color=colour, ms=3.5, lw=1.4)
        axis.set_xscale("log")
        axis.set_xticks(figures[unit]["at"], [f"{one:g}" for one in figures[unit]["at"]])
        axis.minorticks_off()
        axis.set_xlabel(f"first {unit}")
    axes[0].set_ylabel("% labelled correctly")


def _draw_training(figure: Figure, points: Floats) -> None:
    steps, losses = points[:, 0], points[:, 1]
    frame(figure, 2.6, top=0.15)
    axis = figure.add_subplot()
    axis.plot(steps, losses, color=TRAIN, lw=0.6, alpha=0.6)
    width = max(len(losses) // 50, 1)
    smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
    axis.plot(steps[width - 1 :], smooth, color=REAL, lw=1.5)
    axis.set_xlabel("training step")
    axis.set_ylabel("loss")
