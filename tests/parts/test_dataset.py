"""A data set in parts gives the traces that it was written from, or names what is wrong with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from small import packets, volumes

from netdiffus import Dataset, InputError, Traces, concat, privatise
from netdiffus.errors import Note
from netdiffus.parts.building import begin
from netdiffus.parts.dataset import part_name
from netdiffus.parts.writing import sha256
from netdiffus.tables.manifest import MANIFEST, PLAN
from netdiffus.tables.writing import GROUP, write_parts

TRACES = packets(50, seed=3)
CUTS = (0, 20, 21, 50)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    parts = (TRACES[a:b] for a, b in pairwise(CUTS))
    return Dataset.write(tmp_path / "set", parts).folder


def test_it_says_what_it_holds_without_reading_a_part(folder: Path) -> None:
    found = Dataset(folder)
    assert len(found) == 50
    assert found.counts() == dict(sorted(TRACES.counts().items()))
    assert found.channels == TRACES.channels
    assert found.meta == {"trace_id": "string"}
    assert found.longest == TRACES.lengths.max()
    assert found.points == TRACES.lengths.sum()
    assert [part.rows for part in found.manifest.parts] == [20, 1, 29]
    assert "50 traces of 3 classes in 3 parts" in repr(found)


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_batches_are_all_traces_in_order(folder: Path, rows: int) -> None:
    batches = list(Dataset(folder).batches(rows))
    assert max(map(len, batches)) <= rows
    assert concat(batches).equals(TRACES)
    assert {batch.classes for batch in batches} == {("ssh", "video", "web")}


def test_it_loads_as_a_table_does(folder: Path) -> None:
    assert Traces.load(folder).equals(TRACES)
    assert Dataset(folder).load(length=2).equals(TRACES.truncate(2))
    assert concat(list(Dataset(folder).batches(9, length=2))).equals(TRACES.truncate(2))


def test_the_first_points_of_each_trace(folder: Path, tmp_path: Path) -> None:
    found = Dataset(folder).truncate(4).truncate(6)
    wanted = TRACES.truncate(4)
    assert found.longest == 4
    assert concat(list(found.batches(9))).equals(wanted)
    assert concat(list(found.batches(9, length=2))).equals(TRACES.truncate(2))
    assert found.take([3, 1]).equals(wanted[[3, 1]])
    assert found.load().equals(wanted)
    for one, other in zip(found.split(tmp_path / "s"), wanted.split(), strict=True):
        assert one.load().equals(other)
    assert Dataset(folder).longest == TRACES.lengths.max()


def test_a_folder_named_as_hives_partitions_are_adds_no_column(folder: Path) -> None:
    moved = folder.rename(folder.with_name("day=1"))
    assert Traces.load(moved).meta.column_names == ["trace_id"]


def test_rows_are_taken_in_any_order(folder: Path) -> None:
    rows = [49, 0, 20, 20, 3]
    assert Dataset(folder).take(rows).equals(TRACES[rows])
    assert Dataset(folder).head(21).equals(TRACES[:21])
    assert len(Dataset(folder).head(99)) == 50
    with pytest.raises(InputError, match=r"rows must lie in 0\.\.49"):
        Dataset(folder).take([50])


def test_rows_of_several_row_groups_are_taken(tmp_path: Path) -> None:
    many = volumes(10)[np.arange(2 * GROUP + 5) % 10]
    found = Dataset.write(tmp_path / "set", [many])
    write_parts([many[k : k + 100].to_arrow() for k in range(0, len(many), 100)], tmp_path / "b.pq")
    about = pa.parquet.ParquetFile(tmp_path / "b.pq").metadata
    assert [about.row_group(k).num_rows for k in range(about.num_row_groups)] == [GROUP, GROUP, 5]
    rows = [2 * GROUP + 4, GROUP, GROUP - 1, 0]
    assert found.take(rows).equals(many[rows])


def test_long_traces_come_few_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netdiffus.parts.dataset.POINTS", 18)
    assert max(len(batch) for batch in Dataset(folder)) == 18 // TRACES.lengths.max()


def test_a_ledger_is_kept(tmp_path: Path) -> None:
    with pytest.warns(Note):
        private = privatise(volumes(60), 90, delta=1e-3, length=4, anyway=True)
    found = Dataset.write(tmp_path / "set", [private])
    assert found.ledger == private.ledger is not None
    assert found.head().ledger == private.ledger
    with pytest.raises(InputError, match="ledger is not that of the data set"):
        Dataset.write(tmp_path / "two", [private, replace(private, ledger=None)])


def test_it_is_not_written_over(folder: Path) -> None:
    with pytest.raises(FileExistsError):
        Dataset.write(folder, [TRACES])
    (folder / MANIFEST).unlink()
    with pytest.raises(FileExistsError, match="part-000000"):
        Dataset.write(folder, [TRACES])


def test_nothing_to_write_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no traces to write"):
        Dataset.write(tmp_path / "set", [])


def test_parts_of_other_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"part-000001\.parquet: other columns.*direction"):
        Dataset.write(tmp_path / "a", [TRACES, TRACES.select(["packet_length", "timestamp"])])
    assert not (tmp_path / "a" / MANIFEST).exists()


# -- what may be wrong with a folder ------------------------------------------------------------


def edited(change: Callable[[dict], object]) -> Callable[[Path], object]:
    """A damage to the manifest."""

    def damage(folder: Path) -> None:
        found = json.loads((folder / MANIFEST).read_text())
        change(found)
        (folder / MANIFEST).write_text(json.dumps(found))

    return damage


def second(folder: Path) -> Path:
    return folder / part_name(1)


OPENED = {
    "missing": (lambda f: second(f).unlink(), "part-000001.parquet: the part is missing"),
    "cut": (lambda f: second(f).write_bytes(second(f).read_bytes()[:-9]), "000001.*it was cut"),
    "of others": (lambda f: shutil.copy(second(f), f / "x.parquet"), "x.parquet: not in the mani"),
    "no manifest": (
        lambda f: (f / MANIFEST).unlink(),
        "set: no data set, because it has no manifest.json",
    ),
    "no folder": (shutil.rmtree, "set: no such folder"),
    "no JSON": (lambda f: (f / MANIFEST).write_text("{"), "manifest.json: damaged"),
    "a list": (lambda f: (f / MANIFEST).write_text("[]"), "not the manifest of a netdiffus"),
    "version": (edited(lambda m: m.update(version=2)), "version 2 of the format"),
    "twice": (edited(lambda m: m["parts"].append(m["parts"][1])), "part-000001.* is named twice"),
    "none": (edited(lambda m: m.update(parts=[])), "it names no parts"),
    "fewer": (edited(lambda m: m["parts"].pop(1)), "rows is 50, but those of its parts add up"),
    "points": (edited(lambda m: m.update(points=1)), "points is 1, but those of its parts"),
    "classes": (edited(lambda m: m["classes"].update(web=1)), "classes are not those of its"),
    "rows": (edited(lambda m: m["parts"][1].update(rows=7)), "000001.*not add up to its 7 rows"),
    "outside": (edited(lambda m: m["parts"][1].update(file="../x.parquet")), "named '../x.parq"),
    "negative": (edited(lambda m: m["parts"][1].update(points=-1)), "points of part part-000001"),
    "hash": (edited(lambda m: m["parts"][1].update(sha256=7)), "part-000001.*sha256 is 7"),
    "unknown": (edited(lambda m: m["parts"][1].update(more=1)), "damaged.*more"),
    "lacking": (edited(lambda m: m.pop("channels")), "damaged.*channels"),
    "kind": (edited(lambda m: m["channels"][0].update(kind="odd")), "kind 'odd' is none of"),
    "meta": (edited(lambda m: m.update(meta={"a": 1})), "meta must name columns"),
    "deep": (lambda f: (f / MANIFEST).write_text("[" * 10**5), "manifest.json: damaged"),
}


@pytest.mark.parametrize("what", OPENED)
@pytest.mark.parametrize("opens", [Dataset, Traces.load])
def test_what_does_not_fit_is_named_when_it_is_opened(
    folder: Path, what: str, opens: Callable[[Path], object]
) -> None:
    damage, message = OPENED[what]
    damage(folder)
    if opens == Traces.load and what in ("no manifest", "no folder"):
        return  # then it is a plain folder of tables, or none
    with pytest.raises(InputError, match=message) as raised:
        opens(folder)
    assert "\n" not in str(raised.value)


def test_a_folder_that_is_still_being_made_is_not_taken_for_whole(folder: Path) -> None:
    (folder / MANIFEST).rename(folder / PLAN)
    for opens in (Dataset, Traces.load):
        with pytest.raises(InputError, match="the data set is incomplete"):
            opens(folder)


def rewritten(table: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    """Another file in the place of the second part, which the manifest takes for it by its size."""

    def damage(folder: Path) -> None:
        path = second(folder)
        pa.parquet.write_table(table(pa.parquet.read_table(path)), path)
        _adopt(folder)

    return damage


def _adopt(folder: Path) -> None:
    path = second(folder)
    facts = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    edited(lambda m: m["parts"][1].update(facts))(folder)


def noise(folder: Path) -> None:
    second(folder).write_bytes(bytes(100))
    _adopt(folder)


READ = {
    "noise": (noise, "000001.*not a readable part"),
    "foreign": (rewritten(lambda t: t.drop_columns("direction")), "000001.*'direction'"),
    "type": (
        rewritten(lambda t: t.set_column(1, "trace_id", pa.array([7]))),
        "000001.*trace_id is int64, not string",
    ),
    "bare": (rewritten(lambda t: t.replace_schema_metadata({})), "000001.*not a file of traces"),
    "text": (
        rewritten(lambda t: t.set_column(1, "trace_id", pa.array([b"\xff"]).view(pa.string()))),
        "000001.*not a readable part.*UTF8",
    ),
    "rows": (rewritten(lambda t: pa.concat_tables([t, t])), "000001.*2 traces, not 1"),
    "class": (
        rewritten(lambda t: t.set_column(0, "label", pa.array(["odd"]))),
        "000001.*a class that the manifest does not name",
    ),
    "empty": (
        rewritten(
            lambda t: t.set_column(
                t.column_names.index("direction"),
                "direction",
                pa.array([[]], t.schema.field("direction").type),
            )
        ),
        "000001.*differ in length",
    ),
}


@pytest.mark.parametrize("what", READ)
def test_a_part_that_is_another_is_named_when_it_is_read(folder: Path, what: str) -> None:
    damage, message = READ[what]
    damage(folder)
    found = Dataset(folder)
    for read in (lambda: list(found), lambda: found.take([20]), found.check):
        with pytest.raises(InputError, match=message):
            read()


def test_check_finds_one_changed_byte_and_one_part_twice(folder: Path) -> None:
    Dataset(folder).check()
    content = bytearray(second(folder).read_bytes())
    content[len(content) // 2] ^= 1
    second(folder).write_bytes(content)
    with pytest.raises(InputError, match=r"part-000001\.parquet: its bytes are not those"):
        Dataset(folder).check()


def test_check_finds_one_part_twice(tmp_path: Path) -> None:
    found = Dataset.write(tmp_path / "set", [TRACES[:5], TRACES[5:], TRACES[:5]])
    with pytest.raises(InputError, match=r"000002\.parquet: the same as part-000000\.parquet"):
        found.check()


def test_check_tells_how_far_it_is(folder: Path) -> None:
    told: list[float] = []
    Dataset(folder).check(lambda done, note: told.append(done))
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_types_that_parquet_stores_as_others_are_those_of_the_file(tmp_path: Path) -> None:
    n = len(TRACES)
    cells = {
        "begin": pa.array(range(n), pa.timestamp("s", "UTC")),
        "hour": pa.array(range(n), pa.time32("s")),
        "day": pa.array([k * 86_400_000 for k in range(n)], pa.date64()),
    }
    made = replace(TRACES, meta=pa.table(cells))
    found = Dataset.write(tmp_path / "set", [made[:20], made[20:]])
    found.check()
    assert found.load().meta["begin"].to_pylist() == made.meta["begin"].to_pylist()
    assert found.load().meta["day"].to_pylist() == made.meta["day"].to_pylist()


def test_force_begins_anew_where_the_plan_is_damaged(tmp_path: Path) -> None:
    (tmp_path / PLAN).write_text("{")
    begin(tmp_path, {"seed": 1}, force=True)
    assert json.loads((tmp_path / PLAN).read_text()) == {"seed": 1}


def test_a_split_is_not_written_over_its_source(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "out" / "train"
    shutil.copytree(folder, source)
    n = len(Dataset(source))
    with pytest.raises(InputError, match="the traces are read from there"):
        Dataset(source).split(tmp_path / "out", force=True)
    assert sum(map(len, Dataset(source))) == n
