"""One column of the meta-data as tokens: the values of a category, or atoms and bins of numbers."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from netdiffus.arrays import Floats, Ints
from netdiffus.codec.vocabulary import Vocabulary, needed
from netdiffus.errors import InputError

MOST_VALUES = 256  # of a category, the most frequent; bins and atoms of a number, each
UNKNOWN = -1  # token of a cell that is not learned: fewer than K owners have an empty or rare one
PORT = "server_port"
CODES = ("protocol", PORT)  # numbers that name something, and have no order
MOST_PORT = 65535
# Ports that few owners have are learned as one of these ranges, which do not depend on the data.
PORT_RANGES = {
    f"{low}..{high}": (low, high)
    for low, high in (
        (0, 1023), (1024, 2047), (2048, 4095), (4096, 8191), (8192, 16383), (16384, 32767),
        (32768, 49151), (49152, 65535),
    )
}  # fmt: skip
MOST_EXACT = 2**53  # beyond, a float64 does not hold every whole number
_ZONED = re.compile(r"timestamp\[(\w+), tz=(.+)\]")


@dataclass(frozen=True, eq=False)
class Column:
    """A column as tokens 0 to S - 1.

    A category has a token for each value that at least `K` owners share. Numbers, dates, times and
    durations have those of a `Vocabulary`. The last token is the empty cell, if `K` owners have
    one. A rarer value of a category counts as empty. But a rarer port counts as any port of its
    range, because all real flows have a port.

    Attributes:
        name: Of the column.
        kind: Its Arrow type, such as `int64`, `string` or `timestamp[us]`.
        values: Of a category.
        bins: Of a number; times count in their unit, from 1970.
        has_empty: Whether the last token is an empty cell.
        rare: The `PORT_RANGES` of ports that are not in `values`; each has `K` owners. Their tokens
            follow those of the values.
    """

    name: str
    kind: str
    values: tuple[Any, ...] = ()
    bins: Vocabulary | None = None
    has_empty: bool = False
    rare: tuple[str, ...] = ()

    @classmethod
    def fit(cls, name: str, cells: pa.ChunkedArray, owners: Ints) -> Column:
        """Finds the values that at least `K` owners share.

        Args:
            name: Of the column.
            cells: One for each trace.
            owners: (N,) the owner of each trace, as a number.

        Raises:
            InputError: The column has a type that cannot be learned, or no value that `K` owners
            share.
        """
        cells = plain(name, cells)
        if is_category(name, cells.type):
            return cls._of_category(name, cells, owners)
        is_empty = np.asarray(cells.is_null())
        mine = owners[~is_empty]
        if not _are_enough(mine):
            raise InputError(
                f"column {name!r}: fewer than {needed()} traces (or groups) have a value"
            )
        bins = Vocabulary.fit(numbers_of(name, cells.drop_null()), mine, MOST_VALUES, MOST_VALUES)
        return cls(name, str(cells.type), bins=bins, has_empty=_are_enough(owners[is_empty]))

    @classmethod
    def _of_category(cls, name: str, cells: pa.ChunkedArray, owners: Ints) -> Column:
        values = _shared(cells.to_pylist(), owners)
        known = {*values, None}
        is_rare = np.array([cell not in known for cell in cells.to_pylist()])
        rare = (
            _rare_ranges(cells.filter(pa.array(is_rare)), owners[is_rare]) if name == PORT else ()
        )
        if not values and not rare:
            raise InputError(
                f"column {name!r}: no value that {needed()} traces (or groups) share; leave it out"
            )
        column = cls(name, str(cells.type), values, rare=rare)
        is_empty = column.encode(cells) == UNKNOWN
        return replace(column, has_empty=_are_enough(owners[is_empty]))

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
            tuple(settings.get("rare", ())),
        )

    def settings(self) -> dict[str, Any]:
        """All but the table of the bins; JSON-able."""
        return {
            "name": self.name,
            "kind": self.kind,
            "values": None if self.bins is not None else list(self.values),
            "is_whole": None if self.bins is None else self.bins.is_whole,
            "has_empty": self.has_empty,
            "rare": list(self.rare),
        }

    @property
    def type(self) -> pa.DataType:
        """The Arrow type."""
        zoned = _ZONED.fullmatch(self.kind)
        return pa.timestamp(*zoned.groups()) if zoned else pa.type_for_alias(self.kind)

    @property
    def known(self) -> int:
        """Number of tokens that are values or ranges."""
        return len(self.values) + len(self.rare) if self.bins is None else len(self.bins)

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return self.known + self.has_empty

    def encode(self, cells: pa.ChunkedArray) -> Ints:
        """Tokens (N,) of cells; `UNKNOWN` for cells that are not learned."""
        cells = self.as_learned(cells)
        other = self.known if self.has_empty else UNKNOWN
        if self.bins is None:
            token = {value: k for k, value in enumerate(self.values)}
            listed = cells.to_pylist()
            tokens: Ints = np.array([token.get(cell, other) for cell in listed], dtype=np.int64)
            return self._with_rare(tokens, cells) if self.rare else tokens
        numbers = self.raw(cells)
        is_empty = np.isnan(numbers)
        tokens = np.full(len(numbers), other, dtype=np.int64)
        tokens[~is_empty] = self.bins.encode(numbers[~is_empty])
        return tokens

    def _with_rare(self, tokens: Ints, cells: pa.ChunkedArray) -> Ints:
        """Tokens of ports; a port without a token gets the token of the nearest range."""
        ports = self.raw(cells)
        is_rare = ~np.isin(ports, self.values) & (ports >= 0) & (ports <= MOST_PORT)
        low, high = np.array([PORT_RANGES[one] for one in self.rare]).T
        rare = ports[is_rare, None]
        found: Ints = tokens.copy()
        found[is_rare] = len(self.values) + np.maximum(low - rare, rare - high).argmin(1)
        return found

    def raw(self, cells: pa.ChunkedArray) -> Floats:
        """Numbers (N,) of the cells of a number; NaN of an empty cell."""
        cells = self.as_learned(cells)
        found = np.full(len(cells), np.nan)
        found[~np.asarray(cells.is_null())] = numbers_of(self.name, cells.drop_null())
        return found

    def as_learned(self, cells: pa.ChunkedArray) -> pa.ChunkedArray:
        """Cells converted to the learned type and unit."""
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

    def categories(self, tokens: Ints, places: Floats) -> pa.Array:
        """Arrow cells of tokens (N,) of a category.

        Args:
            tokens: (N,).
            places: (N,) in [0, 1): which port of the range of a rare one.
        """
        none, first = [None] * len(self.rare), len(self.values)
        cells: pa.Array = pa.array([*self.values, *none, None], self.type).take(pa.array(tokens))
        is_rare = (tokens >= first) & (tokens < self.known)
        if not is_rare.any():
            return cells
        ranges = np.array([PORT_RANGES[one] for one in self.rare])
        low, high = ranges[np.where(is_rare, tokens - first, 0)].T
        ports = low + (places * (high + 1 - low)).astype(np.int64)
        return pc.if_else(pa.array(is_rare), pa.array(ports).cast(self.type), cells)

    def cells(self, found: Floats) -> pa.Array:
        """Arrow cells of numbers."""
        is_empty = np.isnan(found)
        if pa.types.is_floating(self.type):
            return pa.array(found, mask=is_empty).cast(self.type, safe=False)
        whole = np.where(is_empty, 0, np.rint(found)).astype(np.int64)
        cells = pa.array(whole, mask=is_empty)
        return (cells.cast(pa.int32()) if _is_narrow(self.type) else cells).cast(self.type)


def is_category(name: str, kind: pa.DataType) -> bool:
    """Whether the values of a column have no order."""
    return name in CODES or pa.types.is_boolean(kind) or pa.types.is_string(kind)


def plain(name: str, cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """The cells in one of the types that are learned; NaN is an empty cell.

    Raises:
        InputError: Lists, structures or binary data, which are not one value per trace.
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
        cells = cells.cast(pa.int32() if _is_narrow(cells.type) else pa.int64())
    found: Floats = np.asarray(cells.cast(pa.float64(), safe=False))
    if not np.isfinite(found).all():
        raise InputError(f"column {name!r} holds infinity; mend it, or leave it out")
    if pa.types.is_integer(cells.type) and len(found) and np.abs(found).max() >= MOST_EXACT:
        raise InputError(
            f"column {name!r} holds whole numbers beyond 2**53, which are identifiers; leave it out"
        )
    return found


