"""The public domain: classes, length, ranges and cells of values; traces as cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netdiffus.channels import Channel
from netdiffus.errors import InputError
from netdiffus.traces.traces import Floats, Ints, Traces

MOST_CELLS = 2048  # of a channel; a cell then holds several values
RANGES = {
    "size": (0.0, 1500.0),
    "direction": (-1.0, 1.0),
    "gap": (1e-6, 100.0),
    "volume": (1.0, 1e9),
}
PER_DECADE = {"gap": 8, "volume": 16}  # cells, of channels on a logarithmic scale
MAIN = ("size", "volume", "number", "gap", "direction")  # the first of these is the leading feature


@dataclass(frozen=True)
class Grid:
    """Public cells of the values of one channel. Values outside are clipped.

    Attributes:
        channel: The channel; its times are gaps.
        low: Smallest value. On a logarithmic scale it is above 0, and cell 0 has the values below.
        high: Largest value.
        cells: The number of cells.
    """

    channel: Channel
    low: float
    high: float
    cells: int

    @classmethod
    def of(cls, channel: Channel, bounds: tuple[float, float]) -> Grid:
        """The cells of a channel between two bounds."""
        low, high = bounds
        if channel.kind in PER_DECADE:
            cells = 1 + math.ceil(PER_DECADE[channel.kind] * math.log10(high / low))
        elif channel.kind == "direction":
            cells = 2
        elif channel.is_integer:
            cells = min(MOST_CELLS, int(high - low) + 1)
        else:
            cells = MOST_CELLS // 8
        return cls(channel, low, high, cells)

    def encode(self, values: Floats) -> Ints:
        """The cell of each value."""
        if self.channel.kind in PER_DECADE:
            inner = self.cells - 1
            place = np.log(np.maximum(values, self.low) / self.low) / np.log(self.high / self.low)
            cell = 1 + np.minimum(inner - 1, np.floor(place * inner))
            return np.where(values < self.low, 0, cell).astype(np.int64)
        place = (values - self.low) / self._width()
        rounded = np.rint(place) if self._is_exact() else np.floor(place)
        return np.clip(rounded, 0, self.cells - 1).astype(np.int64)

    def decode(self, cells: Ints, rng: np.random.Generator) -> Floats:
        """A value of each cell: the only one, or a random one inside."""
        if self._is_exact():
            return np.asarray(self.low + cells * self._width(), dtype=np.float64)
        inside = rng.random(cells.shape)
        if self.channel.kind in PER_DECADE:
            ratio = np.log(self.high / self.low) / (self.cells - 1)
            values = np.where(cells == 0, 0.0, self.low * np.exp((cells - 1 + inside) * ratio))
        else:
            values = self.low + (cells + inside) * self._width()
        values = np.minimum(values, self.high)
        return np.rint(values) if self.channel.is_integer else values

    def _is_exact(self) -> bool:
        """Whether each cell has exactly one value."""
        if self.channel.kind in PER_DECADE:
            return False
        return self.channel.kind == "direction" or (
            self.channel.is_integer and self.high - self.low == self.cells - 1
        )

    def _width(self) -> float:
        if self._is_exact():
            return (self.high - self.low) / (self.cells - 1) if self.cells > 1 else 1.0
        return (self.high - self.low) / self.cells


@dataclass(frozen=True)
class PublicFeature:
    """One channel, or size and direction together: the cells of its channels."""

    grids: tuple[Grid, ...]

    @property
    def name(self) -> str:
        """Names of its channels."""
        return " x ".join(grid.channel.name for grid in self.grids)

    @property
    def cells(self) -> int:
        """How many cells a point can be in."""
        return math.prod(grid.cells for grid in self.grids)


@dataclass(frozen=True)
class Domain:
    """All public inputs.

    Attributes:
        classes: Names of the classes.
        length: How many points of a trace are used.
        features: All features, the leading one first.
        given: The inputs that the caller gave; the others are defaults.
    """

    classes: tuple[str, ...]
    length: int
    features: tuple[PublicFeature, ...]
    given: tuple[str, ...] = ()

    def about(self) -> dict[str, Any]:
        """The public inputs, for the ledger."""
        grids = [grid for feature in self.features for grid in feature.grids]
        return {
            "classes": list(self.classes),
            "length": self.length,
            "channels": {grid.channel.name: grid.channel.dtype for grid in grids},
            "ranges": {grid.channel.name: [grid.low, grid.high] for grid in grids},
            "cells": {grid.channel.name: grid.cells for grid in grids},
            "given": list(self.given),
        }

    def encode(self, traces: Traces) -> list[Ints]:
        """For each feature the cells (N, length), -1 where there is no point. Traces have gaps."""
        names = [channel.name for channel in traces.channels]
        inside = np.arange(self.length)[None] < traces.lengths[:, None]
        found = []
        for feature in self.features:
            cells = np.zeros(inside.shape, dtype=np.int64)
            for grid in feature.grids:
                values = traces.values[:, names.index(grid.channel.name), : self.length]
                values = np.pad(values, ((0, 0), (0, self.length - values.shape[1])))
                cells = cells * grid.cells + grid.encode(values)
            found.append(np.where(inside, cells, -1))
        return found

    def decode(self, cells: list[Ints], rng: np.random.Generator) -> dict[str, Floats]:
        """Values (N, length) of each channel; 0 where there is no point."""
        found: dict[str, Floats] = {}
        for feature, codes in zip(self.features, cells, strict=True):
            rest = np.maximum(codes, 0)
            for grid in reversed(feature.grids):
                rest, cell = np.divmod(rest, grid.cells)
                found[grid.channel.name] = np.where(codes >= 0, grid.decode(cell, rng), 0.0)
        return found


def domain(
    channels: Sequence[Channel],
    counts: Mapping[str, int],
    classes: Sequence[str] | None,
    length: int | None,
    ranges: Mapping[str, tuple[float, float]],
) -> Domain:
    """The public inputs, given or by default, see `privatise`; channels are gaps, not times.

    Of `counts`, the traces of each class, only the names of classes are used.

    Raises:
        InputError: A class of the traces is not among `classes`, a range is impossible or of no
            channel, or a channel needs one.
    """
    names = {channel.name for channel in channels}
    unknown = sorted(set(ranges) - names)
    if unknown:
        raise InputError(f"ranges: no channel {unknown[0]!r}; channels: {', '.join(sorted(names))}")
    grids = [Grid.of(one, _bounds(one, ranges.get(one.name))) for one in channels]
    given = [
        name for name, value in (("classes", classes), ("length", length)) if value is not None
    ]
    return Domain(
        classes=_classes(counts, classes),
        length=64 if length is None else length,
        features=_features(grids),
        given=(*given, *(f"range of {name}" for name in ranges)),
    )


def _classes(counts: Mapping[str, int], classes: Sequence[str] | None) -> tuple[str, ...]:
    if classes is None:
        return tuple(counts)
    public = tuple(dict.fromkeys(classes))
    missing = [name for name, n in counts.items() if n and name not in public]
    if missing:
        raise InputError(
            f"classes: {len(missing)} class(es) of the traces are not among the public ones: "
            f"{', '.join(map(repr, missing[:5]))}; add them, or drop their traces"
        )
    if not public:
        raise InputError("classes: an empty list; name the classes of the traces")
    return public


def _bounds(channel: Channel, given: tuple[float, float] | None) -> tuple[float, float]:
    if given is None and channel.kind not in RANGES:
        raise InputError(
            f"channel {channel.name!r} is a plain number without a known range, and a range "
            f"read from the traces would not be private: give one (--range {channel.name}=LO:HI)"
        )
    low, high = RANGES[channel.kind] if given is None else given
    low_is_wrong = low <= 0 if channel.kind in PER_DECADE else not math.isfinite(low)
    if not low < high or low_is_wrong or not math.isfinite(high):
        above = " and above 0" if channel.kind in PER_DECADE else ""
        raise InputError(
            f"range of {channel.name!r} must be two finite numbers, the least first{above}, got "
            f"{low:g}:{high:g}"
        )
    if channel.kind == "direction" and (low, high) != (-1, 1):
        raise InputError(f"range of {channel.name!r}: a direction is -1 or 1; leave it out")
    if channel.kind == "size" and low < 0:
        raise InputError(f"range of {channel.name!r}: a size cannot be below 0, got {low:g}")
    return (math.floor(low), math.ceil(high)) if channel.kind == "size" else (low, high)


def _features(grids: Sequence[Grid]) -> tuple[PublicFeature, ...]:
    """Size and direction are one feature; the first in `MAIN` leads."""
    kinds = [grid.channel.kind for grid in grids]
    joined: list[Grid] = []
    if "size" in kinds and "direction" in kinds:
        joined = [grids[kinds.index("direction")], grids[kinds.index("size")]]
    rest = [PublicFeature((grid,)) for grid in grids if grid not in joined]
    rest.sort(key=lambda feature: MAIN.index(feature.grids[0].channel.kind))
    found = ([PublicFeature(tuple(joined))] if joined else []) + rest
    return tuple(found)
