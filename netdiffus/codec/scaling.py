"""Invertible maps from real units to [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from netdiffus.arrays import Floats, Ints
from netdiffus.errors import InputError

KNOTS = 1024  # rows of a quantile table, besides those of common values
COMMON = 64  # a value is common if its share of the data is above 1/COMMON


@dataclass(frozen=True, eq=False)
class Scale:
    """One channel's map to [0, 1] and back.

    * `minmax`: x = (v - lo) / (hi - lo); `table` is [[lo, hi, 0]].
    * `log`: x = log1p((v - lo) / unit) / log1p((hi - lo) / unit); `table` is [[lo, hi, unit]].
    * `quantile`: x is about the share of values below v; `table` has rows (value, from, to). A
      value that is a knot owns the stretch [from, to] of [0, 1]: it is encoded to the middle,
      and all of it decodes to exactly that value, so that common packet sizes come back exact
      from noisy images. Between two knots the map is linear.

    `decode(encode(v))` gives back every v between the bounds; beyond them v is clipped.
    """

    kind: str
    table: Floats

    @classmethod
    def fit(
        cls, kind: str, points: Floats, bounds: tuple[float, float] | None = None, name: str = "x"
    ) -> Scale:
        """Fits a scale to values.

        Args:
            kind: `minmax`, `log` or `quantile`.
            points: Values, (K,).
            bounds: Given bounds instead of the values' own (not for `quantile`).
            name: The channel, for errors.

        Raises:
            InputError: An unknown kind, or values outside the given bounds.
        """
        if kind not in _FIT:
            known = ", ".join(_FIT)
            raise InputError(f"scale of {name}: {kind!r} is unknown; use {known}")
        lo, hi = bounds or (float(points.min()), float(points.max()))
        if not (math.isfinite(lo) and math.isfinite(hi - lo) and lo <= hi):
            raise InputError(f"scale of {name}: bounds must rise and be finite, got {lo} to {hi}")
        if points.min() < lo or points.max() > hi:
            raise InputError(
                f"scale of {name}: values reach from {points.min():g} to {points.max():g}, "
                f"outside the given bounds {lo:g} to {hi:g}"
            )
        return cls(kind, _FIT[kind](points, lo, hi))

    def encode(self, values: Floats) -> Floats:
        """Real units to [0, 1], any shape."""
        clipped = np.clip(values, self.table[0, 0], self._highest)
        return _ENCODE[self.kind](clipped, self.table)

    def decode(self, x: Floats) -> Floats:
        """[0, 1] to real units, any shape."""
        return _DECODE[self.kind](np.clip(x, 0.0, 1.0), self.table)

    @property
    def _highest(self) -> float:
        return float(self.table[-1, 0] if self.kind == "quantile" else self.table[0, 1])


def _first(table: Floats) -> tuple[float, float, float]:
    lo, hi, unit = table[0]
    return float(lo), float(hi), float(unit)


def _fit_minmax(points: Floats, lo: float, hi: float) -> Floats:
    return np.array([[lo, hi, 0.0]])


def _encode_minmax(v: Floats, table: Floats) -> Floats:
    lo, hi, _ = _first(table)
    return (v - lo) / (hi - lo if hi > lo else 1.0)


def _decode_minmax(x: Floats, table: Floats) -> Floats:
    lo, hi, _ = _first(table)
    return lo + x * (hi - lo)


def _fit_log(points: Floats, lo: float, hi: float) -> Floats:
    above = points[points > lo] - lo
    unit = float(np.quantile(above, 0.1)) if above.size else 1.0
    return np.array([[lo, hi, unit]])


def _encode_log(v: Floats, table: Floats) -> Floats:
    lo, hi, unit = _first(table)
    x: Floats = np.log1p((v - lo) / unit) / (np.log1p((hi - lo) / unit) if hi > lo else 1.0)
    return x


def _decode_log(x: Floats, table: Floats) -> Floats:
    lo, hi, unit = _first(table)
    values: Floats = lo + unit * np.expm1(x * np.log1p((hi - lo) / unit))
    return values


def _fit_quantile(points: Floats, lo: float, hi: float) -> Floats:
    values, counts = np.unique(points, return_counts=True)
    width = _widths(counts / counts.sum())
    after = np.cumsum(width)
    chosen = _knots(counts)
    before, margin = (after - width)[chosen], 0.25 * width[chosen]
    return np.stack([values[chosen], before + margin, after[chosen] - margin], axis=1)


def _widths(share: Floats) -> Floats:
    """The part of [0, 1] that each distinct value gets, from its share of the data.

    Common values, and the runs of rare ones between them, get parts in proportion to the square
    roots of their shares. So if nine tenths of the data are 0, the rest still has room. Inside a
    run, parts are in proportion to the shares.
    """
    common = share > 1 / COMMON
    starts = common | np.concatenate([[True], common[:-1]])
    group = np.cumsum(starts) - 1
    of_group = np.bincount(group, share)
    total: Floats = np.sqrt(of_group)
    widths: Floats = share / total[group] / total.sum()
    return widths


def _knots(counts: Ints) -> Ints:
    """Indices of the common values and of evenly spread quantiles, first and last included."""
    if len(counts) <= KNOTS:
        return np.arange(len(counts))
    common = np.flatnonzero(counts > counts.sum() / COMMON)
    share = (np.cumsum(counts) - counts / 2) / counts.sum()
    even = np.searchsorted(share, np.linspace(0, 1, KNOTS)).clip(max=len(counts) - 1)
    return np.unique(np.concatenate([common, even, [0, len(counts) - 1]]))


def _encode_quantile(v: Floats, table: Floats) -> Floats:
    value, start, end = table.T
    k = np.searchsorted(value, v, side="right") - 1
    after = np.minimum(k + 1, len(value) - 1)
    step = np.where(after > k, value[after] - value[k], 1.0)
    between = end[k] + (v - value[k]) / step * (start[after] - end[k])
    x: Floats = np.where(v == value[k], 0.5 * (start[k] + end[k]), between)
    return x


def _decode_quantile(x: Floats, table: Floats) -> Floats:
    value, start, end = table.T
    k = np.maximum(np.searchsorted(start, x, side="right") - 1, 0)
    after = np.minimum(k + 1, len(value) - 1)
    step = np.where(after > k, start[after] - end[k], 1.0)
    share = np.clip((x - end[k]) / step, 0.0, 1.0)
    values: Floats = value[k] + share * (value[after] - value[k])
    return values


_FIT: dict[str, Callable[[Floats, float, float], Floats]] = {
    "minmax": _fit_minmax,
    "log": _fit_log,
    "quantile": _fit_quantile,
}
_ENCODE: dict[str, Callable[[Floats, Floats], Floats]] = {
    "minmax": _encode_minmax,
    "log": _encode_log,
    "quantile": _encode_quantile,
}
_DECODE: dict[str, Callable[[Floats, Floats], Floats]] = {
    "minmax": _decode_minmax,
    "log": _decode_log,
    "quantile": _decode_quantile,
}
