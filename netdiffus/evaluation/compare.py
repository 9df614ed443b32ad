"""A quick comparison of two sets of traces; `evaluate` also gives errors and floors."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import ks_2samp

from netdiffus.channels import Channel
from netdiffus.errors import InputError, Note, shortened
from netdiffus.evaluation.features.quantities import Quantity, quantities
from netdiffus.notebook import block, image, images, number, table
from netdiffus.traces.traces import Traces

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_TRACES = 5_000  # of each set
WIDEST = 40  # characters of a cell of the text form


@dataclass(frozen=True)
class Difference:
    """One quantity of two sets.

    Attributes:
        quantity: Its name.
        unit: Its unit.
        first: Its 5, 50 and 95 % quantiles in the first set.
        second: The same of the second set.
        ks: Largest difference of the two distribution functions (Kolmogorov-Smirnov), 0 to 1.
    """

    quantity: str
    unit: str
    first: tuple[float, float, float]
    second: tuple[float, float, float]
    ks: float


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """The result of `compare`; a notebook shows it as tables and a picture.

    Attributes:
        first: The first set, at most 5,000 traces.
        second: The second, with the same channels in the same order.
        names: Names of the two sets.
        counts: For each class the number of its traces in each set.
        differences: Of each quantity.
        seed: Which examples are drawn.
    """

    first: Traces
    second: Traces
    names: tuple[str, str]
    counts: dict[str, tuple[int, int]]
    differences: tuple[Difference, ...]
    seed: int = 0

    def __repr__(self) -> str:
        counted = [("class", *(f"{name}, traces" for name in self.names)), *self._counted()]
        found = [_head(*self.names), *map(_cells, self.differences)]
        return "\n".join([*_aligned(counted), "", *_aligned(found)])

    def _repr_html_(self) -> str:
        a, b = self.names
        return block(
            f"{a} beside {b}",
            table(self._counted(), ("class", f"traces, {a}", f"traces, {b}")),
            table(map(_cells, self.differences), _head(a, b)),
            images(lambda: [self._image()]),
        )

    @cached_property
    def figure(self) -> Figure:
        """Classes, distributions of every quantity, and traces of each class, as a picture."""
        from netdiffus.evaluation.compare_plot import draw  # matplotlib is slow to import

        return draw(self)

    def _counted(self) -> Iterable[tuple[str, str, str]]:
        for name, (a, b) in self.counts.items():
            yield name, f"{a:,}", f"{b:,}"

    def _image(self) -> str:
        from netdiffus.traces.plots import png

        return image(png(self.figure), "png", "the two sets", self.figure.get_figwidth())


def compare(
    a: Traces, b: Traces, *, names: tuple[str, str] = ("first", "second"), seed: int = 0
) -> Comparison:
    """Compares two sets of traces: classes, lengths, distributions, example traces.

    Any two sets will do: real and synthetic traces, two days, two sites. All classes are taken
    together, so different shares of classes give different distributions. This is for a quick look;
    `evaluate` shows whether a difference is larger than that between real traces.

    Args:
        a: The first set.
        b: The second, of the same channels in any order; times on one side alone become gaps.
        names: What they are called.
        seed: Which traces are drawn as examples, and which represent a set of more than 5,000.

    Raises:
        InputError: Other channels, or channels of another unit or bin width.

    Warns:
        Note: A set is represented by 5,000 of its traces.
    """
    first, second = _same_channels(a, b)
    first, second = _represented(first, names[0], seed), _represented(second, names[1], seed)
    pairs = zip(quantities(first.with_gaps()), quantities(second.with_gaps()), strict=True)
    return Comparison(
        first=first,
        second=second,
        names=names,
        counts=_counts(a, b),
        differences=tuple(_difference(x, y) for x, y in pairs),
        seed=seed,
    )


def _same_channels(a: Traces, b: Traces) -> tuple[Traces, Traces]:
    """Both with the channels of the first, in its order."""
    if _names(a) != _names(b):
        a, b = a.with_gaps(), b.with_gaps()
    if _names(a) != _names(b):
        raise InputError(
            f"b has the channels {', '.join(_names(b))}, a has {', '.join(_names(a))}; select the "
            "same channels of both"
        )
    b = b.select([channel.name for channel in a.channels])
    for x, y in zip(a.channels, b.channels, strict=True):
        if replace(x, dtype="") != replace(y, dtype=""):
            raise InputError(f"channel {x.name}: a has {_described(x)}, b has {_described(y)}")
    return a, b


def _names(traces: Traces) -> list[str]:
    return sorted(channel.name for channel in traces.channels)


def _described(channel: Channel) -> str:
    width = f" of {channel.bin_width:g} s" if channel.bin_width else ""
    return f"{channel.kind} [{channel.unit}{width}]"


def _represented(traces: Traces, name: str, seed: int) -> Traces:
    """The traces, or random ones of each class where they are many."""
    if len(traces) <= MOST_TRACES:
        return traces
    text = f"{name}: {MOST_TRACES:,} of {len(traces):,} traces are compared, random ones"
    warnings.warn(Note(text), stacklevel=3)
    kept = np.random.default_rng(seed).permutation(len(traces))[:MOST_TRACES]
    return traces[np.sort(kept)]


def _counts(a: Traces, b: Traces) -> dict[str, tuple[int, int]]:
    """Classes of both sets, those of the first set first."""
    first, second = a.counts(), b.counts()
    return {name: (first.get(name, 0), second.get(name, 0)) for name in {**first, **second}}


def _difference(x: Quantity, y: Quantity) -> Difference:
    ks = float(ks_2samp(x.values, y.values, method="asymp").statistic)
    return Difference(x.name, x.unit, _quantiles(x), _quantiles(y), ks)


def _quantiles(one: Quantity) -> tuple[float, float, float]:
    low, middle, high = np.quantile(one.values, (0.05, 0.5, 0.95)).tolist()
    return low, middle, high


def _head(a: str, b: str) -> tuple[str, ...]:
    return ("quantity", f"{a}, median", "5 to 95 %", f"{b}, median", "5 to 95 %", "KS distance")


def _cells(one: Difference) -> tuple[str, ...]:
    name = f"{one.quantity} [{one.unit}]" if one.unit else one.quantity
    sides = [
        text
        for low, middle, high in (one.first, one.second)
        for text in (number(middle), f"{number(low)} to {number(high)}")
    ]
    return (name, *sides, f"{one.ks:.2f}")


def _aligned(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """Rows of text as lines, each column as wide as its widest cell."""
    shown = [[shortened(cell, WIDEST) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip()
