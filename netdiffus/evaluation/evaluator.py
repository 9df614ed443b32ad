"""All figures of a report: synthetic traces compared with real ones and with baselines."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from netdiffus.errors import InputError, Note
from netdiffus.evaluation.baselines import bootstrap, jitter, markov
from netdiffus.evaluation.candidates import CandidateScorer, Figures
from netdiffus.evaluation.columns import column_figures
from netdiffus.evaluation.draws import capped, class_counts, draw_rows
from netdiffus.evaluation.early import early_figures
from netdiffus.evaluation.features.quantities import quantities, scales
from netdiffus.evaluation.features.traits import traits
from netdiffus.evaluation.large import prepare_large
from netdiffus.evaluation.metrics.classification import FOLDS
from netdiffus.evaluation.metrics.memorization import Keys, usual_exact
from netdiffus.evaluation.prepare import MOST_COMPARED, PreparedSets, TraceSet, Whole, prepare
from netdiffus.evaluation.report.report import Report
from netdiffus.evaluation.whole_sets import whole_figures
from netdiffus.parts import Dataset
from netdiffus.progress import Progress, given_or_bar
from netdiffus.traces.traces import Floats, Ints, Traces

BASELINES = {"jitter": jitter, "bootstrap": bootstrap, "markov": markov}
REPEATS = 3
FEW = 1_000  # traces compared and learned from, up to which all is done three times


def evaluate(
    real: Traces | Dataset,
    synthetic: Traces | Dataset,
    *,
    holdout: Traces | Dataset | None = None,
    by: str | None = None,
    sep: str | None = None,
    seed: int = 0,
    repeats: int | None = None,
    cnn: bool = False,
    history: Sequence[Mapping[str, Any]] = (),
    about: Mapping[str, Any] | None = None,
    audit: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Compares synthetic traces with real ones.

    Every figure is given for six sets: the synthetic traces; the real training traces, which are
    the floor (do not expect a generator to do better); and four baselines made from the training
    traces (`copy`, `jitter`, `bootstrap`, `markov`). All sets are compared with the same holdout,
    with equally many traces per class. Every figure has a standard error and an interval.

    Time and memory are bounded: of a large set 5,000 random traces are used. Comparisons,
    classifiers and the search for near copies use 2,000 at a time (at least 2 of each class). Exact
    copies are counted over all traces.

    If one of the sets is a `Dataset`, all sets are read once, a batch at a time. Distributions and
    autocorrelations are then also compared over all traces (`whole` in the figures). Above a
    million traces, exact copies are counted over a share of them.

    Args:
        real: Training traces of the generator.
        synthetic: Synthetic traces, from any generator.
        holdout: Held-out real traces, not used in training. Without them `real` is halved at
            random; the report says so.
        by: Meta column of the real traces that names a group of dependent traces, such as a
            capture, host or session. Errors are then computed over groups, and the folds of
            classifiers keep groups together.
        sep: The group is only the part of that column's text before `sep`.
        seed: The same seed gives the same figures.
        repeats: Number of draws of traces, each with its own classifiers. Figures are means over
            draws. None is 3 if at most 1,000 traces are compared and learned from, else 1.
        cnn: Also train a small convolutional network, like the forest: on the traces of each set,
            on these with the real ones added, and to separate each set from the holdout. Takes a
            minute, or several for long traces.
        history: Training log, one mapping with `step` and `loss` each, for the report's curve.
        about: Settings and costs to print in the report, such as steps or seconds a trace.
        audit: Figures of an `Audit` of the same traces, which then answer "Is it private?".
        progress: Called with (share done, what comes next). None shows a bar, as `train` does.

    Raises:
        InputError: The sets cannot be compared: other channels, classes that no real trace has,
            too few traces of a class; or `repeats` is below 1.

    Warns:
        Note: Of each thing that the reader of the figures must know.
    """
    if repeats is not None and repeats < 1:
        raise InputError(f"repeats must be at least 1, got {repeats}")
    comparison, whole = _prepared(real, synthetic, holdout, seed, by, sep)
    if (total := int(comparison.compared.sum())) < FOLDS:
        raise InputError(f"{total} traces to compare are too few; at least {FOLDS} are needed")
    for note in comparison.notes:
        warnings.warn(Note(note), stacklevel=2)
    most = max(comparison.compared.sum(), comparison.trained.sum())
    repeats = repeats or (REPEATS if most <= FEW else 1)
    with given_or_bar(progress, "evaluate", 1.0) as shown:
        found = _all_figures(comparison, seed, repeats, cnn, shown)
    figures = {
        "protocol": _protocol(comparison, by, seed, repeats),
        **found,
        "whole": whole,
        "early": early_figures(comparison, seed),
        "columns": column_figures(comparison, by, seed),
        "about": dict(about or {}),
        "ledger": synthetic.ledger,
        "audit": None if audit is None else dict(audit),
    }
    return Report(
        figures,
        comparison.train.traces,
        comparison.synthetic.traces,
        comparison.holdout.traces,
        tuple(history),
    )


def _prepared(
    real: Traces | Dataset,
    synthetic: Traces | Dataset,
    holdout: Traces | Dataset | None,
    seed: int,
    by: str | None,
    sep: str | None,
) -> tuple[PreparedSets, Figures | None]:
    """The sets in one form; figures over all traces, for sets that may not be in memory."""
    if (
        isinstance(real, Traces)
        and isinstance(synthetic, Traces)
        and not isinstance(holdout, Dataset)
    ):
        return prepare(real, synthetic, holdout, seed, by, sep), None
    comparison, counted = prepare_large(real, synthetic, holdout, seed, by, sep)
    return comparison, whole_figures(counted, comparison.classes)


