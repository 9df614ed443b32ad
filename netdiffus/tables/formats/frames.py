"""Frames of other libraries as Arrow tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from os import PathLike
from typing import Any

import numpy as np
import pyarrow as pa

from netdiffus.errors import InputError


def to_arrow(data: Any) -> pa.Table:
    """A frame as an Arrow table.

    Args:
        data: A pandas or polars frame, an Arrow table, record batch or stream, whatever offers
            Arrow as a PyCapsule (`__arrow_c_stream__`), a data set of Hugging Face, a mapping of
            columns, a structured array of NumPy, or a list of mappings, one per trace.

    Raises:
        InputError: It is none of these, or Arrow cannot hold one of its columns.
    """
    try:
        return _to_arrow(data)
    except InputError:
        raise
    except (pa.ArrowException, OverflowError, ValueError, TypeError) as error:
        raise InputError(f"the frame cannot become an Arrow table: {error}") from error


def _to_arrow(data: Any) -> pa.Table:
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if isinstance(data, pa.RecordBatchReader):
        return data.read_all()
    if type(data).__module__.startswith("pandas") and hasattr(data, "columns"):
        return _of_pandas(data)
    if hasattr(data, "with_format"):
        return _of_hugging_face(data)
    if type(data).__module__.startswith("polars") and hasattr(data, "collect"):
        data = data.collect()  # it was lazy
    if type(data).__module__.startswith("polars"):
        _refuse_objects(data)
    if type(data).__module__.startswith("pyarrow") and hasattr(data, "to_table"):
        return data.to_table()  # of a folder or a part of one
    if type(data).__name__ == "ParquetFile":
        return data.read()
    if isinstance(data, list) and data and all(isinstance(one, pa.RecordBatch) for one in data):
        return pa.Table.from_batches(data)
    if hasattr(data, "__arrow_c_stream__") and not hasattr(data, "to_frame"):
        return pa.table(data)
    if hasattr(data, "__arrow_c_array__"):
        return pa.Table.from_batches([pa.record_batch(data)])
    if isinstance(data, Mapping):
        return pa.table(dict(data))
    if isinstance(data, np.ndarray) and data.dtype.names and data.ndim == 1:
        return pa.table({name: _numpy_column(data[name]) for name in data.dtype.names})
    if isinstance(data, list) and data and all(isinstance(row, Mapping) for row in data):
        return pa.Table.from_pylist([dict(row) for row in data])
    raise InputError(_advice(data))


def _numpy_column(field: Any) -> pa.Array:
    """A field of a structured array; of one with a shape each row is a list."""
    native = field.astype(field.dtype.newbyteorder("="))
    return pa.array(native if field.ndim == 1 else native.reshape(len(field), -1).tolist())


def _advice(data: Any) -> str:
    name = type(data).__name__
    if isinstance(data, str | PathLike):
        return f"a frame is wanted, and {str(data)!r} is a path: Traces.load reads files"
    if hasattr(data, "to_frame"):
        return f"a {name} is one column: give a frame, with `label` and a column for each channel"
    if "GroupBy" in name:
        return f"{name}: give the frame itself, and by='…' for the column that names the trace"
    if hasattr(data, "shape"):
        return f"a frame is wanted, got {name}: Traces.from_arrays(X, y, channels=…) takes arrays"
    if isinstance(data, Sequence | Iterator):
        return f"a frame is wanted, got {name}: of rows make one: pandas.DataFrame(rows)"
    return f"a frame must be of pandas, polars, Arrow or Hugging Face, got {name}"


def _of_pandas(data: Any) -> pa.Table:
    """An index with a name is a column of the user's; one without is the number of the row."""
    if getattr(data.columns, "nlevels", 1) > 1:
        raise InputError(
            "the columns have several levels; join their names: df.columns = ['_'.join(map(str, "
            "one)).strip('_') for one in df.columns]"
        )
    columns = {}
    for name, kind in data.dtypes.items() if data.columns.is_unique else ():
        if str(kind).startswith("Sparse"):
            columns[name] = data[name].sparse.to_dense()
        elif str(kind) == "object" and data[name].map(_is_sequence).any():
            columns[name] = data[name].map(lambda one: _listed(one) if _is_sequence(one) else one)
    named = any(name is not None for name in data.index.names)
    table = pa.Table.from_pandas(data.assign(**columns), preserve_index=named)
    return table.replace_schema_metadata(None)


def _listed(cell: Any) -> list[Any]:
    return list(np.asarray(cell).tolist() if hasattr(cell, "__array__") else cell)


def _is_sequence(cell: Any) -> bool:
    """Whether a cell holds numbers in a way that Arrow does not know: a tensor, Series, matrix."""
    if isinstance(cell, Set):
        raise InputError("a cell holds a set, which has no order; make it a list")
    if isinstance(cell, np.ndarray):
        return cell.ndim > 1
    known = isinstance(cell, str | bytes | list | tuple | Mapping)
    return not known and hasattr(cell, "__len__") and hasattr(cell, "__getitem__")


def _refuse_objects(data: Any) -> None:
    """Polars gives Arrow the addresses of Python's objects, not what they hold."""
    for name, kind in getattr(data, "schema", {}).items():
        if str(kind) == "Object":
            raise InputError(
                f"column {name!r} holds objects of Python; make it lists: "
                f"pl.Series({name!r}, [list(one) for one in df[{name!r}]])"
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
