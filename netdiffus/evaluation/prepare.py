"""Brings the sets of traces that are to be compared to the same channels, classes and counts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from netdiffus.errors import InputError
from netdiffus.evaluation.groups import grouped, in_two, ungrouped, units
from netdiffus.evaluation.metrics.classification import FOLDS, pool, with_classes
from netdiffus.traces import Ints, Traces

FEWEST = 2
LONGER = 0.02  # share of real traces beyond the longest synthetic one that is no chance


@dataclass(frozen=True)
class Comparison:
    """Three sets with the same channels (gaps, not times) and classes, and `units`, if any.

    Attributes:
        train: Real traces that the generator may have learned from.
        synthetic: Traces to judge.
        holdout: Real traces to judge by.
        known: Real traces that copies are looked for in: `train` or, where no holdout was given,
            both halves, as the generator may have learned from either.
        notes: What the reader must know about how they were made comparable.
    """

    train: Traces
    synthetic: Traces
    holdout: Traces
    known: Traces
    notes: tuple[str, ...]

    @property
    def compared(self) -> Ints:
        """(K,): traces per class when a set is compared with the holdout."""
        return np.minimum(self.trained, class_counts(self.holdout))

    @property
    def trained(self) -> Ints:
        """(K,): traces per class when a forest learns from real or from synthetic traces."""
        return np.minimum(class_counts(self.train), class_counts(self.synthetic))


def comparable(
    real: Traces,
    synthetic: Traces,
    holdout: Traces | None,
    seed: int,
    by: str | None = None,
    sep: str | None = None,
) -> Comparison:
    """Checks the sets and brings them together.

    Args:
        real: What the generator learned from.
        synthetic: What it made.
        holdout: Real traces that it did not see; without them `real` is halved.
        seed: For the halves.
        by: Meta column of the real sets whose groups are not independent within.
        sep: See `Traces.split`.

    Raises:
        InputError: The sets cannot be compared; says why and what to do.
    """
    synthetic = _same_channels(synthetic, real, "synthetic")
    notes, given = [], holdout is not None
    if holdout is None:
        train, holdout = real.split(0.5, by=by, sep=sep, seed=seed)
        notes.append(
            "No holdout was given, so the real traces were halved and the synthetic traces are "
            "judged by the second half. The generator may have learned from that half: memorised "
            "traces then look better here than they are."
        )
    else:
        train, holdout = real, _same_channels(holdout, real, "holdout")
    classes = _common_classes(train, synthetic, holdout, notes)
    train, synthetic, holdout = (
        with_classes(t[np.isin(t.label_names, classes)].with_gaps(), classes, name)
        for name, t in (("real", train), ("synthetic", synthetic), ("holdout", holdout))
    )
    _note_lengths(synthetic, holdout, notes)
    synthetic = ungrouped(synthetic)
    if by is None:
        train, holdout = ungrouped(train), ungrouped(holdout)
    else:
        train, holdout = grouped(train, holdout, by, sep, notes)
    known = train if given else pool([train, holdout])
    comparison = Comparison(train, synthetic, holdout, known, tuple(notes))
    _check_counts(comparison)
    return comparison


def draw(traces: Traces, counts: Ints, rng: np.random.Generator) -> Traces:
    """Some traces of each class.

    Args:
        traces: To draw from, without putting back.
        counts: (K,), how many of each class.
        rng: Where chance comes from.
    """
    return traces[draw_rows(traces, counts, rng)]


def draw_rows(traces: Traces, counts: Ints, rng: np.random.Generator) -> Ints:
    """The rows that `draw` takes."""
    rows = [
        rng.permutation(np.flatnonzero(traces.labels == label))[:n]
        for label, n in enumerate(counts)
    ]
    return np.concatenate(rows)


def halves(traces: Traces, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """The rows of two random halves of each class, see `in_two`."""
    unit, sides = units(traces), []
    for label in range(len(traces.classes)):
        rows = np.flatnonzero(traces.labels == label)
        sides.append([rows[half] for half in in_two(unit[rows], rng)])
    first, second = (np.concatenate(side) for side in zip(*sides, strict=True))
    return first, second


def class_counts(traces: Traces) -> Ints:
    """(K,): traces of each class."""
    return np.bincount(traces.labels, minlength=len(traces.classes))


def _same_channels(traces: Traces, real: Traces, name: str) -> Traces:
    """The traces with the channels of `real`, in their order."""
    wanted = [c.name for c in real.with_gaps().channels]
    traces = traces.with_gaps()
    found = [c.name for c in traces.channels]
    if sorted(found) != sorted(wanted):
        raise InputError(
            f"{name}: the channels are {', '.join(found)}, those of the real traces "
            f"{', '.join(wanted)}; select the same channels on both sides"
        )
    # Element types may differ, which the figures do not depend on.
    return replace(traces.select(wanted), channels=real.with_gaps().channels)


def _common_classes(
    train: Traces, synthetic: Traces, holdout: Traces, notes: list[str]
) -> tuple[str, ...]:
    """Classes that all three have; a class that one of them lacks is put down in `notes`."""
    real, made, held = (_present(t) for t in (train, synthetic, holdout))
    if unknown := sorted(made - real - held):
        raise InputError(
            f"synthetic: classes that no real trace has: {', '.join(unknown)}; the real ones are "
            f"{', '.join(sorted(real | held))}"
        )
    common = real & made & held
    for name, present in (("training", real), ("synthetic", made), ("holdout", held)):
        if missing := (real | held) - present:
            notes.append(
                f"The {name} traces lack {len(missing)} of {len(real | held)} classes "
                f"({', '.join(sorted(missing))}): every figure is for the other classes alone."
            )
    if not common:
        raise InputError("the real, synthetic and holdout traces have no class in common")
    return tuple(name for name in train.classes if name in common)


def _note_lengths(synthetic: Traces, holdout: Traces, notes: list[str]) -> None:
    longest = int(synthetic.lengths.max())
    longer = float(np.mean(holdout.lengths > longest))
    if longer > LONGER:
        notes.append(
            f"{longer:.0%} of the holdout traces are longer than every synthetic trace ({longest} "
            f"points), which all figures count. To compare the first {longest} points alone, "
            f"truncate the real traces (--length {longest})."
        )


def _present(traces: Traces) -> set[str]:
    return {name for name, n in traces.counts().items() if n}


def _check_counts(comparison: Comparison) -> None:
    for name in ("train", "synthetic", "holdout"):
        traces: Traces = getattr(comparison, name)
        few = [f"{k} ({n})" for k, n in traces.counts().items() if n < FEWEST]
        if few:
            raise InputError(
                f"{name}: too few traces of {', '.join(few)}; every class needs at least {FEWEST}, "
                "so add traces or drop the class"
            )
    if (total := int(comparison.compared.sum())) < FOLDS:
        raise InputError(f"{total} traces to compare are too few; at least {FOLDS} are needed")
