"""NumPy files: our own .npz, and arrays X and y of others."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netdiffus.errors import InputError
from netdiffus.tables import bounds
from netdiffus.tables.columns.names import channel_named
from netdiffus.tables.columns.roles import declared
from netdiffus.tables.formats.arrays import arrays_table
from netdiffus.tables.lists import SCHEMA_KEY
from netdiffus.tables.options import ReadOptions
from netdiffus.tables.report import Findings

_X = (
    "X", "x", "data", "feature", "features", "data_feature", "X_train", "x_train", "train_x",
    "train_X", "traces", "sequences", "arr_0",
)  # fmt: skip
_Y = (
    "y", "Y", "label", "labels", "target", "targets", "data_attribute", "y_train", "train_y",
    "classes", "arr_1",
)  # fmt: skip
# The array of the classes that stands beside one of traces, by its file name.
_BESIDE = (
    ("X", "y"), ("x", "y"), ("data", "labels"), ("data", "label"), ("features", "labels"),
    ("traces", "labels"), ("sequences", "labels"),
)  # fmt: skip


def read_npz(path: Path, options: ReadOptions, findings: Findings) -> pa.Table:
    """The table in an .npz file: our own, or with X (traces) and y (classes).

    Raises:
        InputError: An array is a pickle, too large for its file, or does not fit.
    """
    findings.form = "NPZ"
    with zipfile.ZipFile(path) as archive:
        _check_headers(archive, path)
        if {"netdiffus.npy", "offsets.npy"} <= set(archive.namelist()):
            arrays = {name[:-4]: _array(archive, name) for name in archive.namelist()}
            return _our_table(arrays)
        stems = [name.removesuffix(".npy") for name in archive.namelist()]
        x, y = _found(stems, _X), _found(stems, _Y)
        named = [stem for stem in stems if channel_named(stem) is not None]
        if x is None and named:
            arrays = {stem: _array(archive, f"{stem}.npy") for stem in named}
            classes = None if y is None else _array(archive, f"{y}.npy")
            return _named_table(arrays, classes, findings)
        if x is None or y is None:
            raise InputError(
                "an .npz file of traces has arrays X (traces) and y (classes), or one array for "
                "each channel, such as packet_length, and y, or 'offsets', 'netdiffus' and one "
                f"array per column; found {', '.join(stems)}"
            )
        findings.form = f"NPZ of {x} and {y}"
        for stem in stems:
            if stem not in (x, y, "data_gen_flag"):
                findings.left_out[stem] = f"only the arrays {x} and {y} are read"
        lengths = _array(archive, "data_gen_flag.npy").sum(1) if "data_gen_flag" in stems else None
        traces, classes = _array(archive, f"{x}.npy"), _array(archive, f"{y}.npy")
    return arrays_table(traces, classes, options.channels, findings, lengths)


def read_npy(path: Path, options: ReadOptions, findings: Findings) -> pa.Table:
    """The traces in X.npy with the classes in y.npy beside it.

    Raises:
        InputError: An array is a pickle or too large for its file, or there are no classes.
    """
    beside = classes_beside(path)
    if beside is None:
        raise InputError(
            "traces without classes: put them into y.npy beside X.npy, or write both into "
            f"one file: python -c \"import numpy; numpy.savez('traces.npz', "
            f"X=numpy.load('{path.name}'), y=…)\""
        )
    findings.form = f"NPY, classes in {beside.name}"
    return arrays_table(_load(path), _load(beside), options.channels, findings)


def _load(path: Path) -> npt.NDArray[Any]:
    with path.open("rb") as file:
        shape, dtype = _header(file, path.name)
        bounds.check_expansion(_bytes(shape, dtype), path.stat().st_size, f"array {path.name}")
        file.seek(0)
        array: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def classes_beside(path: Path) -> Path | None:
    """The file of the classes of the traces in this one."""
    names = (path.name.replace(x, y, 1) for x, y in _BESIDE if x in path.name)
    return next((one for name in names if (one := path.with_name(name)).is_file()), None)


def _named_table(
    arrays: dict[str, npt.NDArray[Any]], y: npt.NDArray[Any] | None, findings: Findings
) -> pa.Table:
    """A table of arrays (N, L), or (L,) of one trace, each of one channel.

    Without classes it has no column of them: those of a folder may be the names of its folders.
    """
    if y is None and all(array.ndim == 1 for array in arrays.values()):
        arrays = {name: array[None] for name, array in arrays.items()}
    findings.form = f"NPZ of {', '.join(arrays)}"
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) > 1 or len(next(iter(shapes))) != 2:
        raise InputError(
            f"arrays {', '.join(arrays)} have the shapes {sorted(map(str, shapes))}; all must be "
            "(traces, points)"
        )
    cube = np.stack(list(arrays.values()), axis=2)
    labels = np.zeros(len(cube), np.int8) if y is None else y
    table = arrays_table(cube, labels, list(arrays), findings, channels_last=True)
    return table.drop_columns(["label"]) if y is None else table


def _found(names: list[str], usual: tuple[str, ...]) -> str | None:
    return next((name for name in usual if name in names), None)


def _check_headers(archive: zipfile.ZipFile, path: Path) -> None:
    """Looks at the headers of all arrays before one of them is read."""
    total = 0
    for item in archive.infolist():
        if not item.filename.endswith(".npy"):
            raise InputError(f"{item.filename!r} in it is no array; an .npz file holds .npy alone")
        with archive.open(item) as file:
            shape, dtype = _header(file, item.filename.removesuffix(".npy"))
        needed = _bytes(shape, dtype)
        if needed > item.file_size:
            raise InputError(
                f"array {item.filename!r} says that it has the shape {shape}, but its "
                f"{item.file_size} bytes are too few"
            )
        total += needed
    bounds.check_expansion(total, path.stat().st_size, "its arrays")


def _header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    of_format = np.lib.format
    is_first = of_format.read_magic(file) == (1, 0)
    read = of_format.read_array_header_1_0 if is_first else of_format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise InputError(
            f"array {name!r} is a pickle of Python objects, which runs code when it is read, so "
            'it is not; if you trust it, write its traces as a table: python -c "import numpy as '
            "n, pandas as p; f = n.load('FILE.npz', allow_pickle=True); p.DataFrame({'label': "
            "list(f['y']), 'value': list(map(list, f['X']))}).to_parquet('traces.parquet')\" with "
            "the channel's name for value"
        )
    return shape, dtype


def _bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    count = 1
    for one in shape:
        count *= int(one)
    return count * dtype.itemsize


def _array(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    with archive.open(name) as file:
        array: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _our_table(arrays: dict[str, npt.NDArray[Any]]) -> pa.Table:
    """Arrays `offsets` (N+1), one flat array per channel, one array of N per other column."""
    about, offsets = str(arrays.pop("netdiffus")), arrays.pop("offsets")
    schema = pa.schema([]).with_metadata({SCHEMA_KEY: about})
    channels = declared(schema)
    columns = {}
    for name, array in arrays.items():
        if array.ndim != 1:
            raise InputError(f"array {name!r} has the shape {array.shape}; it must be flat")
        if name in channels:
            _check_offsets(offsets, len(array), name)
            columns[name] = pa.LargeListArray.from_arrays(offsets, pa.array(array))
        else:
            columns[name] = pa.array(array)
            if len(array) != len(offsets) - 1:
                raise InputError(f"array {name!r} has {len(array)} rows, not {len(offsets) - 1}")
    return pa.table(columns).replace_schema_metadata({SCHEMA_KEY: about})


def _check_offsets(offsets: npt.NDArray[Any], points: int, name: str) -> None:
    if offsets.ndim != 1 or offsets.dtype.kind not in "iu" or not len(offsets):
        raise InputError("array 'offsets' must hold N + 1 whole numbers")
    if offsets[0] != 0 or offsets[-1] != points or (offsets[1:] < offsets[:-1]).any():
        raise InputError(
            f"array 'offsets' must rise from 0 to {points}, the number of points of {name!r}"
        )
