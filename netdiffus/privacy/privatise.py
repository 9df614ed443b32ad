"""Private traces from real ones, and the ledger of what that cost. See docs/privacy.md."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from netdiffus.arrays import temporary_array
from netdiffus.errors import InputError, Note, whole
from netdiffus.files import refuse_existing
from netdiffus.ledger import NOT_COVERED, Ledger, few
from netdiffus.parts import Dataset
from netdiffus.parts.dataset import remove
from netdiffus.privacy.accounting import calibrate, check_budget, epsilon_by_pld, epsilon_of
from netdiffus.privacy.cells import AT_A_TIME, TracesInCells, in_cells, private_columns
from netdiffus.privacy.domain import Domain, domain
from netdiffus.privacy.groups import Groups
from netdiffus.privacy.made import made
from netdiffus.privacy.measure import SIZES, measure, measure_sizes, shares
from netdiffus.privacy.noise import Noisy, NoisyMeter, library
from netdiffus.privacy.spending import Spending, spend
from netdiffus.progress import Progress
from netdiffus.tables.manifest import MANIFEST
from netdiffus.traces.traces import Ints, Traces, concat

NEEDED = 150  # traces of a class times mu; with less the class is mostly noise


def privatise(
    traces: Traces | Dataset,
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
        traces: What to protect. A data set need not fit into memory; its traces are counted some
            at a time, and lie as small numbers in a temporary file meanwhile.
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
    rules = Rules(epsilon, delta, by, most, classes, length, ranges, mix, anyway, ledger)
    return concat(list(private_batches(traces, rules, progress)))


def privatise_to_parts(
    traces: Traces | Dataset,
    folder: str | Path,
    epsilon: float,
    *,
    force: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Dataset:
    """As `privatise`, but writes the private traces as a data set while they are made.

    In memory are 16 bytes for each of them, and with `by` the names of the groups.

    Args:
        traces: What to protect.
        folder: A folder without a data set; it is made if need be.
        epsilon: Above 0; 1 is strong, 8 is weak.
        force: Replace a data set that is there.
        progress: Called with (share done, a note).
        **options: All others of `privatise`.

    Raises:
        InputError: As of `privatise`; or the folder cannot be written to.
        FileExistsError: The folder holds a data set and `force` is false.
    """
    folder = Path(folder)
    refuse_existing(folder / MANIFEST, force)  # before anything is spent
    private = private_batches(traces, Rules(epsilon, **options), progress)
    remove(folder)
    return Dataset.write(folder, private)


@dataclass(frozen=True)
class Rules:
    """What is asked for, see `privatise`.

    `share` is that of mu² which is spent: the rest is left for other releases of the same data.
    """

    epsilon: float
    delta: float = 1e-5
    by: str | None = None
    most: int = 20
    classes: Sequence[str] | None = None
    length: int | None = None
    ranges: Mapping[str, tuple[float, float]] | None = None
    mix: str = "real"
    anyway: bool = False
    ledger: str | Path | None = None
    share: float = 1.0

    def checked(self) -> Rules:
        """The same; without `by` a unit has one trace.

        Raises:
            InputError: What no traces can have.
        """
        if self.mix not in ("real", "balanced"):
            raise InputError(f"mix must be 'real' or 'balanced', got {self.mix!r}")
        most = whole("most", self.most, 1) if self.by is not None else 1
        length = None if self.length is None else whole("length", self.length, 1)
        return replace(self, most=most, length=length)

    @property
    def unit(self) -> str:
        """What is protected."""
        if self.by is None:
            return "one trace"
        return f"one group of {self.by!r} with at most {self.most} traces"


def private_batches(
    traces: Traces | Dataset, rules: Rules, progress: Progress | None
) -> Iterator[Traces]:
    """The private traces, some at a time; all that is spent is spent before the first."""
    library()
    if traces.ledger is not None:
        raise InputError(
            "these traces are private already: they have a ledger, and all work on them keeps its "
            "guarantee. Give the real traces"
        )
    rules = rules.checked()
    first = traces[:1] if isinstance(traces, Traces) else traces.head(1)
    groups = _groups(traces, rules)
    units = "traces" if groups is None else f"groups of {rules.by!r}"
    epsilon, delta = check_budget(
        rules.epsilon, rules.delta, len(traces if groups is None else groups), units
    )
    rules = replace(rules, epsilon=epsilon, delta=delta)
    channels = first.with_gaps().channels
    public = domain(channels, traces.counts(), rules.classes, rules.length, rules.ranges or {})
    encoded = _encoded(traces, public, groups)
    _say_public(public, first, rules, groups is not None and groups.is_cut)
    mu = calibrate(epsilon, delta, shares(public, len(encoded.columns)))
    path = None if rules.ledger is None else Path(rules.ledger)
    step = progress or (lambda share, note: None)
    with spend(path, rules.unit, mu, epsilon, delta) as spending:
        meter = NoisyMeter(mu * sqrt(rules.share), rules.most)
        step(0.1, "class sizes")
        sizes = measure_sizes(encoded, len(public.classes), meter)
        small = _too_few(sizes, public, mu, rules.most)
        if small and not rules.anyway:
            _refuse(small, mu, meter, delta, spending)
        step(0.2, "counting")
        measured = measure(encoded, public, sizes, meter)
        step(0.6, "making")
        about = _ledger(mu, meter, public, small, rules)
        about["total"] = spending.total(delta)
        if small:
            warnings.warn(Note(few(about)), stacklevel=3)
        labels = _labels(sizes, rules.mix)
    return made(measured, public, first, labels, about, step)


def _groups(traces: Traces | Dataset, rules: Rules) -> Groups | None:
    """The units of privacy; None where each trace is one."""
    if rules.by is None:
        return None
    key = secrets.randbits(128).to_bytes(16, "little")
    found = Groups(_batches(traces), rules.by, rules.most, key)
    if len(found) == 1:
        raise InputError(
            f"by: column {rules.by!r} has one group alone; no release can hide whether it was "
            "there. Name a column with many groups, or leave it out to protect single traces"
        )
    return found


def _encoded(traces: Traces | Dataset, public: Domain, groups: Groups | None) -> TracesInCells:
    """The traces that are kept; those of a data set in a temporary file."""
    found = _batches(traces, public.length)
    kept = found if groups is None else groups.of(found)
    n = len(traces) if groups is None else groups.kept
    empty = np.empty if isinstance(traces, Traces) else temporary_array
    return in_cells((one.with_gaps() for one in kept), n, public, empty)


def _batches(traces: Traces | Dataset, length: int | None = None) -> Iterator[Traces]:
    if isinstance(traces, Dataset):
        return traces.batches(length=length)
    return (traces[k : k + AT_A_TIME] for k in range(0, len(traces), AT_A_TIME))


def _say_public(public: Domain, first: Traces, rules: Rules, is_cut: bool) -> None:
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
    private = private_columns(first.meta.schema)
    lost = [name for name in first.meta.column_names if name not in private]
    if lost:
        notes.append(f"columns left out of the private traces: {', '.join(lost)}")
    if is_cut:
        notes.append(
            f"some groups of {rules.by!r} have more than {rules.most} traces: of each {rules.most} "
            "are kept, drawn at random"
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
    mu: float, meter: NoisyMeter, public: Domain, small: Mapping[str, float], rules: Rules
) -> Ledger:
    mus = [one["mu"] for one in meter.spent]
    together = sqrt(sum(mu * mu for mu in mus))
    if together > meter.mu * (1 + 1e-9):
        raise RuntimeError(f"spent mu {together:.6g} of {meter.mu:.6g}; please report this")
    return {
        "epsilon": rules.epsilon,
        "delta": rules.delta,
        "mu": mu,
        "unit": rules.unit,
        "neighbours": f"{rules.unit} added or removed",
        "public": public.about(),
        "releases": meter.spent,
        "accounting": {
            "closed_form": epsilon_of(together, rules.delta),
            "dp_accounting": epsilon_by_pld(mus, rules.delta),
        },
        "rule": {"traces_times_mu": NEEDED, "needed": NEEDED * meter.most / mu},
        "few": dict(small),
        "kept": {}
        if rules.by is None
        else {"by": rules.by, "most": meter.most, "which": "at random"},
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
