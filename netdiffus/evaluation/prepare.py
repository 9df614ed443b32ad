"""Gives the sets to compare the same channels and classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from netdiffus.channels import Channel
from netdiffus.errors import InputError
from netdiffus.evaluation.draws import FEWEST, capped, class_counts, draw_rows
from netdiffus.evaluation.groups import group_numbers
from netdiffus.evaluation.metrics.memorization import Keys, point_keys, short_keys
from netdiffus.traces.traces import Ints, Traces

MOST_TRACES = 5_000  # of each set
MOST_COMPARED = 2_000  # at a time
LONGER = 0.02  # share of real traces beyond the longest synthetic one that is more than chance
CHUNK = 4_096  # traces whose keys are made at a time
Counts = dict[str, int]  # of the traces of each class
NO_HOLDOUT = (
    "No holdout was given, so the real traces were halved, and the second half is the holdout. If "
    "the generator learned from that half, too, memorised traces look better here than they are."
)


@dataclass(frozen=True, eq=False)
class TraceSet:
    """A set to compare.

    Attributes:
        traces: Its traces: the channels and classes of all sets, gaps for times. A large set is
            represented by random ones of each class.
        group: (N,), traces with the same number depend on each other; one numbering for all sets.
        whole: Counts over all its traces.
    """

    traces: Traces
    group: Ints
    whole: Whole

    def __len__(self) -> int:
        return len(self.traces)

    @property
    def counts(self) -> Ints:
        """(K,): traces of each class."""
        return class_counts(self.traces.labels, len(self.traces.classes))

    @classmethod
    def of_generator(cls, traces: Traces) -> TraceSet:
        """Independent traces of a generator trained on prepared traces."""
        return cls(traces, -1 - np.arange(len(traces)), Whole.of(traces))


@dataclass(frozen=True, eq=False)
class Whole:
    """All M traces of a set; of a set larger than memory, the traces with the lowest keys.

    `lengths` and `labels` are (M,), and `keys` their `short_keys`. Where M are not all, `sums`
    has the number, classes and lengths of all.
    """

    lengths: Ints
    labels: Ints
    keys: Keys
    sums: dict[str, Any] | None = None

    @classmethod
    def of(cls, traces: Traces) -> Whole:
        """Of traces in their final form."""
        return cls(traces.lengths, traces.labels, short_keys(point_keys(traces)))


@dataclass(frozen=True, eq=False)
class PreparedSets:
    """The three sets.

    Attributes:
        train: Real traces that the generator may have learned from.
        synthetic: Traces to evaluate.
        holdout: Held-out real traces, with which all sets are compared.
        holdout_is_unseen: Whether a holdout was given. If none was, it is half of the real traces,
            which the generator may have learned from.
        notes: Notes for the reader about how the sets were made comparable.
    """

    train: TraceSet
    synthetic: TraceSet
    holdout: TraceSet
    holdout_is_unseen: bool
    notes: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of all three sets."""
        return self.train.traces.classes

    @property
    def compared(self) -> Ints:
        """(K,): traces per class when a set is compared with the holdout."""
        smallest = np.minimum(self.train.counts, self.synthetic.counts)
        return capped(np.minimum(smallest, self.holdout.counts), MOST_COMPARED)

    @property
    def trained(self) -> Ints:
        """(K,): traces per class when a classifier learns from real or from synthetic traces."""
        return capped(np.minimum(self.train.counts, self.synthetic.counts), MOST_COMPARED)

    @property
    def known_keys(self) -> Keys:
        """Keys of the real traces in which copies are looked for."""
        train, holdout = self.train.whole.keys, self.holdout.whole.keys
        return train if self.holdout_is_unseen else np.concatenate([train, holdout])


def prepare(
    real: Traces,
    synthetic: Traces,
    holdout: Traces | None,
    seed: int,
    by: str | None = None,
    sep: str | None = None,
    *,
    are_samples: bool = False,
) -> PreparedSets:
    """Checks the sets and gives them the same channels and classes.

    Args, see `evaluate`. Of sets that are samples of larger ones (`are_samples`) nothing is noted
    of their sizes and lengths.

    Raises:
        InputError: The sets cannot be compared; says why and what to do.
    """
    notes: list[str] = []
    train, unseen = real, holdout
    if unseen is None:
        notes.append(NO_HOLDOUT)
        train, unseen = real.split(0.5, by=by, sep=sep, seed=seed)
    sets = {"real": train, "synthetic": synthetic, "holdout": unseen}
    channels = train[:1].with_gaps().channels
    for name, traces in sets.items():
        check_channels(traces, channels, name)
    classes = common_classes({name: traces.counts() for name, traces in sets.items()}, notes)
    sets = {name: of_classes(traces, classes) for name, traces in sets.items()}
    check_counts({name: traces.counts() for name, traces in sets.items()})
    groups = _groups(sets, by, sep, notes)
    if not are_samples:
        made, held = sets["synthetic"].lengths, sets["holdout"].lengths
        note_lengths(int(made.max()), float(np.mean(held > made.max())), notes)
        _note_size(sets, notes)
    train_set, synthetic_set, holdout_set = (
        _prepared(sets[name], groups[name], channels, classes, seed) for name in sets
    )
    return PreparedSets(train_set, synthetic_set, holdout_set, holdout is not None, tuple(notes))


