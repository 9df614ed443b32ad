"""Traces as a notebook shows them: what they are in two tables, and a small picture."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from netdiffus.channels import Channel
from netdiffus.ledger import statement
from netdiffus.notebook import block, images, lines, number, table
from netdiffus.traces.traces import Traces

SHOWN = 12  # classes


def traces_html(traces: Traces) -> str:
    """HTML in which nothing that comes from the traces is markup."""
    return block(
        f"Traces: {len(traces):,} of {len(traces.classes):,} classes",
        table(_of_classes(traces), ("class", "traces", "points of a trace")),
        table(_of_channels(traces), ("channel", "unit", "kind", "least", "most")),
        lines(_more(traces)),
        images(lambda: _pictures(traces)),
    )


def _of_classes(traces: Traces) -> Iterable[tuple[str, str, str]]:
    for k, name in enumerate(traces.classes[:SHOWN]):
        lengths = traces.lengths[traces.labels == k]
        yield name, f"{len(lengths):,}", _range(lengths.tolist())
    if len(traces.classes) > SHOWN:
        yield f"and {len(traces.classes) - SHOWN:,} more classes", "", ""


def _range(lengths: list[int]) -> str:
    if not lengths:
        return ""
    least, most = min(lengths), max(lengths)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _of_channels(traces: Traces) -> Iterable[tuple[str, ...]]:
    for c, channel in enumerate(traces.channels):
        values = traces.values[:, c]
        least = np.min(values, initial=np.inf, where=traces.mask)
        most = np.max(values, initial=-np.inf, where=traces.mask)
        yield channel.name, _unit(channel), channel.kind, number(least), number(most)


def _unit(channel: Channel) -> str:
    if channel.kind == "volume" and channel.bin_width:
        return f"{channel.unit} of {channel.bin_width:g} s"
    return channel.unit


def _more(traces: Traces) -> Iterable[str]:
    yield f"Meta-data: {', '.join(traces.meta.column_names) or 'none'}."
    yield f"Differential privacy: {statement(traces.ledger)}."


def _pictures(traces: Traces) -> Iterable[str]:
    from netdiffus.traces.plots import NOTEBOOK_POINTS, notebook_classes, thumbnail

    yield thumbnail(traces)
    shown, classes = len(notebook_classes(traces)), len(traces.classes)
    if shown < classes:
        yield lines([f"The picture has {shown} of the {classes:,} classes."])
    if traces.lengths.max() > NOTEBOOK_POINTS:
        yield lines([f"It shows the first {NOTEBOOK_POINTS} points of a trace."])
