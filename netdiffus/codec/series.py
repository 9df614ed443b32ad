"""Traces as arrays of equal length in real units, and back: first and last step of all codecs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netdiffus.channels import Channel, same_but_type
from netdiffus.codec.vocabulary import check_owners, needed
from netdiffus.errors import InputError
from netdiffus.traces.traces import Bools, Floats, Ints, Traces

MOST_BINS, MOST_PACKETS = 512, 256  # points of a trace by default
PART = 2_048  # traces that are converted at a time, which bounds memory


def parts_of(n: int) -> list[slice]:
    """The rows of n traces, part by part."""
    return [slice(k, min(k + PART, n)) for k in range(0, n, PART)]


def default_size(traces: Traces) -> int:
    """The default number of points of a trace, so that a small machine is enough.

    The length of the longest trace, but at most 256 for packets. Volumes of more than 512 bins are
    averaged: as few bins to a point as give at most 512 points.
    """
    longest = int(traces.lengths.max())
    if not is_binned(traces):
        return min(longest, MOST_PACKETS)
    return -(-longest // -(-longest // MOST_BINS))


def is_binned(traces: Traces) -> bool:
    """Whether points are bins of time, so that a whole trace counts, not its first points."""
    kinds = {channel.kind for channel in traces.channels}
    of_packets = kinds & {"size", "direction", "time", "gap"}
    return "volume" in kinds or ("number" in kinds and not of_packets)


def check_channels(traces: Traces, channels: tuple[Channel, ...]) -> None:
    """Refuses traces whose channels differ from those of the fitted codec."""
    if not same_but_type(traces.channels, channels):
        wanted = ", ".join(channel.title for channel in channels)
        found = ", ".join(channel.title for channel in traces.channels)
        raise InputError(
            f"traces must have the channels the codec was fitted on: {wanted}; got {found}"
        )


def shared_length(traces: Traces, owners: Ints) -> int:
    """The greatest length that K owners reach; the maximum would reveal a single trace.

    Raises:
        InputError: Fewer than K owners.
    """
    return shared_by(traces.lengths, owners)


def shared_by(lengths: Ints, owners: Ints) -> int:
    """The greatest number of points that K owners reach, of (N,) lengths.

    Raises:
        InputError: Fewer than K owners.
    """
    check_owners(owners)
    longest = np.zeros(int(owners.max()) + 1, dtype=np.int64)
    np.maximum.at(longest, owners, lengths)
    return int(np.sort(longest)[-needed()])


def as_gaps(values: Floats, lengths: Ints, channels: tuple[Channel, ...]) -> Floats:
    """(N, C, L) with times as gaps, negative where a capture has packets out of order."""
    values = values.copy()
    for c, channel in enumerate(channels):
        if channel.kind == "time":
            gaps = np.diff(values[:, c], axis=1, prepend=0.0)
            values[:, c] = np.where(mask_of(lengths, values.shape[2]), gaps, 0.0)
    return values


def mask_of(lengths: Ints, n: int) -> Bools:
    """(N, n): which of n points belong to traces of these lengths."""
    return np.arange(n)[None] < lengths[:, None]


def averages(values: Floats, m: int, lengths: Ints | None = None) -> Floats:
    """(N, C, n) averaged over m equal windows, fewer or more than n; sums are kept.

    A window in which a trace ends averages over the points that the trace has there.
    """
    n = values.shape[2]
    edges = np.arange(m + 1) * n / m
    whole = np.minimum(edges.astype(np.int64), n - 1)
    # Sums before each point; cumsum minus the point could round below the sum before it.
    totals = np.pad(np.cumsum(values, axis=2)[:, :, :-1], ((0, 0), (0, 0), (1, 0)))
    at_edges = totals[:, :, whole] + (edges - whole) * values[:, :, whole]
    inside = edges if lengths is None else np.minimum(edges, lengths[:, None, None])
    width = np.diff(inside)
    means: Floats = np.diff(at_edges) / np.where(width > 0, width, 1.0)
    return means


def in_units(values: Floats, lengths: Ints, channels: tuple[Channel, ...]) -> Floats:
    """Values as on disk: whole numbers, ±1, times in place of gaps, in the channel's type."""
    for c, channel in enumerate(channels):
        if channel.kind == "direction":
            values[:, c] = np.where(values[:, c] < 0, -1.0, 1.0)
        elif channel.kind == "time":
            values[:, c] = np.cumsum(values[:, c], axis=1)
        values[:, c] = _as_type(values[:, c], pa.type_for_alias(channel.dtype).to_pandas_dtype())
    values = values[:, :, : int(lengths.max())]
    return np.where(mask_of(lengths, values.shape[2])[:, None], values, 0.0)


def _as_type(values: Floats, kind: Any) -> npt.NDArray[Any]:
    """Values of an element type: rounded for whole numbers, and clipped to its range."""
    if np.issubdtype(kind, np.floating):
        return values.astype(kind)
    least, most = (0, 1) if kind is np.bool_ else (np.iinfo(kind).min, np.iinfo(kind).max)
    return np.clip(np.rint(values), least, most).astype(kind)
