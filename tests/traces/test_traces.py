from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import packets, volumes

from netdiffus.errors import InputError
from netdiffus.traces.traces import Traces, concat

SUFFIXES = [".parquet", ".csv", ".npz"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("traces", [packets(), volumes()], ids=["packets", "volumes"])
def test_round_trip_through_files(traces: Traces, suffix: str, tmp_path: Path) -> None:
    traces.save(tmp_path / f"t{suffix}")
    back = Traces.load(tmp_path / f"t{suffix}")
    assert traces.equals(back)
    if suffix != ".csv":  # CSV knows no element types
        assert back.channels == traces.channels


@given(
    st.lists(
        st.lists(st.floats(0, allow_nan=False, allow_infinity=False, width=32), min_size=1),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=40, deadline=None)
def test_any_floats_survive_every_format(
    tmp_path_factory: pytest.TempPathFactory, lists: list[list[float]]
) -> None:
    table = pa.table({"label": ["a"] * len(lists), "x": pa.array(lists, pa.list_(pa.float32()))})
    traces = Traces.from_arrow(table)
    for suffix in SUFFIXES:
        path = tmp_path_factory.mktemp("t") / f"t{suffix}"
        traces.save(path)
        assert traces.equals(Traces.load(path))


def test_parquet_on_disk_is_plain_lists(tmp_path: Path) -> None:
    traces = packets()
    traces.save(tmp_path / "t.parquet")
    table = pa.parquet.read_table(tmp_path / "t.parquet")
    assert table.column_names == ["label", "trace_id", "packet_length", "direction", "timestamp"]
    assert table["packet_length"].type == pa.list_(pa.int64())
    assert len(table["packet_length"][3].as_py()) == traces.lengths[3]


def test_text_that_looks_like_numbers_stays_text(tmp_path: Path) -> None:
    traces = Traces.from_lists({"value": [[1], [2]]}, ["01", "2"], {"trace_id": ["007", "1e5"]})
    traces.save(tmp_path / "t.csv")
    back = Traces.load(tmp_path / "t.csv")
    assert back.classes == ("01", "2")
    assert back.meta["trace_id"].to_pylist() == ["007", "1e5"]


def test_a_csv_row_of_megabytes_comes_back(tmp_path: Path) -> None:
    long = Traces.from_lists({"value": [list(range(300_000)), [1, 2]]}, ["a", "b"])
    long.save(tmp_path / "long.csv")
    assert Traces.load(tmp_path / "long.csv").equals(long)


def test_an_empty_first_cell_of_a_csv_is_no_other_kind_of_column(tmp_path: Path) -> None:
    path = tmp_path / "traces.csv"
    path.write_text('label,packet_length,direction\na,"[1,2]",\nb,"[1,3]","[1,-1]"\n')
    with pytest.raises(InputError, match="row 0: 'direction' is not a list"):
        Traces.load(path)
    path.write_text('label,value,note\na,"[1,2]",\nb,"[1,3]","[sic] a note"\n')
    assert Traces.load(path).meta.column_names == ["note"]


def test_lists_of_other_lengths_are_named() -> None:
    with pytest.raises(InputError, match="value has 1 traces and labels has 2"):
        Traces.from_lists({"value": [[1]]}, ["a", "b"])
    with pytest.raises(InputError, match="'label' is the column of the classes"):
        Traces.from_lists({"value": [[1]]}, ["a"], meta={"label": ["b"]})


def test_csv_lists_are_json(tmp_path: Path) -> None:
    packets().save(tmp_path / "t.csv")
    table = pa.csv.read_csv(tmp_path / "t.csv")
    assert (
        json.loads(table["packet_length"][0].as_py())
        == packets().to_arrow()["packet_length"][0].as_py()
    )


def test_csv_for_spreadsheets_holds_no_formula(tmp_path: Path) -> None:
    commands = ("=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "plain-1")
    traces = Traces.from_arrays(np.ones((6, 2)), list(commands), channels=["value"])
    traces.save(tmp_path / "t.csv", for_spreadsheets=True)
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == [*("'" + one for one in commands[:5]), "plain-1"]
    with pytest.raises(InputError, match=r"for_spreadsheets is for \.csv files"):
        traces.save(tmp_path / "t.npz", for_spreadsheets=True)


def test_to_pandas_gives_the_same_numbers() -> None:
    frame = packets().to_pandas()
    assert frame["direction"][2].tolist() == packets().to_arrow()["direction"][2].as_py()


def test_selection_truncation_and_classes() -> None:
    traces = packets()
    assert traces[2:5].label_names.tolist() == ["video", "web", "ssh"]
    assert traces.truncate(2).lengths.max() == 2
    assert traces.select(["direction"]).values.shape[1] == 1
    assert set(traces.of_class("ssh").label_names) == {"ssh"}
    with pytest.raises(InputError, match="'p2p' is not a class; classes: ssh, video, web"):
        traces.of_class("p2p")
    with pytest.raises(InputError, match="channel 'size' is not there"):
        traces.select(["size"])


def test_a_number_takes_one_trace_and_all_can_be_gone_through() -> None:
    traces = packets(5)
    assert traces[3].equals(traces[3:4])
    assert traces[-1].equals(traces[4:])
    assert concat(list(traces)).equals(traces)
    with pytest.raises(IndexError):
        traces[5]


def test_empty_classes_go() -> None:
    only = packets(6).of_class("video")
    kept = only.without_empty_classes()
    assert (only.counts(), kept.counts()) == ({"ssh": 0, "video": 2, "web": 0}, {"video": 2})
    assert kept.label_names.tolist() == only.label_names.tolist()


def test_gaps_sum_to_times() -> None:
    traces = packets()
    gaps = traces.with_gaps()
    assert gaps.channels[2].kind == "gap"
    last = traces.lengths - 1
    np.testing.assert_allclose(gaps.values[:, 2].sum(1), traces.values[np.arange(12), 2, last])


def test_concat_joins_classes_by_name() -> None:
    traces = packets()
    both = concat([traces.of_class("web"), traces.of_class("ssh")[:2].truncate(3)])
    assert both.counts() == {"ssh": 2, "video": 0, "web": 4}
    assert both.values.shape[2] == traces.values.shape[2]
    with pytest.raises(InputError, match="channels differ"):
        concat([traces, volumes()])


def test_concat_widens_element_types() -> None:
    whole, half = (Traces.from_lists({"value": [[v, 2]]}, ["a"]) for v in (1, 1.5))
    both = concat([whole, half])
    assert (both.channels[0].dtype, both.points(0).tolist()) == ("double", [1, 2, 1.5, 2])
    flag = Traces.from_lists({"value": [[True, False]]}, ["a"])
    assert concat([flag, whole]).channels[0].dtype == "int64"


class TestSplit:
    def test_is_stratified_and_whole(self) -> None:
        rest, holdout = volumes(100).split(0.2, seed=3)
        assert holdout.counts() == {"onoff": 10, "steady": 10}
        ids = rest.meta["trace_id"].to_pylist() + holdout.meta["trace_id"].to_pylist()
        assert sorted(ids) == sorted(str(i) for i in range(100))

    def test_same_seed_same_split(self) -> None:
        first, second = (volumes(50).split(0.3, seed=7)[1] for _ in range(2))
        assert first.equals(second)
        assert not first.equals(volumes(50).split(0.3, seed=8)[1])

    @pytest.mark.parametrize(("by", "sep"), [("group", None), ("trace_id", "#")])
    def test_groups_stay_together(self, by: str, sep: str | None) -> None:
        traces = volumes(60) if by == "group" else packets(60)
        sides = [
            {text.split(sep or "\0")[0] for text in side.meta[by].to_pylist()}
            for side in traces.split(0.3, by=by, sep=sep)
        ]
        assert not sides[0] & sides[1]
        assert sides[0]
        assert sides[1]

    def test_duplicates_stay_together(self) -> None:
        lists = [[i // 3, 5] for i in range(60)]  # every trace three times
        traces = Traces.from_lists({"value": lists}, ["a", "b"] * 30)
        assert len(set(traces.duplicates().tolist())) == 20
        rest, holdout = traces.split(0.3)
        assert not {*rest.points(0)[::2]} & {*holdout.points(0)[::2]}
        leaked = traces.split(0.3, keep_duplicates=False)
        assert {*leaked[0].points(0)[::2]} & {*leaked[1].points(0)[::2]}

    @pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5, 0.9])
    def test_two_groups_of_a_class_are_enough(self, fraction: float) -> None:
        meta = {"capture": [str(i // 50) for i in range(100)]}
        traces = Traces.from_lists({"value": [[i, 1] for i in range(100)]}, ["a"] * 100, meta)
        assert [len(side) for side in traces.split(fraction, by="capture")] == [50, 50]

    def test_a_class_of_one_trace_is_named(self) -> None:
        traces = Traces.from_lists({"value": [[1], [2], [3]]}, ["a", "a", "lonely"])
        with pytest.raises(InputError, match=r"class 'lonely' has 1 trace\(s\) in 1 independent"):
            traces.split(0.5)

    @pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0])
    def test_fraction_out_of_range(self, fraction: float) -> None:
        with pytest.raises(InputError, match="fraction must lie between 0 and 1"):
            volumes().split(fraction)

    def test_a_seed_below_0(self) -> None:
        with pytest.raises(InputError, match="seed must lie in"):
            volumes().split(seed=-1)

    def test_unknown_column(self) -> None:
        with pytest.raises(InputError, match=r"no column 'host' to group by; .*trace_id, group"):
            volumes().split(by="host")

    def test_empty_groups(self) -> None:
        with pytest.raises(InputError, match="sep is empty"):
            volumes().split(by="group", sep="")
        traces = Traces.from_lists({"value": [[1], [2]]}, ["a", "a"], {"group": ["g", ""]})
        with pytest.raises(InputError, match="'group' is empty in row 1"):
            traces.split(by="group")


def _table(**columns: object) -> pa.Table:
    return pa.table({"label": ["a", "b"], **columns})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"value": [[1]]}), "no column 'label'; columns: value"),
        (
            pa.table(
                {"label": pa.array([], pa.string()), "value": pa.array([], pa.list_(pa.int8()))}
            ),
            "no rows",
        ),
        (_table(), "no list column"),
        (
            _table(value=[[1], ["x"]][:1] * 2)
            .drop_columns(["value"])
            .append_column("value", pa.array([["x"], ["y"]])),
            "lists of string, not of numbers",
        ),
        (_table(value=[[1], None]), "'value' has no list in row 1"),
        (_table(value=[[1], [2, None]]), "'value' has a missing value in row 1"),
        (_table(value=[[1], []]), "trace 1 has no points"),
        (_table(value=[[1.0], [2.0, float("nan")]]), "value is nan at point 1 of trace 1"),
        (_table(value=[[float("inf")], [2.0]]), "value is inf at point 0 of trace 0"),
        (
            _table(packet_length=[[40], [-5]], direction=[[1], [1]]),
            "packet_length is -5 at point 0 of trace 1 .*cannot be negative",
        ),
        (_table(iat=[[0.1], [-0.5]]), "iat is -0.5 at point 0 of trace 1"),
        (_table(direction=[[1, 2], [1, 1]]), r"direction is 2 at point 1 of trace 0 .*\+1 or -1"),
        (
            _table(packet_length=[[40], [40]], direction=[[1], [1, 1]]),
            "row 1: 'packet_length' has 1 points but 'direction' has 2",
        ),
        (pa.table({"label": ["a", None], "value": [[1], [2]]}), "'label' is empty in row 1"),
        (pa.table({"label": ["a", ""], "value": [[1], [2]]}), "'label' is empty in row 1"),
        (
            _table(value=[[1], [2]]).append_column("value", pa.array([[1], [2]])),
            "'value' is there more than once",
        ),
    ],
)
def test_bad_tables_are_named(table: pa.Table, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Traces.from_arrow(table)


def test_one_trace_of_ten_million_points_among_many() -> None:
    values = pa.LargeListArray.from_arrays(
        np.concatenate([np.arange(100), [99 + 10_000_000]]),
        pa.array(np.ones(99 + 10_000_000, np.int8)),
    )
    table = pa.table({"label": ["a"] * 100, "value": values})
    with pytest.raises(InputError, match=r"trace 99 has 10000000 points: .*--length"):
        Traces.from_arrow(table)
    assert Traces.from_arrow(table, length=32).lengths.tolist() == [1] * 99 + [32]


class TestFiles:
    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_existing_is_refused_and_kept(self, suffix: str, tmp_path: Path) -> None:
        path = tmp_path / f"t{suffix}"
        path.write_text("precious")
        with pytest.raises(FileExistsError, match="--force"):
            packets().save(path)
        assert path.read_text() == "precious"
        packets().save(path, force=True)
        assert packets().equals(Traces.load(path))

    @pytest.mark.parametrize("suffix", SUFFIXES)
    @pytest.mark.parametrize("content", [b"", b"\x00\x01garbage,\n1"])
    def test_broken_files_are_named(self, suffix: str, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / f"t{suffix}"
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"t{suffix}: "):
            Traces.load(path)

    @pytest.mark.parametrize("suffix", [".parquet", ".npz"])
    def test_truncated_files_are_named(self, suffix: str, tmp_path: Path) -> None:
        path = tmp_path / f"t{suffix}"
        packets().save(path)
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(InputError, match="not a readable"):
            Traces.load(path)

    def test_missing_and_unknown(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such file"):
            Traces.load(tmp_path / "t.csv")
        (tmp_path / "t.xyz").write_bytes(b"\0\1\2")
        with pytest.raises(InputError, match=r"use one of \.parquet, \.csv, \.npz"):
            Traces.load(tmp_path / "t.xyz")

    def test_broken_list_in_csv_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "t.csv"
        path.write_text('label,value\na,"[1,2]"\nb,"[1,2"\n')
        with pytest.raises(InputError, match="row 1: 'value' is not one list"):
            Traces.load(path)

    def test_pickled_npz_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "t.npz"
        np.savez(path, label=np.array([{"a": 1}], dtype=object), allow_pickle=True)
        with pytest.raises(InputError, match="array 'label' is a pickle of Python objects"):
            Traces.load(path)
