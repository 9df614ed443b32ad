"""Normal scores: a scale to [0, 1] for each class and place of a trace."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

REACH = 3.2  # standard deviations that [0, 1] reaches to either side
KNOTS = 129
CLASS_TRUST = 8.0  # points that what the class has at all places weighs as much as
GUESSES = 512  # quantiles that stand for that
SHARES = ndtr(np.linspace(-REACH, REACH, KNOTS))


@dataclass(frozen=True, eq=False)
class Scores:
    """One channel's map to [0, 1] and back, of its own for each class and place.

    With F(v) the share of the values of the class at the place that lie below v, and a few at other
    places with them, v becomes ``x = 1/2 + z / 6.4`` where z has the normal distribution function
    F(v). So points are normal, and those that are drawn as normal points are decoded to the values
    of the class at the place, each as often as it was there. A value that many have owns a stretch
    of x: it is encoded to the median of its normal points, and all of it decodes to that value.

    Attributes:
        table: float64 (classes, k, 129), the values at x = 0, 1/128, ..., 1; linear in between.
            Places beyond k are scaled as the last.
    """

    table: Floats

    kind = "score"

    @classmethod
    def fit(cls, values: Floats, inside: Bools, labels: Ints, classes: int) -> Scores:
        """Fits to values.

        Args:
            values: (N, k).
            inside: (N, k), which of them are the trace's.
            labels: (N,).
            classes: How many there are, each with a trace.
        """
        rows = [labels == label for label in range(classes)]
        return cls(np.stack([_quantiles(values[mine], inside[mine]) for mine in rows]))

    def encode(self, values: Floats, labels: Ints) -> Floats:
        """Values (N, k) of traces of classes (N,) to [0, 1]; those beyond the table are clipped."""
        x = np.empty(values.shape)
        for label in np.unique(labels):
            rows = np.flatnonzero(labels == label)
            mine = values[rows].T  # once: to find its rows at every place would take longer
            found = [
                _position(self.table[label, at], mine[place])
                for place, at in enumerate(self._places(values))
            ]
            x[rows] = np.stack(found, axis=1)
        return x

    def decode(self, x: Floats, labels: Ints) -> Floats:
        """[0, 1] (N, k) to values."""
        at = np.clip(x, 0.0, 1.0) * (KNOTS - 1)
        knot = np.minimum(at.astype(np.int64), KNOTS - 2)
        label, place = labels[:, None], self._places(x)
        low, high = self.table[label, place, knot], self.table[label, place, knot + 1]
        values: Floats = low + (at - knot) * (high - low)
        return values

    def spread(self, n: int) -> Floats:
        """The points to be expected of each class and place, n equally likely ones.

        They are normal, but that a stretch which one value owns is where that is encoded to.

        Returns:
            (classes, k, n), in [0, 1].
        """
        x = 0.5 + ndtri((np.arange(n) + 0.5) / n) / (2 * REACH)
        classes, places, _ = self.table.shape
        each = np.repeat(np.arange(classes), n)
        rows = np.broadcast_to(np.tile(x, classes)[:, None], (classes * n, places))
        points = self.encode(self.decode(rows, each), each)
        by_place: Floats = points.reshape(classes, n, places).transpose(0, 2, 1)
        return by_place

    def _places(self, x: Floats) -> Ints:
        return np.arange(x.shape[1]).clip(max=self.table.shape[1] - 1)


def _quantiles(values: Floats, inside: Bools) -> Floats:
    """(k, 129) of the traces (N, k) of one class."""
    usual = np.quantile(values[inside], (np.arange(GUESSES) + 0.5) / GUESSES)
    return np.stack([_mixed(v[here], usual) for v, here in zip(values.T, inside.T, strict=True)])


def _mixed(own: Floats, usual: Floats) -> Floats:
    """(129,) of points of weight 1, and usual values that weigh `CLASS_TRUST` together."""
    both = np.concatenate([own, usual])
    order = np.argsort(both, kind="stable")
    weight = np.where(order < len(own), 1.0, CLASS_TRUST / len(usual))
    below = np.cumsum(weight) - 0.5 * weight
    knots: Floats = np.interp(SHARES, below / weight.sum(), both[order])
    knots[[0, -1]] = both[order[[0, -1]]]
    return knots


def _position(knots: Floats, v: Floats) -> Floats:
    """Where values (N,) stand among rising knots, as a share of the way from first to last."""
    v = np.clip(v, knots[0], knots[-1])
    first = np.searchsorted(knots, v, side="left")
    last = np.searchsorted(knots, v, side="right") - 1
    step = knots[first] - knots[last]
    between = (last + (v - knots[last]) / np.where(step > 0, step, 1.0)) / (KNOTS - 1)
    median = 0.5 + ndtri(0.5 * (SHARES[first] + SHARES[last])) / (2 * REACH)
    x: Floats = np.where(step > 0, between, median)
    return x
