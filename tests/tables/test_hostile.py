"""Files that ask for far more than they hold, or are not what their name says."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from netdiffus.errors import InputError
from netdiffus.traces.traces import Traces

MOST_MEMORY = 1 << 30  # bytes
MOST_SECONDS = 5  # of processor time


def run_lists(counts: list[int], value: float = 1.0) -> pa.Table:
    """Lists of these lengths, all of one number, which Parquet stores in a few bytes."""
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int64())
    items = pa.array(np.full(sum(counts), value))
    labels = pa.array(["a"] * len(counts))
    return pa.table({"label": labels, "value": pa.LargeListArray.from_arrays(offsets, items)})


def ragged(path: Path) -> None:
    pa.parquet.write_table(run_lists([1] * 5000 + [100_000]), path, compression="zstd")


def many_numbers(path: Path) -> None:
    """As many numbers as take 1.2 GiB of memory, in a few hundred kB."""
    one = run_lists([4_000_000] * 4)
    with pa.parquet.ParquetWriter(path, one.schema, compression="zstd") as writer:
        for _ in range(10):
            writer.write_table(one)


def csv_bomb(path: Path) -> None:
    row = gzip.compress(b"a,[" + b"0," * (1 << 20) + b"0]\n")
    path.write_bytes(gzip.compress(b"label,value\n") + 400 * row)  # which are one file to gzip


def npz_header(path: Path) -> None:
    """An array that says that it has 2**40 numbers, and has none."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }"
    header += b" " * (118 - len(header)) + b"\n"
    start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("X.npy", "y.npy"):
            archive.writestr(name, start + header)


def npz_bomb(path: Path) -> None:
    np.savez_compressed(path, X=np.zeros((30_000, 10_000), np.int8), y=np.zeros(30_000))


def deep_json(path: Path) -> None:
    path.write_text('{"label": "a", "value": ' + "[" * 200_000 + "]" * 200_000 + "}")


def deep_cells(path: Path) -> None:
    path.write_text('label,value\na,"' + "[" * 200_000 + "1" + "]" * 200_000 + '"\n')


def open_quote(path: Path) -> None:
    path.write_text('label,value\na,"[1,2' + ",3" * 1_000_000)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


