"""All figures of one candidate: its distance to the holdout, and its use for classifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from netdiffus.evaluation import intervals
from netdiffus.evaluation.draws import capped, draw_rows, halves
from netdiffus.evaluation.features.embedding import Embedding
from netdiffus.evaluation.features.quantities import scales
from netdiffus.evaluation.features.table import features
from netdiffus.evaluation.features.traits import beyond
from netdiffus.evaluation.features.vector_set import VectorSet
from netdiffus.evaluation.metrics.classification import (
    Predictions,
    train_and_test,
    two_sample_scores,
)
from netdiffus.evaluation.metrics.classifiers import Learner, forest, network
from netdiffus.evaluation.metrics.cnn import CnnInputs, cnn
from netdiffus.evaluation.metrics.distributions import MEASURES, Tables
from netdiffus.evaluation.metrics.memorization import Closeness, CopyDetector
from netdiffus.evaluation.prepare import MOST_COMPARED, PreparedSets, TraceSet
from netdiffus.evaluation.set_distances import SetSummary, Summariser, set_distances
from netdiffus.traces.traces import Bools, Floats, Ints, Traces

Figures = dict[str, Any]

DIVISIONS = 2  # into halves, of each draw
MOST_CONFUSED = 100  # classes of a confusion matrix


@dataclass(frozen=True, eq=False)
class Draw:
    """Random traces of a set.

    `whole` is the summary for distances, `table` the features for classifiers. `divisions` has the
    rows of both halves for each random division.
    """

    whole: SetSummary
    divisions: list[tuple[Ints, Ints]]
    table: VectorSet

    @cached_property
    def halves(self) -> list[list[SetSummary]]:
        """The summaries of both halves, for each division."""
        return [[self.whole.part(rows) for rows in division] for division in self.divisions]


class CandidateScorer:
    """Scores sets of traces against the same holdout.

    Each figure is of `repeats` draws of traces and as many classifiers. Same seed, same figures.
    `copies` looks for copies of training traces.
    """

    def __init__(self, comparison: PreparedSets, seed: int, repeats: int) -> None:
        self._comparison, self._seed, self._repeats = comparison, seed, repeats
        train, holdout = comparison.train, comparison.holdout
        self._embedding = Embedding(train.traces)
        self._summarise = Summariser(train.traces, self._embedding)
        self._scales = scales(train.traces)
        self.copies = CopyDetector(self._vectorised(train), self._vectorised(holdout))
        self._references = [self._draw(holdout, r, "reference") for r in range(repeats)]
        self._test = self._table(holdout, _most(holdout.counts), 0, "test")
        self._train_table = self._table(train, _most(train.counts), 0, "added")
        self._real_tests = self._equal_tests(train)

    def floor(self) -> Figures:
        """Figures of the training traces (the floor); no trace is compared with itself.

        `beyond` is computed for the held-out traces, because training traces are never beyond
        themselves.
        """
        train = self._comparison.train
        rows = self._some(train)
        copying = self._copying_figures(train, rows, self.copies.of_train(rows))
        figures = self._figures(train, self._real_tests, added=None)
        return {**figures, "copying": copying, "beyond": self._beyond(self._comparison.holdout)}

    def figures(self, candidate: TraceSet) -> Figures:
        """Figures of traces of a generator."""
        figures = self._figures(candidate, self._equal_tests(candidate), self._train_table)
        return {**figures, "copying": self.copying(candidate), "beyond": self._beyond(candidate)}

    def with_real(self, candidate: TraceSet) -> Figures:
        """Accuracy of a forest trained on real and these traces (training traces: repeated)."""
        added = self._table(candidate, _most(candidate.counts), 0, "all").joined(self._train_table)
        return _test_figures([self._test_of(added, 0)], self._comparison.classes)

    def by_cnn(self, candidate: TraceSet, *, is_real: bool) -> Figures:
        """Accuracy of a convolutional network trained on these traces, and with real ones added.

        Also its two-sample AUC against held-out traces, at equal counts per class.
        """
        train, holdout = self._comparison.train, self._comparison.holdout
        counts = self._comparison.trained
        equal = self._series(candidate, counts, "learn")
        both = self._series(candidate, _most(candidate.counts), "all")
        if not is_real:
            both = both.joined(self._series(train, _most(train.counts), "added"))
        test = self._series(holdout, _most(holdout.counts), "test")
        classes = self._comparison.classes
        seed = self._seed_of(0, "cnn")
        compared = self._comparison.compared
        ours = self._series(candidate, compared, "candidate")
        theirs = self._series(holdout, compared, "reference")
        scores = two_sample_scores(ours, theirs, self._seed_of(0, "two samples"), cnn)
        return {
            **{
                name: _test_figures([train_and_test(x, test, len(classes), seed, cnn)], classes)
                for name, x in (("trained_on_equal", equal), ("trained_with_real", both))
            },
            "two_sample_auc": intervals.auc_figure([scores], [(ours.group, theirs.group)]),
        }

    def _series(self, traces: TraceSet, counts: Ints, purpose: str) -> VectorSet:
        """Traces as input of the convolutional network."""
        rows = draw_rows(traces.traces.labels, counts, self._rng(0, purpose))
        drawn = traces.traces[rows]
        view = CnnInputs(self._comparison.train.traces)
        return VectorSet(view(drawn), drawn.labels, traces.group[rows])

    def _beyond(self, traces: TraceSet) -> Figures:
        """Shares of traces that are beyond the training traces of their class, see `beyond`."""
        found = beyond(self._comparison.train.traces, traces.traces).astype(np.float64)
        of_class = _of_classes(traces.traces.labels, self._comparison.classes)
        return _share_figures(found, traces.group, of_class)

    def copying(self, candidate: TraceSet) -> Figures:
        """Distances of a generator's traces to training traces and to held-out traces."""
        rows = self._some(candidate)
        closeness = self.copies.of(self._vectorised(candidate)[rows])
        return self._copying_figures(candidate, rows, closeness)

    def copying_of_holdout(self) -> Figures:
        """Distances of held-out traces to training traces and to other held-out ones.

        New traces are expected to be equally near.
        """
        holdout = self._comparison.holdout
        rows = self._some(holdout)
        return self._copying_figures(holdout, rows, self.copies.of_holdout(rows))

    def _copying_figures(self, candidate: TraceSet, rows: Ints, found: Closeness) -> Figures:
        """Shares closer to training than to held-out traces, and near copies."""
        labels, group = candidate.traces.labels[rows], candidate.group[rows]
        of_class = _of_classes(labels, candidate.traces.classes)
        everything = np.ones(len(rows), dtype=bool)
        return {
            "closer": {
                "overall": _closer_figure(found, everything),
                "classes": {name: _closer_figure(found, mine) for name, mine in of_class.items()},
            },
            "near": _share_figures(found.near, group, of_class),
            "median_nearest": float(np.median(found.nearest)),
            "threshold": self.copies.threshold,
            "traces": len(rows),
        }

    def _figures(
        self, candidate: TraceSet, equal: Sequence[Predictions], added: VectorSet | None
    ) -> Figures:
        draws = [self._draw(candidate, r, "candidate") for r in range(self._repeats)]
        return {
            **self._distance_figures(draws),
            "two_sample_auc": self._auc(draws, forest),
            "two_sample_auc_network": self._auc(draws[:1], network),
            **self._use_figures(candidate, equal, added),
        }

    def _distance_figures(self, draws: Sequence[Draw]) -> Figures:
        """Distances between sets, at equal counts per class."""
        pairs = list(zip(draws, self._references, strict=True))
        whole = [set_distances(ours.whole, theirs.whole) for ours, theirs in pairs]
        # All candidates share the halves of the reference; own halves are in memory only once.
        parts = [
            [set_distances(ours.whole.part(rows), half) for rows, half in zip(*both, strict=True)]
            for ours, theirs in pairs
            for both in zip(ours.divisions, theirs.halves, strict=True)
        ]
        return distance_figures(whole, parts, self._comparison.classes, self._scales)

    def _auc(self, draws: Sequence[Draw], learn: Learner) -> Figures:
        pairs = list(zip([d.table for d in draws], self._references, strict=False))
        scores = [
            two_sample_scores(ours, theirs.table, self._seed_of(r, "two samples"), learn)
            for r, (ours, theirs) in enumerate(pairs)
        ]
        groups = [(ours.group, theirs.table.group) for ours, theirs in pairs]
        return intervals.auc_figure(scores, groups)

    def _use_figures(
        self, candidate: TraceSet, equal: Sequence[Predictions], added: VectorSet | None
    ) -> Figures:
        """Accuracy of classifiers: trained on equally many traces, on all, and with real ones."""
        everything = self._table(candidate, _most(candidate.counts), 0, "all")
        is_more = not np.array_equal(_most(candidate.counts), self._comparison.trained)
        whole = [self._test_of(everything, 0)] if is_more else equal
        with_real = whole if added is None else [self._test_of(everything.joined(added), 0)]
        tests = {
            "trained_on_equal": equal,
            "trained_on_all": whole,
            "trained_with_real": with_real,
        }
        classes = self._comparison.classes
        return {
            **{name: _test_figures(predictions, classes) for name, predictions in tests.items()},
            "lost": intervals.lost_figure(equal, self._real_tests),
        }

    def _equal_tests(self, candidate: TraceSet) -> list[Predictions]:
        counts = self._comparison.trained
        tables = [self._table(candidate, counts, r, "learn") for r in range(self._repeats)]
        return [self._test_of(table, r) for r, table in enumerate(tables)]

    def _test_of(self, table: VectorSet, repeat: int) -> Predictions:
        seed = self._seed_of(repeat, "forest")
        return train_and_test(table, self._test, len(self._comparison.classes), seed)

    def _draw(self, traces: TraceSet, repeat: int, purpose: str) -> Draw:
        rng = self._rng(repeat, purpose)
        rows = draw_rows(traces.traces.labels, self._comparison.compared, rng)
        drawn, group = traces.traces[rows], traces.group[rows]
        divisions = [halves(drawn.labels, group, rng) for _ in range(DIVISIONS)]
        return Draw(self._summarise(drawn), divisions, _table_of(drawn, group))

    def _table(self, traces: TraceSet, counts: Ints, repeat: int, purpose: str) -> VectorSet:
        rows = draw_rows(traces.traces.labels, counts, self._rng(repeat, purpose))
        return _table_of(traces.traces[rows], traces.group[rows])

    def _vectorised(self, traces: TraceSet) -> VectorSet:
        return VectorSet(self._embedding(traces.traces), traces.traces.labels, traces.group)

    def _some(self, traces: TraceSet) -> Ints:
        """Rows of all traces, or of 2,000 random ones of all classes."""
        labels, rng = traces.traces.labels, self._rng(0, "copies")
        return np.sort(draw_rows(labels, _most(traces.counts), rng))

    def _seed_of(self, repeat: int, purpose: str) -> int:
        return int(self._rng(repeat, purpose).integers(2**31))

    def _rng(self, repeat: int, purpose: str) -> np.random.Generator:
        """Separate random numbers for each repeat and purpose."""
        return np.random.default_rng([self._seed, repeat, *purpose.encode()])


