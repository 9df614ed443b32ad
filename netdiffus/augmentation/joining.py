"""Real and made traces as one set that says which is which."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import pyarrow as pa

from netdiffus.errors import InputError, Note
from netdiffus.evaluation.prepare import with_classes
from netdiffus.traces.traces import Traces, concat

COLUMN = "is_synthetic"


def check_unmarked(real: Traces) -> None:
    """Refuses traces among which some are made already.

    Raises:
        InputError: The column `is_synthetic` marks some, or holds something else.
    """
    if COLUMN not in real.meta.column_names:
        return
    marks = real.meta[COLUMN].to_pylist()
    if any(mark is not False for mark in marks):
        row = next(i for i, mark in enumerate(marks) if mark is not False)
        raise InputError(
            f"real: the column {COLUMN!r} is {marks[row]!r} in row {row}: synthetic traces "
            "would be used as real ones; remove these rows, or the column"
        )


def joined(real: Traces, made: Traces | None, validation: Traces | None) -> Traces:
    """All real traces, then the made ones, with a column that tells them apart.

    The ledger of `validation`, which chose how many were made, counts, too.

    Warns:
        Note: The result has no privacy ledger, as that of one part is missing or another.
    """
    names = [name for name in real.meta.column_names if name != COLUMN]
    if made is None:
        columns = {name: real.meta[name] for name in names}
        return replace(real, meta=pa.table({**columns, COLUMN: [False] * len(real)}))
    columns = {
        name: _column(name, real.meta, made.meta)
        for name in dict.fromkeys([*names, *made.meta.column_names])
    }
    is_made = [False] * len(real) + [True] * len(made)
    parts = [real, with_classes(made, real.classes, "made")]
    both = concat([replace(part, meta=part.meta.select([]), ledger=None) for part in parts])
    ledger = _ledger([part for part in (real, made, validation) if part is not None])
    return replace(both, meta=pa.table({**columns, COLUMN: is_made}), ledger=ledger)


def _column(name: str, real: pa.Table, made: pa.Table) -> pa.ChunkedArray:
    """One column of both; as text where numbers on one side are text on the other."""
    parts = [
        part.select([name]) if name in part.column_names else pa.table({name: pa.nulls(len(part))})
        for part in (real, made)
    ]
    try:
        return pa.concat_tables(parts, promote_options="permissive")[name]
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        texts = [pa.table({name: part[name].cast(pa.string())}) for part in parts]
        return pa.concat_tables(texts)[name]


def _ledger(parts: list[Traces]) -> dict[str, Any] | None:
    ledgers = [part.ledger for part in parts]
    if all(one == ledgers[0] for one in ledgers):
        return ledgers[0]
    warnings.warn(
        Note(
            "augment: real, synthetic and validation traces have different privacy ledgers, so the "
            "result has none: train and validate on private traces of one ledger"
        ),
        stacklevel=4,
    )
    return None
