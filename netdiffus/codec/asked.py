"""Conditions on a column: a value, one of several values, a range, or an empty cell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from netdiffus.arrays import Floats, Ints
from netdiffus.codec.column import Column, numbers_of, plain
from netdiffus.codec.vocabulary import PARTS
from netdiffus.errors import InputError, shortened

SHOWN = 8  # values of a category in a message


@dataclass(frozen=True, eq=False)
class Asked:
    """A condition: which cells of a column may be drawn.

    Attributes:
        column: The column.
        weights: (S,) for each token the share of its cells that may be drawn.
        low: (S,) lowest quantile that is drawn inside a bin.
        high: (S,) highest quantile that is drawn inside a bin.
        bounds: Least and greatest number; None of a category.
    """

    column: Column
    weights: Floats
    low: Floats
    high: Floats
    bounds: tuple[float, float] | None = None

    @classmethod
    def of(cls, column: Column, value: Any) -> Asked:
        """Reads a condition.

        Args:
            column: Of the model.
            value: One value; a list of values of a category, any of which will do; a tuple (least,
                greatest) of numbers or times, either of which may be None for no bound; or None
                for the empty cell. Text is read as the column's type.

        Raises:
            InputError: The model has learned no such cell.
        """
        if isinstance(value, tuple) and (column.bins is None or len(value) != 2):
            raise InputError(
                f"where: {column.name}: a tuple is a range of two numbers or times; several values "
                "of a category are a list"
            )
        size = column.size
        nothing = cls(column, np.zeros(size), np.zeros(size), np.ones(size))
        if value is None:
            return nothing._with_empty()
        if column.bins is None:
            return nothing._with_values(value)
        if not np.isscalar(value) and not isinstance(value, (tuple, str, date, time, timedelta)):
            raise InputError(f"where: {column.name}: give one number, or a range of two")
        least, greatest = value if isinstance(value, tuple) else (value, value)
        return nothing._with_range(
            _number(column, least, -np.inf), _number(column, greatest, np.inf)
        )

    def places(self, tokens: Ints, uniforms: Floats) -> Floats:
        """Quantiles (N,) inside bins for uniform numbers in [0, 1)."""
        low, high = self.low[tokens], self.high[tokens]
        found: Floats = low + (high - low) * uniforms
        return found

    def _with_empty(self) -> Asked:
        if not self.column.has_empty:
            raise InputError(f"where: {self.column.name}: no cell of the training traces is empty")
        weights = self.weights.copy()
        weights[-1] = 1.0
        return replace(self, weights=weights)

    def _with_values(self, value: Any) -> Asked:
        column = self.column
        values = [_value(column, one) for one in (value if isinstance(value, list) else [value])]
        if not values:
            raise InputError(f"where: {column.name}: an empty list; name at least one value")
        for one in values:
            if one not in column.values:
                known = ", ".join(shortened(str(v), 40) for v in column.values[:SHOWN])
                more = f" and {len(column.values) - SHOWN} more" * (len(column.values) > SHOWN)
                raise InputError(
                    f"where: {column.name}={one!r} is not among the values that are learned: "
                    f"{known}{more}"
                )
        weights = self.weights.copy()
        weights[[column.values.index(one) for one in values]] = 1.0
        return replace(self, weights=weights)

    def _with_range(self, least: float, greatest: float) -> Asked:
        column, bins = self.column, self.column.bins
        assert bins is not None
        if bins.is_whole:
            least, greatest = np.ceil(least), np.floor(greatest)
        if least > greatest:
            raise InputError(f"where: {column.name}: no value lies in the range")
        ends = bins.table[:, 0].min(), bins.table[:, -1].max()
        if least > ends[1] or greatest < ends[0]:
            reach = "..".join(str(column.cells(np.array([end]))[0].as_py()) for end in ends)
            raise InputError(f"where: {column.name}: the training traces reach {reach}")
        half = 0.5 if bins.is_whole else 0.0  # numbers are rounded after they are drawn
        low, high = (_quantiles(bins.table, end) for end in (least - half, greatest + half))
        is_atom = bins.is_atom
        inside = (bins.table[:, 0] >= least) & (bins.table[:, 0] <= greatest)
        shares = np.where(is_atom, inside, high - low)
        if not shares.any():  # between two tokens, or one point of a bin: the nearest token
            middle = np.clip((max(least, ends[0]) + min(greatest, ends[1])) / 2, *ends)
            shares[bins.encode(np.array([middle]))] = 1.0
        empty = np.zeros(int(column.has_empty))
        return replace(
            self,
            weights=np.concatenate([shares, empty]),
            low=np.concatenate([low, empty]),
            high=np.concatenate([high, empty]),
            bounds=(least, greatest),
        )


def _quantiles(table: Floats, value: float) -> Floats:
    """(S,): the quantile of a number inside each bin; 0 below, 1 above."""
    steps = np.diff(table, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(steps > 0, (value - table[:, :-1]) / steps, value > table[:, :-1])
    found: Floats = np.clip(part, 0, 1).sum(1) / PARTS
    return found


def _value(column: Column, value: Any) -> Any:
    """A value as the column holds it; text is read."""
    if not isinstance(value, str) or pa.types.is_string(column.type):
        return value
    if pa.types.is_boolean(column.type):
        return {"true": True, "false": False}.get(value.lower(), value)
    try:
        return float(value) if pa.types.is_floating(column.type) else int(value)
    except ValueError:
        raise InputError(f"where: {column.name}={value!r} is no number") from None


def _number(column: Column, value: Any, without: float) -> float:
    """A number, or a time as its number; `without` where there is none."""
    if value is None or value == "" or (isinstance(value, float) and np.isinf(value)):
        return without if value in (None, "") else float(value)
    try:
        cells = pa.chunked_array([_cell(column, value)])
        return float(numbers_of(column.name, plain(column.name, cells))[0])
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        raise InputError(
            f"where: {column.name}={value!r} cannot be read as {column.kind}"
        ) from None


def _cell(column: Column, value: Any) -> pa.Array:
    """One cell: text is read, and numbers of a duration are seconds."""
    if pa.types.is_duration(column.type) and not isinstance(value, timedelta):
        value = timedelta(seconds=float(value))
    if pa.types.is_timestamp(column.type):
        return _timestamp(value).cast(pa.timestamp(column.type.unit), safe=False).cast(column.type)
    if pa.types.is_time(column.type) and isinstance(value, str):
        value = time.fromisoformat(value)
    if pa.types.is_temporal(column.type):
        return pa.array([value]).cast(column.type)
    return pa.array([float(value)])


def _timestamp(value: Any) -> pa.Array:
    """One time in UTC; a text without a zone is in UTC, too."""
    cell = pa.array([value])
    if pa.types.is_string(cell.type):
        try:
            return cell.cast(pa.timestamp("us"))
        except pa.ArrowInvalid:
            cell = cell.cast(pa.timestamp("us", "UTC"))
    return cell.cast(pa.timestamp("us", cell.type.tz)).cast(pa.timestamp("us"))