def _of_classes(labels: Ints, classes: Sequence[str]) -> dict[str, Bools]:
    """(N,) for each class: which traces belong to it."""
    return {name: labels == i for i, name in enumerate(classes)}


def _share_figures(is_true: Floats, group: Ints, of_class: Mapping[str, Bools]) -> Figures:
    """Share of traces for which a condition is true: of all, and of each class."""
    share = intervals.share_figure
    return {
        "overall": share(is_true, group),
        "classes": {name: share(is_true[mine], group[mine]) for name, mine in of_class.items()},
    }


def _table_of(traces: Traces, group: Ints) -> VectorSet:
    return VectorSet(features(traces), traces.labels, group)


def _most(counts: Ints) -> Ints:
    return capped(counts, MOST_COMPARED)


def _test_figures(tests: Sequence[Predictions], classes: Sequence[str]) -> Figures:
    recalls = intervals.recall_figures(tests)
    return {
        "accuracy": intervals.accuracy_figure(tests),
        "balanced_accuracy": intervals.balanced_figure(tests),
        "classes": dict(zip(classes, recalls, strict=True)),
        "confusion": _confusion(tests),
    }


def _confusion(tests: Sequence[Predictions]) -> list[list[int]] | None:
    """Confusion matrix; None for many classes, as it would have millions of numbers."""
    if tests[0].classes > MOST_CONFUSED:
        return None
    matrix: list[list[int]] = np.sum([test.confusion for test in tests], axis=0).tolist()
    return matrix


