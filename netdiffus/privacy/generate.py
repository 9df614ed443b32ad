"""Private traces from noisy counts: post-processing, which sees no data.

While the tokens of a trace of class k are a frequent prefix of its class, the next token is drawn
by the counts of longer prefixes. After that the trace takes a pattern (its length, and for each
point the lower or the upper half of the values) that fits its tokens so far. Further tokens are
drawn among those that the pattern allows, by

    p(b | a, k, t) ~ pairs(b | a, k) places(b | k, t) / places(b | k) balance(t, b).

`balance` is fitted so that all traces together have the counted values at each place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from netdiffus.arrays import Bools, Floats, Ints
from netdiffus.privacy.denoise import is_signal, normalised, shared_rest, smoothed
from netdiffus.privacy.domain import Domain
from netdiffus.privacy.measure import ColumnCounts, Lead, Measured, Other, pattern_parts
from netdiffus.privacy.noise import Noisy

ROUNDS, FITTED = 4, 10_000  # of the fit of `balance`, and traces that it makes in each
BLOCK = 1 << 13  # traces made at a time
LEAST, MOST = 0.05, 20.0  # limits of the factors of places and classes
ROUND_LEAST, ROUND_MOST, ROUND_POWER = 0.2, 5.0, 0.8
KNOWN = 0.05  # factor for tokens that the counts of prefixes already give
HARDLY = 1e-9  # probability of tokens without counts


@dataclass(frozen=True)
class Chain:
    """Distributions of the leading feature.

    Attributes:
        lead: Its noisy counts.
        totals: (C,) traces of each class.
        reach: (C, length) traces that have a token at each place, the end included.
        pattern: (C, patterns) probabilities.
        places: (C, length, K + 1) probabilities.
        pairs: (C, K + 1, K + 1) probabilities of the next token.
        lifts: (C, length, K + 1) probability at a place over that at all places.
        balance: (length, K + 1) factors, see above.
    """

    lead: Lead
    totals: Floats
    reach: Floats
    pattern: Floats
    places: Floats
    pairs: Floats
    lifts: Floats
    balance: Floats


def make(
    measured: Measured, domain: Domain, labels: Ints, rng: np.random.Generator
) -> Iterator[tuple[Ints, list[Ints], dict[str, Ints]]]:
    """Traces of the classes `labels` (N,), block by block.

    Gives the classes of some; the cells of each feature, (n, length) with -1 beyond the end; and
    the codes of the columns. The guarantee does not depend on the random numbers.
    """
    chain = balanced(_chain(measured), labels, rng)
    others = [_conditionals(other, chain) for other in measured.others]
    for first in range(0, len(labels), BLOCK):
        some = labels[first : first + BLOCK]
        tokens = walk(chain, some, rng)
        inside = (tokens >= 0) & (tokens < chain.lead.tokens.many)
        drawn = chain.lead.tokens.draw(np.where(inside, tokens, 0), rng)
        cells = [np.where(inside, drawn, -1)]
        for other, parts in zip(measured.others, others, strict=True):
            further = _along(parts, some, tokens, inside, rng)
            cells.append(np.where(inside, other.tokens.draw(further, rng), -1))
        columns = {name: _column(one, some, rng) for name, one in measured.columns.items()}
        yield some, cells, columns


def _chain(measured: Measured) -> Chain:
    lead, totals = measured.lead, np.maximum(measured.sizes.counts, 1.0)
    pooled = smoothed(lead.all_places.counts, lead.all_places.sigma)
    reach = np.clip(lead.places.counts.sum(axis=2), 1.0, totals[:, None])
    places = shared_rest(lead.places.counts, lead.places.sigma, reach, normalised(pooled))
    occurrences = (places * reach[..., None]).sum(axis=1)  # (C, K + 1)
    ofclass = normalised(occurrences + HARDLY)
    base = normalised(pooled.sum(axis=0))
    shift = np.clip(ofclass / base, LEAST, MOST)
    before = (places[:, :-1] * reach[:, :-1, None]).sum(axis=1)
    before[:, -1] = 0.0  # nothing follows the end
    before *= _counted(lead.all_pairs, before)
    follows = shared_rest(
        lead.all_pairs.counts,
        lead.all_pairs.sigma,
        np.maximum(before.sum(axis=0), lead.all_pairs.sigma),
        base,
    )
    pooled_pairs = normalised(follows[None] * shift[:, None, :])
    return Chain(
        lead=lead,
        totals=totals,
        reach=reach,
        pattern=_patterns(lead, totals),
        places=places,
        pairs=shared_rest(lead.pairs.counts, lead.pairs.sigma, before, pooled_pairs),
        lifts=np.clip(places / ofclass[:, None], LEAST, MOST),
        balance=np.ones(lead.all_places.counts.shape),
    )


def _counted(answer: Noisy, totals: Floats) -> float:
    """The share that was counted, as clipping leaves some out; rather too low than too high."""
    counts, sigma = answer.counts, answer.sigma
    surely = counts.sum() - sigma * np.sqrt(counts.size)
    least = np.where(is_signal(counts, sigma), counts, 0.0).sum()
    return float(np.clip(max(surely, least) / max(float(totals.sum()), 1.0), LEAST, 1.0))


def _patterns(lead: Lead, totals: Floats) -> Floats:
    """(C, patterns): significant counts of a class, and the rest as in all classes."""
    counts, sigma = lead.pattern.counts, lead.pattern.sigma
    pooled = counts.sum(axis=0)
    stands_out = is_signal(pooled, sigma * np.sqrt(len(counts)))
    base = np.where(stands_out, pooled, 0.0) + HARDLY
    return shared_rest(counts, sigma, totals, base / base.sum())


def balanced(chain: Chain, labels: Ints, rng: np.random.Generator) -> Chain:
    """The chain with the fitted balance: traces have the counted values at each place."""
    if len(labels) > FITTED:
        labels = np.sort(rng.permutation(labels)[:FITTED])
    answer = chain.lead.all_places
    wanted = smoothed(answer.counts, answer.sigma) * len(labels) / chain.totals.sum()
    for _ in range(ROUNDS):
        made, free = _occurrences(chain, labels, rng)
        needed = np.maximum(wanted - (made - free), 0.02 * wanted)
        ratio = (needed + 2) / (free + 2)
        ratio /= np.maximum((ratio * free).sum(axis=1) / np.maximum(free.sum(axis=1), 1), 1e-9)[
            :, None
        ]
        chain.balance[:] *= np.clip(ratio, ROUND_LEAST, ROUND_MOST) ** ROUND_POWER
    return chain


def _occurrences(chain: Chain, labels: Ints, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """(length, K + 1): how often each token is made at each place; and that outside of prefixes."""
    length, many = chain.balance.shape
    made, free = np.zeros((length, many)), np.zeros((length, many))
    for first in range(0, len(labels), BLOCK):
        is_free = np.zeros((len(labels[first : first + BLOCK]), length), dtype=bool)
        tokens = walk(chain, labels[first : first + BLOCK], rng, is_free)
        for place in range(length):
            there = tokens[:, place] >= 0
            made[place] += np.bincount(tokens[there, place], minlength=many)
            there &= is_free[:, place]
            free[place] += np.bincount(tokens[there, place], minlength=many)
    return made, free


def walk(
    chain: Chain, labels: Ints, rng: np.random.Generator, is_free: Bools | None = None
) -> Ints:
    """Tokens (N, length) of traces of these classes (N,); -1 behind the end.

    `is_free` (N, length) becomes true where a token was not drawn by a prefix.
    """
    lead = chain.lead
    length, many = chain.balance.shape
    tokens = np.full((len(labels), length), -1)
    codes = np.full(len(labels), -1)  # of the patterns, drawn where a trace leaves the prefixes
    node = labels.copy()
    alive = np.arange(len(labels))
    for place in range(length):
        at, drawn = node[alive], np.empty(len(alive), dtype=np.int64)
        stays = _stays(lead, at, place, rng)
        if stays.any():
            drawn[stays] = _draw(lead.levels[place].children[at[stays]], rng)
        free = alive[~stays]
        if len(free):
            new = free[codes[free] < 0]
            codes[new] = _drawn_patterns(chain, labels[new], tokens[new, :place], rng)
            chance = _free_chance(chain, labels[free], tokens[free], place)
            chance = _unlike_prefixes(lead, chance, at[~stays], place)
            drawn[~stays] = _draw((chance + HARDLY) * _allowed(lead, codes[free], place), rng)
        tokens[alive, place] = drawn
        if is_free is not None:
            is_free[free, place] = True
        node[alive] = np.where(stays, _next(lead, at, drawn, place), -1)
        alive = alive[drawn != many - 1]
        if not len(alive):
            break
    return tokens


def _stays(lead: Lead, node: Ints, place: int, rng: np.random.Generator) -> Bools:
    """(N,): which traces follow a frequent prefix further, with its counted probability."""
    if place >= len(lead.levels):
        return np.zeros(len(node), dtype=bool)
    level = lead.levels[place]
    known = level.children.sum(axis=1)
    share = known / np.maximum(known + level.rest, HARDLY)
    return np.asarray((node >= 0) & (rng.random(len(node)) < share[np.maximum(node, 0)]))


def _next(lead: Lead, node: Ints, drawn: Ints, place: int) -> Ints:
    """(N,): the longer prefixes of traces that follow one."""
    if place >= len(lead.levels):
        return node
    return lead.levels[place].ids[np.maximum(node, 0), drawn]


def _free_chance(chain: Chain, labels: Ints, tokens: Ints, place: int) -> Floats:
    """(N, K + 1): probabilities of the next token of a trace that follows no prefix."""
    if place == 0:
        chance = chain.places[labels, 0] * chain.balance[0]
    else:
        chance = chain.pairs[labels, tokens[:, place - 1]]
        chance = chance * chain.lifts[labels, place] * chain.balance[place]
    return normalised(chance + HARDLY)


def _unlike_prefixes(lead: Lead, chance: Floats, node: Ints, place: int) -> Floats:
    """The probabilities with less weight for tokens that continue a frequent prefix."""
    at = np.flatnonzero(node >= 0)
    if place < len(lead.levels) and len(at):
        children = lead.levels[place].children[node[at]]
        chance[at] *= np.where(children > 0, KNOWN, 1.0)
    return chance


def _drawn_patterns(chain: Chain, labels: Ints, tokens: Ints, rng: np.random.Generator) -> Ints:
    """Codes (N,) of patterns that begin as the tokens (N, places) do; 0 beyond their depth."""
    places = tokens.shape[1]
    if places >= chain.lead.depth:
        return np.zeros(len(labels), dtype=np.int64)
    points, bits = pattern_parts(np.arange(chain.pattern.shape[1]))
    begun = (chain.lead.symbols[tokens] << np.arange(places)).sum(axis=1)
    found = np.empty(len(labels), dtype=np.int64)
    for start in np.unique(begun):
        fits = (points >= max(places, 1)) & ((bits & (2**places - 1)) == start)
        codes = np.flatnonzero(fits)
        mine = np.flatnonzero(begun == start)
        upper = np.cumsum(chain.pattern[:, codes] + HARDLY, axis=1)
        for label in np.unique(labels[mine]):
            rows = mine[labels[mine] == label]
            at = np.searchsorted(upper[label], rng.random(len(rows)) * upper[label, -1], "right")
            found[rows] = codes[np.minimum(at, len(codes) - 1)]
    return found


def _allowed(lead: Lead, codes: Ints, place: int) -> Bools:
    """(N, K + 1): which tokens the patterns allow at a place."""
    if place >= lead.depth:
        return np.ones((1, len(lead.symbols)), dtype=bool)
    points, bits = pattern_parts(codes)
    goes_on = place < points
    allowed = (lead.symbols[None] == ((bits >> place) & 1)[:, None]) & goes_on[:, None]
    allowed[:, -1] = ~goes_on
    return np.asarray(allowed)


def _draw(weights: Floats, rng: np.random.Generator) -> Ints:
    """(N,): a column of each row, by its weights."""
    upper = np.cumsum(weights, axis=1)
    place = rng.random(len(weights)) * upper[:, -1]
    return np.asarray(np.minimum((upper <= place[:, None]).sum(axis=1), weights.shape[1] - 1))


@dataclass(frozen=True)
class Conditionals:
    """Distributions of a further feature, given the leading one.

    Attributes:
        places: (C, length, K) probabilities.
        with_lead: (C, K of the lead + 1, K) probabilities.
        pairs: (C, K, K) probabilities of the next token.
        ofclass: (C, K) probabilities in a class.
    """

    places: Floats
    with_lead: Floats
    pairs: Floats
    ofclass: Floats


def _conditionals(other: Other, chain: Chain) -> Conditionals:
    classes = len(chain.totals)
    wide = np.sqrt(classes)
    pooled = smoothed(other.places.counts.sum(axis=0), other.places.sigma * wide)
    base = normalised(pooled.sum(axis=0))
    leading = chain.places * chain.reach[..., None]
    inside = leading[..., :-1].sum(axis=2)  # (C, length) traces that have a point there
    places = shared_rest(other.places.counts, other.places.sigma, inside, normalised(pooled))
    occurrences = (places * inside[..., None]).sum(axis=1)
    ofclass = normalised(occurrences + HARDLY)
    shift = np.clip(ofclass / base, LEAST, MOST)[:, None, :]
    found = []
    for answer, totals in ((other.with_lead, leading.sum(axis=1)), (other.pairs, occurrences)):
        together = answer.counts.sum(axis=0)
        follows = shared_rest(together, answer.sigma * wide, totals.sum(axis=0), base)
        follows = normalised(follows[None] * shift)
        totals = totals * _counted(answer, totals)
        found.append(shared_rest(answer.counts, answer.sigma, totals, follows))
    return Conditionals(places, found[0], found[1], ofclass)


def _along(
    parts: Conditionals, labels: Ints, leading: Ints, inside: Bools, rng: np.random.Generator
) -> Ints:
    """Tokens (N, length) of a further feature; 0 where there is no point."""
    tokens = np.zeros(leading.shape, dtype=np.int64)
    ofclass = parts.ofclass[labels]
    for place in range(leading.shape[1]):
        at = np.flatnonzero(inside[:, place])
        if not len(at):
            break
        label = labels[at]
        chance = parts.with_lead[label, leading[at, place]]
        if place:
            chance = chance * parts.pairs[label, tokens[at, place - 1]] / ofclass[at]
        lift = np.clip(parts.places[label, place] / ofclass[at], LEAST, MOST)
        tokens[at, place] = _draw(chance * lift + HARDLY, rng)
    return tokens


def _column(column: ColumnCounts, labels: Ints, rng: np.random.Generator) -> Ints:
    """Codes (N,) of a column; -1 where no frequent value was drawn."""
    counts = column.classes.counts
    chance = normalised(np.where(is_signal(counts, column.classes.sigma), counts, 0.0) + HARDLY)
    token = _draw(chance[labels], rng)
    return np.append(column.values, -1)[token]
