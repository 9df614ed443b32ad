"""Private traces from cells, with their ledger."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from netdiffus.arrays import Floats, Ints
from netdiffus.ledger import Ledger
from netdiffus.privacy.cells import COLUMNS
from netdiffus.privacy.domain import Domain
from netdiffus.privacy.generate import make
from netdiffus.privacy.measure import Measured
from netdiffus.progress import Progress
from netdiffus.protocols import PROTOCOLS
from netdiffus.traces.traces import Traces


def made(
    measured: Measured,
    public: Domain,
    like: Traces,
    labels: Ints,
    about: Ledger,
    progress: Progress,
) -> Iterator[Traces]:
    """Private traces of the classes `labels` (N,), some at a time; no data are looked at.

    Args:
        measured: The noisy answers.
        public: The domain.
        like: What channels and columns they have.
        labels: Of the public classes.
        about: Their ledger.
        progress: Called with (share of the whole work done, a note).
    """
    rng, number = np.random.default_rng(secrets.randbits(128)), 0
    for some, cells, codes in make(measured, public, labels, rng):
        yield _traces(public, like, some, cells, codes, number, rng, about)
        number += len(some)
        progress(0.6 + 0.4 * number / len(labels), "making")


def _traces(
    public: Domain,
    like: Traces,
    labels: Ints,
    cells: list[Ints],
    codes: dict[str, Ints],
    number: int,
    rng: np.random.Generator,
    about: Ledger,
) -> Traces:
    """Traces of cells, of which the first has this number."""
    names = [f"private-{public.classes[k]}-{i}" for i, k in enumerate(labels.tolist(), number)]
    meta = {"trace_id": pa.array(names)}
    meta |= {n: _cells(like.meta[n].type, one, COLUMNS[n]) for n, one in codes.items()}
    lengths = (cells[0] >= 0).sum(axis=1)
    return Traces(
        values=_values(public, like, cells, lengths, rng)[:, :, : int(lengths.max())],
        lengths=lengths,
        channels=like.channels,
        labels=labels,
        classes=public.classes,
        meta=pa.table(meta),
        ledger=about,
    )


def _values(
    public: Domain, like: Traces, cells: list[Ints], lengths: Ints, rng: np.random.Generator
) -> Floats:
    """(n, C, length): as a file would keep them."""
    found = public.decode(cells, rng)
    names = [channel.name for channel in like.with_gaps().channels]
    values = np.stack([found[name] for name in names], axis=1)
    inside = np.arange(values.shape[2])[None] < lengths[:, None]
    for c, channel in enumerate(like.channels):
        if channel.kind == "time":
            values[:, c, 0] = 0.0  # times count from the first packet
            values[:, c] = np.where(inside, np.cumsum(values[:, c], axis=1), 0.0)
        kind = np.dtype(pa.type_for_alias(channel.dtype).to_pandas_dtype())
        if kind.kind in "iu":  # a public range can be wider than the type
            values[:, c] = np.clip(values[:, c], np.iinfo(kind).min, np.iinfo(kind).max)
        values[:, c] = values[:, c].astype(kind)
    return values


def _cells(kind: pa.DataType, codes: Ints, values: int) -> pa.Array:
    """A column of the meta-data from its codes; other codes give empty cells."""
    if pa.types.is_string(kind):
        return pa.array([PROTOCOLS.get(code) for code in codes.tolist()], kind)
    return pa.array([code if 0 <= code < values else None for code in codes.tolist()], kind)
