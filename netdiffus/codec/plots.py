"""Pictures of traces beside their GASF images. They need matplotlib, of the extra `eval`."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from netdiffus.codec.gasf_codec import GasfCodec
from netdiffus.codec.series import as_gaps
from netdiffus.errors import InputError, shortened, whole
from netdiffus.traces.plots import COLOURS, Picture, draw_line, plain_ticks, styled
from netdiffus.traces.traces import Floats, Traces

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 64  # of a trace that the default codec draws
MOST_ROWS = 24
INCHES = 2.4, 3.0, 2.6  # height of a row, width of a trace, width of its image
LONGEST = 26  # characters of a name


def plot_gasf(
    traces: Traces, rows: int | Sequence[int] = 0, *, codec: GasfCodec | None = None
) -> Figure:
    """Traces beside their GASF images: a row for each trace, two columns for each channel.

    Left: the values in real units (times as gaps) over the number of the point. Right: the image of
    the same points. Pixel (i, j) is ((cos(theta_i + theta_j) + 1) / 2)**gamma, where theta_i =
    arccos x_i and x_i in [0, 1] is the scaled value; see `GasfCodec`.

    Args:
        traces: A codec that is not fitted yet learns its scales from all of them.
        rows: Which of them are drawn, at most 24.
        codec: Fitted or not; it stays as it is. None is one of at most 64 points.

    Raises:
        InputError: A row that does not exist, no rows or too many, or a codec that was fitted
            on other channels.
    """
    chosen = traces[_rows(traces, rows)]
    codec = copy.deepcopy(codec) or GasfCodec(min(POINTS, int(traces.lengths.max())))
    codec = codec if codec.channels else codec.fit(traces)
    pixels = codec.encode(chosen, torch.float64).pixels.numpy()
    size = sum(INCHES[1:]) * len(codec.channels) + 0.5, INCHES[0] * len(chosen) + 0.2
    ratios = INCHES[1:] * len(codec.channels)
    with styled():
        figure = Picture(size, layout="constrained")
        axes = figure.subplots(len(chosen), len(ratios), squeeze=False, width_ratios=ratios)
        for i, row in enumerate(axes):
            _draw_values(row[0::2], chosen[i], codec)
            _draw_images(row[1::2], pixels[i], codec, _points(codec, chosen))
        for axis in axes[:, 1::2].flat:  # the same colours for the same values
            axis.images[0].set_clim(pixels.min(), pixels.max())
        bar = figure.colorbar(axes[0, 1].images[0], ax=axes, fraction=0.02, aspect=30, pad=0.01)
        pixel = "(cos(θᵢ + θⱼ) + 1) / 2"
        bar.set_label(pixel if codec.gamma == 1 else f"({pixel})^{codec.gamma:g}")
    return figure


def _rows(traces: Traces, rows: int | Sequence[int]) -> list[int]:
    given = [rows] if np.ndim(rows) == 0 else list(rows)  # type: ignore[arg-type]
    found = [whole("rows", row, -len(traces)) for row in given]
    if not 1 <= len(found) <= MOST_ROWS:
        raise InputError(f"rows: between 1 and {MOST_ROWS} traces can be drawn, got {len(found)}")
    if max(found) >= len(traces):
        raise InputError(f"rows: there is no trace {max(found)}; they are 0 to {len(traces) - 1}")
    return found


def _points(codec: GasfCodec, traces: Traces) -> int:
    """Points of a trace that an image shows, its border left out."""
    return codec.length if codec.size and codec.length else int(traces.lengths.max())


def _draw_values(axes: Any, one: Traces, codec: GasfCodec) -> None:
    most = _points(codec, one)
    n = min(int(one.lengths[0]), most)
    series = as_gaps(one.values, one.lengths, one.channels)[0]
    for axis, channel, values in zip(axes, codec.channels, series, strict=True):
        name = "gap" if channel.kind == "time" else channel.name
        is_line = channel.kind in ("volume", "number")
        draw_line(axis, np.arange(n), values[:n], COLOURS[0], bars=not is_line)
        axis.set_xlim(-0.5, most - 0.5)
        axis.set_xlabel("point")
        axis.set_ylabel(shortened(replace(channel, name=name).title, LONGEST))
        plain_ticks(axis.yaxis)
    axes[0].set_title(shortened(str(one.label_names[0]), LONGEST), loc="left")


def _draw_images(axes: Any, pixels: Floats, codec: GasfCodec, points: int) -> None:
    """Pixels (C, m, m) over the numbers of the points; a border stands behind the last."""
    side = pixels.shape[-1]
    ends = -0.5, points * side / (side - codec.border) - 0.5
    extent = *ends, *reversed(ends)
    for axis, image in zip(axes, pixels, strict=True):
        axis.imshow(image, aspect="auto", interpolation="none", extent=extent)
        axis.set_xlabel("point j")
        axis.set_ylabel("point i")
        axis.set_title("GASF image", loc="left")