def distance_figures(
    whole: Sequence[Tables],
    parts: Sequence[Sequence[Tables]],
    classes: Sequence[str],
    scales: Mapping[str, float],
) -> Figures:
    """Figures of each measure.

    `whole` has the tables of each draw, `parts` the tables of both halves of each division.
    `scales` of quantities are the units of Wasserstein distances.
    """
    units = {"wasserstein": scales}
    return {
        name: _measure_figures(name, whole, parts, classes, units.get(name, {}))
        for name in whole[0]
    }


def _measure_figures(
    measure: str,
    whole: Sequence[Tables],
    parts: Sequence[Sequence[Tables]],
    classes: Sequence[str],
    units: Mapping[str, float],
) -> Figures:
    """One measure: figures of each quantity, for each class, and of all together.

    `overall`, of distances that can be averaged, is the mean over classes and quantities, each
    divided by its unit if the measure has any; a quantity whose unit is 0, which never varies, is
    left out.
    """
    tables = {name: np.array([run[measure][name] for run in whole]) for name in whole[0][measure]}
    split = {
        name: np.array([[half[measure][name] for half in pair] for pair in parts])
        for name in tables
    }
    figures: Figures = {}
    if measure in (*MEASURES, "joint"):
        used = {name: units.get(name, 1.0) for name in tables if units.get(name, 1.0)}
        figures["overall"] = _overall(tables, split, used)
    figures["quantities"] = {
        name: _quantity_figures(tables[name], split[name], classes) for name in tables
    }
    return figures


