"""All figures of one set of traces: how near it is to the holdout, and what it is good for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from netdiffus.evaluation import intervals
from netdiffus.evaluation.features.embedding import Space
from netdiffus.evaluation.groups import units, units_of_both
from netdiffus.evaluation.metrics.classification import Answers, train_and_test, two_sample_scores
from netdiffus.evaluation.metrics.classifiers import Learner, forest, network
from netdiffus.evaluation.metrics.coverage import coverage
from netdiffus.evaluation.metrics.distributions import MEASURES, fidelity, scales
from netdiffus.evaluation.metrics.frechet import RandomConvolutions, frechet_distance
from netdiffus.evaluation.metrics.memorization import Copying, copying, usual_near
from netdiffus.evaluation.metrics.mmd import Joint
from netdiffus.evaluation.prepare import Comparison, class_counts, draw, draw_rows, halves
from netdiffus.traces import Floats, Ints, Traces

Figures = dict[str, Any]
Tables = dict[str, dict[str, list[float]]]
"""For each measure, for each quantity, one number per class."""

DIVISIONS = 2  # into halves, of each draw
COPY_DIVISIONS = 8  # into halves, of all traces


@dataclass(frozen=True, eq=False)
class Placed:
    """Traces with their coordinates (N, D) and image features (N, 64)."""

    traces: Traces
    place: Floats
    features: Floats

    @cached_property
    def labelled(self) -> tuple[Floats, Ints]:
        """Coordinates and classes: always the same pair, by which `copying` knows a set again."""
        return self.place, self.traces.labels

    def __getitem__(self, rows: Ints) -> Placed:
        return Placed(self.traces[rows], self.place[rows], self.features[rows])

    def of_class(self, label: int) -> Placed:
        """Those of one class."""
        return self[np.flatnonzero(self.traces.labels == label)]


class Judge:
    """Judges sets of traces by the same holdout.

    Args:
        comparison: The sets, and how many traces of each class are compared.
        seed: Same seed, same figures.
        repeats: Draws of traces, and classifiers.
    """

    def __init__(self, comparison: Comparison, seed: int, repeats: int) -> None:
        self.comparison, self.seed, self.repeats = comparison, seed, repeats
        train = comparison.train
        self._space, self._joint = Space(train), Joint(train)
        self._convolutions = RandomConvolutions(train)
        self._scales = scales(train)
        self._train = self._placed(train)
        self._holdout = self._placed(comparison.holdout)

    def __call__(self, traces: Traces) -> Figures:
        """All figures of one candidate; the training traces themselves give the floor."""
        is_train = traces is self.comparison.train
        placed = self._train if is_train else self._placed(traces)
        return {
            **self._set_figures(placed),
            **self._two_sample_figures(traces),
            **self._utility_figures(traces),
            "copying": self.copying_figures(placed),
        }

    def holdout_copying(self) -> Figures:
        """How near the holdout itself is to the training traces: what unseen traces are."""
        return self.copying_figures(self._holdout)

    def usual_near(self) -> Floats:
        """(N,): how often training and held-out traces are near copies of each other."""
        return usual_near(self._train.labelled, self._holdout.labelled)

    def _placed(self, traces: Traces) -> Placed:
        return Placed(traces, self._space(traces), self._convolutions(traces))

    def _rngs(self) -> list[np.random.Generator]:
        return [np.random.default_rng([self.seed, r]) for r in range(self.repeats)]

    def _set_figures(self, candidate: Placed) -> Figures:
        """Distances between sets, at equal counts per class."""
        whole, parts = [], []
        for rng in self._rngs():
            # Drawn first, so that all candidates meet the same reference in the same repeat.
            reference = self._drawn(self._holdout, rng)
            drawn = self._drawn(candidate, rng)
            whole.append(self._distances(drawn, reference))
            for _ in range(DIVISIONS):
                ours, theirs = _divided(drawn, rng), _divided(reference, rng)
                parts.append([self._distances(*p) for p in zip(ours, theirs, strict=True)])
        classes = self.comparison.train.classes
        return {
            measure: _by_quantity(
                measure, whole, parts, classes, self._scales if measure == "wasserstein" else {}
            )
            for measure in whole[0]
        }

    def _drawn(self, placed: Placed, rng: np.random.Generator) -> Placed:
        return placed[draw_rows(placed.traces, self.comparison.compared, rng)]

    def _distances(self, candidate: Placed, reference: Placed) -> Tables:
        found: Tables = fidelity(candidate.traces, reference.traces)
        pooled = frechet_distance(candidate.features, reference.features)
        found |= {"joint": {}, "coverage": {}, "frechet": {"all classes": [pooled]}}
        for label in range(len(reference.traces.classes)):
            ours, theirs = candidate.of_class(label), reference.of_class(label)
            _append(found["joint"], self._joint(ours.traces, theirs.traces))
            _append(found["coverage"], coverage(ours.place, theirs.place))
            _append(found["frechet"], {"each class": _frechet(ours, theirs)})
        return found

    def _two_sample_figures(self, traces: Traces) -> Figures:
        return {
            "two_sample_auc": self._auc(traces, forest, self.repeats),
            "two_sample_auc_network": self._auc(traces, network, 1),
        }

    def _auc(self, traces: Traces, learn: Learner, runs: int) -> Figures:
        scores, own = [], []
        for rng in self._rngs()[:runs]:
            reference = draw(self.comparison.holdout, self.comparison.compared, rng)
            drawn = draw(traces, self.comparison.compared, rng)
            scores.append(two_sample_scores(drawn, reference, int(rng.integers(2**31)), learn))
            own.append(units_of_both(drawn, reference))
        return intervals.auc_figure(scores, own)

    def _utility_figures(self, traces: Traces) -> Figures:
        trained, everything = self.comparison.trained, class_counts(traces)
        is_train = traces is self.comparison.train
        equal = self._real_tests if is_train else self._tests(traces, trained)
        whole = equal
        if not np.array_equal(everything, trained):
            whole = self._tests(traces, everything)
        added = whole
        if not is_train:
            added = self._tests(traces, everything, self.comparison.train)
        tests = {
            "trained_on_equal": equal,
            "trained_on_all": whole,
            "trained_with_real": added,
            "trained_on_equal_network": self._tests(traces, trained, learn=network, runs=1),
        }
        found = {name: _test_figures(answers, traces.classes) for name, answers in tests.items()}
        return {**found, "lost": intervals.lost_figure(equal, self._real_tests)}

    @cached_property
    def _real_tests(self) -> list[Answers]:
        return self._tests(self.comparison.train, self.comparison.trained)

    def _tests(
        self,
        traces: Traces,
        counts: Ints,
        added: Traces | None = None,
        learn: Learner = forest,
        runs: int | None = None,
    ) -> list[Answers]:
        """When classifiers learn from `counts` traces per class, and from all of `added`."""
        known = [] if added is None else [added]
        return [
            train_and_test(
                [draw(traces, counts, rng), *known],
                self.comparison.holdout,
                int(rng.integers(2**31)),
                learn,
            )
            for rng in self._rngs()[:runs]
        ]

    def copying_figures(self, candidate: Placed) -> Figures:
        """Shares closer to training than to held-out traces, and near duplicates."""
        own = [units(side.traces) for side in (candidate, self._train, self._holdout)]
        known = self._train.labelled, self._holdout.labelled
        found = copying(candidate.labelled, *known, COPY_DIVISIONS, own)
        of_class = {k: candidate.traces.labels == i for i, k in enumerate(candidate.traces.classes)}
        return {
            "closer": {
                "overall": _closer_figure(found, slice(None)),
                "classes": {k: _closer_figure(found, mine) for k, mine in of_class.items()},
            },
            "near": {
                "overall": intervals.share_figure(found.near, own[0]),
                "classes": {
                    k: intervals.share_figure(found.near[m], own[0][m]) for k, m in of_class.items()
                },
            },
            "median_nearest": float(np.median(found.nearest)),
            "threshold": found.threshold,
        }


def _divided(placed: Placed, rng: np.random.Generator) -> list[Placed]:
    return [placed[rows] for rows in halves(placed.traces, rng)]


def _frechet(ours: Placed, theirs: Placed) -> float:
    """NaN where a class has one trace, which has no covariance."""
    if min(len(ours.features), len(theirs.features)) < 2:
        return float("nan")
    return frechet_distance(ours.features, theirs.features)


def _append(table: dict[str, list[float]], found: Mapping[str, float]) -> None:
    for name, value in found.items():
        table.setdefault(name, []).append(value)


def _test_figures(tests: Sequence[Answers], classes: Sequence[str]) -> Figures:
    recalls = intervals.recall_figures(tests)
    return {
        "accuracy": intervals.accuracy_figure(tests),
        "balanced_accuracy": intervals.balanced_figure(tests),
        "classes": dict(zip(classes, recalls, strict=True)),
        "confusion": np.sum([test.confusion for test in tests], axis=0).tolist(),
    }


def _by_quantity(
    measure: str,
    whole: Sequence[Tables],
    parts: Sequence[Sequence[Tables]],
    classes: Sequence[str],
    yardstick: Mapping[str, float],
) -> Figures:
    """One measure: figures of each quantity, for each class, and of all together.

    `overall`, of distances that can be averaged, is the mean over classes and quantities, each
    divided by its yardstick if the measure has any; a quantity whose yardstick is 0, which never
    varies, is left out.
    """
    tables = {name: np.array([run[measure][name] for run in whole]) for name in whole[0][measure]}
    split = {
        name: np.array([[half[measure][name] for half in pair] for pair in parts])
        for name in tables
    }
    units = {name: yardstick.get(name, 1.0) for name in tables if yardstick.get(name, 1.0)}
    overall = {}
    if measure in (*MEASURES, "joint"):
        overall["overall"] = _overall(tables, split, units)
    return {
        **overall,
        "quantities": {
            name: {
                "overall": _spread(_known_mean(table, 1), _known_mean(split[name], 2)),
                "classes": {
                    k: _spread(table[:, i], split[name][:, :, i])
                    for i, k in enumerate(classes)
                    if table.shape[1] == len(classes)
                },
            }
            for name, table in tables.items()
        },
    }


def _overall(
    tables: Mapping[str, Floats], split: Mapping[str, Floats], units: Mapping[str, float]
) -> Figures | None:
    """Mean over classes and quantities, each in its unit; None where nothing has a unit."""
    if not units:
        return None
    whole = [_known_mean(tables[name], 1) / unit for name, unit in units.items()]
    of_halves = [_known_mean(split[name], 2) / unit for name, unit in units.items()]
    return _spread(np.mean(whole, axis=0), np.mean(of_halves, axis=0))


def _known_mean(x: Floats, axis: int) -> Floats:
    """Mean of what is not NaN; NaN where all is."""
    known: Floats = np.ma.masked_invalid(x).mean(axis=axis).filled(np.nan)
    return known


def _spread(whole: Floats, of_halves: Floats) -> Figures:
    """Mean over draws (R,), with the deviation of halves (S, 2)."""
    return intervals.figure(float(whole.mean()), float(intervals.half_sample_sd(of_halves)))


def _closer_figure(found: Copying, mine: Any) -> Figures:
    """Mean of some traces, with the deviation of halves."""
    of_halves = _known_mean(found.halves[:, :, mine], axis=2)
    sd = float(intervals.half_sample_sd(of_halves))
    return intervals.clipped(intervals.figure(float(found.closer[mine].mean()), sd))
