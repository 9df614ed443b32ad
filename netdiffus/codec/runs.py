"""Run-length coding: runs of equal points as one point with a count, and back.

A run is a maximal sequence of consecutive points with the same size and direction. For sizes and
directions nothing is lost: `split` inverts `merge`. For times, the start and the duration of a run
are kept; inside a run, points are spread evenly.

With directions alone, runs alternate. A point is then a run from the client and the next run to it,
as two counts: half as many points.
"""

from __future__ import annotations

import numpy as np

from netdiffus.arrays import Bools, Floats, Ints
from netdiffus.channels import Channel
from netdiffus.codec.series import mask_of

EQUAL = ("size", "direction")  # kinds that are the same in all points of a run
TIMED = ("time", "gap")
MOST_RUNS = 512  # of a trace by default


def can_be_runs(channels: tuple[Channel, ...]) -> bool:
    """Whether traces of these channels have runs: sizes or directions, and times at most."""
    kinds = {channel.kind for channel in channels}
    return bool(kinds & set(EQUAL)) and kinds <= {*EQUAL, *TIMED}


def are_directions(channels: tuple[Channel, ...]) -> bool:
    """Whether directions are the only channel."""
    return [channel.kind for channel in channels] == ["direction"]


def run_channels(channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
    """The channels, then the count of a run, then for each of times the gap inside a run.

    Of directions alone two counts: of the run from the client, and of the one to it.
    """
    if are_directions(channels):
        return tuple(Channel(f"count {way}", "number", "", "int64") for way in ("up", "down"))
    inner = (Channel(f"{one.name} inside", "gap", "s") for one in channels if one.kind in TIMED)
    return (*channels, Channel("count", "number", "", "int64"), *inner)


def count_runs(
    values: Floats, lengths: Ints, channels: tuple[Channel, ...], most: int
) -> tuple[Ints, Ints]:
    """(N,), how many runs each trace has, of values (N, C, L); and points in its first `most`."""
    run = np.cumsum(_begins(values, lengths, channels), axis=1, dtype=np.int64)
    inside = mask_of(lengths, values.shape[2]) & (run <= most)
    return run[:, -1], inside.sum(1)


def merge(
    values: Floats, lengths: Ints, channels: tuple[Channel, ...], most: int
) -> tuple[Floats, Ints]:
    """Runs of points.

    Args:
        values: (N, C, L), gaps for times.
        lengths: (N,), points of each trace.
        channels: The C channels.
        most: Runs R that are kept of each trace.

    Returns:
        Values (N, C + 1 + G, R), or (N, 2, R) of directions alone, of the channels of
        `run_channels`; how many runs each trace has.
    """
    begins = _begins(values, lengths, channels)
    run = np.cumsum(begins, axis=1) - 1
    inside = mask_of(lengths, values.shape[2]) & (run < most)
    trace, point = np.nonzero(inside)
    place = trace * most + run[trace, point]
    n, kept = len(values), np.minimum(begins.sum(1), most)
    if are_directions(channels):
        up = values[trace, 0, point] > 0
        both = [np.bincount(place[way], minlength=n * most) for way in (up, ~up)]
        return np.stack([one.reshape(n, most) for one in both], axis=1).astype(float), kept
    counts = np.bincount(place, minlength=n * most).reshape(n, most)
    timed = [c for c, one in enumerate(channels) if one.kind in TIMED]
    found = np.zeros((n, len(channels) + 1 + len(timed), most))
    first_trace, first = np.nonzero(begins & inside)
    found[first_trace, : len(channels), run[first_trace, first]] = values[first_trace, :, first]
    found[:, len(channels)] = counts
    for k, c in enumerate(timed):
        later = np.where(begins, 0.0, values[:, c])[trace, point]
        sums = np.bincount(place, later, minlength=n * most).reshape(n, most)
        found[:, len(channels) + 1 + k] = sums / np.maximum(counts - 1, 1)
    return found, kept


def split(
    runs: Floats, lengths: Ints, channels: tuple[Channel, ...], most: int
) -> tuple[Floats, Ints]:
    """Points of runs: the reverse of `merge`.

    Args:
        runs: (N, C + 1 + G, R), or (N, 2, R) of directions alone.
        lengths: (N,), runs of each trace.
        channels: The C channels.
        most: Points that are kept of each trace.

    Returns:
        Values (N, C, L), gaps for times; how many points each trace has.
    """
    if are_directions(channels):
        return _split_directions(runs, lengths, most)
    n, _, width = runs.shape
    counts = np.maximum(np.rint(runs[:, len(channels)]), 1).astype(np.int64)
    counts = np.where(mask_of(lengths, width), np.minimum(counts, most), 0)
    ends = np.minimum(np.cumsum(counts, axis=1), most)
    counts = np.diff(ends, axis=1, prepend=0)
    points = ends[:, -1]
    trace, run = (
        np.repeat(np.arange(n), points),
        np.repeat(np.tile(np.arange(width), n), counts.reshape(-1)),
    )
    point = np.arange(len(trace)) - np.repeat(np.cumsum(points) - points, points)
    values = np.zeros((n, len(channels), int(points.max(initial=0))))
    values[trace, :, point] = runs[trace, : len(channels), run]
    later = point > (ends - counts)[trace, run]
    timed = [c for c, one in enumerate(channels) if one.kind in TIMED]
    for k, c in enumerate(timed):
        inner = runs[trace, len(channels) + 1 + k, run]
        values[trace[later], c, point[later]] = inner[later]
    return values, points


def _split_directions(runs: Floats, lengths: Ints, most: int) -> tuple[Floats, Ints]:
    """As `split`, of counts up and down (N, 2, R)."""
    n, _, width = runs.shape
    counts = np.where(mask_of(lengths, width)[:, None], np.maximum(np.rint(runs), 0), 0)
    counts[:, 0, 0] += counts.sum((1, 2)) == 0  # no trace is empty
    in_turn = np.minimum(counts.transpose(0, 2, 1).reshape(n, -1), most).astype(np.int64)
    ends = np.minimum(np.cumsum(in_turn, axis=1), most)
    points, in_turn = ends[:, -1], np.diff(ends, axis=1, prepend=0)
    signs = np.tile([1.0, -1.0], n * width)
    values = np.zeros((n, 1, int(points.max())))
    values[:, 0][mask_of(points, values.shape[2])] = np.repeat(signs, in_turn.reshape(-1))
    return values, points


def _begins(values: Floats, lengths: Ints, channels: tuple[Channel, ...]) -> Bools:
    """(N, L), whether a run begins with the point."""
    begins = np.ones((len(values), values.shape[2]), bool)
    begins[:, 1:] = False
    equal = [c for c, one in enumerate(channels) if one.kind in EQUAL]
    if are_directions(channels):
        begins[:, 1:] = (values[:, 0, 1:] > 0) & (values[:, 0, :-1] < 0)
        equal = []
    for c in equal:
        begins[:, 1:] |= values[:, c, 1:] != values[:, c, :-1]
    return begins & mask_of(lengths, values.shape[2])
