"""Files of traces on disk: what they are, and the Arrow table in them."""

from __future__ import annotations

import csv
import errno
import glob
import lzma
import re
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc

from netdiffus.errors import InputError
from netdiffus.tables import bounds, flow_files
from netdiffus.tables.columns.arrow import is_text
from netdiffus.tables.columns.names import is_label
from netdiffus.tables.formats import arff, json_text, npz, parquet, text, time_series
from netdiffus.tables.formats.encoding import as_utf8
from netdiffus.tables.formats.header import headless
from netdiffus.tables.formats.preamble import body_of
from netdiffus.tables.manifest import MANIFEST, PLAN, Manifest
from netdiffus.tables.options import ReadOptions
from netdiffus.tables.report import Findings

PACKED = (".gz", ".bz2", ".xz", ".zst", ".gzip", ".lz4", ".zip")
_PACKERS = {
    b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4",
}  # fmt: skip
_XZ, _ZIP = b"\xfd7zXZ\x00", b"PK\x03\x04"
_STARTS = {
    b"PAR1": ".parquet", b"ARROW1": ".feather", b"\x93NUMPY": ".npy", b"{": ".json", b"[": ".json",
    b"@relation": ".arff",
}  # fmt: skip
MAX_TEXT = 2**31 - 1  # bytes that Arrow parses as one block
_PARTS = (".parquet", ".pq")
_NO_TEXT = (*_PARTS, ".npz", ".npy", ".feather", ".arrow")
_NOTES = (".txt", ".log")
_README = re.compile(r"(?:readme|licen[cs]e|notes?|citation|changelog)\b.*", re.IGNORECASE)
_LOOKED_INTO = 64 << 20  # bytes of a file that is looked into before it is read
# What Hugging Face's save_to_disk writes beside the tables, and folders that are no classes.
_ABOUT = ("dataset_info.json", "state.json", "dataset_dict.json")
_SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "holdout"}
# What the readers raise where bytes are damaged.
_DAMAGED = (
    pa.ArrowException, zipfile.BadZipFile, zlib.error, lzma.LZMAError, KeyError, ValueError,
    TypeError, EOFError, OverflowError, RuntimeError, SyntaxError, tokenize.TokenError,
    csv.Error,
)  # fmt: skip
_CAPTURES = (".pcap", ".pcapng", ".cap")
# What pandas can convert, by suffix.
_PANDAS = {
    ".xlsx": "read_excel", ".xls": "read_excel", ".ods": "read_excel", ".h5": "read_hdf",
    ".hdf": "read_hdf", ".hdf5": "read_hdf", ".orc": "read_orc", ".dta": "read_stata",
    ".sas7bdat": "read_sas", ".sav": "read_spss", ".xml": "read_xml",
}  # fmt: skip
_CONVERT = (
    "convert it: python -c \"import pandas; pandas.{}('{}').to_parquet('traces.parquet')\", each "
    "row a trace"
)
_CAPTURE = "this is a capture: run `netdiffus import` on it first (import_captures in Python)"
# What people try to read as a table, by its first bytes, and what to do instead.
_OTHERS = (
    ((b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d",
      b"\x0a\x0d\x0d\x0a"),
     _CAPTURE),
    ((b"version https://git-lfs",), "this is a pointer of Git LFS, not the file: git lfs pull"),
    ((b"<?xml", b"<pdml", b"<psml"),
     "this is XML; of Wireshark's run `netdiffus import` on the capture itself, else export CSV"),
    ((b"Date first seen ",), "this is what nfdump prints to be read: nfdump -o csv, which is read"),
    ((b"<!DOCTYPE", b"<!doctype", b"<html"), "this is a web page: download the file itself"),
    ((b"MATLAB 5.0",),
     "this is of MATLAB: numpy.savez('traces.npz', X=…, y=…) of scipy.io.loadmat(…)"),
    ((b"SQLite format 3",), "this is an SQLite database: export the table as .csv"),
    ((b"7z\xbc\xaf\x27\x1c", b"Rar!"), "this is an archive: unpack it and give the folder"),
    ((b"\x89HDF\r\n",), "this is HDF5: in pandas, read_hdf(…).to_parquet('traces.parquet')"),
)  # fmt: skip
# A line of the text that tcpdump prints.
_TCPDUMP = re.compile(
    rb"\s*(?:(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d\.\d+|\d{9,10}\.\d{6,9}) "
    rb"(?:IP6? |ARP, |(?:[0-9a-f]{2}:){5}[0-9a-f]{2} > )"
)
# Of the lists of packets and of conversations that tshark prints.
_TSHARK = re.compile(
    rb"\s*\d+\s+\d+\.\d+\s+[0-9a-f.:]+ (?:\xe2\x86\x92|->) |={70,}\r?\n\w+ Conversations"
)
_TAR = (
    "an archive: unpack it (tar -xf) and give the folder; one of captures `netdiffus import` reads"
)
_TORCH = (
    "a file of torch, perhaps with code in it, so it is not read; if you trust it, convert it: "
    "python -c \"import numpy, torch; t = torch.load('{}', weights_only=True); "
    "numpy.savez('traces.npz', X=…, y=…)\" with what t holds"
)
_PICKLE = (
    "a pickle runs code when it is read, so it is not; if you trust it, convert it: python -c "
    "\"import numpy, pickle; numpy.savez('traces.npz', X=numpy.array(pickle.load(open('{}', 'rb'), "
    "encoding='latin1')), y=…)\" with y the class of each trace"
)