def _are_enough(owners: Ints) -> bool:
    """Whether there are enough owners to keep a value."""
    return len(np.unique(owners)) >= needed()


def _rare_ranges(cells: pa.ChunkedArray, owners: Ints) -> tuple[str, ...]:
    """The ranges of which enough owners have a port."""
    held = ranges_in(cells.type)
    ports = np.asarray(cells).astype(np.int64) if held else np.empty(0)
    inside = {name: (low <= ports) & (ports <= high) for name, (low, high) in held.items()}
    return tuple(name for name, mine in inside.items() if _are_enough(owners[mine]))


def ranges_in(kind: pa.DataType) -> dict[str, tuple[int, int]]:
    """The `PORT_RANGES` whose ports all fit into a type; none for types other than integers."""
    if not pa.types.is_integer(kind):
        return {}
    most = np.iinfo(kind.to_pandas_dtype()).max
    return {name: ends for name, ends in PORT_RANGES.items() if ends[1] <= most}


def _is_narrow(kind: pa.DataType) -> bool:
    """Whether times of a type have 32 bits."""
    return bool(pa.types.is_date32(kind) or pa.types.is_time32(kind))


def _shared(cells: Iterable[Any], owners: Ints) -> tuple[Any, ...]:
    """The values that at least `K` owners share; those of most owners first."""
    of_value: dict[Any, set[int]] = defaultdict(set)
    for cell, owner in zip(cells, owners.tolist(), strict=True):
        if cell is not None:
            of_value[cell].add(owner)
    shared = [value for value, found in of_value.items() if len(found) >= needed()]
    return tuple(sorted(shared, key=lambda v: (-len(of_value[v]), str(v)))[:MOST_VALUES])