GREEDY: list[tuple[Callable[[Path], None], str, str]] = [
    (ragged, "t.parquet", "trace 5000 has 100000 points: 5001 traces .* 3.7 GiB;.*--length"),
    (many_numbers, "t.parquet", "its numbers would take 1.2 GiB, from"),
    (csv_bomb, "t.csv.gz", "the decompressed text would take"),
    (npz_header, "t.npz", "says that it has the shape .* bytes are too few"),
    (npz_bomb, "t.npz", "its arrays would take 0.3 GiB, from"),
    (deep_json, "t.json", "not a readable|no JSON"),
    (deep_cells, "t.csv", "row 0: 'value' is not one list"),
    (open_quote, "t.csv", "row 0: 'value' is not one list|not a readable"),
    (fifo, "t.csv", "no regular file but a device, pipe or socket"),
    (device, "t.csv", "no regular file but a device, pipe or socket"),
]
# Each in a fork, which tells how much memory it took at most. Not by getrusage: what a process
# takes before it becomes another counts there, too.
READ = """
import json, os, re, sys, time
from netdiffus.traces.traces import Traces
for path in sys.argv[1:]:
    if os.fork():
        os.wait()
        continue
    said = None
    try:
        Traces.load(path)
    except ValueError as error:
        said = type(error).__name__, str(error)[:2000]
    peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
    print(json.dumps([path, said, peak * 1024, time.process_time()]), flush=True)
    os._exit(0)
"""


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """For each maker of a file: the message, the peak memory and the time of reading it."""
    paths = [tmp_path_factory.mktemp(make.__name__) / name for make, name, _ in GREEDY]
    for path, (make, _, _) in zip(paths, GREEDY, strict=True):
        make(path)
    command = [sys.executable, "-c", READ, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = {path: rest for path, *rest in map(json.loads, done.stdout.splitlines())}
    return {
        make.__name__: told.get(str(path), [done.stderr])
        for path, (make, _, _) in zip(paths, GREEDY, strict=True)
    }


@pytest.mark.parametrize(("make", "name", "message"), GREEDY)
def test_little_time_and_memory(
    make: Callable[[Path], None], name: str, message: str, read: dict[str, list[Any]]
) -> None:
    (kind, text), memory, seconds = read[make.__name__]
    assert kind == "InputError"
    assert re.search(message, text)
    assert name in text
    assert memory < MOST_MEMORY
    assert seconds < MOST_SECONDS


def test_long_traces_are_read_with_a_length(tmp_path: Path) -> None:
    ragged(tmp_path / "t.parquet")
    traces = Traces.load(tmp_path / "t.parquet", length=32)
    assert traces.lengths.tolist() == [1] * 5000 + [32]


def test_a_large_file_is_cut_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netdiffus.tables.formats.parquet.CUT_BEYOND", 1000)
    ragged(tmp_path / "t.parquet")
    with pytest.warns(UserWarning, match="cut to 32 points in the order of the file"):
        traces = Traces.load(tmp_path / "t.parquet", length=32)
    assert traces.lengths.tolist() == [1] * 5000 + [32]


def test_no_memory_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pa.parquet.write_table(run_lists([1, 2]), tmp_path / "t.parquet")

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("netdiffus.traces.traces.read_table", fail)
    with pytest.raises(InputError, match=r"t\.parquet: not enough memory; .*--length"):
        Traces.load(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("content", "name", "advice"),
    [
        (b"\xd4\xc3\xb2\xa1" + bytes(20), "t.csv", "this is a capture: run `netdiffus import`"),
        (b"version https://git-lfs.github.com/spec/v1\n", "t.parquet", "git lfs pull"),
        (b"<!DOCTYPE html><html></html>", "t.csv", "this is a web page"),
        (b"\x80\x04\x95data", "t.csv", "a pickle runs code when it is read"),
        (b"\x80\x04\x95data", "X.pkl", "a pickle runs code .*numpy.savez"),
        (b"label,value\na,\x00\x00\n", "t.csv", "zero bytes|not a list"),
        (b"label;value\r\n\r\n", "t.csv", "no rows"),
        (b"PAR1", "t.parquet", "not a readable"),
        (b"ARROW1\0\0", "t.feather", "not a readable"),
        (b"\x1f\x8b\x08\x00broken", "t.csv.gz", "not a readable"),
        (b"\x93NUMPY\x01\x00", "t.npy", "traces without classes"),
        (b"PK\x03\x04broken", "t.npz", "not a readable"),
        (b"{", "t.json", "no JSON"),
        (b"5", "t.json", "no traces: each must be an object"),
        (b"@relation x\n", "t.arff", "has a line @data"),
    ],
)
def test_files_that_are_something_else(
    content: bytes, name: str, advice: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: .*({advice})"):
        Traces.load(tmp_path / name)


NESTED = pa.list_(pa.list_(pa.null(), 3), 1)  # Arrow takes these apart into a damaged column
LABELS = ["a", "b"]


@pytest.mark.parametrize(
    ("column", "options", "message"),
    [
        ({"x": pa.array([[[None] * 3]] * 2, NESTED)}, {}, "column 'x' of fixed_size_list.* cannot"),
        (
            {"flow": pa.array([[1], [2]])},
            {"by": "flow"},
            "column 'flow' .by. is of list<item: int",
        ),
        ({"iat": pa.array(["[1, 2]", None])}, {}, "row 1: 'iat' is empty"),
        ({"label": pa.array([b"a", b"\xff"])}, {}, "column 'label' holds bytes that are no text"),
    ],
)
def test_columns_of_other_libraries(
    column: dict[str, Any], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    table = pa.table({"label": LABELS, "packet_length": [[1, 2], [3, 4]]} | column)
    pa.feather.write_feather(table, tmp_path / "t.feather")
    with pytest.raises(InputError, match=rf"t\.feather: .*{message}"):
        Traces.load(tmp_path / "t.feather", **options)


def test_views_of_bytes_are_read(tmp_path: Path) -> None:
    views = pa.array([b"1", b"1", b"2"], pa.binary_view())
    packets = {"flow": [1, 1, 2], "packet_length": [40, 52, 60], "label": ["a", "a", "b"]}
    pa.feather.write_feather(pa.table({**packets, "mark": views}), tmp_path / "t.feather")
    traces = Traces.load(tmp_path / "t.feather", by="flow")
    assert traces.meta["mark"].to_pylist() == [b"1", b"2"]


@pytest.mark.parametrize(
    ("kind", "cells", "suffix"),
    [
        (pa.map_(pa.string(), pa.int8()), [[("a", 1)], []], ".csv"),
        (pa.list_(pa.list_(pa.int8())), [[[1, 2]], [[3]]], ".csv"),
        (pa.binary(), [b"a", b"\xff"], ".csv"),
        (pa.month_day_nano_interval(), [(1, 2, 3)] * 2, ".csv"),
        (pa.month_day_nano_interval(), [(1, 2, 3)] * 2, ".parquet"),
    ],
)
def test_columns_that_a_file_cannot_hold(
    kind: pa.DataType, cells: list[Any], suffix: str, tmp_path: Path
) -> None:
    table = pa.table({"label": LABELS, "value": [[1], [2]], "x": pa.array(cells, kind)})
    traces = Traces.from_arrow(table)
    with pytest.raises(InputError, match=rf"column .*cannot go into \{suffix}"):
        traces.save(tmp_path / f"t{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_offsets_that_run_backwards(tmp_path: Path) -> None:
    about = '{"channels": [{"name": "value"}]}'
    for offsets in ([0, 3, 2], [0, 2, 9], [-1, 2, 4], [[0, 2, 4]], [0.0, 2.0, 4.0]):
        np.savez(
            tmp_path / "t.npz", offsets=offsets, value=np.arange(4.0), label=["a", "b"],
            netdiffus=about,
        )  # fmt: skip
        with pytest.raises(InputError, match=r"t\.npz: array 'offsets' must"):
            Traces.load(tmp_path / "t.npz")


def test_damaged_bytes_never_end_in_a_traceback(tmp_path: Path) -> None:
    """Each byte of small files turned over: read, or refused with a name, but never a crash."""
    one = run_lists([2, 3])
    pa.parquet.write_table(one, tmp_path / "t.parquet")
    Traces.from_arrow(one).save(tmp_path / "t.npz")
    rng, began = np.random.default_rng(0), time.monotonic()
    for name in ("t.parquet", "t.npz"):
        whole = (tmp_path / name).read_bytes()
        for at in rng.permutation(len(whole))[:150]:
            damaged = bytearray(whole)
            damaged[at] ^= int(rng.integers(1, 256))
            (tmp_path / f"d-{name}").write_bytes(damaged)
            with suppress(InputError):
                Traces.load(tmp_path / f"d-{name}")
    assert time.monotonic() - began < 120