def read_files(path: Path, options: ReadOptions, findings: Findings) -> pa.Table:
    """The table in a file, in all Parquet files of a folder, or in all files of a glob.

    A folder with a manifest is a data set: its parts in the order of the manifest, which must fit.

    Raises:
        InputError: Names the file and what is wrong with it.
    """
    if (path / MANIFEST).exists() or (path / PLAN).exists():
        parts = [path / part.file for part in Manifest.read(path).parts]
        return _joined_tables(
            path, parts, [read_file(p, options, findings) for p in parts], findings
        )
    if path.is_dir():
        return _read_parts(path, _parts_of(path, findings), options, findings)
    if not path.exists() and glob.has_magic(str(path)):
        found = [Path(one) for one in sorted(glob.glob(str(path), recursive=True))]
        if not found:
            raise InputError(f"{path}: no file has such a name")
        return _read_parts(path, found, options, findings)
    return flow_files.with_names([path], [read_file(path, options, findings)], options, findings)[0]


def read_file(path: Path, options: ReadOptions, findings: Findings) -> pa.Table:
    """The table in one file.

    Raises:
        InputError: Names the file and what is wrong with it.
    """
    suffix = kind_of(path)
    _check_file(path)
    try:
        with path.open("rb") as file:
            start = file.read(256)
        _refuse_others(path, start, suffix)
        suffix = _named_otherwise(suffix, start)
        if options.encoding is not None and suffix in _NO_TEXT:
            raise InputError(f"encoding is for text, and {suffix} is none; leave it out")
        return READERS[suffix](path, options, findings)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except MemoryError:
        raise InputError(
            f"{path}: not enough memory to read it; keep fewer points (--length), read fewer "
            "channels (--channels), or split the file"
        ) from None
    except OSError as error:
        # Arrow's have no number, and a damaged archive asks for places before its first byte.
        if error.errno not in (None, errno.EINVAL):  # of the system
            raise
        raise _unreadable(path, suffix, error) from error
    except _DAMAGED as error:
        raise _unreadable(path, suffix, error) from error


def _unreadable(path: Path, suffix: str, error: Exception) -> InputError:
    return InputError(f"{path}: not a readable {suffix} file of traces: {error}")


