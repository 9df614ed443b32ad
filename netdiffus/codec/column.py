"""One column of the meta-data as tokens: the values of a category, or atoms and bins of numbers."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from netdiffus.arrays import Floats, Ints
from netdiffus.codec.vocabulary import Vocabulary, needed
from netdiffus.errors import InputError

MOST_VALUES = 256  # of a category, the most frequent; bins and atoms of a number, each
UNKNOWN = -1  # token of a cell that is not learned: fewer than K owners have an empty or rare one
CODES = ("protocol", "server_port")  # numbers that name something, and have no order
MOST_EXACT = 2**53  # beyond, a float64 does not hold every whole number
_ZONED = re.compile(r"timestamp\[(\w+), tz=(.+)\]")


@dataclass(frozen=True, eq=False)
class Column:
    """A column as tokens 0 to S - 1.

    A category has a token for each value that at least `K` owners share. Numbers, dates, times and
    durations have those of a `Vocabulary`. The last token is the empty cell, if `K` owners have
    such a one; the cell of a category with a rarer value counts as empty.

    Attributes:
        name: Of the column.
        kind: Its Arrow type, such as `int64`, `string` or `timestamp[us]`.
        values: Of a category.
        bins: Of a number; times count in their unit, from 1970.
        has_empty: Whether the last token is an empty cell.
    """

    name: str
    kind: str
    values: tuple[Any, ...] = ()
    bins: Vocabulary | None = None
    has_empty: bool = False

    @classmethod
    def fit(cls, name: str, cells: pa.ChunkedArray, owners: Ints) -> Column:
        """Finds what at least `K` owners share.

        Args:
            name: Of the column.
            cells: One for each trace.
            owners: (N,) the owner of each trace, as a number.

        Raises:
            InputError: The column holds what cannot be learned, or nothing that `K` owners share.
        """
        cells = plain(name, cells)
        kind, is_empty = str(cells.type), np.asarray(cells.is_null())
        if is_category(name, cells.type):
            values = _shared(cells.to_pylist(), owners)
            if not values:
                raise InputError(
                    f"column {name!r}: no value that {needed()} traces (or groups) share; leave "
                    "it out"
                )
            known = set(values)
            is_empty = np.array([cell not in known for cell in cells.to_pylist()])
            return cls(name, kind, values, has_empty=len(np.unique(owners[is_empty])) >= needed())
        mine = owners[~is_empty]
        if len(np.unique(mine)) < needed():
            raise InputError(
                f"column {name!r}: fewer than {needed()} traces (or groups) have a value"
            )
        bins = Vocabulary.fit(numbers_of(name, cells.drop_null()), mine, MOST_VALUES, MOST_VALUES)
        return cls(name, kind, bins=bins, has_empty=len(np.unique(owners[is_empty])) >= needed())

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], table: Floats | None) -> Column:
        """The column of `settings()` and of the table of its bins."""
        values, is_whole = settings["values"], settings["is_whole"]
        return cls(
            settings["name"],
            settings["kind"],
            tuple(values or ()),
            None if table is None else Vocabulary(table, is_whole),
            settings["has_empty"],
        )

    def settings(self) -> dict[str, Any]:
        """All but the table of the bins; JSON-able."""
        return {
            "name": self.name,
            "kind": self.kind,
            "values": None if self.bins is not None else list(self.values),
            "is_whole": None if self.bins is None else self.bins.is_whole,
            "has_empty": self.has_empty,
        }

    @property
    def type(self) -> pa.DataType:
        """The Arrow type."""
        zoned = _ZONED.fullmatch(self.kind)
        return pa.timestamp(*zoned.groups()) if zoned else pa.type_for_alias(self.kind)

    @property
    def known(self) -> int:
        """How many tokens are values."""
        return len(self.values) if self.bins is None else len(self.bins)

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return self.known + self.has_empty

    def encode(self, cells: pa.ChunkedArray) -> Ints:
        """Tokens (N,) of cells; `UNKNOWN` for what is not learned."""
        cells = self.as_learned(cells)
        other = self.known if self.has_empty else UNKNOWN
        if self.bins is None:
            token = {value: k for k, value in enumerate(self.values)}
            return np.array([token.get(cell, other) for cell in cells.to_pylist()], dtype=np.int64)
        numbers = self.raw(cells)
        is_empty = np.isnan(numbers)
        tokens = np.full(len(numbers), other, dtype=np.int64)
        tokens[~is_empty] = self.bins.encode(numbers[~is_empty])
        return tokens

    def raw(self, cells: pa.ChunkedArray) -> Floats:
        """Numbers (N,) of the cells of a number; NaN of an empty cell."""
        cells = self.as_learned(cells)
        found = np.full(len(cells), np.nan)
        found[~np.asarray(cells.is_null())] = numbers_of(self.name, cells.drop_null())
        return found

    def as_learned(self, cells: pa.ChunkedArray) -> pa.ChunkedArray:
        """Cells in the type and the unit that were learned."""
        cells = plain(self.name, cells)
        if cells.type == self.type:
            return cells
        try:
            return cells.cast(self.type, safe=False)
        except pa.ArrowException:
            raise InputError(
                f"column {self.name!r}: cells of type {cells.type} cannot be read as {self.kind}, "
                "which was learned"
            ) from None

    def numbers(self, tokens: Ints, places: Floats) -> Floats:
        """Numbers (N,) of tokens of a number; NaN of an empty cell.

        Args:
            tokens: (N,).
            places: (N,) in [0, 1], the quantile inside a bin.
        """
        assert self.bins is not None
        is_empty = tokens == self.known
        found = self.bins.decode(np.where(is_empty, 0, tokens), np.minimum(places, 1 - 2**-53))
        return np.where(is_empty, np.nan, found)

    def cells(self, found: Floats | Ints) -> pa.Array:
        """Arrow cells of numbers, or of the tokens of a category."""
        if self.bins is None:
            cells: pa.Array = pa.array([*self.values, None], self.type).take(pa.array(found))
            return cells
        is_empty = np.isnan(found)
        if pa.types.is_floating(self.type):
            return pa.array(found, mask=is_empty).cast(self.type, safe=False)
        whole = np.where(is_empty, 0, np.rint(found)).astype(np.int64)
        return _from_whole(pa.array(whole, mask=is_empty), self.type)


def is_category(name: str, kind: pa.DataType) -> bool:
    """Whether the values of a column have no order."""
    return name in CODES or pa.types.is_boolean(kind) or pa.types.is_string(kind)


def plain(name: str, cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """The cells in one of the types that are learned; NaN is an empty cell.

    Raises:
        InputError: Lists, structures, binary: nothing that a column of one value a trace holds.
    """
    kind = cells.type
    if pa.types.is_dictionary(kind):
        cells = pa.chunked_array([cells.combine_chunks().dictionary_decode()])
        kind = cells.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return cells.cast(pa.string())
    if pa.types.is_decimal(kind):
        return cells.cast(pa.float64())
    if pa.types.is_date64(kind):
        return cells.cast(pa.date32())
    if pa.types.is_timestamp(kind) and kind.unit == "ns":  # 2**53 of them are 104 days
        return cells.cast(pa.timestamp("us", kind.tz), safe=False)
    if pa.types.is_floating(kind):
        return pc.if_else(pc.is_nan(cells), None, cells)
    learned = (
        pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_string(kind),
        pa.types.is_temporal(kind) and not pa.types.is_interval(kind),
    )
    if not any(learned):
        raise InputError(f"column {name!r}: cells of type {kind} are not learned; leave it out")
    return cells


def numbers_of(name: str, cells: pa.ChunkedArray) -> Floats:
    """float64 of cells that are not empty; of times in their unit."""
    if pa.types.is_temporal(cells.type):
        narrow = pa.types.is_date32(cells.type) or pa.types.is_time32(cells.type)
        cells = cells.cast(pa.int32() if narrow else pa.int64())
    found: Floats = np.asarray(cells.cast(pa.float64(), safe=False))
    if not np.isfinite(found).all():
        raise InputError(f"column {name!r} holds infinity; mend it, or leave it out")
    if pa.types.is_integer(cells.type) and len(found) and np.abs(found).max() >= MOST_EXACT:
        raise InputError(
            f"column {name!r} holds whole numbers beyond 2**53, which are identifiers; leave it out"
        )
    return found


def _from_whole(whole: pa.Array, kind: pa.DataType) -> pa.Array:
    """Whole numbers as times or integers of a type."""
    if pa.types.is_date32(kind) or pa.types.is_time32(kind):
        whole = whole.cast(pa.int32())
    return whole.cast(kind)


def _shared(cells: Iterable[Any], owners: Ints) -> tuple[Any, ...]:
    """The values of `K` owners at least, those of most owners first."""
    of_value: dict[Any, set[int]] = defaultdict(set)
    for cell, owner in zip(cells, owners.tolist(), strict=True):
        if cell is not None:
            of_value[cell].add(owner)
    shared = [value for value, found in of_value.items() if len(found) >= needed()]
    return tuple(sorted(shared, key=lambda v: (-len(of_value[v]), str(v)))[:MOST_VALUES])
