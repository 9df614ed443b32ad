"""Private traces from real ones, and the ledger of what that cost. See docs/privacy.md."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from netdiffus.errors import InputError, Note, whole
from netdiffus.ledger import NOT_COVERED, Ledger, few
from netdiffus.privacy.accounting import calibrate, check_budget, epsilon_by_pld, epsilon_of
from netdiffus.privacy.domain import Domain, domain
from netdiffus.privacy.generate import make
from netdiffus.privacy.measure import (
    SIZES,
    Measured,
    TracesInCells,
    measure,
    measure_sizes,
    shares,
)
from netdiffus.privacy.noise import Noisy, NoisyMeter, library
from netdiffus.privacy.spending import Spending, spend
from netdiffus.progress import Progress
from netdiffus.protocols import NUMBERS, PROTOCOLS
from netdiffus.traces.splitting import group_names
from netdiffus.traces.traces import Ints, Traces

NEEDED = 150  # traces of a class times mu; with less the class is mostly noise
COLUMNS = {"protocol": 256, "server_port": 65536}  # of the meta-data, with how many values


def privatise(
    traces: Traces,
    epsilon: float,
    *,
    delta: float = 1e-5,
    by: str | None = None,
    most: int = 20,
    classes: Sequence[str] | None = None,
    length: int | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    mix: str = "real",
    anyway: bool = False,
    ledger: str | Path | None = None,
    progress: Progress | None = None,
) -> Traces:
    """Makes a table of private traces: (epsilon, delta)-differentially private.

    Values, their order and lengths are counted within each class, noise is added, and private
    traces are generated from the noisy counts. Everything that you do with the result (train,
    sample, publish) keeps the guarantee. Each call draws new noise from the system's random source.

    Args:
        traces: What to protect.
        epsilon: Above 0; 1 is strong, 8 is weak.
        delta: Below 1 / N, N the number of traces or groups.
        by: Column of the meta-data that names a group, such as a user or a host. Then a group is
            protected, not a single trace.
        most: Keep at most this many random traces of a group; only with `by`.
        classes: The public names of the classes; None takes those of the traces as public.
        length: Number of points of a trace to use; None is 64. Use no more than you need: the noise
            grows with its square root.
        ranges: Smallest and largest value of channels, by name; None is 0 to 1500 B for sizes, 1 µs
            to 100 s for gaps and times, 1 to 1e9 for volumes. Values outside are clipped.
        mix: `real` makes about as many traces of each class as there were, `balanced` as many in
            all with the classes equal.
        anyway: Continue even if a class has too few traces to be useful.
        ledger: File that sums up all releases of one data set; it is made if missing.
        progress: Called with (share done, a note).

    Returns:
        About as many traces as there were, and their `ledger`.

    Raises:
        InputError: An argument is out of its range, a class of the traces is not public, `by` is
            no column or has one group, or classes have too few traces and `anyway` is false.

    Warns:
        Note: Of inputs that are taken as public, columns left out, and groups that were cut.
    """
    return private_table(
        traces,
        epsilon,
        delta,
        by=by,
        most=most,
        classes=classes,
        length=length,
        ranges=ranges,
        mix=mix,
        anyway=anyway,
        ledger=ledger,
        progress=progress,
    )


def private_table(
    traces: Traces,
    epsilon: float,
    delta: float,
    *,
    by: str | None,
    most: int,
    classes: Sequence[str] | None,
    length: int | None,
    ranges: Mapping[str, tuple[float, float]] | None,
    mix: str,
    anyway: bool,
    ledger: str | Path | None,
    progress: Progress | None,
    share: float = 1.0,
) -> Traces:
    """As `privatise`, by `share` of the mu² that epsilon and delta allow: the rest is not spent.

    Classes have too few traces by all of mu.
    """
    library()
    if traces.ledger is not None:
        raise InputError(
            "these traces are private already: they have a ledger, and all work on them keeps its "
            "guarantee. Give the real traces"
        )
    if mix not in ("real", "balanced"):
        raise InputError(f"mix must be 'real' or 'balanced', got {mix!r}")
    most = whole("most", most, 1) if by is not None else 1
    length = None if length is None else whole("length", length, 1)
    groups = _groups(traces, by)
    units = "traces" if by is None else f"groups of {by!r}"
    epsilon, delta = check_budget(epsilon, delta, len(np.unique(groups)), units)
    form = traces.with_gaps()
    public = domain(form, classes, length, ranges or {})
    rng = np.random.default_rng(secrets.randbits(128))
    kept = form[_kept(groups, most, rng)] if by is not None else form
    encoded = _encode(kept, public)
    _say_public(public, traces, encoded, by, most, len(kept) < len(form))
    mu = calibrate(epsilon, delta, shares(public, len(encoded.columns)))
    unit = "one trace" if by is None else f"one group of {by!r} with at most {most} traces"
    path = None if ledger is None else Path(ledger)
    step = progress or (lambda share, note: None)
    with spend(path, unit, mu, epsilon, delta) as spending:
        meter = NoisyMeter(mu * sqrt(share), most)
        step(0.1, "class sizes")
        sizes = measure_sizes(encoded, len(public.classes), meter)
        small = _too_few(sizes, public, mu, most)
        if small and not anyway:
            _refuse(small, mu, meter, delta, spending)
        step(0.2, "counting")
        measured = measure(encoded, public, sizes, meter)
        step(0.6, "making")
        about = _ledger(epsilon, delta, mu, meter, unit, public, small, by)
        about["total"] = spending.total(delta)
        if small:
            warnings.warn(Note(few(about)), stacklevel=3)
        private = _made(measured, public, traces, _labels(sizes, mix), rng, about)
    step(1.0, "done")
    return private


def _groups(traces: Traces, by: str | None) -> Ints:
    """(N,): the unit of privacy that each trace belongs to."""
    if by is None:
        return np.arange(len(traces))
    groups = np.unique(group_names(traces.meta, by, None), return_inverse=True)[1]
    if groups.max() == 0:
        raise InputError(
            f"by: column {by!r} has one group alone; no release can hide whether it was there. "
            "Name a column with many groups, or leave it out to protect single traces"
        )
    return groups.astype(np.int64)


def bounded(traces: Traces, by: str | None, most: int) -> tuple[Traces, Ints]:
    """At most `most` random traces of each unit of privacy, and the unit of each, (N,) from 0."""
    groups = _groups(traces, by)
    if by is None:
        return traces, groups
    rows = _kept(groups, most, np.random.default_rng(secrets.randbits(128)))
    return traces[rows], np.unique(groups[rows], return_inverse=True)[1].astype(np.int64)


def _kept(groups: Ints, most: int, rng: np.random.Generator) -> Ints:
    """Rows with at most `most` of each group, drawn at random, in their order."""
    order = rng.permutation(len(groups))
    order = order[np.argsort(groups[order], kind="stable")]
    ordered = groups[order]
    rank = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    return np.sort(order[rank < most])


def _encode(traces: Traces, public: Domain) -> TracesInCells:
    """Traces as numbers of cells of the public domain."""
    number = np.array([public.classes.index(c) if c in public.classes else 0
                       for c in traces.classes])  # fmt: skip
    columns = {
        name: codes
        for name in COLUMNS
        if name in traces.meta.column_names
        and (codes := _column_codes(traces.meta[name], COLUMNS[name])) is not None
    }
    cells = {name: COLUMNS[name] + 1 for name in columns}
    return TracesInCells(public.encode(traces), number[traces.labels], columns, cells)


def _column_codes(column: pa.ChunkedArray, values: int) -> Ints | None:
    """Codes of a column of whole numbers or names of protocols; `values` for all other cells."""
    if pa.types.is_string(column.type) and values == COLUMNS["protocol"]:
        cells: list[Any] = [NUMBERS.get(str(one).lower()) for one in column.to_pylist()]
    elif pa.types.is_integer(column.type):
        cells = column.to_pylist()
    else:
        return None
    return np.array([values if c is None or not 0 <= c < values else c for c in cells])


def _say_public(
    public: Domain, traces: Traces, encoded: TracesInCells, by: str | None, most: int, cut: bool
) -> None:
    taken = [] if "classes" in public.given else [f"the names of {len(public.classes)} classes"]
    taken += [] if "length" in public.given else [f"length {public.length}"]
    grids = [grid for feature in public.features for grid in feature.grids]
    taken += [
        f"{grid.channel.name} in {grid.low:g}..{grid.high:g}"
        for grid in grids
        if grid.channel.kind != "direction" and f"range of {grid.channel.name}" not in public.given
    ]
    taken.append("names and types of the channels")
    notes = [f"taken as public, as not given: {', '.join(taken)}"]
    lost = [name for name in traces.meta.column_names if name not in encoded.columns]
    if lost:
        notes.append(f"columns left out of the private traces: {', '.join(lost)}")
    if cut:
        notes.append(
            f"some groups of {by!r} have more than {most} traces: of each {most} are kept, drawn "
            "at random"
        )
    for note in notes:
        warnings.warn(Note(note), stacklevel=4)


def _too_few(sizes: Noisy, public: Domain, mu: float, most: int) -> dict[str, float]:
    """Classes below the rule of thumb, with about how many traces they have: noisy counts."""
    needed = NEEDED * most / mu
    counts = zip(public.classes, sizes.counts.tolist(), strict=True)
    return {name: round(max(n, 0.0), 1) for name, n in counts if n < needed}


def _refuse(
    small: Mapping[str, float], mu: float, meter: NoisyMeter, delta: float, spending: Spending
) -> None:
    spent, most = meter.mu * sqrt(SIZES), meter.most
    spending.settle(spent, "refused after class sizes were counted")
    shown = ", ".join(f"{name!r} (about {n:.0f})" for name, n in list(small.items())[:8])
    more = f" and {len(small) - 8} more" if len(small) > 8 else ""
    raise InputError(
        f"{len(small)} class(es) have fewer traces than the {NEEDED * most / mu:,.0f} that are "
        f"needed of each for {NEEDED} traces * mu{' / most' if most > 1 else ''}: {shown}{more}. "
        "They would be mostly noise: join or drop classes, raise epsilon, or go on with "
        "anyway=True (--anyway). Class sizes were counted for this, which cost epsilon "
        f"{epsilon_of(spent, delta):.3g}"
    )


def _ledger(
    epsilon: float,
    delta: float,
    mu: float,
    meter: NoisyMeter,
    unit: str,
    public: Domain,
    small: Mapping[str, float],
    by: str | None,
) -> Ledger:
    mus = [one["mu"] for one in meter.spent]
    together = sqrt(sum(mu * mu for mu in mus))
    if together > meter.mu * (1 + 1e-9):
        raise RuntimeError(f"spent mu {together:.6g} of {meter.mu:.6g}; please report this")
    return {
        "epsilon": epsilon,
        "delta": delta,
        "mu": mu,
        "unit": unit,
        "neighbours": f"{unit} added or removed",
        "public": public.about(),
        "releases": meter.spent,
        "accounting": {
            "closed_form": epsilon_of(together, delta),
            "dp_accounting": epsilon_by_pld(mus, delta),
        },
        "rule": {"traces_times_mu": NEEDED, "needed": NEEDED * meter.most / mu},
        "few": dict(small),
        "kept": {} if by is None else {"by": by, "most": meter.most, "which": "at random"},
        "total": None,
        "not_covered": list(NOT_COVERED),
        "software": {name: version(name) for name in ("netdiffus", "opendp", "dp-accounting")},
    }


def _labels(sizes: Noisy, mix: str) -> Ints:
    """The classes to make, by noisy sizes."""
    many = np.maximum(np.rint(sizes.counts), 0).astype(np.int64)
    if mix == "balanced":
        many = np.where(many > 0, -(-many.sum() // max(1, np.count_nonzero(many))), 0)
    if not many.sum():
        raise InputError(
            "the noisy count of every class is 0: there are too few traces for this epsilon; add "
            "traces, or raise epsilon"
        )
    return np.repeat(np.arange(len(many)), many)


def _made(
    measured: Measured,
    public: Domain,
    traces: Traces,
    labels: Ints,
    rng: np.random.Generator,
    about: Ledger,
) -> Traces:
    cells, codes = make(measured, public, labels, rng)
    found = public.decode(cells, rng)
    lengths = (cells[0] >= 0).sum(axis=1)
    names = [channel.name for channel in traces[:1].with_gaps().channels]
    values = np.stack([found[name] for name in names], axis=1)
    inside = np.arange(values.shape[2])[None] < lengths[:, None]
    for c, channel in enumerate(traces.channels):
        if channel.kind == "time":
            values[:, c, 0] = 0.0  # times count from the first packet
            values[:, c] = np.where(inside, np.cumsum(values[:, c], axis=1), 0.0)
        kind = np.dtype(pa.type_for_alias(channel.dtype).to_pandas_dtype())
        if kind.kind in "iu":  # a public range can be wider than the type
            values[:, c] = np.clip(values[:, c], np.iinfo(kind).min, np.iinfo(kind).max)
        values[:, c] = values[:, c].astype(kind)  # as a file would keep them
    names = [f"private-{public.classes[k]}-{i}" for i, k in enumerate(labels.tolist())]
    meta = {"trace_id": pa.array(names)}
    meta |= {n: _cells(traces.meta[n].type, one, COLUMNS[n]) for n, one in codes.items()}
    return Traces(
        values=values[:, :, : int(lengths.max())],
        lengths=lengths,
        channels=traces.channels,
        labels=labels,
        classes=public.classes,
        meta=pa.table(meta),
        ledger=about,
    )


def _cells(kind: pa.DataType, codes: Ints, values: int) -> pa.Array:
    """A column of the meta-data from its codes; other codes give empty cells."""
    if pa.types.is_string(kind):
        return pa.array([PROTOCOLS.get(code) for code in codes.tolist()], kind)
    return pa.array([code if 0 <= code < values else None for code in codes.tolist()], kind)