def kind_of(path: Path) -> str:
    """The suffix that says what a file is, in lower case, without that of a compression.

    A file of another suffix, or without one, is what its first bytes say.

    Raises:
        InputError: Files of this name are not read.
    """
    suffix = _suffix(path)
    if suffix in (".pkl", ".pickle"):
        raise InputError(f"{path}: {_PICKLE.format(path.name)}")
    if suffix in (".pt", ".pth"):
        raise InputError(f"{path}: {_TORCH.format(path.name)}")
    if suffix in (".tar", ".tgz"):
        raise InputError(f"{path}: {_TAR}")
    if suffix in (".yaml", ".yml"):
        raise InputError(
            f'{path}: YAML is not read; write JSON: python -c "import json, sys, yaml; '
            'json.dump(yaml.safe_load(sys.stdin), sys.stdout)" < ' + path.name + " > traces.json"
        )
    if suffix in _CAPTURES:
        raise InputError(f"{path}: {_CAPTURE}")
    if suffix in _PANDAS:
        raise InputError(f"{path}: {_CONVERT.format(_PANDAS[suffix], path.name)}")
    return suffix if suffix in READERS else _kind_by_content(path)


def _named_otherwise(suffix: str, start: bytes) -> str:
    """The suffix by the first bytes, where these cannot be of a file with the one it has."""
    found = next((kind for mark, kind in _STARTS.items() if start.startswith(mark)), "")
    if found in (".parquet", ".feather", ".npy"):
        return found
    is_text = not any(byte < 7 for byte in start)
    if found == ".json" and suffix in (".csv", ".tsv") and start.startswith((b"[{", b'{"')):
        return found
    if is_text and suffix in (".parquet", ".pq", ".feather", ".arrow", ".npz", ".npy"):
        return found or ".csv"
    return suffix


def _suffix(path: Path) -> str:
    """The suffix in lower case, without that of a compression; empty where there is none."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _packer(start: bytes) -> str | None:
    """Arrow's name of the compression of a file that begins so."""
    return next((name for mark, name in _PACKERS.items() if start.startswith(mark)), None)


def _kind_by_content(path: Path) -> str:
    _check_file(path)
    if zipfile.is_zipfile(path):
        kind = kind_of(Path(_only_part(path).filename))
        if kind not in (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".arff", ".log"):
            raise InputError(f"{path}: an archive with a {kind} in it; unpack it first")
        return kind
    with path.open("rb") as file:
        start = file.read(512)
    packer = _packer(start)
    if packer is not None or start.startswith(_XZ):
        with _opened(path, packer) as stream:
            start = bytes(stream.read(512))
    try:
        _refuse_others(path, start, "")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    found = next(
        (kind for mark, kind in _STARTS.items() if start.lower().startswith(mark.lower())), ""
    )
    if not found and any(byte < 7 for byte in start):  # no text
        raise InputError(f"{path}: unknown kind of file; use one of {', '.join(READERS)}")
    return found or ".csv"


def _only_part(path: Path) -> zipfile.ZipInfo:
    """The only file in a zip archive."""
    with zipfile.ZipFile(path) as archive:
        parts = [one for one in archive.infolist() if not one.is_dir()]
    parts = [one for one in parts if not _is_hidden(one.filename)]
    if len(parts) > 1:  # a README beside a table, as in a folder
        parts = [one for one in parts if _is_no_note(Path(one.filename))] or parts
    if len(parts) != 1:
        raise InputError(f"{path}: an archive of {len(parts)} files; unpack it and give the folder")
    return parts[0]


def _is_hidden(name: str) -> bool:
    return name.startswith("__MACOSX") or Path(name).name.startswith(".")


def _is_no_note(path: Path) -> bool:
    return _suffix(path) in READERS and not (
        _suffix(path) in _NOTES or _README.fullmatch(path.name)
    )


def _left_in_archive(path: Path) -> list[str]:
    """What lies in a zip archive beside its only table."""
    if not zipfile.is_zipfile(path):
        return []
    used = _only_part(path).filename
    with zipfile.ZipFile(path) as archive:
        names = [one.filename for one in archive.infolist() if not one.is_dir()]
    return [name for name in names if name != used and not _is_hidden(name)]