def _all_figures(
    comparison: PreparedSets, seed: int, repeats: int, cnn: bool, progress: Progress
) -> dict[str, Any]:
    """`sets`, `candidates` and `usual`."""
    known = comparison.known_keys
    progress(0.0, "real")
    scorer = CandidateScorer(comparison, seed, repeats)
    floor = {**scorer.floor(), **_duplicates(comparison.train.whole, known)}
    progress(0.2, "synthetic")
    synthetic = scorer.figures(comparison.synthetic)
    synthetic |= _duplicates(comparison.synthetic.whole, known)
    candidates = {"synthetic": synthetic, "real": floor}
    source = _source(comparison.train, seed)
    # Training traces again: all figures except the closeness to them equal the floor.
    copies = TraceSet.of_generator(source)
    again = {"copying": scorer.copying(copies), "trained_with_real": scorer.with_real(copies)}
    candidates["copy"] = {**floor, **again}
    judged = {"synthetic": comparison.synthetic, "real": comparison.train, "copy": copies}
    for i, (name, baseline) in enumerate(BASELINES.items()):
        progress(0.4 + 0.2 * i, name)
        judged[name] = TraceSet.of_generator(baseline(source, len(source), seed))
        figures, whole = scorer.figures(judged[name]), judged[name].whole
        candidates[name] = {**figures, **_duplicates(whole, known)}
    for name, one in judged.items() if cnn else ():
        candidates[name]["cnn"] = scorer.by_cnn(one, is_real=name == "real")
    progress(1.0, "done")
    sets = _sets(comparison, known)
    sets["holdout"]["copying"] = scorer.copying_of_holdout()
    usual = _usual(comparison, *scorer.copies.usual_near())
    return {"sets": sets, "candidates": candidates, "usual": usual}


def _source(train: TraceSet, seed: int) -> Traces:
    """The training traces that baselines are made from: all, or 2,000 random ones."""
    counts = capped(train.counts, MOST_COMPARED)
    if counts.sum() == len(train):
        return train.traces
    return train.traces[draw_rows(train.traces.labels, counts, np.random.default_rng(seed))]


def _sets(comparison: PreparedSets, known: Keys) -> Figures:
    train = comparison.train.whole.keys
    classes = len(comparison.classes)
    return {
        "real": _set_figures(comparison.train.whole, train, classes),
        "synthetic": _set_figures(comparison.synthetic.whole, known, classes),
        "holdout": _set_figures(comparison.holdout.whole, train, classes),
    }


def _usual(comparison: PreparedSets, near: Floats, near_labels: Ints) -> Figures:
    """Shares of copies among real traces, in the class proportions of the synthetic ones.

    For near copies, the proportions are those of the searched synthetic traces.
    """
    train, holdout = comparison.train.whole, comparison.holdout.whole
    exact = usual_exact(np.concatenate([train.keys, holdout.keys]), len(comparison.known_keys))
    labels = np.concatenate([train.labels, holdout.labels])
    mix = class_counts(comparison.synthetic.whole.labels, len(comparison.classes))
    near_mix = capped(comparison.synthetic.counts, MOST_COMPARED)
    return {
        "traces": len(labels),
        "exact": _weighted_mean(exact, labels, mix),
        "near": _weighted_mean(near, near_labels, near_mix),
        "near_traces": len(near),
    }


def _weighted_mean(x: Floats, labels: Ints, mix: Ints) -> float:
    """The mean of x (N,) in another mix of classes (K,)."""
    weights = mix / np.maximum(class_counts(labels, len(mix)), 1)
    return float(np.average(x, weights=weights[labels]))


def _protocol(comparison: PreparedSets, by: str | None, seed: int, repeats: int) -> Figures:
    train, holdout = comparison.train, comparison.holdout
    return {
        "holdout": "given" if comparison.holdout_is_unseen else "half of the real traces",
        "notes": list(comparison.notes),
        "by": by,
        "units": {
            "real": len(np.unique(train.group)),
            "holdout": len(np.unique(holdout.group)),
        },
        "classes": list(comparison.classes),
        "channels": [c.name for c in train.traces.channels],
        "compared_per_class": comparison.compared.tolist(),
        "trained_per_class": comparison.trained.tolist(),
        "titles": {q.name: q.title for of in (traits, quantities) for q in of(train.traces)},
        "scales": scales(train.traces),
        "seed": seed,
        "repeats": repeats,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("netdiffus", "numpy", "scipy", "scikit-learn")},
        },
    }


def _set_figures(whole: Whole, known: Keys, classes: int) -> Figures:
    sums = whole.sums or {
        "traces": len(whole.lengths),
        "per_class": class_counts(whole.labels, classes).tolist(),
        "shortest": int(whole.lengths.min()),
        "median_length": float(np.median(whole.lengths)),
        "longest": int(whole.lengths.max()),
        "points": int(whole.lengths.sum()),
    }
    return {**sums, **_duplicates(whole, known)}


def _duplicates(whole: Whole, known: Keys) -> Figures:
    """Traces that equal a known trace, or an earlier trace of the set, in all points."""
    return {
        "in_train": float(np.isin(whole.keys, known).mean()),
        "repeated": 1 - len(np.unique(whole.keys)) / len(whole.keys),
    }
