"""All distances between two sets of traces, from summaries that are computed once per set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from netdiffus.evaluation.features.embedding import Embedding
from netdiffus.evaluation.features.vector_set import Vectors
from netdiffus.evaluation.metrics.coverage import Neighbourhoods, coverage
from netdiffus.evaluation.metrics.distributions import (
    SetDistributions,
    Tables,
    distribution_distances,
)
from netdiffus.evaluation.metrics.frechet import Gaussian, RandomConvolutions, frechet_distance
from netdiffus.evaluation.metrics.mmd import JointScale, JointSet, KernelSample, mmd
from netdiffus.traces.traces import Floats, Ints, Traces


class Summariser:
    """Computes summaries of sets of traces for distances.

    The training traces, on which `embedding` is fitted, give units, bounds and kernel widths.
    """

    def __init__(self, train: Traces, embedding: Embedding) -> None:
        self._embed, self._convolve = embedding, RandomConvolutions(train)
        self._joint = JointScale(train)

    def __call__(self, traces: Traces) -> SetSummary:
        """Of these traces, at least one of each class."""
        return SetSummary(
            np.arange(len(traces)),
            traces.labels,
            len(traces.classes),
            SetDistributions.of(traces),
            self._joint(traces),
            self._embed(traces),
            self._convolve(traces),
        )


@dataclass(frozen=True, eq=False)
class SetSummary:
    """The summary of n traces.

    Attributes:
        rows: (n,), their rows in `joint`.
        labels: (n,).
        classes: K.
        distributions: Of the traces.
        joint: Points and totals, also of other traces.
        vectors: (n, D), see `Embedding`.
        images: (n, 64), see `RandomConvolutions`.
    """

    rows: Ints
    labels: Ints
    classes: int
    distributions: SetDistributions
    joint: JointSet
    vectors: Vectors
    images: Floats

    def part(self, rows: Ints) -> SetSummary:
        """The same of some of the traces."""
        return replace(
            self,
            rows=self.rows[rows],
            labels=self.labels[rows],
            distributions=self.distributions.part(rows),
            vectors=self.vectors[rows],
            images=self.images[rows],
        )

    @cached_property
    def gaussian(self) -> Gaussian:
        """Of the images of all classes."""
        return Gaussian(self.images)

    @cached_property
    def per_class(self) -> list[ClassSummary]:
        """One for each class."""
        order = np.argsort(self.labels, kind="stable")
        ends = np.cumsum(np.bincount(self.labels, minlength=self.classes))[:-1]
        return [self._of_class(rows) for rows in np.split(order, ends)]

    def _of_class(self, rows: Ints) -> ClassSummary:
        return ClassSummary(
            self.joint.samples(self.rows[rows]),
            Neighbourhoods(self.vectors[rows]),
            Gaussian(self.images[rows]) if len(rows) > 1 else None,
        )


@dataclass(frozen=True, eq=False)
class ClassSummary:
    """The summary of the traces of one class; a single trace has no `gaussian`."""

    samples: dict[str, KernelSample]
    neighbourhoods: Neighbourhoods
    gaussian: Gaussian | None


def set_distances(candidate: SetSummary, reference: SetSummary) -> Tables:
    """Distances between two sets: for each measure and quantity one number per class.

    `frechet` of `all classes` is one number.
    """
    tables = distribution_distances(candidate.distributions, reference.distributions)
    pairs = list(zip(candidate.per_class, reference.per_class, strict=True))
    joint = [{name: mmd(x, y.samples[name]) for name, x in c.samples.items()} for c, y in pairs]
    return {
        **tables,
        "joint": _table(joint),
        "coverage": _table([coverage(c.neighbourhoods, r.neighbourhoods) for c, r in pairs]),
        "frechet": {
            "all classes": np.array([frechet_distance(candidate.gaussian, reference.gaussian)]),
            "each class": np.array([_frechet(c.gaussian, r.gaussian) for c, r in pairs]),
        },
    }


def _table(per_class: list[dict[str, float]]) -> dict[str, Floats]:
    return {name: np.array([row[name] for row in per_class]) for name in per_class[0]}


def _frechet(candidate: Gaussian | None, reference: Gaussian | None) -> float:
    if candidate is None or reference is None:
        return float("nan")
    return frechet_distance(candidate, reference)
