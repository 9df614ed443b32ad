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

    In memory are, for each trace, some 100 bytes and 8 for each class.

    Returns:
        (N,), true for the traces held out; and (N,), their classes.
    """
    labels: list[Ints] = []
    hashes: list[Ints] = []
    groups: list[Ints] = []
    numbers: dict[str, int] = {}
    for traces in batches:
        labels.append(traces.labels)
        hashes.append(point_hashes(traces))
        if by is not None:
            names = group_names(traces.meta, by, sep).tolist()
            groups.append(np.array([numbers.setdefault(one, len(numbers)) for one in names]))
    same = np.unique(np.concatenate(hashes), return_inverse=True)[1].astype(np.int64)
    tied = [np.concatenate(groups), same] if by is not None else [same]
    of_class = np.concatenate(labels)
    return holdout_rows(of_class, classes, tied, fraction, seed), of_class


def point_hashes(traces: Traces) -> Ints:
    """(N,), 64 bits of each trace's points: of 10**7 traces two share them once in 370,000 sets."""
    rows = zip(traces.values, traces.lengths, strict=True)
    found = b"".join(
        blake2b(row[:, :length].tobytes(), digest_size=8).digest() for row, length in rows
    )
    return np.frombuffer(found, dtype=np.int64)
