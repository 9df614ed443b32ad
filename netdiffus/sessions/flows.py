"""Flows in the order of their sessions, and sessions as traces whose points are flows."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netdiffus.channels import Channel
from netdiffus.codec.column import MOST_EXACT
from netdiffus.codec.columns import Columns
from netdiffus.codec.token_codec import MOST_TOKENS
from netdiffus.codec.vocabulary import needed
from netdiffus.errors import InputError, Note
from netdiffus.traces.traces import Floats, Ints, Traces

SESSION, START = "session", "start"
NEEDED = (
    "import captures with --per host or capture and --keep-flows, or give each flow the column "
    "`session` (any text or number) and `start` (ns since 1970)"
)
GAP = "gap"
ROW, LABELLED_ROW = "row", "row with class"  # of categories; and the class before them
ALL = ("session",)  # the class of all sessions, where flows of one session have several
BEGIN = "begin"  # s from the first flow of a capture to the first of a session


@dataclass(frozen=True, eq=False)
class Flows:
    """Flows sorted by session, then by start (N,), in ns since 1970.

    `session` (N,) is the number of each flow's session, in ascending order.
    """

    traces: Traces
    session: Ints
    start: Ints

    @classmethod
    def of(cls, traces: Traces) -> Flows:
        """Puts flows in order.

        Raises:
            InputError: There is no column `session` or `start`, or a cell of them is empty.
        """
        for name in (SESSION, START):
            if name not in traces.meta.column_names:
                raise InputError(f"column {name!r} is not in the meta-data; {NEEDED}")
            if empty := traces.meta[name].null_count:
                raise InputError(f"column {name!r}: {empty} cells are empty; {NEEDED}")
        if not pa.types.is_integer(traces.meta[START].type):
            raise InputError(f"column {START!r} is of {traces.meta[START].type}; {NEEDED}")
        _, first, session = np.unique(
            np.array([str(one) for one in traces.meta[SESSION].to_pylist()]),
            return_index=True,
            return_inverse=True,
        )
        session = np.argsort(np.argsort(first))[session]  # in the order of first rows
        start = np.asarray(traces.meta[START]).astype(np.int64)
        order = np.lexsort((start, session))
        return cls(traces[order], session[order], start[order])

    @property
    def first(self) -> Ints:
        """(S,), the row of each session's first flow."""
        return first_rows(self.session)

    @property
    def counts(self) -> Ints:
        """(S,), flows of each session."""
        return np.bincount(self.session)

    def is_constant(self, cells: Sequence[object]) -> bool:
        """Whether each session has a single value."""
        first = np.repeat(self.first, self.counts)
        return all(cell == cells[k] for cell, k in zip(cells, first.tolist(), strict=True))

    @property
    def gaps(self) -> Floats:
        """(N,), seconds from the previous start to the start of each flow; 0 for the first."""
        gaps = np.diff(self.start, prepend=self.start[:1]) / 1e9
        gaps[self.first] = 0.0
        return gaps

    def begins(self) -> Floats:
        """(S,), seconds from the first flow of a session's capture to its own first flow."""
        start = self.start[self.first]
        if "capture" not in self.traces.meta.column_names:
            since: Floats = (start - start.min()) / 1e9
            return since
        captures = self.traces.meta["capture"].take(pa.array(self.first)).to_pylist()
        earliest: dict[str, int] = {}
        for capture, one in zip(captures, start.tolist(), strict=True):
            earliest[capture] = min(one, earliest.get(capture, one))
        return np.array([(s - earliest[c]) / 1e9 for c, s in zip(captures, start, strict=True)])


def first_rows(session: Ints) -> Ints:
    """(S,), the first row of each session, of ascending numbers (N,)."""
    return np.flatnonzero(np.diff(session, prepend=-1))