def _quantity_figures(table: Floats, split: Floats, classes: Sequence[str]) -> Figures:
    """Of (R, K) of whole draws and (S, 2, K) of halves; K is 1 for what has no classes."""
    per_class = zip(table.mean(axis=0), intervals.half_sample_sd(split), strict=True)
    figures = [intervals.figure(float(mean), float(sd)) for mean, sd in per_class]
    return {
        "overall": _mean_figure(_finite_mean(table, 1), _finite_mean(split, 2)),
        "classes": dict(zip(classes, figures, strict=True)) if len(figures) == len(classes) else {},
    }


def _overall(
    tables: Mapping[str, Floats], split: Mapping[str, Floats], units: Mapping[str, float]
) -> Figures | None:
    """Mean over classes and quantities, each in its unit; None where nothing has a unit."""
    if not units:
        return None
    whole = [_finite_mean(tables[name], 1) / unit for name, unit in units.items()]
    of_halves = [_finite_mean(split[name], 2) / unit for name, unit in units.items()]
    return _mean_figure(np.mean(whole, axis=0), np.mean(of_halves, axis=0))


def _finite_mean(x: Floats, axis: int) -> Floats:
    """Mean of the values that are not NaN; NaN if all are."""
    mean: Floats = np.ma.masked_invalid(x).mean(axis=axis).filled(np.nan)
    return mean


def _mean_figure(whole: Floats, of_halves: Floats) -> Figures:
    """Mean over draws (R,), with the standard error from halves (S, 2)."""
    return intervals.figure(float(whole.mean()), float(intervals.half_sample_sd(of_halves)))


def _closer_figure(found: Closeness, mine: Bools) -> Figures:
    """Mean of some traces, with the standard error from halves."""
    of_halves = _finite_mean(found.halves[:, :, mine], axis=2)
    sd = float(intervals.half_sample_sd(of_halves))
    return intervals.clipped(intervals.figure(float(found.closer[mine].mean()), sd))
