"""Frames of other libraries as Arrow tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from netdiffus.errors import InputError


def to_arrow(data: Any) -> pa.Table:
    """A frame as an Arrow table.

    Args:
        data: A pandas or polars frame, an Arrow table, record batch or stream, whatever offers
            Arrow as a PyCapsule (`__arrow_c_stream__`), a data set of Hugging Face, or a mapping of
            columns.

    Raises:
        InputError: It is none of these, or Arrow cannot hold one of its columns.
    """
    try:
        return _to_arrow(data)
    except (pa.ArrowException, OverflowError) as error:
        raise InputError(f"the frame cannot become an Arrow table: {error}") from error


def _to_arrow(data: Any) -> pa.Table:
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if isinstance(data, pa.RecordBatchReader):
        return data.read_all()
    if type(data).__module__.startswith("pandas"):
        return pa.Table.from_pandas(data, preserve_index=False)
    if hasattr(data, "with_format"):  # of Hugging Face: a view of rows, perhaps selected
        return data.with_format("arrow")[:]
    if hasattr(data, "__arrow_c_stream__"):
        return pa.table(data)
    if isinstance(data, Mapping):
        return pa.table(dict(data))
    raise InputError(
        f"a frame must be of pandas, polars, Arrow or Hugging Face, got {type(data).__name__}"
    )
