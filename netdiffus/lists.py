"""Arrow tables to padded arrays and back: list columns are channels, the others meta."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from netdiffus.channels import Channel
from netdiffus.errors import InputError

MAX_BYTES = 4 << 30  # of padded values; a single very long trace would else take all memory
SCHEMA_KEY = b"netdiffus"  # schema metadata: what each channel is, as JSON


def from_table(table: pa.Table, length: int | None = None) -> dict[str, Any]:
    """The fields of a Traces from an Arrow table. See `Traces.from_arrow`."""
    if table.num_rows == 0:
        raise InputError("no traces: the table has no rows")
    if length is not None and length < 1:
        raise InputError(f"length must be at least 1, got {length}")
    names = [field.name for field in table.schema if _is_list(field.type)]
    _check_columns(table, names)
    columns = [_list_column(table, name) for name in names]
    lengths = _common_lengths(names, columns)
    kept = lengths if length is None else np.minimum(lengths, length)
    _check_memory(kept, len(columns))
    labels, classes = _encode_labels(table["label"])
    return {
        "values": np.stack([_pad(column, lengths, kept) for column in columns], axis=1),
        "lengths": kept,
        "channels": _channels(table.schema, names, columns),
        "labels": labels,
        "classes": classes,
        "meta": table.drop_columns(["label", *names]).replace_schema_metadata(None),
    }


def to_table(
    labels: list[str],
    meta: pa.Table,
    points: dict[Channel, npt.NDArray[np.float64]],
    lengths: npt.NDArray[np.int64],
) -> pa.Table:
    """One Arrow row per trace from the flat points of each channel. See `Traces.to_arrow`."""
    columns: dict[str, Any] = {"label": pa.array(labels, pa.string())}
    columns |= {name: meta[name] for name in meta.column_names}
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    for channel, flat in points.items():
        items = pa.array(flat).cast(pa.type_for_alias(channel.dtype))
        lists = pa.LargeListArray.from_arrays(offsets, items)
        columns[channel.name] = lists.cast(pa.list_(items.type))
    about = {"channels": [asdict(channel) for channel in points]}
    return pa.table(columns).replace_schema_metadata({SCHEMA_KEY: json.dumps(about)})


def _is_list(kind: pa.DataType) -> bool:
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(test(kind) for test in tests)


def _check_columns(table: pa.Table, names: list[str]) -> None:
    twice = [name for name in table.column_names if table.column_names.count(name) > 1]
    if twice:
        raise InputError(f"column {twice[0]!r} is there more than once; rename one of them")
    if "label" not in table.column_names:
        raise InputError(
            f"no column 'label'; columns: {', '.join(table.column_names)}. "
            "Add one that names the class of each trace"
        )
    if not names:
        raise InputError(
            "no list column: a channel is a column with a list of numbers per trace, "
            "such as packet_length, direction, timestamp or value"
        )


def _list_column(table: pa.Table, name: str) -> pa.LargeListArray:
    column = table[name].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0)
    if not _is_number(column.type.value_type):
        raise InputError(f"column {name!r} holds lists of {column.type.value_type}, not of numbers")
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise InputError(f"column {name!r} has no list in row {row}; remove the row")
    column = column.cast(pa.large_list(column.type.value_type))
    if column.flatten().null_count:
        rows = pc.list_parent_indices(column).filter(pc.is_null(column.flatten()))
        raise InputError(f"column {name!r} has a missing value in row {rows[0].as_py()}")
    return column


def _is_number(kind: pa.DataType) -> bool:
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    return any(test(kind) for test in tests)


def _common_lengths(names: list[str], columns: list[pa.LargeListArray]) -> npt.NDArray[np.int64]:
    lengths: list[npt.NDArray[np.int64]] = [
        pc.list_value_length(column).to_numpy().astype(np.int64) for column in columns
    ]
    for name, other in zip(names, lengths, strict=True):
        differ = np.flatnonzero(other != lengths[0])
        if differ.size:
            row = differ[0]
            raise InputError(
                f"row {row}: {names[0]!r} has {lengths[0][row]} points but {name!r} has "
                f"{other[row]}; all channels of a trace must be equally long"
            )
    return lengths[0]


def _check_memory(lengths: npt.NDArray[np.int64], channels: int) -> None:
    longest, needed = int(lengths.max()), 8 * channels * len(lengths) * int(lengths.max())
    if needed > MAX_BYTES:
        raise InputError(
            f"trace {int(np.argmax(lengths))} has {longest} points: {len(lengths)} traces of that "
            f"length would take {needed / 2**30:.1f} GiB; keep fewer with length=… (--length)"
        )


def _encode_labels(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    missing = pc.equal(pc.fill_null(column.cast(pa.string()), ""), "")
    if pc.any(missing).as_py():
        row = pc.index(missing, True).as_py()
        raise InputError(f"column 'label' is empty in row {row}; name its class or remove the row")
    names = np.array([str(label) for label in column.to_pylist()], dtype=np.str_)
    classes, labels = np.unique(names, return_inverse=True)
    return labels.astype(np.int64), tuple(str(name) for name in classes)


def _pad(
    column: pa.LargeListArray, lengths: npt.NDArray[np.int64], kept: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """(N, L) from lists: the first `kept` points of each, zero beyond."""
    points = column.flatten().cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    values = np.zeros((len(lengths), int(kept.max())))
    ends = np.cumsum(lengths)
    for row, (end, length, keep) in enumerate(zip(ends, lengths, kept, strict=True)):
        values[row, :keep] = points[end - length : end - length + keep]
    return values


def _channels(
    schema: pa.Schema, names: list[str], columns: list[pa.LargeListArray]
) -> tuple[Channel, ...]:
    about = json.loads((schema.metadata or {}).get(SCHEMA_KEY, b"{}"))
    known = {one["name"]: Channel(**one) for one in about.get("channels", [])}
    return tuple(
        known.get(name) or Channel.named(name, str(column.type.value_type))
        for name, column in zip(names, columns, strict=True)
    )
