"""Columns of the meta-data that are learned with the class; for images also the length."""

from __future__ import annotations

import ipaddress
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch

from netdiffus.codec.asked import Asked
from netdiffus.codec.column import CODES, MOST_VALUES, Column, plain
from netdiffus.codec.totals import PER_SECOND, equal_total, is_close, total
from netdiffus.codec.vocabulary import Vocabulary, needed
from netdiffus.errors import InputError, Note
from netdiffus.traces.traces import Bools, Floats, Ints, Traces

Choice = Sequence[str] | Literal["all"] | None

OURS = ("label", "trace_id", "seed")  # columns that all traces that are made have
LENGTHS = "columns.lengths"  # tensor of the lengths, beside those of columns by number
# Names of columns that identify a single trace.
_IDENTIFIERS = re.compile(
    r"(^|_)(id|ids|uuid|uid|name|user|host|hostname|mac|ip|addr|address|session|file|path"
    r"|capture|group|seed|label|sni|url|domain|(s|d|src|dst)(ip|addr|mac))($|_)|^(src|dst)$",
    re.IGNORECASE,
)
_WORD_ENDS = re.compile(r"(?<=[a-z])(?=[A-Z])|[\s-]+")  # of `Flow ID`, `SrcIP`
_MAC = re.compile(r"([0-9a-f]{2}[:-]){5}[0-9a-f]{2}", re.IGNORECASE)
LOOKED_AT = 1_000  # cells of a text that may be addresses


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns of the meta as tokens.

    Attributes:
        learned: The columns, in the order of their tokens.
        totals: Columns that are, in every training trace, a total of its points (their number, a
            sum, a mean, an extreme): which one, and the column's Arrow type. They are computed from
            the synthetic points.
        orders: Pairs of columns of which the first is never greater.
        lengths: Tokens of the length, which is then the last column; None if it is not a column.
        bins_per_point: Points of a trace that the length counts as one.
    """

    learned: tuple[Column, ...] = ()
    totals: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    orders: tuple[tuple[str, str], ...] = ()
    lengths: Vocabulary | None = None
    bins_per_point: int = 1

    @classmethod
    def fit(
        cls,
        traces: Traces,
        owners: Ints,
        chosen: Choice = None,
        bins_per_point: int | None = None,
    ) -> Columns:
        """Finds the values that at least `K` owners share; a rarer one could identify its owner.

        Args:
            traces: What to learn from.
            owners: (N,) the owner of each trace, as a number.
            chosen: Names of columns; None takes `protocol` and `server_port` if present; `all`
                takes all columns except identifiers of a trace, a person, a host or an address, and
                columns without a shared value.
            bins_per_point: Points of a trace that are one point for the network; None learns no
                length.

        Raises:
            InputError: A column that does not exist, or cannot be learned.
        """
        found, equal = [], {}
        for name in _names(traces, chosen):
            cells = traces.meta[name]
            if of := _total(traces, name, cells):
                equal[name] = of, str(cells.type)
                continue
            try:
                found.append(Column.fit(name, cells, owners))
                _say_rare(found[-1], cells)
            except InputError as error:
                if chosen not in (None, "all"):
                    raise
                warnings.warn(f"{error}: it is not learned", Note, stacklevel=2)
        lengths = None
        if bins_per_point is not None:
            points = _points(traces, bins_per_point)
            lengths = Vocabulary.fit(points, owners, MOST_VALUES, MOST_VALUES)
        learned = tuple(found)
        return cls(learned, equal, _orders(learned, traces), lengths, bins_per_point or 1)

    @classmethod
    def from_settings(
        cls, settings: Mapping[str, Any], tables: Mapping[str, torch.Tensor], bins_per_point: int
    ) -> Columns:
        """The columns of `settings()` and `tables()`."""
        learned = []
        for j, one in enumerate(settings.get("learned", ())):
            table = None if one["values"] is not None else tables[f"columns.{j}"].numpy()
            learned.append(Column.from_settings(one, table))
        lengths = tables.get(LENGTHS)
        return cls(
            tuple(learned),
            {name: (of, kind) for name, (of, kind) in settings.get("totals", {}).items()},
            tuple((first, second) for first, second in settings.get("orders", ())),
            None if lengths is None else Vocabulary(lengths.numpy(), True),
            bins_per_point,
        )

    def settings(self) -> dict[str, Any]:
        """All but the tables; JSON-able."""
        return {
            "learned": [column.settings() for column in self.learned],
            "totals": {name: list(total) for name, total in self.totals.items()},
            "orders": [list(pair) for pair in self.orders],
        }

    def tables(self) -> dict[str, torch.Tensor]:
        """The bins of numbers, and of the length."""
        found = {
            f"columns.{j}": torch.from_numpy(one.bins.table)
            for j, one in enumerate(self.learned)
            if one.bins is not None
        }
        if self.lengths is not None:
            found[LENGTHS] = torch.from_numpy(self.lengths.table)
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns that are learned."""
        return tuple(column.name for column in self.learned)

    @property
    def chosen(self) -> tuple[str, ...]:
        """Of all columns that are made."""
        return (*self.names, *self.totals)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many tokens each column has."""
        sizes = [column.size for column in self.learned]
        return (*sizes, *([] if self.lengths is None else [len(self.lengths)]))

    def encode(self, traces: Traces) -> Ints:
        """Tokens (N, J) of traces; `UNKNOWN` for a value that is not learned."""
        tokens = np.zeros((len(traces), len(self.sizes)), dtype=np.int64)
        if self.lengths is not None:
            tokens[:, -1] = self.lengths.encode(_points(traces, self.bins_per_point))
        for j, column in enumerate(self.learned):
            tokens[:, j] = column.encode(traces.meta[column.name])
        return tokens

    def decode(
        self,
        tokens: Ints,
        uniforms: Floats,
        asked: Mapping[str, Asked] | None = None,
        given: pa.Table | None = None,
    ) -> dict[str, pa.Array]:
        """Arrow columns of tokens, without the length and the totals.

        Args:
            tokens: (N, J).
            uniforms: (N, J) in [0, 1): which of the values inside a bin.
            asked: Conditions by column.
            given: Cells of known columns, to which others are put in order.
        """
        asked, known = asked or {}, given.column_names if given is not None else ()
        found: dict[str, Any] = {}
        for j, column in enumerate(self.learned):
            one, places = asked.get(column.name), uniforms[:, j]
            if column.bins is None:
                continue
            if given is not None and column.name in known:
                found[column.name] = column.raw(given[column.name])
                continue
            places = places if one is None else one.places(tokens[:, j], places)
            numbers = column.numbers(tokens[:, j], places)
            found[column.name] = _within(numbers, one)
        self._put_in_order(found, asked, known)
        return {
            one.name: one.categories(tokens[:, j], uniforms[:, j])
            if one.bins is None
            else one.cells(found[one.name])
            for j, one in enumerate(self.learned)
        }

    def with_totals(self, traces: Traces) -> Traces:
        """The traces with the columns that are totals of their points."""
        meta = traces.meta
        for name, cells in self.of_points(traces).items():
            meta = meta.append_column(name, cells)
        return replace(traces, meta=meta)

    def of_points(self, traces: Traces) -> dict[str, pa.Array]:
        """Columns that are totals of the points of traces, computed.

        Of whole numbers that their type does not hold, int64.
        """
        return {
            name: _as_type(total(traces, of), pa.type_for_alias(kind))
            for name, (of, kind) in self.totals.items()
        }

    def exceptions(self, traces: Traces) -> list[Bools]:
        """For each total, then for each ordered pair, (N,): the traces that break the rule."""
        found = []
        for name, (of, _) in self.totals.items():
            found.append(~is_close(_numbers(traces.meta[name]), total(traces, of)))
        kept = {one.name: one for one in self.learned}
        for pair in self.orders:
            first, second = (kept[name].raw(traces.meta[name]) for name in pair)
            found.append(first > second)
        return found

    def _put_in_order(
        self, found: dict[str, Any], asked: Mapping[str, Asked], known: Collection[str]
    ) -> None:
        """Orders each pair of columns; changes the value that was neither known nor requested."""
        for first, second in self.orders:
            a, b = found[first], found[second]
            if second not in known and (first in known or first in asked):
                found[second] = b = _within(np.where(a > b, a, b), asked.get(second))
            if first not in known:  # those of both ranges may still be in the wrong order
                found[first] = _within(np.where(a > b, b, a), asked.get(first))


def read_asked(columns: Columns, where: Mapping[str, Any]) -> dict[str, Asked]:
    """Conditions on columns, by name.

    Raises:
        InputError: A column that the model does not have, or a value that it has not learned.
    """
    known = {column.name: column for column in columns.learned}
    for name in where:
        if name in columns.totals:
            raise InputError(
                f"where: {name} is the {columns.totals[name][0]} of a trace; it is computed from "
                "the synthetic points, so where cannot fix it"
            )
        if name not in known:
            raise InputError(
                f"where: {name!r} is not a column that the model learned; those are: "
                f"{', '.join(('label', *known))}. train --with learns others"
            )
    asked = {name: Asked.of(known[name], value) for name, value in where.items()}
    for first, second in columns.orders:
        a, b = (asked[name].bounds if name in asked else None for name in (first, second))
        if a is not None and b is not None and a[0] > b[1]:
            raise InputError(
                f"where: {first} is never greater than {second} in the training traces, so no "
                "trace can be in both ranges"
            )
    return asked


def _names(traces: Traces, chosen: Choice) -> list[str]:
    """Which columns to learn."""
    there = list(traces.meta.column_names)
    if chosen is None:
        return [name for name in CODES if name in there]
    if chosen != "all":
        chosen = [chosen] if isinstance(chosen, str) else chosen
        for name in chosen:
            if name in OURS:
                raise InputError(f"column {name!r}: synthetic traces have their own; leave it out")
            if name not in there:
                raise InputError(
                    f"column {name!r} is not in the meta-data; there are: {', '.join(there)}"
                )
        return list(dict.fromkeys(chosen))
    return safe_columns(traces)


def safe_columns(traces: Traces) -> list[str]:
    """All columns except identifiers of a trace, a person or a host; a note lists those."""
    there = list(traces.meta.column_names)
    left = {name: why for name in there if (why := _unsafe(name, traces.meta[name]))}
    if left:
        listed = ", ".join(f"{name} ({why})" for name, why in left.items())
        warnings.warn(f"columns that are not learned: {listed}", Note, stacklevel=5)
    return [name for name in there if name not in left]


def _unsafe(name: str, cells: pa.ChunkedArray) -> str | None:
    """Why a column is left out of `all`; None if it is kept."""
    if name in CODES:
        return None
    if _IDENTIFIERS.search(_WORD_ENDS.sub("_", name.strip())):
        return "its name is that of an identifier"
    try:
        there = plain(name, cells).drop_null()
    except InputError:
        return f"cells of type {cells.type}"
    if not len(there):
        return "empty"
    if pa.types.is_string(there.type) and any(map(_is_address, there[:LOOKED_AT].to_pylist())):
        return "addresses"
    return "it counts the rows" if counts_rows(there) else None


def counts_rows(cells: pa.ChunkedArray) -> bool:
    """Whether whole numbers rise from row to row; empty cells are left out."""
    if not pa.types.is_integer(cells.type) or len(cells) - cells.null_count < 2:
        return False
    return bool((np.diff(np.asarray(cells.drop_null()).astype(np.float64)) > 0).all())


def _is_address(text: str) -> bool:
    """Whether a text is an IP address, a network or a MAC address."""
    if _MAC.fullmatch(text):
        return True
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return False
    return True


def _say_rare(column: Column, cells: pa.ChunkedArray) -> None:
    """Notes how many values of a category are not kept."""
    if column.bins is not None:
        return
    there = plain(column.name, cells).drop_null().to_pylist()
    known = set(column.values)
    rare = sum(cell not in known for cell in there)
    if rare:
        warnings.warn(
            f"column {column.name!r}: {rare} of {len(cells)} cells have values that fewer than "
            f"{needed()} traces (or groups) share, or that are not among the "
            f"{MOST_VALUES} most frequent; they are learned as "
            + (f"any port of {', '.join(column.rare)}" if column.rare else "empty"),
            Note,
            stacklevel=4,
        )


def _total(traces: Traces, name: str, cells: pa.ChunkedArray) -> str | None:
    """The total of its trace that every cell equals, if any."""
    kind = cells.type
    is_number = any(of(kind) for of in (pa.types.is_integer, pa.types.is_floating))
    is_number |= pa.types.is_duration(kind)
    if name in CODES or not is_number or cells.null_count or len(cells.unique()) < 2:
        return None
    return equal_total(traces, _numbers(cells))


def _numbers(cells: pa.ChunkedArray) -> Floats:
    """(N,): numbers as they are, durations in seconds; NaN where a cell is empty."""
    kind = cells.type
    if pa.types.is_duration(kind):
        return _numbers(cells.cast(pa.int64())) / PER_SECOND[kind.unit]
    return np.asarray(cells.cast(pa.float64(), safe=False).to_numpy())


def _orders(learned: Sequence[Column], traces: Traces) -> tuple[tuple[str, str], ...]:
    """Pairs of columns of one type that are in order in every trace, although ranges overlap."""
    numbers = {one.name: one.raw(traces.meta[one.name]) for one in learned if one.bins is not None}
    found = []
    for one, other in permutations((one for one in learned if one.bins is not None), 2):
        if one.kind != other.kind:
            continue
        first, second = one.name, other.name
        a, b = numbers[first], numbers[second]
        both = ~(np.isnan(a) | np.isnan(b))
        a, b = a[both], b[both]
        if len(a) >= needed() and (a <= b).all() and a.max() > b.min():
            found.append((first, second))
    return tuple(found)


def _as_type(numbers: Floats, kind: pa.DataType) -> pa.Array:
    if pa.types.is_floating(kind):
        return pa.array(numbers).cast(kind, safe=False)
    if pa.types.is_duration(kind):
        numbers = numbers * PER_SECOND[kind.unit]
    whole = pa.array(np.rint(numbers).astype(np.int64))
    try:
        return whole.cast(kind)
    except pa.ArrowInvalid:
        return whole


def _within(numbers: Floats, one: Asked | None) -> Floats:
    """Numbers clipped to the requested bounds, which rounding may exceed."""
    if one is None or one.bounds is None:
        return numbers
    return np.clip(numbers, *one.bounds)


def _points(traces: Traces, bins_per_point: int) -> Floats:
    return np.ceil(traces.lengths / bins_per_point)
