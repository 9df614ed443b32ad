"""Real and synthetic traces as one set, with a column that distinguishes them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import pyarrow as pa

from netdiffus.channels import Channel
from netdiffus.errors import InputError, Note
from netdiffus.ledger import Ledger
from netdiffus.parts import Dataset
from netdiffus.traces.traces import Traces, concat

COLUMN = "is_synthetic"


def check_unmarked(real: Traces, first: int = 0) -> None:
    """Refuses traces if some are marked as synthetic.

    Args:
        real: The traces.
        first: The row of the first of them, for the error.

    Raises:
        InputError: The column `is_synthetic` marks some, or holds something else.
    """
    if COLUMN not in real.meta.column_names:
        return
    marks = real.meta[COLUMN].to_pylist()
    if any(mark is not False for mark in marks):
        row = next(i for i, mark in enumerate(marks) if mark is not False)
        raise InputError(
            f"real: the column {COLUMN!r} is {marks[row]!r} in row {first + row}: synthetic traces "
            "would be used as real ones; remove these rows, or the column"
        )


def joined(real: Traces, made: Traces | None, validation: Traces | None) -> Traces:
    """All real traces, then the synthetic ones, with a column that distinguishes them.

    The ledger of `validation` counts, too, because these traces chose the number of synthetic ones.

    Warns:
        Note: The result has no privacy ledger, because the parts do not all have the same.
    """
    form = Form.of(real, made, validation)
    return (
        form.marked(real) if made is None else concat([form.marked(real), form.marked(made, True)])
    )


@dataclass(frozen=True)
class Form:
    """The common form of real and synthetic traces in one set.

    Attributes:
        channels: With types that hold the numbers of both.
        columns: Of the meta-data; text where numbers on one side are text on the other.
        ledger: That of all, or None.
    """

    channels: tuple[Channel, ...]
    columns: dict[str, pa.DataType]
    ledger: Ledger | None

    @classmethod
    def of(cls, real: Traces, made: Traces | None, validation: Traces | Dataset | None) -> Form:
        """The common form of these traces; some of each are enough. `made` may be None.

        Warns:
            Note: As of `joined`.
        """
        metas = [real.meta.schema, *([] if made is None else [made.meta.schema])]
        names = dict.fromkeys(name for one in metas for name in one.names if name != COLUMN)
        columns = {name: _type([one for one in metas if name in one.names], name) for name in names}
        if made is None:
            return cls(real.channels, columns, real.ledger)
        bare = [replace(one[:1], meta=one.meta.select([])[:1], ledger=None) for one in (real, made)]
        held = [] if validation is None else [validation.ledger]
        return cls(concat(bare).channels, columns, _ledger([real.ledger, made.ledger, *held]))

    def marked(self, traces: Traces, is_made: bool = False) -> Traces:
        """Traces in this form; columns that they lack are empty."""
        meta, n = traces.meta, len(traces)
        found = {
            name: meta[name].cast(kind) if name in meta.column_names else pa.nulls(n, kind)
            for name, kind in self.columns.items()
        }
        table = pa.table({**found, COLUMN: pa.array([is_made] * n, pa.bool_())})
        return replace(traces, channels=self.channels, meta=table, ledger=self.ledger)


def _type(schemas: list[pa.Schema], name: str) -> pa.DataType:
    """Of a column that all of these have."""
    alone = [pa.schema([one.field(name).remove_metadata()]) for one in schemas]
    try:
        return pa.unify_schemas(alone, promote_options="permissive").field(name).type
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return pa.string()


def _ledger(ledgers: list[Ledger | None]) -> Ledger | None:
    if all(one == ledgers[0] for one in ledgers):
        return ledgers[0]
    warnings.warn(
        Note(
            "augment: real, synthetic and validation traces have different privacy ledgers, so the "
            "result has none: train and validate on private traces of one ledger"
        ),
        stacklevel=5,
    )
    return None
