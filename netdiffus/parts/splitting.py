"""Which traces of a data set are held out; its points are read once, and never whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np

from netdiffus.traces.splitting import group_names, holdout_rows
from netdiffus.traces.traces import Bools, Ints, Traces


def holdout_mask(
    batches: Iterable[Traces],
    classes: Sequence[str],
    fraction: float,
    by: str | None,
    sep: str | None,
    seed: int,
) -> tuple[Bools, Ints]:
    """The rows that `Traces.split` holds out of the same traces in memory.

    In memory are some 80 bytes for each trace, and with `by` the names of the groups.

    Returns:
        (N,), true for the traces held out; and (N,), their classes.
    """
    labels, same, *groups = _read(batches, by, sep)
    return holdout_rows(labels, classes, [*groups, same], fraction, seed), labels


def _read(batches: Iterable[Traces], by: str | None, sep: str | None) -> list[Ints]:
    """(N,) each: classes, numbers of equal points and, with `by`, of groups."""
    found: list[tuple[Ints, ...]] = []
    numbers: dict[str, int] = {}
    for traces in batches:
        one: tuple[Ints, ...] = traces.labels, point_hashes(traces)
        if by is not None:
            names = group_names(traces.meta, by, sep).tolist()
            one += (np.array([numbers.setdefault(name, len(numbers)) for name in names]),)
        found.append(one)
    labels, hashes, *groups = map(np.concatenate, zip(*found, strict=True))
    found.clear()
    return [labels, np.unique(hashes, return_inverse=True)[1].astype(np.int64, copy=False), *groups]


def point_hashes(traces: Traces) -> Ints:
    """(N,), 64 bits of each trace's points: of 10**7 traces two share them once in 370,000 sets."""
    rows = zip(traces.values, traces.lengths, strict=True)
    found = b"".join(
        blake2b(row[:, :length].tobytes(), digest_size=8).digest() for row, length in rows
    )
    return np.frombuffer(found, dtype=np.int64)
