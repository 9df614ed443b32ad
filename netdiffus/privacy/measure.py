"""All noisy counts of the traces; the shares of mu² of these releases add up to 1.

Only the noisy answers of the meter depend on the traces: what is counted next is chosen by them
alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import sqrt

import numpy as np

from netdiffus.arrays import Floats, Ints
from netdiffus.privacy.cells import COLUMNS, TracesInCells
from netdiffus.privacy.counts import by_place, clipped, norm_of, once
from netdiffus.privacy.denoise import is_signal
from netdiffus.privacy.domain import Domain
from netdiffus.privacy.noise import Noisy, NoisyMeter
from netdiffus.privacy.tokens import Tokens, find_tokens

# Shares of mu². Tried on mirage_appx and the lab traffic; see docs/privacy.md.
SIZES = 0.01
COLUMN = {"values": 0.01, "classes": 0.02}
LEAD = {
    "values": 0.08,
    "pattern": 0.08,
    "prefixes": 0.25,
    "places": 0.22,
    "pairs": 0.25,
    "all places": 0.05,
    "all pairs": 0.07,
}
OTHER = {"values": 0.10, "places": 0.30, "with lead": 0.30, "pairs": 0.30}
OTHER_WEIGHT = 0.5  # budget of each further feature; the leading one has 1

DEPTH = 10  # points of a prefix and of a pattern
MOST_TOKENS, MOST_OTHER, FEWEST_TOKENS = 256, 24, 8
MOST_CELLS = 600_000  # of one release: OpenDP takes about 20 µs to draw the noise of a cell
MOST_PREFIX_CELLS = 120_000
VALUES_NORM, PAIRS_NORM = 1.6, 1.3  # of a trace, in units of different values at all places


@dataclass(frozen=True)
class PrefixLevel:
    """Prefixes of one more point than the level before.

    Attributes:
        children: (M, K) traces of each prefix by next token, 0 where it is not told from noise.
        rest: (M,) traces of each prefix whose next token is none of these.
        ids: (M, K) numbers of the longer prefixes in the next level, -1 where there is none.
    """

    children: Floats
    rest: Floats
    ids: Ints


@dataclass(frozen=True)
class Lead:
    """What is known of the leading feature.

    Attributes:
        tokens: Its tokens; one more, the last, is the end of a trace.
        symbols: (K + 1,) which half each token belongs to.
        depth: Points of a pattern.
        pattern: (C, patterns) of halves, see `pattern_codes`.
        levels: Prefixes.
        places: (C, length, K + 1).
        pairs: (C, K + 1, K + 1), neighbours.
        all_places: (length, K + 1), all classes together.
        all_pairs: (K + 1, K + 1), all classes together.
    """

    tokens: Tokens
    symbols: Ints
    depth: int
    pattern: Noisy
    levels: list[PrefixLevel]
    places: Noisy
    pairs: Noisy
    all_places: Noisy
    all_pairs: Noisy


@dataclass(frozen=True)
class Other:
    """What is known of a further feature.

    Attributes:
        tokens: Its tokens.
        places: (C, length, K).
        with_lead: (C, K of the lead + 1, K), both of the same point.
        pairs: (C, K, K), neighbours.
    """

    tokens: Tokens
    places: Noisy
    with_lead: Noisy
    pairs: Noisy


@dataclass(frozen=True)
class ColumnCounts:
    """What is known of a column of the meta: its frequent codes (J,).

    `classes` (C, J + 1) says how many traces of each class have each, or none of them.
    """

    values: Ints
    classes: Noisy


@dataclass(frozen=True)
class Measured:
    """All noisy answers: what private traces are made from.

    Attributes:
        sizes: (C,) traces of each class.
        columns: By name.
        lead: The leading feature.
        others: The further features.
    """

    sizes: Noisy
    columns: dict[str, ColumnCounts]
    lead: Lead
    others: list[Other]


def shares(domain: Domain, columns: int) -> list[float]:
    """Shares of mu² in the order in which they are spent."""
    others = len(domain.features) - 1
    left = 1 - SIZES - columns * sum(COLUMN.values())
    weight = left / (1 + OTHER_WEIGHT * others)
    depth = min(DEPTH, domain.length)
    lead = {name: weight * share for name, share in LEAD.items()}
    levels = _level_shares(lead.pop("prefixes"), depth)
    of_others = [OTHER_WEIGHT * weight * share for share in OTHER.values()] * others
    return [SIZES, *list(COLUMN.values()) * columns, *lead.values(), *levels, *of_others]


def measure_sizes(encoded: TracesInCells, classes: int, meter: NoisyMeter) -> Noisy:
    """How many traces each class has."""
    counted = encoded.total(lambda some: once(some.labels, classes))
    return meter.release("class sizes", 1.0, SIZES, counted)


def measure(encoded: TracesInCells, domain: Domain, sizes: Noisy, meter: NoisyMeter) -> Measured:
    """All further answers of the meter; `sizes` are those of `measure_sizes`."""
    classes, others = len(domain.classes), len(domain.features) - 1
    columns = {name: _column(encoded, name, classes, meter) for name in encoded.columns}
    left = 1 - SIZES - len(columns) * sum(COLUMN.values())
    weight = left / (1 + OTHER_WEIGHT * others)
    lead = _lead(encoded, domain, sizes, weight, meter)
    further = [
        _other(encoded, domain, f, OTHER_WEIGHT * weight, lead, meter) for f in range(1, 1 + others)
    ]
    return Measured(sizes, columns, lead, further)


def _column(encoded: TracesInCells, name: str, classes: int, meter: NoisyMeter) -> ColumnCounts:
    cells = COLUMNS[name] + 1
    counted = encoded.total(lambda some: once(some.columns[name], cells))
    noisy = meter.release(f"values of {name}", 1.0, COLUMN["values"], counted)
    values = np.flatnonzero(is_signal(noisy.counts, noisy.sigma))
    values = values[np.argsort(-noisy.counts[values], kind="stable")][:MOST_TOKENS]
    token = np.full(cells, len(values))
    token[values] = np.arange(len(values))
    many = len(values) + 1

    def by_class(some: TracesInCells) -> Ints:
        return once(some.labels * many + token[some.columns[name]], classes * many)

    joint = encoded.total(by_class).reshape(classes, many)
    return ColumnCounts(values, meter.release(f"class x {name}", 1.0, COLUMN["classes"], joint))


def _lead(
    encoded: TracesInCells, domain: Domain, sizes: Noisy, weight: float, meter: NoisyMeter
) -> Lead:
    feature, classes, length = domain.features[0], len(domain.classes), domain.length
    share = {name: weight * part for name, part in LEAD.items()}
    most = max(FEWEST_TOKENS, min(MOST_TOKENS, int(sqrt(MOST_CELLS / classes))))
    most = max(FEWEST_TOKENS, min(most, MOST_CELLS // (classes * length)))
    values = _values(encoded, domain, 0, share["values"], meter)
    halves = feature.grids[0].cells if len(feature.grids) > 1 else 1
    tokens = find_tokens(values.counts, values.sigma, most - 1, halves)
    symbols = np.append(_halves(tokens, values, halves), -1)
    many = tokens.many + 1

    depth = min(DEPTH, length, max(1, int(np.log2(MOST_CELLS / 4 / classes)) - 1))
    patterns = 2 ** (depth + 1) - 2

    def halved(some: TracesInCells) -> Ints:
        codes = _lead_codes(some, tokens)
        pattern = pattern_codes(symbols[codes], codes, tokens.many, depth)
        return once(some.labels * patterns + pattern, classes * patterns)

    def at_places(some: TracesInCells) -> Ints:
        return by_place(_lead_codes(some, tokens), some.labels, classes, many)

    def neighbours(some: TracesInCells) -> Ints:
        pair = _pairs(_lead_codes(some, tokens), many)
        return clipped(pair, some.labels, classes, many * many, norm)

    def all_at_places(some: TracesInCells) -> Ints:
        together = np.zeros_like(some.labels)
        return by_place(_lead_codes(some, tokens), together, 1, many).reshape(length, many)

    def all_neighbours(some: TracesInCells) -> Ints:
        pair = _pairs(_lead_codes(some, tokens), many)
        return clipped(pair, np.zeros_like(some.labels), 1, many * many, norm)

    norm, root = norm_of(length, PAIRS_NORM), sqrt(length)
    counted: Ints = encoded.total(halved).reshape(classes, patterns)
    pattern = meter.release("class x pattern of halves", 1.0, share["pattern"], counted)
    places = meter.release("class x place x value", root, share["places"], encoded.total(at_places))
    counted = encoded.total(neighbours).reshape(classes, many, many)
    pairs = meter.release("class x neighbours", norm, share["pairs"], counted)
    all_places = meter.release(
        "place x value", root, share["all places"], encoded.total(all_at_places)
    )
    counted = encoded.total(all_neighbours).reshape(many, many)
    all_pairs = meter.release("neighbours", norm, share["all pairs"], counted)
    levels = _prefixes(encoded, tokens, sizes, share["prefixes"], meter)
    answers = places, pairs, all_places, all_pairs
    return Lead(tokens, symbols, depth, pattern, levels, *answers)


def _lead_codes(some: TracesInCells, tokens: Tokens) -> Ints:
    """(N, length): tokens of the leading feature, with the end."""
    return _with_end(_tokens_of(some.cells[0], tokens), tokens.many)


def _tokens_of(cells: Ints, tokens: Tokens) -> Ints:
    return np.where(cells >= 0, tokens.of_cell[cells], -1)


def _values(
    encoded: TracesInCells, domain: Domain, number: int, share: float, meter: NoisyMeter
) -> Noisy:
    """How often each cell of a feature occurs."""
    feature, norm = domain.features[number], norm_of(domain.length, VALUES_NORM)

    def count(some: TracesInCells) -> Ints:
        together = np.zeros_like(some.labels)
        return clipped(some.cells[number], together, 1, feature.cells, norm).reshape(-1)

    return meter.release(f"values of {feature.name}", norm, share, encoded.total(count))


def _halves(tokens: Tokens, values: Noisy, groups: int) -> Ints:
    """(K,): the half of each token: its direction, or else below or above the median."""
    cells = len(tokens.of_cell)
    if groups == 2:
        half = np.arange(cells) // (cells // 2)
    else:
        mass = np.cumsum(np.maximum(values.counts, 0))
        half = (mass > mass[-1] / 2).astype(np.int64)
    found = np.zeros(tokens.many)
    np.add.at(found, tokens.of_cell, half * tokens.inside)
    return (found > 0.5).astype(np.int64)


def _with_end(tokens: Ints, end: int) -> Ints:
    """Tokens with `end` behind the last point of each trace that has room for it."""
    codes = tokens.copy()
    lengths = (tokens >= 0).sum(axis=1)
    short = np.flatnonzero(lengths < tokens.shape[1])
    codes[short, lengths[short]] = end
    return np.asarray(codes)


def _pairs(codes: Ints, many: int) -> Ints:
    """(N, P - 1) codes of neighbouring points; -1 where there is no pair."""
    if codes.shape[1] == 1:
        return np.full((len(codes), 1), -1)
    return np.asarray(np.where(codes[:, 1:] >= 0, codes[:, :-1] * many + codes[:, 1:], -1))


def pattern_codes(symbols: Ints, codes: Ints, end: int, depth: int) -> Ints:
    """(N,): a code of the number of first points, and of the half of the values that each is in.

    For n points with halves s(0) … s(n - 1) it is 2^n - 2 + sum of s(i) 2^i; n is at most `depth`.
    """
    points = np.minimum(((codes >= 0) & (codes != end)).sum(axis=1), depth)
    place = np.arange(codes.shape[1])
    bits = np.where(place[None] < points[:, None], np.maximum(symbols, 0), 0)
    return np.asarray(2**points - 2 + (bits[:, :depth] << place[:depth]).sum(axis=1))


def pattern_parts(codes: Ints) -> tuple[Ints, Ints]:
    """How many points a pattern has, and their halves as bits: the inverse of `pattern_codes`."""
    points = np.floor(np.log2(codes + 2)).astype(np.int64)
    return points, codes + 2 - 2**points


def _prefixes(
    encoded: TracesInCells, tokens: Tokens, sizes: Noisy, share: float, meter: NoisyMeter
) -> list[PrefixLevel]:
    """The frequent prefixes of each class, point by point: only significant ones are continued."""
    many, depth = tokens.many + 1, min(DEPTH, encoded.cells[0].shape[1])
    traces = np.maximum(sizes.counts, 0.0)
    levels: list[PrefixLevel] = []
    parts = _level_shares(share, depth)
    for place in range(depth):
        count = partial(_continued, tokens=tokens, levels=levels, prefixes=len(traces))
        counted = encoded.total(count)
        title = f"class x first {place + 1} values"
        noisy = meter.release(title, 1.0, parts[place], counted)
        counts = noisy.counts.reshape(len(traces), many)
        if place == 0:
            counts[:, -1] = 0.0  # no trace ends before its first point
        levels.append(_level(counts, noisy.sigma, traces))
        traces = levels[-1].children[levels[-1].ids >= 0]
        if not len(traces):
            break  # the budget of longer prefixes is not spent
    return levels


def _continued(
    some: TracesInCells, tokens: Tokens, levels: list[PrefixLevel], prefixes: int
) -> Ints:
    """(prefixes * (K + 1),): traces of each prefix of these levels, by their next token."""
    codes, node, many = _lead_codes(some, tokens), some.labels, tokens.many + 1
    for place, level in enumerate(levels):
        here = _next_cells(node, codes[:, place], many)
        node = np.where(here >= 0, level.ids.reshape(-1)[here], -1)
    return once(_next_cells(node, codes[:, len(levels)], many), prefixes * many)


def _next_cells(node: Ints, codes: Ints, many: int) -> Ints:
    """(N,): prefix and next token of each trace as one number, -1 where there is none."""
    return np.where((node >= 0) & (codes >= 0), node * many + codes, -1)


def _level_shares(share: float, depth: int) -> list[float]:
    """Shares of the budget: more for short prefixes, as all longer ones begin with them."""
    weights = 1 / np.sqrt(np.arange(1, depth + 1))
    return [float(one) for one in share * weights / weights.sum()]


def _level(counts: Floats, sigma: float, traces: Floats) -> PrefixLevel:
    """A level of the tree, from noisy counts (M, K) of prefixes that (M,) traces have."""
    signal = is_signal(counts, sigma)
    children = np.where(signal, counts, 0.0)
    total = children.sum(axis=1)
    children *= np.where(total > traces, traces / np.maximum(total, 1e-9), 1.0)[:, None]
    ids = np.full(children.shape, -1)
    grows = children > 0
    grows[:, -1] = False  # the end
    kept = np.flatnonzero(grows)
    room = max(1, MOST_PREFIX_CELLS // counts.shape[1])
    kept = np.sort(kept[np.argsort(-children.reshape(-1)[kept], kind="stable")][:room])
    ids.reshape(-1)[kept] = np.arange(len(kept))
    return PrefixLevel(children, np.maximum(traces - children.sum(axis=1), 0.0), ids)


def _other(
    encoded: TracesInCells,
    domain: Domain,
    number: int,
    weight: float,
    lead: Lead,
    meter: NoisyMeter,
) -> Other:
    feature, classes, length = domain.features[number], len(domain.classes), domain.length
    share = {name: weight * part for name, part in OTHER.items()}
    leading = lead.tokens.many + 1
    most = min(MOST_OTHER, MOST_CELLS // (classes * max(leading, length)))
    values = _values(encoded, domain, number, share["values"], meter)
    tokens = find_tokens(values.counts, values.sigma, max(FEWEST_TOKENS, most), 1)
    many, norm = tokens.many, norm_of(length, PAIRS_NORM)

    def at_places(some: TracesInCells) -> Ints:
        return by_place(_tokens_of(some.cells[number], tokens), some.labels, classes, many)

    def with_lead(some: TracesInCells) -> Ints:
        codes = _tokens_of(some.cells[number], tokens)
        joint = np.where(codes >= 0, _lead_codes(some, lead.tokens) * many + codes, -1)
        return clipped(joint, some.labels, classes, leading * many, norm)

    def neighbours(some: TracesInCells) -> Ints:
        pair = _pairs(_tokens_of(some.cells[number], tokens), many)
        return clipped(pair, some.labels, classes, many * many, norm)

    title = f"class x place x {feature.name}"
    places = meter.release(title, sqrt(length), share["places"], encoded.total(at_places))
    title = f"class x {domain.features[0].name} x {feature.name}"
    counted = encoded.total(with_lead).reshape(classes, leading, many)
    both = meter.release(title, norm, share["with lead"], counted)
    title = f"class x neighbours of {feature.name}"
    counted = encoded.total(neighbours).reshape(classes, many, many)
    return Other(tokens, places, both, meter.release(title, norm, share["pairs"], counted))