def with_classes(traces: Traces, classes: Sequence[str], name: str) -> Traces:
    """The traces with their labels as places in `classes`.

    Sets loaded from files may have the classes in another order, or fewer classes.

    Raises:
        InputError: Traces of a class that is not one of `classes`; begins with `name`.
    """
    place = {k: i for i, k in enumerate(classes)}
    if other := sorted(_present(traces.counts()) - place.keys()):
        raise InputError(
            f"{name}: class {', '.join(other)} is not in training; training has "
            f"{', '.join(classes)}: leave these traces out, or train on some of them"
        )
    labels = np.array([place.get(k, -1) for k in traces.classes])[traces.labels]
    return replace(traces, labels=labels, classes=tuple(classes))


def check_channels(traces: Traces, channels: Sequence[Channel], name: str) -> None:
    """Refuses a set whose channels differ from those of the real traces."""
    names = [[c.name for c in some] for some in (traces[:1].with_gaps().channels, channels)]
    if sorted(names[0]) != sorted(names[1]):
        raise InputError(
            f"{name}: the channels are {', '.join(names[0])}, those of the real traces "
            f"{', '.join(names[1])}; select the same channels on both sides"
        )


def common_classes(sets: Mapping[str, Counts], notes: list[str]) -> tuple[str, ...]:
    """Classes that all three sets have; `notes` gets each class that one of them lacks."""
    real, made, held = map(_present, sets.values())
    if unknown := sorted(made - real - held):
        raise InputError(
            f"synthetic: classes that no real trace has: {', '.join(unknown)}; the real ones are "
            f"{', '.join(sorted(real | held))}"
        )
    for name, present in (("training", real), ("synthetic", made), ("holdout", held)):
        if missing := (real | held) - present:
            notes.append(
                f"The {name} traces lack {len(missing)} of {len(real | held)} classes "
                f"({', '.join(sorted(missing))}): all figures are for the other classes."
            )
    common = real & made & held
    if not common:
        raise InputError("the real, synthetic and holdout traces have no class in common")
    return tuple(name for name in sets["real"] if name in common)


def of_classes(traces: Traces, classes: Sequence[str]) -> Traces:
    """The traces of these classes; the same object where it has no others."""
    kept = np.isin(np.array(traces.classes), classes)[traces.labels]
    return traces if kept.all() else traces[kept]


def check_counts(sets: Mapping[str, Counts]) -> None:
    """Refuses a set with too few traces of a class."""
    for name, counts in sets.items():
        few = [f"{k} ({n})" for k, n in counts.items() if 0 < n < FEWEST]
        if few:
            raise InputError(
                f"{name}: too few traces of {', '.join(few)}; every class needs at least {FEWEST}, "
                "so add traces or drop the class"
            )


def _groups(
    sets: dict[str, Traces], by: str | None, sep: str | None, notes: list[str]
) -> dict[str, Ints]:
    train, holdout = sets["real"], sets["holdout"]
    if by is None:  # each trace is a separate group
        of_train, of_holdout = np.split(np.arange(len(train) + len(holdout)), [len(train)])
    else:
        of_train, of_holdout = group_numbers(train, holdout, by, sep, notes)
    synthetic = -1 - np.arange(len(sets["synthetic"]))
    return {"real": of_train, "synthetic": synthetic, "holdout": of_holdout}


def note_lengths(longest: int, longer: float, notes: list[str]) -> None:
    """Adds a note if a share `longer` of the holdout is longer than all synthetic traces."""
    if longer > LONGER:
        notes.append(
            f"{longer:.0%} of the holdout traces are longer than every synthetic trace ({longest} "
            f"points). This affects all figures. To compare only the first {longest} points, "
            f"truncate the real traces (--length {longest})."
        )


def _note_size(sets: dict[str, Traces], notes: list[str]) -> None:
    sizes = [f"{name} {len(traces):,}" for name, traces in sets.items()]
    if max(len(traces) for traces in sets.values()) > MOST_COMPARED:
        notes.append(
            f"Large sets ({', '.join(sizes)} traces): figures use at most {MOST_TRACES:,} random "
            f"traces of each set. Comparisons, classifiers and the search for near copies use at "
            f"most {MOST_COMPARED:,} of these at a time. Exact copies are counted over all traces."
        )


def _prepared(
    traces: Traces, group: Ints, channels: Sequence[Channel], classes: Sequence[str], seed: int
) -> TraceSet:
    counts = class_counts(traces.labels, len(traces.classes))
    rows = np.arange(len(traces))
    if len(traces) > MOST_TRACES:
        drawn = draw_rows(traces.labels, capped(counts, MOST_TRACES), np.random.default_rng(seed))
        rows = np.sort(drawn)
    kept = in_form(traces[rows], channels, classes)
    return TraceSet(kept, group[rows], _whole(traces, channels, classes))


def _whole(traces: Traces, channels: Sequence[Channel], classes: Sequence[str]) -> Whole:
    """Chunk by chunk, because a second copy of a large set would take as much memory again."""
    wholes = [Whole.of(in_form(part, channels, classes)) for part in chunks(traces)]
    return Whole(
        traces.lengths,
        np.concatenate([part.labels for part in wholes]),
        np.concatenate([part.keys for part in wholes]),
    )


def chunks(traces: Traces) -> Iterator[Traces]:
    """The traces, some thousands at a time."""
    return (traces[i : i + CHUNK] for i in range(0, len(traces), CHUNK))


def in_form(traces: Traces, channels: Sequence[Channel], classes: Sequence[str]) -> Traces:
    """With gaps for times, these channels in this order, and these classes."""
    selected = traces.with_gaps().select([c.name for c in channels])
    # Element types may differ, which the figures do not depend on.
    return with_classes(replace(selected, channels=tuple(channels)), classes, "traces")


def _present(counts: Counts) -> set[str]:
    return {name for name, n in counts.items() if n}
