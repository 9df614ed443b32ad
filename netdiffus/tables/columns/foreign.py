"""Columns as other libraries have them: views of text (polars), numbers of named classes."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from netdiffus.errors import InputError
from netdiffus.tables.columns.arrow import is_list, large_lists, lists_of


def plain(table: pa.Table) -> pa.Table:
    """The table with plain texts, which Arrow can do more with, and with the names of classes."""
    names = _names_of_classes(table.schema)
    for k, field in enumerate(table.schema):
        column = _plain_texts(_plain_items(field.name, table.column(k)))
        if field.name in names and pa.types.is_integer(field.type):
            column = _named(column, names[field.name])
        if column is not table.column(k):
            metadata = table.schema.metadata
            table = table.set_column(k, field.name, column).replace_schema_metadata(metadata)
    return table


def _plain_items(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column without extension types, run ends and numbers of lists or of their items."""
    kind = column.type
    if isinstance(kind, pa.FixedShapeTensorType) and sum(side > 1 for side in kind.shape) > 1:
        raise InputError(
            f"column {name!r} holds tensors of shape {tuple(kind.shape)}; a channel is a list of "
            "numbers: give Traces.from_arrays the array, with the names of its channels"
        )
    if pa.types.is_dictionary(kind) and is_list(kind.value_type):
        return _plain_items(name, pa.chunked_array(list(map(_decoded, column.chunks))))
    if is_list(kind) and pa.types.is_dictionary(kind.value_type) and not column.null_count:
        lists = large_lists(name, column)
        lengths = pc.list_value_length(lists).to_numpy()
        return pa.chunked_array([lists_of(_decoded(lists.flatten()), lengths)])
    if pa.types.is_run_end_encoded(kind):
        return pa.chunked_array([pc.run_end_decode(chunk) for chunk in column.chunks])
    if isinstance(kind, pa.JsonType):
        return pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
    if is_list(kind) and isinstance(kind.value_type, pa.Bool8Type):
        return column.cast(pa.list_(pa.bool_()))
    return column


def _decoded(column: pa.DictionaryArray) -> pa.Array:
    values = column.dictionary
    if pa.types.is_string_view(values.type):  # which Arrow cannot take from
        values = values.cast(pa.large_string())
    return values.take(column.indices)


def _plain_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind) and pa.types.is_string_view(kind.value_type):
        chunks = [
            pa.DictionaryArray.from_arrays(one.indices, one.dictionary.cast(pa.large_string()))
            for one in column.chunks
        ]
        return pa.chunked_array(chunks, pa.dictionary(kind.index_type, pa.large_string()))
    if pa.types.is_string_view(kind):
        return column.cast(pa.large_string())
    if pa.types.is_binary_view(kind):
        return column.cast(pa.large_binary())
    if is_list(kind) and pa.types.is_string_view(kind.value_type):
        return column.cast(pa.large_list(pa.large_string()))
    return column


def _names_of_classes(schema: pa.Schema) -> dict[str, list[str]]:
    """Of each column that Hugging Face calls a ClassLabel, the names of its classes."""
    try:
        about: Any = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = about.get("info", {}).get("features", {})
        found: dict[str, Any] = {
            name: one.get("names")
            for name, one in features.items()
            if isinstance(one, dict) and one.get("_type") == "ClassLabel"
        }
    except (ValueError, AttributeError, RecursionError):
        return {}
    lists = {name: names for name, names in found.items() if isinstance(names, list) and names}
    return {name: [str(one) for one in names] for name, names in lists.items()}


def _named(column: pa.ChunkedArray, names: list[str]) -> pa.ChunkedArray:
    """The names of the numbers; -1 is no class. Numbers beyond the names are left as they are."""
    limits = pc.min_max(column)
    if limits["max"].as_py() is None or limits["max"].as_py() >= len(names):
        return column
    return pa.chunked_array([pa.array(names)]).take(pc.if_else(pc.less(column, 0), None, column))
