"""Early classification: accuracy of a forest by the first points, or seconds, of traces."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from netdiffus.evaluation.draws import capped, draw_rows
from netdiffus.evaluation.features.table import features
from netdiffus.evaluation.features.vector_set import Vectors, VectorSet
from netdiffus.evaluation.intervals import accuracy_figure
from netdiffus.evaluation.metrics.classification import train_and_test
from netdiffus.evaluation.metrics.classifiers import Classifier, fitted
from netdiffus.evaluation.prepare import PreparedSets, TraceSet
from netdiffus.traces.traces import Floats, Ints, Traces, values_of

CUTS, SPAN = 5, 100  # how many, and how many times the least the most seconds are
MOST = 500  # traces that a forest learns from, and that it labels
TREES = 20
LEARNERS = ("real", "synthetic", "both")


def early_figures(comparison: PreparedSets, seed: int) -> dict[str, Any]:
    """Accuracy on held-out traces of which only the beginning is known.

    Forests learn from equally long beginnings of real traces, of as many synthetic ones, and of
    both, 500 of each at most.

    Returns:
        `points`, and `seconds` if gaps give them. Each has `at`, the ascending places where traces
        are cut, and for `real`, `synthetic` and `both` the accuracy at each place, in the form of
        the other figures.
    """
    learned = capped(comparison.trained, MOST)
    tested = capped(comparison.holdout.counts, MOST)
    rng = np.random.default_rng([seed, len(LEARNERS)])
    sets = {
        name: _some(one, counts, rng)
        for name, one, counts in (
            ("real", comparison.train, learned),
            ("synthetic", comparison.synthetic, learned),
            ("test", comparison.holdout, tested),
        )
    }
    found = {"points": _accuracies(sets, _cuts(sets["test"].traces.lengths), _first_points, seed)}
    seconds = _seconds(sets["test"].traces)
    if seconds is not None:
        ends = seconds[np.arange(len(seconds)), sets["test"].traces.lengths - 1]
        if (ends > 0).any():
            found["seconds"] = _accuracies(sets, _cuts(ends[ends > 0]), _first_seconds, seed)
    return found


def _some(one: TraceSet, counts: Ints, rng: np.random.Generator) -> TraceSet:
    rows = draw_rows(one.traces.labels, counts, rng)
    return replace(one, traces=one.traces[rows], group=one.group[rows])


def _cuts(lengths: Floats | Ints) -> list[float]:
    """About geometrically spaced numbers, up to the number that 90 % of traces reach."""
    is_whole = lengths.dtype.kind == "i"
    high = float(np.quantile(lengths, 0.9))
    cuts = np.geomspace(1 if is_whole else high / SPAN, high, CUTS)
    if is_whole:
        return [float(one) for one in np.unique(np.rint(cuts))]
    return [float(f"{one:.2g}") for one in cuts]


def _accuracies(
    sets: dict[str, TraceSet], cuts: list[float], cut: Any, seed: int
) -> dict[str, Any]:
    found: dict[str, Any] = {"at": cuts, **{name: [] for name in LEARNERS}}
    classes = len(sets["test"].traces.classes)
    for at in cuts:
        tables = {
            name: VectorSet(features(cut(one.traces, at)), one.traces.labels, one.group)
            for name, one in sets.items()
        }
        tables["both"] = tables["real"].joined(tables["synthetic"])
        for name in LEARNERS:
            test = train_and_test(tables[name], tables["test"], classes, seed, small_forest)
            found[name].append(accuracy_figure([test]))
    return found


def small_forest(x: Vectors, labels: Ints, classes: int, seed: int) -> Classifier:
    """Random forest of 20 trees."""
    return fitted(RandomForestClassifier(TREES, random_state=seed), x, labels, classes)


def _first_points(traces: Traces, n: float) -> Traces:
    return traces.truncate(int(n))


def _first_seconds(traces: Traces, n: float) -> Traces:
    """The points within n seconds of the first point, which is always included."""
    seconds = _seconds(traces)
    assert seconds is not None
    lengths = np.maximum(((seconds <= n) & traces.mask).sum(1), 1)
    inside = np.arange(traces.values.shape[2]) < lengths[:, None]
    return replace(traces, values=traces.values * inside[:, None], lengths=lengths)


def _seconds(traces: Traces) -> Floats | None:
    """(N, L): time of each point, or end of each bin; None if unknown."""
    gaps = values_of(traces, "gap")
    if gaps is not None:
        return np.asarray(np.cumsum(gaps, axis=1) - gaps[:, :1])
    widths = [channel.bin_width for channel in traces.channels if channel.kind == "volume"]
    if not widths or widths[0] is None:
        return None
    n, _, length = traces.values.shape
    return np.tile(widths[0] * np.arange(1, length + 1), (n, 1))
