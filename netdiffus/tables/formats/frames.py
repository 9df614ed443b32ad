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
            Arrow as a PyCapsule (`__arrow_c_stream__`), a data set of Hugging Face, a mapping of
            columns, or a list of mappings, one per trace.

    Raises:
        InputError: It is none of these, or Arrow cannot hold one of its columns.
    """
    try:
        return _to_arrow(data)
    except (pa.ArrowException, OverflowError, ValueError) as error:
        raise InputError(f"the frame cannot become an Arrow table: {error}") from error


def _to_arrow(data: Any) -> pa.Table:
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if isinstance(data, pa.RecordBatchReader):
        return data.read_all()
    if type(data).__module__.startswith("pandas"):
        # An index with a name is a column of the user's; one without is the number of the row.
        named = any(name is not None for name in data.index.names)
        return pa.Table.from_pandas(data, preserve_index=named).replace_schema_metadata(None)
    if hasattr(data, "with_format"):
        return _of_hugging_face(data)
    if type(data).__module__.startswith("polars") and hasattr(data, "collect"):
        data = data.collect()  # it was lazy
    if hasattr(data, "__arrow_c_stream__"):
        return pa.table(data)
    if hasattr(data, "__arrow_c_array__"):
        return pa.Table.from_batches([pa.record_batch(data)])
    if isinstance(data, Mapping):
        return pa.table(dict(data))
    if isinstance(data, list) and data and all(isinstance(row, Mapping) for row in data):
        return pa.Table.from_pylist([dict(row) for row in data])
    raise InputError(
        f"a frame must be of pandas, polars, Arrow or Hugging Face, got {type(data).__name__}"
    )


def _of_hugging_face(data: Any) -> pa.Table:
    """A view of rows, perhaps selected, or a stream of them."""
    if isinstance(data, dict):
        raise InputError(
            f"a data set of the parts {', '.join(map(str, data))}: give one, such as "
            f"data[{next(iter(data), 'train')!r}]"
        )
    formed = data.with_format("arrow")
    if hasattr(formed, "iter") and not hasattr(data, "__len__"):
        return pa.concat_tables(formed.iter(batch_size=1000))
    return formed[:]
