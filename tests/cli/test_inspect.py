from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import run
from small import packets

from netdiffus.cli.inspect import _line
from netdiffus.export.capture import write_capture
from netdiffus.traces.traces import Traces


def test_a_table_is_described_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('app;bytes;note;size\nssh;"[1,2,9]";x;7\nweb;"[4,4]";y;8\n')
    done = run("inspect", path, "--label-column", "app", "--columns", "sizes=bytes")
    assert done.code == 2
    assert "sizes" in done.err  # no such column to rename
    done = run(
        "inspect", path, "--label-column", "app", "--columns", "bytes=packet_length", "--json"
    )
    found = json.loads(done.out)
    assert found["classes"] == {"ssh": 1, "web": 1}
    assert found["channels"] == {"packet_length": "size, B"}
    assert found["points of a trace"] == "median 2, half of them 2 to 3, at most 3"
    assert [one.name for one in tmp_path.iterdir()] == ["t.csv"]


def test_it_draws_a_trace_of_each_class(tmp_path: Path) -> None:
    volume = [[0.0, 7.0, 3.5], [1.0] * 3, [2.0] * 9]
    Traces.from_lists({"down": volume}, ["b", "a", "a"]).save(tmp_path / "t.parquet")
    picture = tmp_path / "t.png"
    done = run("inspect", tmp_path / "t.parquet", "-o", picture)
    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines()]
    assert ["b:", "▁█▅"] in lines
    assert ["a:", "▁" * 9] in lines
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert run("inspect", tmp_path / "t.parquet", "-o", picture).code == 2  # it is there


@pytest.mark.parametrize("name", ["t.foo", "t"])
def test_a_picture_of_an_unknown_kind_is_refused_before_the_work(name: str, tmp_path: Path) -> None:
    done = run("inspect", tmp_path / "missing.parquet", "-o", tmp_path / name)
    assert (done.code, done.out) == (2, "")
    assert f"{name}: choose a name that ends in .png, .svg, .pdf" in done.err


def test_captures_are_read_as_import_reads_them(tmp_path: Path) -> None:
    folder = tmp_path / "captures" / "voip"
    folder.mkdir(parents=True)
    write_capture(packets(4), folder / "one.pcap")
    done = run("inspect", tmp_path / "captures", "--json")
    found = json.loads(done.out)
    assert found["classes"] == {"voip": 4}
    assert found["rules"]["per"] == "flow"
    assert list(tmp_path.rglob("*.parquet")) == []


def test_a_line_has_the_least_value_at_the_bottom() -> None:
    assert _line([3.0]) == "▁"
    assert _line([-1.0, 0.0, 6.0]) == "▁▂█"
