"""Tables of traces on disk: Parquet, CSV and NPZ."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from netdiffus.errors import InputError
from netdiffus.files import refuse_existing, whole_file
from netdiffus.lists import SCHEMA_KEY

SUFFIXES = (".parquet", ".csv", ".npz")
# Names and numbers of things are text even where they look like numbers ("007").
TEXT_COLUMNS = ("label", "trace_id", "group")


def read(path: Path) -> pa.Table:
    """The table in a file, channels as list columns. See `Traces.load`."""
    check_suffix(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty")
    try:
        return _READERS[path.suffix](path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (pa.ArrowException, zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a readable {path.suffix} file of traces: {error}") from error


def write(table: pa.Table, path: Path, *, force: bool = False) -> None:
    """Writes a table, whole or not at all. See `Traces.save`."""
    check_suffix(path)
    refuse_existing(path, force)
    with whole_file(path) as part:
        _WRITERS[path.suffix](table, part)


def check_suffix(path: Path) -> None:
    """Raises InputError if files of this name cannot be read or written."""
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"{path}: unknown kind of file; use one of {', '.join(SUFFIXES)} (captures are read by "
            "import_captures, written by write_capture)"
        )


def _read_parquet(path: Path) -> pa.Table:
    return pa.parquet.read_table(path)


def _write_parquet(table: pa.Table, path: Path) -> None:
    pa.parquet.write_table(table, path, compression="zstd")


def _read_csv(path: Path) -> pa.Table:
    """One row per trace; a channel's cell is a JSON list of numbers."""
    table = pa.csv.read_csv(
        path,
        # One block, as a row may not lie in more than two.
        read_options=pa.csv.ReadOptions(block_size=min(path.stat().st_size + 1, 2**31 - 1)),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(TEXT_COLUMNS, pa.string()), strings_can_be_null=False
        ),
    )
    for i, name in enumerate(table.column_names):
        if pa.types.is_string(table[name].type) and _looks_like_lists(table[name]):
            table = table.set_column(i, name, _parse_lists(name, table[name]))
    return table


def _looks_like_lists(column: pa.ChunkedArray) -> bool:
    """Whether a cell does; then all must."""
    return bool(pc.any(pc.match_substring_regex(column, r"^\[[-+0-9.eE, ]+\]$")).as_py())


def _parse_lists(name: str, column: pa.ChunkedArray) -> pa.Array:
    text = column.combine_chunks()
    good = pc.match_substring_regex(text, r"^\[[^\[\]]*\]$")
    if not pc.all(good).as_py():
        row = pc.index(good, False).as_py()
        raise InputError(f"row {row}: {name!r} is not a list like [1, 2, 3]: {text[row]}")
    cells = pc.split_pattern(pc.utf8_trim(text, "[]"), ",")
    # "[]" splits into one empty text: an empty list.
    counts = pc.if_else(pc.equal(text, "[]"), 0, pc.list_value_length(cells))
    items = pc.utf8_trim_whitespace(cells.flatten())
    items = items.filter(pc.not_equal(items, ""))
    offsets = np.concatenate([[0], np.cumsum(counts.to_numpy(zero_copy_only=False))])
    if offsets[-1] != len(items):
        raise InputError(f"column {name!r} has a list with a missing number")
    whole = not pc.any(pc.match_substring_regex(items, r"[^0-9+-]")).as_py()
    return pa.LargeListArray.from_arrays(offsets, items.cast(pa.int64() if whole else pa.float64()))


def _write_csv(table: pa.Table, path: Path) -> None:
    for i, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            table = table.set_column(i, field.name, _format_lists(table[field.name]))
    pa.csv.write_csv(table.replace_schema_metadata(None), path)


def _format_lists(column: pa.ChunkedArray) -> pa.Array:
    lists = column.combine_chunks()
    if isinstance(lists, pa.ChunkedArray):
        lists = lists.chunk(0)
    wide = pa.float64() if pa.types.is_floating(lists.type.value_type) else pa.int64()
    items = lists.flatten().cast(wide).cast(pa.string())
    joined = pc.binary_join(pa.ListArray.from_arrays(lists.offsets, items), ",")
    return pc.binary_join_element_wise("[", joined, "]", "")


def _read_npz(path: Path) -> pa.Table:
    """Arrays `offsets` (N+1), one flat array per channel, one array of N per other column."""
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    if "offsets" not in arrays or "netdiffus" not in arrays:
        raise InputError(
            "an .npz file of traces has 'offsets' (N+1), 'netdiffus' (which arrays are channels) "
            f"and one array per column; found {', '.join(arrays)}"
        )
    about, offsets = str(arrays.pop("netdiffus")), arrays.pop("offsets")
    channels = {one["name"] for one in json.loads(about)["channels"]}
    columns = {
        name: pa.LargeListArray.from_arrays(offsets, pa.array(array))
        if name in channels
        else pa.array(array)
        for name, array in arrays.items()
    }
    return pa.table(columns).replace_schema_metadata({SCHEMA_KEY: about})


def _write_npz(table: pa.Table, path: Path) -> None:
    arrays: dict[str, Any] = {"netdiffus": np.array(table.schema.metadata[SCHEMA_KEY].decode())}
    for field in table.schema:
        column = table[field.name].combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = column.chunk(0)
        if pa.types.is_list(field.type):
            arrays["offsets"] = column.offsets.to_numpy().astype(np.int64)
            arrays[field.name] = column.flatten().to_numpy(zero_copy_only=False)
        else:
            arrays[field.name] = _plain_array(field.name, column)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _plain_array(name: str, column: pa.Array) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
    if column.null_count:
        raise InputError(f"column {name!r} has empty cells, which .npz cannot hold; use .parquet")
    if array.dtype == object:
        if not pa.types.is_string(column.type):
            raise InputError(f"column {name!r} of {column.type} cannot go into .npz; use .parquet")
        array = array.astype(np.str_)
    return array


_READERS = {".parquet": _read_parquet, ".csv": _read_csv, ".npz": _read_npz}
_WRITERS = {".parquet": _write_parquet, ".csv": _write_csv, ".npz": _write_npz}