def _check_file(path: Path) -> None:
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not path.is_file():
        raise InputError(f"{path}: no regular file but a device, pipe or socket; save it first")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty")


def _refuse_others(path: Path, start: bytes, suffix: str) -> None:
    for marks, advice in _OTHERS:
        if start.startswith(marks) or start.lstrip().startswith(marks):
            raise InputError(advice)
    if _TCPDUMP.match(start):
        raise InputError(
            "this is text that tcpdump printed: run `netdiffus import` on the capture itself "
            "(tcpdump -w writes one)"
        )
    if _TSHARK.match(start):
        raise InputError(
            "this is text that tshark printed: run `netdiffus import` on the capture itself"
        )
    if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05" and suffix != ".npy":
        raise InputError(_PICKLE.format(path.name))


def _parts_of(folder: Path, findings: Findings) -> list[Path]:
    """The Parquet files in a folder; where there are none, all that can be read."""
    inside = sorted(
        path
        for path in folder.rglob("*")
        if not path.name.startswith(("_", ".")) and path.is_file() and path.name not in _ABOUT
    )
    tables = [path for path in inside if _is_table(path)]
    tables = tables or [path for path in inside if headless(_first_bytes(path))]  # 0-1, 0-1.cell
    parts = [path for path in tables if path.suffix.lower() in _PARTS]
    what = "those of Parquet"
    if not parts:  # notes lie beside tables
        parts, what = [path for path in tables if _suffix(path) not in _NOTES], "tables"
        parts = parts or [path for path in tables if not _README.fullmatch(path.name)]
    if not tables:
        raise InputError(f"{folder}: a folder without tables of traces; name a file")
    if parts and len(parts) < len(tables):
        other = next(path for path in tables if path not in parts)
        findings.mended.append(
            f"of the files of the folder only {what} were read, not {other.name}"
            + (f" and {len(tables) - len(parts) - 1} more" if len(tables) > len(parts) + 1 else "")
        )
    return parts or tables


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4096)


def _start(path: Path, options: ReadOptions) -> bytes:
    """The first bytes of a text, from its header on; none of another file."""
    if _suffix(path) in _NO_TEXT or path.stat().st_size > _LOOKED_INTO:
        return b""
    try:
        data = body_of(as_utf8(content(path), options, Findings()), Findings()).data
    except (InputError, *_DAMAGED):
        return b""  # which is said when it is read
    start: bytes = data.slice(0, min(len(data), 4096)).to_pybytes()
    return start


def _is_table(path: Path) -> bool:
    """Whether a file in a folder holds traces; y.npy stands beside those of X.npy."""
    kind = _suffix(path)
    return kind in READERS and (kind != ".npy" or npz.classes_beside(path) is not None)


def _read_parts(
    whole: Path, paths: list[Path], options: ReadOptions, findings: Findings
) -> pa.Table:
    paths = _without_empty(paths, findings)
    options = flow_files.of_files(options, len(paths), _start(paths[0], options))
    tables = [_with_partition(path, read_file(path, options, findings)) for path in paths]
    if whole.is_dir():
        tables = _with_folders(whole, paths, tables, options, findings)
    tables = _with_own_traces(paths, tables, options, findings)
    _check_alike(paths, tables)
    tables = flow_files.with_names(paths, tables, options, findings)
    return _joined_tables(whole, paths, tables, findings)


def _without_empty(paths: list[Path], findings: Findings) -> list[Path]:
    """The files that are not empty; if all are, all."""
    filled = [path for path in paths if not path.is_file() or path.stat().st_size]
    if filled and len(filled) < len(paths):
        empty = next(path for path in paths if path not in filled)
        findings.mended.append(f"{len(paths) - len(filled)} empty files: not read: {empty}")
    return filled or paths


