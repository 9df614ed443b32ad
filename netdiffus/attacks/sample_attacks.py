"""Black-box attacks: synthetic traces are nearer to members than to non-members.

Everything is done class by class, as the class of a synthetic trace is known. Non-members serve as
the attacker's own sample of real traces. A non-member is compared with all of these but itself, a
member with all but a random one, so that both are treated alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netdiffus.evaluation.features.embedding import Embedding, distances
from netdiffus.traces.traces import Floats, Ints, Traces

DIGITS = 3  # of a value with fractions, when values are compared cell by cell
NEIGHBOURS = (1, 3, 10)
TINY = 1e-6  # added to distances, which are standard deviations: of copies they are 0
NOTHING = -1e9  # score of a trace whose class has no synthetic trace
Scores = tuple[Floats, Floats]  # of members, of others


def nearest(members: Traces, others: Traces, made: Traces) -> Scores:
    """Minus the distance to the nearest synthetic trace of the class."""
    ours, theirs, of_made = _places(members, others, made)
    scores = (np.full(len(members), NOTHING), np.full(len(others), NOTHING))
    for place, side, score in zip((ours, theirs), (members, others), scores, strict=True):
        for label in np.unique(side.labels):
            mine, drawn = side.labels == label, of_made[made.labels == label]
            if len(drawn):
                score[mine] = -distances(place[mine], drawn).min(axis=1)
    return scores


def density_ratio(members: Traces, others: Traces, made: Traces, seed: int = 0) -> Scores:
    """Log-ratio of the densities of synthetic and of real traces (van Breugel et al., 2023).

    Up to a factor and a constant. A density is estimated by the distance to the k-th nearest trace:
    the mean of ``log(distance to real) - log(distance to synthetic)`` over k = 1, 3 and 10.
    """
    rng, (ours, theirs, of_made) = np.random.default_rng(seed), _places(members, others, made)
    scores = (np.full(len(members), NOTHING), np.full(len(others), NOTHING))
    for label in np.unique(others.labels):
        known, drawn = theirs[others.labels == label], of_made[made.labels == label]
        if not len(drawn):
            continue
        among = distances(known, known)
        np.fill_diagonal(among, np.inf)
        for place, side, score in zip((ours, theirs), (members, others), scores, strict=True):
            mine = np.flatnonzero(side.labels == label)
            real = among if side is others else _all_but_one(distances(place[mine], known), rng)
            score[mine] = _far(real) - _far(distances(place[mine], drawn))
    return scores


def _places(members: Traces, others: Traces, made: Traces) -> list[Floats]:
    """Each set as vectors, by the scale of the attacker's own sample."""
    embed = Embedding(others.with_gaps())
    return [embed(t.with_gaps()).astype(np.float64) for t in (members, others, made)]


def cell_ratio(members: Traces, others: Traces, made: Traces, seed: int = 0) -> Scores:
    """The same log-ratio by cells; a cell is a value of a class at a place.

    Mean of ``log((a + 1/2) / (n + 1)) - log((b + 1/2) / (m + 1))`` over the cells of a trace, which
    a of n synthetic traces and b of m real ones have. It finds generators that draw from counts.
    """
    ours, theirs, of_made = cells((members, others, made))
    n_cells = 1 + max(int(side.max()) for side in (ours, theirs, of_made))
    seen, known = (np.bincount(side[side >= 0], minlength=n_cells) for side in (of_made, theirs))
    classes = len(members.classes)
    n_made, n_real = (np.bincount(t.labels, minlength=classes) for t in (made, others))
    absent = _left_out(members, others, np.random.default_rng(seed))
    less = (ours == theirs[absent], np.ones_like(theirs, dtype=bool))
    scores = [
        _cell_score(side, seen, known, lost, n_made[t.labels], n_real[t.labels])
        for side, lost, t in zip((ours, theirs), less, (members, others), strict=True)
    ]
    return scores[0], scores[1]


def cells(sets: Sequence[Traces]) -> list[Ints]:
    """For each set (N, C L): the number of each cell (class, channel, place, value); -1 after ends.

    A cell has the same number in all sets, which share channels and classes. Values with fractions
    are rounded to three digits; times are replaced by gaps.
    """
    gaps = [t.with_gaps() for t in sets]
    longest = max(t.values.shape[2] for t in gaps)
    found = [np.full((len(t), len(t.channels), longest), -1, dtype=np.int64) for t in gaps]
    first = 0
    for c in range(len(gaps[0].channels)):
        values = [_rounded(t.values[:, c]) for t in gaps]
        distinct = np.unique(np.concatenate([v[t.mask] for v, t in zip(values, gaps, strict=True)]))
        for one, value, t in zip(found, values, gaps, strict=True):
            place = t.labels[:, None] * longest + np.arange(value.shape[1])
            number = first + place * len(distinct) + np.searchsorted(distinct, value)
            one[:, c, : value.shape[1]] = np.where(t.mask, number, -1)
        first += len(gaps[0].classes) * longest * len(distinct)
    return _renumbered([one.reshape(len(one), -1) for one in found])


def _renumbered(numbers: list[Ints]) -> list[Ints]:
    """The cells that occur, numbered from 0; -1 stays."""
    flat = np.concatenate([one.ravel() for one in numbers])
    inverse = np.unique(np.append(flat, -1), return_inverse=True)[1]
    parts = np.split(inverse[:-1] - 1, np.cumsum([one.size for one in numbers])[:-1])
    return [part.reshape(one.shape) for part, one in zip(parts, numbers, strict=True)]


def _rounded(values: Floats) -> Floats:
    """Whole numbers as they are, others to three digits."""
    size = np.floor(np.log10(np.where(values == 0, 1.0, np.abs(values))))
    unit = 10.0 ** (size - DIGITS + 1)
    rounded: Floats = np.where(values == np.rint(values), values, np.rint(values / unit) * unit)
    return rounded


def _cell_score(side: Ints, seen: Ints, known: Ints, lost: Ints, made: Ints, real: Ints) -> Floats:
    inside = side >= 0
    at = np.where(inside, side, 0)
    ratio = np.log((seen[at] + 0.5) / (made[:, None] + 1))
    ratio -= np.log((known[at] - lost * inside + 0.5) / real[:, None])  # one real trace is left out
    mean: Floats = (ratio * inside).sum(axis=1) / inside.sum(axis=1)
    mean[made == 0] = NOTHING
    return mean


def _left_out(members: Traces, others: Traces, rng: np.random.Generator) -> Ints:
    """For each member a random non-member of its class, with which it is not compared."""
    rows = np.zeros(len(members), dtype=np.int64)
    for label in np.unique(members.labels):
        mine = members.labels == label
        rows[mine] = rng.choice(np.flatnonzero(others.labels == label), mine.sum())
    return rows


def _all_but_one(apart: Floats, rng: np.random.Generator) -> Floats:
    """Distances (n, m), with one random entry of each row set to infinity."""
    apart[np.arange(len(apart)), rng.integers(apart.shape[1], size=len(apart))] = np.inf
    return apart


def _far(apart: Floats) -> Floats:
    """(n,): mean logarithm of the k-th smallest distances; of the largest where there are fewer."""
    ordered = np.sort(apart, axis=1)
    last = int(np.isfinite(ordered[0]).sum()) - 1
    found: Floats = np.log(ordered[:, [min(k - 1, last) for k in NEIGHBOURS]] + TINY).mean(axis=1)
    return found
