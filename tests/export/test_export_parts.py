"""A data set as captures: read again they are its traces, whoever wrote which file."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pytest
from command import run
from small import packets

from netdiffus import Dataset, InputError, Rules, Traces, import_captures, write_capture
from netdiffus.export.parts import export_to_parts

TRACES = packets(30, seed=5)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset.write(tmp_path / "set", [TRACES[:11], TRACES[11:]])


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def read_again(folder: Path) -> list[tuple[str, list[float]]]:
    """Class and sizes of the flows of all captures of a folder."""
    found = []
    for path in folder.glob("*.pcap"):
        labels = path.with_suffix(".labels.csv")
        traces, _ = import_captures(path, label_from=labels, rules=Rules(packets=None))
        found += listed(traces)
    return sorted(found)


def listed(traces: Traces) -> list[tuple[str, list[float]]]:
    rows = zip(traces.label_names, traces.values[:, 0], traces.lengths, strict=True)
    return sorted((str(label), row[:n].tolist()) for label, row, n in rows)


@pytest.fixture(autouse=True)
def _small_files() -> object:
    with mock.patch("netdiffus.export.parts.MOST", 8):
        yield


def test_all_traces_are_in_the_captures(dataset: Dataset, tmp_path: Path) -> None:
    done = export_to_parts(dataset, tmp_path / "captures", small="raise")
    assert (done["files"], done["made"], done["missing"], done["traces"]) == (4, 4, 0, 30)
    assert done["packets"] == TRACES.lengths.sum()
    wanted = [
        (label, [size if size > 52 else max(size, 40) for size in sizes])
        for label, sizes in listed(TRACES)
    ]
    assert read_again(tmp_path / "captures") == sorted(wanted)
    of_one = write_capture(TRACES, tmp_path / "one.pcap", small="raise")
    assert set(done) >= set(of_one) - {"capture", "labels"}  # nothing that was counted is lost


def test_shards_write_the_same_bytes_and_lost_files_are_written_again(
    dataset: Dataset, tmp_path: Path
) -> None:
    export_to_parts(dataset, tmp_path / "once", start="together")
    folder = tmp_path / "shared"
    done = export_to_parts(dataset, folder, shard="1/2", start="together")
    assert (done["made"], done["missing"]) == (2, 2)
    export_to_parts(dataset, folder, shard="0/2", start="together")
    assert content(folder) == content(tmp_path / "once")
    (folder / "part-000002.pcap").write_bytes(b"cut")
    assert export_to_parts(dataset, folder, start="together")["made"] == 1
    assert content(folder) == content(tmp_path / "once")


def test_other_options_are_named_and_forced(dataset: Dataset, tmp_path: Path) -> None:
    export_to_parts(dataset, tmp_path / "captures")
    with pytest.raises(InputError, match="begun with ip None, now 6"):
        export_to_parts(dataset, tmp_path / "captures", ip=6)
    done = export_to_parts(dataset, tmp_path / "captures", ip=6, small="raise", force=True)
    assert (done["made"], done["missing"]) == (4, 0)
    with pytest.raises(InputError, match="force with a shard"):
        export_to_parts(dataset, tmp_path / "captures", shard="0/2", force=True)


def test_the_command_line(dataset: Dataset, tmp_path: Path) -> None:
    asked = ("export", dataset.folder, "-o", tmp_path / "captures", "--json")
    done = run(*asked, "--shard", "0/2")
    assert done.code == 0, done.err
    assert json.loads(done.out)["missing"] == 2
    done = run("export", dataset.folder, "-o", tmp_path / "one.pcap", "--shard", "0/2")
    assert "a file has no use for --shard" in done.err