def _with_own_traces(
    paths: list[Path], tables: list[pa.Table], options: ReadOptions, findings: Findings
) -> list[pa.Table]:
    """Tables of packets whose traces are named apart, where their numbers begin anew in each file.

    So are the streams of tshark. Any other trace goes on from one file to the next, which is said.
    """
    by = next((old for old, new in options.columns.items() if new == options.by), options.by)
    if by is None or not all(by in table.column_names for table in tables):
        return tables
    traces = [pc.unique(table[by].cast(pa.string())) for table in tables]
    counts = pc.value_counts(pa.chunked_array(traces)).field("counts")
    several = pc.sum(pc.greater(counts, 1)).as_py()
    if not several:
        return tables
    if not by.lower().endswith("stream"):
        findings.mended.append(
            f"{several} traces of {by!r} have rows in several files and were read as one each; if "
            "the numbers begin anew in each file, make them differ"
        )
        return tables
    findings.mended.append(f"{by!r} begins anew in each file: their traces were kept apart")
    return [
        table.set_column(
            table.column_names.index(by),
            by,
            pc.binary_join_element_wise(str(path), table[by].cast(pa.string()), "#"),
        )
        for path, table in zip(paths, tables, strict=True)
    ]


def _joined_tables(
    whole: Path, paths: list[Path], tables: list[pa.Table], findings: Findings
) -> pa.Table:
    findings.form += f", {len(paths)} files"
    _check_alike(paths, tables)
    tables = _as_text_where_differing(tables, findings)
    try:
        return pa.concat_tables(
            [table.replace_schema_metadata(tables[0].schema.metadata) for table in tables],
            promote_options="permissive",
        )
    except pa.ArrowException as error:
        raise InputError(f"{whole}: the files do not fit together: {error}") from None


def _check_alike(paths: list[Path], tables: list[pa.Table]) -> None:
    first = set(tables[0].column_names)
    for path, table in zip(paths, tables, strict=True):
        if differ := first ^ set(table.column_names):
            raise InputError(
                f"{path}: other columns than {paths[0]}: {', '.join(sorted(differ))}; read the "
                "files one by one, or make them alike"
            )


def _as_text_where_differing(tables: list[pa.Table], findings: Findings) -> list[pa.Table]:
    """Tables whose columns are text in all, if they are in some and plain values in others."""
    for name in tables[0].column_names:
        kinds = {table.schema.field(name).type for table in tables}
        plain = all(is_text(kind) or pa.types.is_primitive(kind) for kind in kinds)
        if len(kinds) < 2 or not plain or not any(map(is_text, kinds)):
            continue
        findings.mended.append(f"{name!r} is text in some files, and was read as text in all")
        tables = [
            table.set_column(k, name, table[name].cast(pa.large_string()))
            for table in tables
            for k in [table.column_names.index(name)]
        ]
    return tables


def _with_partition(path: Path, table: pa.Table) -> pa.Table:
    """The table with the columns that Hive's folder names `name=value` say."""
    for part in path.parts[:-1]:
        name, equals, value = part.partition("=")
        if equals and name and name not in table.column_names:
            table = table.append_column(name, pa.array([value] * table.num_rows, pa.string()))
    return table


def _with_folders(
    root: Path,
    paths: list[Path],
    tables: list[pa.Table],
    options: ReadOptions,
    findings: Findings,
) -> list[pa.Table]:
    """Tables without a column of classes with that of the folder just below the root."""
    folders = [path.relative_to(root).parts[:-1] for path in paths]
    if options.label_column is not None or not all(folders):
        return tables
    if any(is_label(name) for table in tables for name in table.column_names):
        return tables
    names = sorted({parts[0] for parts in folders})
    if {name.lower() for name in names} <= _SPLITS:
        raise InputError(
            f"{root}: the folders {', '.join(names)} are parts of a split, not classes, and no "
            "table has a column of classes; read them one by one, with --label-column"
        )
    findings.mended.append("the class of a trace is the folder just below the one that was given")
    return [
        table.append_column("label", pa.array([parts[0]] * table.num_rows, pa.string()))
        for table, parts in zip(tables, folders, strict=True)
    ]


