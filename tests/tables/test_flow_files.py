"""Folders in which each file holds the packets of one trace."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netdiffus import Traces
from netdiffus.errors import InputError, Note

pytestmark = pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")
START = 1_527_993_495.625  # a binary fraction, so that differences are exact
FLOWS: dict[str, list[tuple[float, int, int]]] = {
    "Google Doc/a-1.txt": [(0, 1350, 1), (0.5, 60, 0), (0.75, 1350, 1)],
    "Google Doc/a-2.txt": [(0, 1350, 1), (0.25, 80, 0)],
    "Youtube/b.txt": [(0, 1350, 1)],
}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def rows(traces: Traces, name: str) -> list[list[float]]:
    k = [one.name for one in traces.channels].index(name)
    return [traces.values[i, k, :n].tolist() for i, n in enumerate(traces.lengths)]


def texts(form: str) -> dict[str, str]:
    return {
        name: "".join(
            form.format(epoch=START + time, time=time, size=size, direction=sign) + "\n"
            for time, size, sign in flow
        )
        for name, flow in FLOWS.items()
    }


@pytest.mark.parametrize(
    "form",
    [
        "{epoch}\t{time}\t{size}\t{direction}",  # UCDavis QUIC
        "{epoch:f} {size} {direction}",
        "{direction},{size},{time}",
        "{size};{direction};{epoch}",
        "{time}\t{size}\t{direction}\t",
        "   {time}   {size}  {direction} ",
    ],
)
def test_files_without_a_header(form: str, tmp_path: Path) -> None:
    with pytest.warns(Note) as said:
        traces = Traces.load(write(tmp_path, texts(form)))
    assert rows(traces, "timestamp") == [[0, 0.5, 0.75], [0, 0.25], [0]]
    assert rows(traces, "packet_length") == [[1350, 60, 1350], [1350, 80], [1350]]
    assert rows(traces, "direction") == [[1, -1, 1], [1, -1], [1]]
    assert [traces.classes[k] for k in traces.labels] == ["Google Doc", "Google Doc", "Youtube"]
    text = "\n".join(str(one.message) for one in said)
    for part in ("each of the 3 files was read as one trace", "no header: column", "--columns"):
        assert part in text


def test_files_without_suffix_have_their_class_in_their_name(tmp_path: Path) -> None:
    """As the instances of sites in data sets of website fingerprinting."""
    files = {
        "bbc.com-0": "0.0\t1\n0.5\t-1\n",
        "bbc.com-1": "0.0\t1\n",
        "4-0.cell": "0.0\t1\n2.5\t-1\n",
    }
    traces = Traces.load(write(tmp_path, files), label_column="file")
    assert traces.counts() == {"4": 1, "bbc.com": 2}
    assert rows(traces, "timestamp") == [[0, 2.5], [0, 0.5], [0]]
    assert rows(traces, "direction") == [[1, -1], [1, -1], [1]]
    with pytest.raises(InputError, match=r"no column 'label'.*file the name of the file"):
        Traces.load(tmp_path)


def test_columns_in_doubt_are_named_by_their_numbers(tmp_path: Path) -> None:
    folder = write(tmp_path, texts("{time}\t{size}\t{size}\t{direction}"))
    with pytest.raises(InputError, match=r"a-1.txt: no names of columns.*--columns 0=timestamp"):
        Traces.load(folder)
    names = {"0": "timestamp", "2": "packet_length"}
    traces = Traces.load(folder, columns=names)
    assert rows(traces, "packet_length") == [[1350, 60, 1350], [1350, 80], [1350]]
    assert {one.name for one in traces.channels} == {"timestamp", "packet_length"}


@pytest.mark.parametrize("options", [{}, {"by": "file"}])
def test_files_with_a_header(options: dict[str, Any], tmp_path: Path) -> None:
    head = "time,size,direction\n"
    files = {k: head + text for k, text in texts("{time},{size},{direction}").items()}
    traces = Traces.load(write(tmp_path, files), **options)
    assert rows(traces, "packet_length") == [[1350, 60, 1350], [1350, 80], [1350]]
    assert traces.counts() == {"Google Doc": 2, "Youtube": 1}


def test_other_columns_may_tell_traces_apart_so_files_are_asked_for(tmp_path: Path) -> None:
    head = "flow,time,size\n"
    files = {"web/1.csv": head + "1,0,40\n2,0,50\n", "dns/1.csv": head + "1,0,60\n"}
    with pytest.raises(InputError, match="--flow-column"):
        Traces.load(write(tmp_path, files))
    assert Traces.load(tmp_path, by="file").lengths.tolist() == [1, 2]


def test_one_file_is_one_trace_if_asked(tmp_path: Path) -> None:
    write(tmp_path, {"a.txt": "0.0\t40\t1\n0.5\t50\t0\n"})
    traces = Traces.load(tmp_path / "a.txt", by="file", label_column="=web")
    np.testing.assert_array_equal(traces.values[0], [[0, 0.5], [40, 50], [1, -1]])
    with pytest.raises(InputError, match="file"):
        Traces.load(tmp_path / "a.txt")


@pytest.mark.parametrize(
    "pack",
    [gzip.compress, lambda text: b"\xef\xbb\xbf" + text, lambda text: b"# of a run\n" + text],
)
def test_files_without_a_header_that_begin_otherwise(
    pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    for name, text in texts("{time}\t{size}\t{direction}").items():
        path = tmp_path / f"{name}{'.gz' if pack is gzip.compress else ''}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pack(text.encode()))
    (tmp_path / "README.txt").write_text("flows of two services\n")
    traces = Traces.load(tmp_path)
    assert rows(traces, "packet_length") == [[1350, 60, 1350], [1350, 80], [1350]]


@pytest.mark.parametrize("text", ["0.0\t60\n", "some\tother\ttext\n"])
def test_a_file_that_is_not_like_the_others_is_named(text: str, tmp_path: Path) -> None:
    write(tmp_path, texts("{time}\t{size}\t{direction}") | {"Youtube/c.txt": text})
    with pytest.raises(InputError, match=r"c\.txt: other columns than .*a-1\.txt"):
        Traces.load(tmp_path)


def test_arrays_of_channels_in_folders_of_classes(tmp_path: Path) -> None:
    sizes = {"web/a": [[40, 50, 60]], "dns/a": [[70, 80, 90], [44, 45, 46]], "dns/b": [1, 2, 3]}
    for name, values in sizes.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.savez(tmp_path / f"{name}.npz", packet_length=values, iat=np.ones_like(values))
    traces = Traces.load(tmp_path)
    assert rows(traces, "packet_length") == [[70, 80, 90], [44, 45, 46], [1, 2, 3], [40, 50, 60]]
    assert traces.counts() == {"dns": 3, "web": 1}
    with pytest.raises(InputError, match="no column 'label'"):
        Traces.load(tmp_path / "web/a.npz")
    assert Traces.load(tmp_path / "web/a.npz", label_column="=web").classes == ("web",)


def test_numbers_of_packets_are_no_sizes(tmp_path: Path) -> None:
    text = {"web/1.txt": "0 0.0 1\n1 0.5 -1\n2 0.75 1\n", "dns/1.txt": "0 0.0 1\n1 0.25 -1\n"}
    traces = Traces.load(write(tmp_path, text))
    assert [one.name for one in traces.channels] == ["timestamp", "direction"]
    assert rows(traces, "timestamp") == [[0, 0.25], [0, 0.5, 0.75]]


def test_a_column_of_traces_does_not_count_where_files_do(tmp_path: Path) -> None:
    head = "trace_id,time,size\n"
    write(tmp_path, {"web/1.csv": head + "1,0,40\n2,0.5,50\n", "dns/1.csv": head + "1,0,60\n"})
    assert Traces.load(tmp_path, by="file").lengths.tolist() == [1, 2]
