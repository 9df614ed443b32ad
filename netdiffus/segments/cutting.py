"""Traces as sums over their segments, and the segments as traces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from netdiffus.channels import Channel
from netdiffus.codec.series import as_gaps, mask_of, parts_of
from netdiffus.traces.traces import Bools, Floats, Ints, Traces

OVERLAP = 8  # points before a segment that it is drawn given
LEAST, MOST_SEGMENTS = 16, 512  # points of a segment, and segments of the longest trace
PLACE, NUMBER = "place in trace", "number of segment"  # columns of a segment, beside its sums
PLACES = ("only", "first", "inner", "last")


def points_for(longest: int) -> int:
    """Default points of a segment: the least power of 2, from 16, with at most 512 segments."""
    points = LEAST
    while points * MOST_SEGMENTS < longest:
        points *= 2
    return points


def counts_of(lengths: Ints, points: int) -> Ints:
    """(N,), numbers of segments of traces with these lengths."""
    return np.asarray(-(-lengths // points), dtype=np.int64)


def coarse_channels(channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
    """The channels of coarse traces, see `as_coarse`."""
    has_direction = any(channel.kind == "direction" for channel in channels)
    found: list[Channel] = []
    for one in channels:
        if one.kind == "direction":
            found.append(Channel("points up", "number", "", "int64"))
        elif one.kind == "size" and has_direction:
            found += [_volume(one, f"{one.name} {way}") for way in ("up", "down")]
        else:
            found.append(_volume(one, f"{one.name} sum"))
    return tuple(found)


def as_coarse(traces: Traces, points: int) -> Traces:
    """Coarse traces: each point is a segment of `points` points.

    Values are sums over the segment: of sizes (each way, if there are directions), gaps, volumes
    and plain numbers. For directions, the value is the number of points up.

    Args:
        traces: Whole traces.
        points: Of a segment; the last of a trace may have fewer.
    """
    segments = counts_of(traces.lengths, points)
    channels = coarse_channels(traces.channels)
    values = np.zeros((len(traces), len(channels), int(segments.max())))
    for rows in parts_of(len(traces)):
        values[rows] = _sums(traces, rows, points, values.shape[2])
    return replace(traces, values=values, lengths=segments, channels=channels)


def as_segments(traces: Traces, coarse: Traces, points: int) -> tuple[Traces, Ints]:
    """All segments as traces, each after the `OVERLAP` points before it, and their rows.

    Args:
        traces: Whole traces.
        coarse: Their coarse traces, from `as_coarse`.
        points: Of a segment.

    Returns:
        Segments with the columns of `columns_of`, and (S,) the row of the trace of each.
    """
    row, number = _numbered(coarse.lengths)
    begin = np.maximum(number * points - OVERLAP, 0)
    lengths = np.minimum((number + 1) * points, traces.lengths[row]) - begin
    at = begin[:, None] + np.arange(points + OVERLAP)
    inside = mask_of(lengths, points + OVERLAP)
    at = np.where(inside, at, 0)
    values = np.stack([one[row[:, None], at] for one in traces.values.swapaxes(0, 1)], 1)
    for c, channel in enumerate(traces.channels):
        if channel.kind == "time":
            values[:, c] -= values[:, c, :1]
    return Traces(
        values=np.where(inside[:, None], values, 0.0),
        lengths=lengths,
        channels=traces.channels,
        labels=traces.labels[row],
        classes=traces.classes,
        meta=columns_of(coarse, row, number, coarse.values[row, :, number]),
    ), row


def columns_of(coarse: Traces, row: Ints, number: Ints, sums: Floats) -> pa.Table:
    """The conditions of a segment: sums, its number, and its place in the trace.

    Args:
        coarse: Coarse traces.
        row: (S,), the coarse trace of each segment.
        number: (S,), the number of the segment in its trace.
        sums: (S, C'), the sums of their channels.
    """
    cells = {channel.name: sums[:, c] for c, channel in enumerate(coarse.channels)}
    is_first, is_last = number == 0, number == coarse.lengths[row] - 1
    place = np.where(is_last, np.where(is_first, 0, 3), np.where(is_first, 1, 2))
    return pa.table({**cells, NUMBER: number, PLACE: np.array(PLACES)[place]})


def _numbered(counts: Ints) -> tuple[Ints, Ints]:
    """(S,) the row of each segment and its number in the trace, of (N,) counts."""
    row = np.repeat(np.arange(len(counts)), counts)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return row, np.arange(len(row)) - first[row]


def _volume(channel: Channel, name: str) -> Channel:
    kind = "number" if channel.kind == "number" else "volume"
    return Channel(name, kind, channel.unit, "int64" if channel.is_integer else "double")


def _sums(traces: Traces, rows: slice, points: int, segments: int) -> Floats:
    """(n, C', K), the values of coarse traces."""
    width, lengths = segments * points, traces.lengths[rows]
    values = as_gaps(traces.values[rows], lengths, traces.channels)
    values = np.pad(values, ((0, 0), (0, 0), (0, max(0, width - values.shape[2]))))[:, :, :width]
    found = sums_of(values, mask_of(lengths, width), traces.channels)
    summed: Floats = found.reshape(len(values), found.shape[1], segments, points).sum(3)
    return summed


def sums_of(values: Floats, inside: Bools, channels: tuple[Channel, ...]) -> Floats:
    """(n, C', L), the contribution of each point to the channels of coarse traces.

    Args:
        values: (n, C, L), gaps in place of times.
        inside: (n, L), which positions are points.
        channels: The C channels.
    """
    kinds = [channel.kind for channel in channels]
    up = inside & (values[:, kinds.index("direction")] > 0) if "direction" in kinds else None
    found: list[Floats] = []
    for c, kind in enumerate(kinds):
        if kind == "direction" and up is not None:
            found.append(up.astype(np.float64))
        elif kind == "size" and up is not None:
            found += [values[:, c] * up, values[:, c] * (inside & ~up)]
        else:
            found.append(values[:, c] * inside)
    return np.stack(found, 1)
