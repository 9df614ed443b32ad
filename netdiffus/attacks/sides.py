"""The traces that are attacked: members, which were learned from, and non-members."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netdiffus.attacks.rates import FEWEST
from netdiffus.channels import same_but_type
from netdiffus.errors import InputError
from netdiffus.evaluation.metrics.memorization import point_keys
from netdiffus.evaluation.prepare import with_classes
from netdiffus.model.model import Model
from netdiffus.traces.traces import Ints, Traces

NAMED = 3  # rows or classes that a message names


@dataclass(frozen=True)
class Sides:
    """Four sets of the same channels and classes, cut to the points that can be learned from.

    Attributes:
        train: What was learned from.
        holdout: What was not.
        members: Traces of `train` that are attacked.
        others: Non-members: traces of `holdout`, with the same share of each class as `members`.
        notes: What was left out, and why.
    """

    train: Traces
    holdout: Traces
    members: Traces
    others: Traces
    notes: tuple[str, ...]


def sides(
    train: Traces,
    holdout: Traces,
    model: Model | None = None,
    synthetic: Traces | None = None,
    *,
    drop_repeats: bool = False,
    most: int | None = None,
    seed: int = 0,
) -> Sides:
    """Checks the sets, and draws the traces that are attacked.

    Args:
        train: What was learned from.
        holdout: Other traces from the same source.
        model: The model that is attacked; it gives channels, classes and length. Without it `train`
            gives channels and classes, and the longest trace of `synthetic` the length.
        synthetic: Traces that a generator made.
        drop_repeats: Attack only traces that occur once in `train` and `holdout` together, where
            the two share traces. They are refused without.
        most: Attack at most so many members and so many non-members.
        seed: Of the choice of traces.

    Raises:
        InputError: Other channels or classes, shared traces, or too few traces.
    """
    notes: list[str] = []
    train, holdout = (as_learned(t, model or train, n) for t, n in _named(train, holdout))
    if model is not None:
        _check_learned(train, model, notes)
        for traces, name in _named(train, holdout):
            _check_columns(traces, model, name)
    length = _length(model, synthetic)
    cut = sum(int((t.lengths > length).sum()) for t in (train, holdout)) if length else 0
    if cut:
        notes.append(f"{cut:,} real traces are longer than the {length} points that are compared.")
        train, holdout = train.truncate(length or 1), holdout.truncate(length or 1)
    members, others = _unshared(train, holdout, length if cut else None, drop_repeats, notes)
    members, others = _same_classes(members, others, notes)
    rows = _rows(members.labels, others.labels, most, np.random.default_rng(seed))
    for name, found in zip(("train", "holdout"), rows, strict=True):
        if len(found) < FEWEST:
            raise InputError(
                f"{name}: {len(found)} traces of the classes that both sets have are too few for "
                f"an attack; {FEWEST} are needed, and 1,000 of the holdout to state a rate at 0.1 "
                "% false positives: hold out more traces"
            )
    return Sides(train, holdout, members[rows[0]], others[rows[1]], tuple(notes))


def as_learned(traces: Traces, known: Model | Traces, name: str) -> Traces:
    """The traces with the channels and the numbers of the classes of a model or of other traces.

    Raises:
        InputError: Channels are missing, or a class is not known.
    """
    channels = known.codec.channels if isinstance(known, Model) else known.channels
    whose = "the model" if isinstance(known, Model) else "the training traces"
    wanted, found = ([c.name for c in cs] for cs in (channels, traces.channels))
    same = traces.select(wanted) if sorted(found) == sorted(wanted) else traces
    if not same_but_type(same.channels, channels):
        raise InputError(
            f"{name}: the channels are {_titles(traces.channels)}, those of {whose} "
            f"{_titles(channels)}; give traces of the same channels (--channels)"
        )
    unknown = sorted(k for k, n in traces.counts().items() if n and k not in known.classes)
    if unknown:
        raise InputError(
            f"{name}: {whose} {'has' if isinstance(known, Model) else 'have'} no class "
            f"{_some(unknown)}; classes: {', '.join(known.classes)}"
        )
    return with_classes(same, known.classes, name)


def keys(traces: Traces) -> list[bytes]:
    """For each trace a key: equal keys mean equal points, times to the microsecond."""
    return point_keys(traces.with_gaps())


def _named(train: Traces, holdout: Traces) -> tuple[tuple[Traces, str], tuple[Traces, str]]:
    return (train, "train"), (holdout, "holdout")


def _check_learned(train: Traces, model: Model, notes: list[str]) -> None:
    """Checks that these can be the traces that the model learned from."""
    if absent := [k for k, n in train.counts().items() if not n]:
        raise InputError(
            f"train: no trace of {_some(absent)}, of which the model learned; give the traces that "
            "it was trained on"
        )
    learned = model.about.get("traces")
    if isinstance(learned, int) and learned != len(train):
        notes.append(
            f"The model learned from {learned:,} traces, and {len(train):,} were given as its "
            "training traces. If it did not learn from these, attacks look weaker than they are."
        )


def _check_columns(traces: Traces, model: Model, name: str) -> None:
    if missing := [n for n in model.columns.names if n not in traces.meta.column_names]:
        raise InputError(
            f"{name}: no column {_some(missing)}, which the model learned; give traces with the "
            "meta-data that it was trained on"
        )


def _length(model: Model | None, synthetic: Traces | None) -> int | None:
    """How many points are compared: those that the model learns, or of the longest made trace."""
    if model is not None:
        return model.codec.length
    return None if synthetic is None else int(synthetic.lengths.max())


def _unshared(
    train: Traces, holdout: Traces, cut: int | None, drop: bool, notes: list[str]
) -> tuple[Traces, Traces]:
    ours, theirs = keys(train), keys(holdout)
    known = set(ours)
    shared = [row for row, key in enumerate(theirs) if key in known]
    if not shared:
        return train, holdout
    if not drop:
        where = f" in the first {cut} points, which are learned" if cut else ""
        raise InputError(
            f"holdout: {len(shared)} of {len(holdout)} traces are also training traces{where} (row "
            f"{shared[0]} is row {ours.index(theirs[shared[0]])} of train): they are members, so "
            "they cannot serve as non-members. Split again with `netdiffus split`, which keeps "
            "equal traces on one side, or attack only traces that occur once: drop_repeats=True "
            "(--drop-repeats)"
        )
    count = Counter(ours + theirs)
    rows = [np.array([count[key] == 1 for key in side]) for side in (ours, theirs)]
    notes.append(
        f"{len(shared):,} of {len(holdout):,} holdout traces are also training traces. Attacked "
        f"are only traces that occur once in both sets together: {rows[0].sum():,} of "
        f"{len(train):,} training and {rows[1].sum():,} of {len(holdout):,} holdout traces."
    )
    for name, kept in zip(("train", "holdout"), rows, strict=True):
        if not kept.any():
            raise InputError(
                f"{name}: every trace occurs more than once ({len(shared)} are on both sides); "
                "hold out traces that were not used in training"
            )
    return train[rows[0]], holdout[rows[1]]


def _same_classes(members: Traces, others: Traces, notes: list[str]) -> tuple[Traces, Traces]:
    """Only classes with at least two members and two non-members."""
    counts = [np.bincount(t.labels, minlength=len(t.classes)) for t in (members, others)]
    both = np.minimum(*counts) >= 2
    left = np.flatnonzero(~both & (np.add(*counts) > 0)).tolist()
    if left:
        notes.append(
            "Classes with fewer than two training or two holdout traces, left out of the attacks: "
            f"{_some([members.classes[k] for k in left])}."
        )
    if not both.any():
        raise InputError("train and holdout have no class with two traces in both")
    kept = np.flatnonzero(both)
    return members[np.isin(members.labels, kept)], others[np.isin(others.labels, kept)]


def _rows(
    ours: Ints, theirs: Ints, most: int | None, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Rows of members and of non-members, with the same share of each class.

    Else the class alone would tell members from non-members. Of each class both sets give the
    smaller number; then each set grows by one factor, as far as all its classes allow.
    """
    sizes = max(ours.max(), theirs.max()) + 1
    counts = [np.bincount(side, minlength=sizes) for side in (ours, theirs)]
    least = np.minimum(*counts)
    there = least > 0
    drawn = []
    for labels, count in zip((ours, theirs), counts, strict=True):
        scale = (count[there] / least[there]).min()
        if most is not None:
            scale = min(scale, most / least.sum())
        wanted = np.maximum((scale * least + 1e-9).astype(int), np.minimum(least, 2))
        shuffled = [rng.permutation(np.flatnonzero(labels == k))[:n] for k, n in enumerate(wanted)]
        drawn.append(np.sort(np.concatenate(shuffled)))
    return drawn[0], drawn[1]


def _titles(channels: Sequence[object]) -> str:
    return ", ".join(str(getattr(channel, "title", channel)) for channel in channels)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(repr, names[:NAMED])) + more
