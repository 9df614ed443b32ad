"""Baselines: generators without a network, with which every figure must be compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from netdiffus.channels import Channel
from netdiffus.errors import InputError
from netdiffus.evaluation.metrics.distances import quantile_edges
from netdiffus.traces.traces import Floats, Ints, Traces

NOISE = 0.1  # standard deviation of the logarithm of jitter's factors
WARP = 0.3  # the same, for the steps of its time warp
STATES = 8  # bins of each channel of the Markov chain


def copy(train: Traces, n: int, seed: int = 0) -> Traces:
    """Copies of the traces of `train`: best in every measure of fidelity, but useless.

    Args:
        train: What a generator would learn from; times become gaps.
        n: How many, in the class mix of `train`; traces repeat only after all were used once.
        seed: Same seed, same traces.

    Raises:
        InputError: `n` is below 1.
    """
    rows = _rows(train, n, np.random.default_rng(seed))
    drawn = train.with_gaps()[rows]
    return replace(drawn, meta=drawn.meta.select([]))


def jitter(train: Traces, n: int, seed: int = 0) -> Traces:
    """Copies with a time warp and noise: a simple augmentation.

    Point t of a trace comes from point ``w(t)``, where ``w`` is a random monotone map of the
    trace onto itself. Every value except directions is then multiplied by ``exp(0.1 z)``, z normal,
    rounded where the channel holds whole numbers, and kept inside the range of `train`.

    Args: see `copy`.
    """
    rng = np.random.default_rng(seed)
    source, real = copy(train, n, seed), train.with_gaps()
    values = np.take_along_axis(source.values, _warp(source, rng)[:, None], axis=2)
    for c, channel in enumerate(source.channels):
        if channel.kind != "direction":
            values[:, c] = _shake(values[:, c], real.points(c), channel, rng)
    return replace(source, values=np.where(source.mask[:, None], values, 0.0))


def bootstrap(train: Traces, n: int, seed: int = 0) -> Traces:
    """Resampled points: each value is drawn independently from its class, channel and position.

    All marginal distributions are kept; all dependence between positions and between channels is
    lost.

    Args: see `copy`.
    """
    rng = np.random.default_rng(seed)
    source = copy(train, n, seed)
    train = train.with_gaps()
    values = np.zeros_like(source.values)
    for label in np.unique(source.labels):
        mine = source.labels == label
        values[mine] = _resampled(train[train.labels == label], source.values[mine].shape, rng)
    return replace(source, values=np.where(source.mask[:, None], values, 0.0))


def markov(train: Traces, n: int, seed: int = 0) -> Traces:
    """A first-order Markov chain for each class.

    The state of a point is the combination of the bins of all channels: 8 quantile bins each, with
    a separate bin for any value that fills a bin. A trace starts with a random first point of its
    class. For each next point, a random training point in the same state is drawn, and the point
    after it is copied with all channels. So all values are training values. If no point follows a
    state, any state is used. Lengths are those of training traces.

    Args: see `copy`.
    """
    rng = np.random.default_rng(seed)
    source = copy(train, n, seed)
    train = train.with_gaps()
    values = np.zeros_like(source.values)
    for label in np.unique(source.labels):
        mine = np.flatnonzero(source.labels == label)
        longest = int(source.lengths[mine].max())
        chains = _chains(train[train.labels == label], len(mine), longest, rng)
        values[mine, :, :longest] = chains
    return replace(source, values=np.where(source.mask[:, None], values, 0.0))


def _rows(train: Traces, n: int, rng: np.random.Generator) -> Ints:
    """(n,): rows of `train`, in its class proportions, rounded by largest remainder."""
    if n < 1:
        raise InputError(f"n must be at least 1, got {n}")
    counts = np.bincount(train.labels, minlength=len(train.classes))
    share = n * counts / len(train)
    wanted = np.floor(share).astype(np.int64)
    wanted[np.argsort(wanted - share, kind="stable")[: n - wanted.sum()]] += 1
    drawn = [
        np.resize(rng.permutation(np.flatnonzero(train.labels == label)), k)
        for label, k in enumerate(wanted)
    ]
    return np.concatenate(drawn).astype(np.int64)


def _warp(traces: Traces, rng: np.random.Generator) -> Ints:
    """(N, L): for each point the index of its source point, non-decreasing, within the trace."""
    n, _, length = traces.values.shape
    steps = np.exp(WARP * rng.standard_normal((n, length))) * traces.mask
    place = np.cumsum(steps, axis=1) - 0.5 * steps
    total = steps.sum(axis=1, keepdims=True)
    points = np.floor(place / total * traces.lengths[:, None]).astype(np.int64)
    warped: Ints = np.minimum(points, traces.lengths[:, None] - 1)
    return warped


def _shake(values: Floats, real: Floats, channel: Channel, rng: np.random.Generator) -> Floats:
    shaken = values * np.exp(NOISE * rng.standard_normal(values.shape))
    if channel.is_integer:
        shaken = np.rint(shaken)
    return np.clip(shaken, real.min(), real.max())


def _resampled(train: Traces, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """`shape` (n, C, L): each element from a random trace that reaches that position."""
    longest_first = np.argsort(-train.lengths, kind="stable")
    reaching = np.maximum(train.mask.sum(axis=0), 1)
    pick = np.floor(rng.random(shape) * reaching).astype(np.int64)
    channel = np.arange(shape[1])[:, None]
    drawn: Floats = train.values[longest_first][pick, channel, np.arange(shape[2])]
    return drawn


def _chains(train: Traces, n: int, length: int, rng: np.random.Generator) -> Floats:
    """(n, C, length): chains without an end."""
    points = np.stack([train.points(c) for c in range(len(train.channels))], axis=1)
    state, last = _states(points), np.cumsum(train.lengths) - 1
    followed = np.setdiff1d(np.arange(len(points)), last)
    followed = followed[np.argsort(state[followed], kind="stable")]
    chains = np.empty((n, points.shape[1], length))
    at = rng.choice(last - train.lengths + 1, n)
    for t in range(length):
        chains[:, :, t] = points[at]
        if t + 1 < length:
            at = _followers(state[at], state[followed], followed, rng)
    return chains


def _states(points: Floats) -> Ints:
    """(M,): the number of the combination of bins of each point's channels."""
    counted = (np.unique(x, return_counts=True) for x in points.T)
    edges = [quantile_edges(values, counts, STATES) for values, counts in counted]
    bins = [np.searchsorted(of, x, side="right") for of, x in zip(edges, points.T, strict=True)]
    states: Ints = np.unique(np.stack(bins), axis=1, return_inverse=True)[1].ravel()
    return states


def _followers(state: Ints, state_before: Ints, followed: Ints, rng: np.random.Generator) -> Ints:
    """For each state the point after a random point in it; `state_before` is sorted."""
    first, end = (np.searchsorted(state_before, state, side=side) for side in ("left", "right"))
    lost = first == end
    first, end = np.where(lost, 0, first), np.where(lost, len(state_before), end)
    return followed[rng.integers(first, end)] + 1