def content(path: Path) -> pa.Buffer:
    """The bytes of a file, decompressed where it is compressed.

    Raises:
        InputError: They are too many.
    """
    stored = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
    packer = _packer(start)
    if packer is None and not start.startswith((_XZ, _ZIP)):
        if stored > MAX_TEXT:
            raise InputError(f"{stored} bytes of text; a text file may have 2 GiB: use .parquet")
        with _mapped(path) as source:
            return source.read_buffer()
    with _opened(path, _ZIP if start.startswith(_ZIP) else packer) as stream:
        return _joined(iter(lambda: stream.read(1 << 22), b""), stored)


def _opened(path: Path, packer: str | bytes | None) -> Any:
    if packer == _ZIP:
        return zipfile.ZipFile(path).open(_only_part(path))
    if packer is None:
        return lzma.open(path)
    return pa.CompressedInputStream(pa.PythonFile(path.open("rb"), "r"), packer)


def _mapped(path: Path) -> Any:
    """The file for Arrow, which takes no name that is not UTF-8."""
    try:
        return pa.memory_map(str(path))
    except UnicodeEncodeError:
        return pa.PythonFile(path.open("rb"), "r")


def _joined(pieces: Iterator[bytes], stored: int) -> pa.Buffer:
    out = pa.BufferOutputStream()
    total = 0
    for piece in pieces:
        total += len(piece)
        bounds.check_expansion(total, stored, "the decompressed text")
        if total > MAX_TEXT:
            raise InputError("more than 2 GiB of text; use .parquet")
        out.write(piece)
    return out.getvalue()


def _read_log(data: pa.Buffer, options: ReadOptions, findings: Findings) -> pa.Table:
    """Zeek writes JSON or columns between tabs, both as .log."""
    if data.slice(0, min(len(data), 1024)).to_pybytes().lstrip().startswith(b"{"):
        return json_text.read_json(data, options, findings)
    return text.read_text(data, options, findings)


def _read_feather(path: Path, options: ReadOptions, findings: Findings) -> pa.Table:
    findings.form = "Arrow"
    stored = path.stat().st_size
    with _mapped(path) as source:
        try:
            reader = pa.ipc.open_file(source)
            batches = (reader.get_batch(k) for k in range(reader.num_record_batches))
        except pa.ArrowInvalid:
            source.seek(0)
            reader = pa.ipc.open_stream(source)
            batches = iter(reader)
        kept, total = [], 0
        for batch in batches:
            batch.validate()
            total += batch.get_total_buffer_size()
            bounds.check_expansion(total, stored, "the table")
            kept.append(batch)
        table = pa.Table.from_batches(kept, reader.schema)
    table.validate(full=True)
    return table


_Reader = Callable[[Path, ReadOptions, Findings], pa.Table]


def _of_content(
    read: Callable[[pa.Buffer, ReadOptions, Findings], pa.Table],
) -> _Reader:
    """A reader of files, of one that reads their bytes, decompressed and in UTF-8."""

    def read_path(path: Path, options: ReadOptions, findings: Findings) -> pa.Table:
        left = _left_in_archive(path)
        if left:
            findings.mended.append(f"of the archive {left[0]} and the like were not read")
        return read(as_utf8(content(path), options, findings), options, findings)

    return read_path


_TEXT, _LOG, _JSON = map(_of_content, (text.read_text, _read_log, json_text.read_json))
READERS: dict[str, _Reader] = {
    ".parquet": parquet.read_parquet,
    ".csv": _TEXT,
    ".npz": npz.read_npz,
    ".npy": npz.read_npy,
    ".pq": parquet.read_parquet,
    ".tsv": _TEXT,
    ".txt": _LOG,
    ".arff": _of_content(arff.read_arff),
    ".feather": _read_feather,
    ".arrow": _read_feather,
    ".json": _JSON,
    ".jsonl": _JSON,
    ".ndjson": _JSON,
    ".log": _LOG,
    ".labeled": _LOG,  # Zeek's logs of IoT-23
    ".binetflow": _TEXT,  # Argus, of CTU-13
    ".ts": _of_content(time_series.read_ts),
}