def as_sessions(flows: Flows, columns: Columns, owners: Ints) -> Traces:
    """Sessions as traces: a point is a flow, its channels are its row, its gap and its numbers.

    The row of a flow is its class, if flows of one session differ in it, with all its columns that
    are categories, as one number (see `rows_of`). A row of fewer than 5 `owners` (N,) is replaced
    by the frequent row that agrees in the most parts. A column of numbers is a channel of its
    tokens. A column with a single value in each session becomes a column of the meta-data.

    Returns:
        One trace a session, with `begin` and the columns of the session in its meta.

    Raises:
        InputError: No row is shared by 5 owners.
    """
    tables = {name: flows.traces.meta[name] for name in columns.names}
    constant = {n for n, cells in tables.items() if flows.is_constant(cells.to_pylist())}
    by_label = flows.is_constant(flows.traces.labels.tolist())
    tokens = {
        one.name: one.encode(tables[one.name])
        for one in columns.learned
        if one.name not in constant
    }
    categories = [one for one in columns.learned if one.bins is None and one.name in tokens]
    parts = [] if by_label else [flows.traces.labels]
    parts += [tokens[one.name] for one in categories]
    sizes = [] if by_label else [len(flows.traces.classes)]
    sizes += [one.size for one in categories]
    check_sizes(sizes)
    points: dict[str, Any] = {}
    if parts:
        points[ROW if by_label else LABELLED_ROW] = rows_of(
            _shared(np.stack(parts, 1), owners), sizes
        )
    points[GAP] = flows.gaps
    points |= {
        token_channel(one.name): _without_unknown(tokens[one.name])
        for one in columns.learned
        if one.bins is not None and one.name in tokens
    }
    meta = {BEGIN: pa.array(flows.begins())}
    meta |= {name: tables[name].take(pa.array(flows.first)) for name in sorted(constant)}
    labels = flows.traces.labels[flows.first]
    return Traces(
        values=_padded(list(points.values()), flows),
        lengths=flows.counts,
        channels=tuple(_channel(name) for name in points),
        labels=labels if by_label else np.zeros_like(labels),
        classes=flows.traces.classes if by_label else ALL,
        meta=pa.table(meta),
        ledger=flows.traces.ledger,
    )


def token_channel(name: str) -> str:
    """The channel of the tokens of a column of numbers."""
    return f"{name} token"


def check_sizes(sizes: Sequence[int]) -> None:
    """Refuses so many kinds of rows that float64 cannot represent all their numbers."""
    if math.prod(sizes) > MOST_EXACT:
        raise InputError(
            "columns of flows: their categories have too many values together; learn fewer "
            "columns: --with, columns="
        )


def rows_of(tokens: Ints, sizes: Sequence[int]) -> Ints:
    """One number (N,) for each row of tokens (N, J): the tokens are its mixed-radix digits."""
    found = np.zeros(len(tokens), dtype=np.int64)
    for j, size in enumerate(sizes):
        found = found * size + tokens[:, j]
    return found


def tokens_of(rows: Ints, sizes: Sequence[int]) -> Ints:
    """The reverse of `rows_of`; invalid numbers become valid rows."""
    found = np.zeros((len(rows), len(sizes)), dtype=np.int64)
    rest = np.clip(rows, 0, math.prod(sizes) - 1)
    for j in reversed(range(len(sizes))):
        rest, found[:, j] = np.divmod(rest, sizes[j])
    return found


def _shared(rows: Ints, owners: Ints) -> Ints:
    """Rows (N, J); rows that fewer than 5 owners share are replaced."""
    known, which, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    which = which.reshape(-1)
    pairs = np.unique(np.stack([which, owners], 1), axis=0)
    is_shared = (np.bincount(pairs[:, 0], minlength=len(known)) >= needed()) & (known >= 0).all(1)
    shared = np.flatnonzero(is_shared)
    shared = shared[np.argsort(-counts[shared], kind="stable")][:MOST_TOKENS]
    if not len(shared):
        raise InputError(
            f"no class with columns of flows is shared by {needed()} sessions (or groups); learn "
            "fewer columns: --with, columns="
        )
    stands = np.arange(len(known))
    for k in np.setdiff1d(stands, shared).tolist():
        stands[k] = shared[(known[shared] == known[k]).sum(1).argmax()]
    if changed := int((stands[which] != which).sum()):
        warnings.warn(
            f"{changed} of {len(rows)} flows have a class with columns that fewer than {needed()} "
            "sessions (or groups) share; they are learned as a frequent one like it",
            Note,
            stacklevel=4,
        )
    found: Ints = known[stands[which]]
    return found


def _channel(name: str) -> Channel:
    return Channel(GAP, "gap", "s") if name == GAP else Channel(name, "number", "", "int64")


def _without_unknown(tokens: Ints) -> Ints:
    """Cells without a token count as the most frequent token: fewer than 5 owners have them.

    A separate token would have to be learned.
    """
    known = tokens[tokens >= 0]
    return np.where(tokens >= 0, tokens, np.bincount(known).argmax() if len(known) else 0)


def _padded(points: Sequence[npt.NDArray[np.number]], flows: Flows) -> Floats:
    """(S, C, L) of C arrays (N,)."""
    values = np.zeros((len(flows.counts), len(points), int(flows.counts.max())))
    place = np.arange(len(flows.session)) - flows.first[flows.session]
    for c, numbers in enumerate(points):
        values[flows.session, c, place] = numbers
    return values


def with_meta(traces: Traces, **columns: pa.Array) -> Traces:
    """The traces with these columns, which replace columns of the same names."""
    kept = [name for name in traces.meta.column_names if name not in columns]
    meta = traces.meta.select(kept)
    for name, cells in columns.items():
        meta = meta.append_column(name, cells)
    return replace(traces, meta=meta)
