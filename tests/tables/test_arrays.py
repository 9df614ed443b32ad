"""Arrays X and y, and frames."""

from __future__ import annotations

import gzip
import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pytest
import torch
from small import packets

from netdiffus.errors import InputError, Note
from netdiffus.traces.traces import Traces

Y = np.array(["a", "b"])


def from_arrays(*args: Any, **options: Any) -> Traces:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)
        return Traces.from_arrays(*args, **options)


def lists(traces: Traces, name: str) -> list[list[float]]:
    rows: list[list[float]] = traces.to_arrow()[name].to_pylist()
    return rows


class TestArrays:
    def test_deep_fingerprinting(self) -> None:
        x = np.array([[1, -1, -1, 0], [1, -1, 0, 0]], np.float32)
        with pytest.warns(Note, match=r"padding at the end of traces was cut off \(2 of 2"):
            traces = Traces.from_arrays(x, [0, 1])
        assert lists(traces, "direction") == [[1, -1, -1], [1, -1]]
        assert traces.classes == ("0", "1")

    def test_signed_times(self) -> None:
        x = np.array([[0.0, -0.5, 0.75, 0.0], [0.0, 0.25, -1.0, 2.0]])
        traces = from_arrays(x, Y, "timestamp")
        assert lists(traces, "timestamp") == [[0, 0.5, 0.75], [0, 0.25, 1, 2]]
        assert lists(traces, "direction") == [[1, -1, 1], [1, 1, -1, 1]]

    def test_signed_sizes(self) -> None:
        traces = from_arrays(np.array([[60, -1500, 0], [-40, 60, 70]]), Y, "packet_length")
        assert lists(traces, "packet_length") == [[60, 1500], [40, 60, 70]]
        assert lists(traces, "direction") == [[1, -1], [-1, 1, 1]]

    def test_three_axes_in_either_order(self) -> None:
        x = np.arange(2 * 5 * 3).reshape(2, 5, 3)
        names = ["value", "value_up", "delay"]
        for one in (x, x.transpose(0, 2, 1)):
            traces = Traces.from_arrays(one, Y, names)
            assert traces.values.tolist() == x.transpose(0, 2, 1).tolist()
        with pytest.raises(InputError, match="no axis has 2 channels"):
            Traces.from_arrays(x, Y, names[:2])

    def test_zeros_of_volumes_are_no_padding_but_nan_is(self) -> None:
        x = np.array([[1, 0, 0], [2, np.nan, np.nan]])
        assert lists(from_arrays(x, Y, "value"), "value") == [[1, 0, 0], [2]]
        known = Traces.from_arrays([[1, 0, 0], [2, 0, 0]], Y, "value", lengths=[2, 1])
        assert lists(known, "value") == [[1, 0], [2]]

    def test_one_sequence_per_trace_and_one_hot(self) -> None:
        traces = Traces.from_arrays([[1, 2, 3], [4]], np.eye(2), "value")
        assert (lists(traces, "value"), traces.classes) == ([[1, 2, 3], [4]], ("0", "1"))

    def test_signed_times_without_a_name(self) -> None:
        """As WFlib and Tik-Tok write them."""
        x = np.array([[0.0, -0.5, 0.75, 0.0], [0.0, 0.25, -1.0, 2.0]])
        assert lists(from_arrays(x, Y), "timestamp") == [[0, 0.5, 0.75], [0, 0.25, 1, 2]]
        for other in (x[:, ::-1], np.abs(x), x + 5, np.rint(x)):
            if not set(np.unique(other)) <= {-1.0, 0.0, 1.0}:
                with pytest.raises(InputError, match="without a name"):
                    Traces.from_arrays(other, Y)

    def test_several_channels_of_traces_of_several_lengths(self) -> None:
        x: list[Any] = [[(60, 1), (1500, -1), (52, 1)], [(60, 1)]]
        for rows in (x, [np.array(one) for one in x], [np.array(x[0]).T, np.array(x[1])]):
            traces = Traces.from_arrays(rows, Y, ["packet_length", "direction"])
            assert lists(traces, "packet_length") == [[60, 1500, 52], [60]]
            assert lists(traces, "direction") == [[1, -1, 1], [1]]
        with pytest.raises(InputError, match=r"trace 1 of X has the shape \(1, 2\), not \(n, 3\)"):
            Traces.from_arrays(x, Y, ["packet_length", "direction", "timestamp"])

    def test_tensors_of_torch(self) -> None:
        x = torch.tensor([[60.0, 1500.0], [44.0, 52.0]], requires_grad=True)
        for one in (x, x.bfloat16(), x.half(), list(x)):
            traces = from_arrays(one, torch.tensor([0, 1]), "value")
            expected = (
                [[60, 1504 if one.dtype == torch.bfloat16 else 1500], [44, 52]]
                if isinstance(one, torch.Tensor)
                else [[60, 1500], [44, 52]]
            )
            assert lists(traces, "value") == expected

    @pytest.mark.parametrize(
        ("x", "y", "channels", "message"),
        [
            (np.ones((2, 3)), Y, None, r"without a name: say what the numbers are.*--channels"),
            (np.ones((2, 3)), ["a"], "value", "X has 2 traces and y has 1 classes"),
            (np.ones(2), Y, "value", r"shape \(2,\); it must be"),
            (np.array([["a", "b"]] * 2), Y, "value", "X holds <U1, not numbers"),
            (np.zeros((2, 3)), Y, "packet_length", "trace 0 has no points"),
            (np.ones((2, 3)), np.ones((2, 2)), "value", "not one-hot"),
            (np.ones((2, 3)), Y, ["value", "iat"], "2 names"),
            (np.ones((2, 3)), Y, "", "a name is empty"),
        ],
    )
    def test_what_does_not_fit_is_named(self, x: Any, y: Any, channels: Any, message: str) -> None:
        with pytest.raises(InputError, match=message):
            Traces.from_arrays(x, y, channels)

    def test_files(self, tmp_path: Path) -> None:
        x = np.array([[1, -1, 1], [1, 1, -1]])
        np.savez(tmp_path / "t.npz", X=x, y=Y)
        np.save(tmp_path / "X_train.npy", x)
        np.save(tmp_path / "y_train.npy", Y)
        for name in ("t.npz", "X_train.npy"):
            assert lists(Traces.load(tmp_path / name), "direction") == x.tolist()
        np.savez(tmp_path / "v.npz", data=x + 5, labels=Y)
        with pytest.raises(InputError, match=r"v\.npz: X has 1 channel.*--channels"):
            Traces.load(tmp_path / "v.npz")
        assert lists(Traces.load(tmp_path / "v.npz", channels="value"), "value") == (x + 5).tolist()
        np.save(tmp_path / "alone.npy", x)
        with pytest.raises(InputError, match=r"traces without classes: .*numpy\.savez"):
            Traces.load(tmp_path / "alone.npy")

    def test_doppelganger(self, tmp_path: Path) -> None:
        flags = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
        feature = np.arange(12.0).reshape(2, 3, 2)
        path = tmp_path / "data_train.npz"
        np.savez(path, data_feature=feature, data_attribute=np.eye(2), data_gen_flag=flags)
        traces = Traces.load(path, channels=["value", "value_up"])
        assert lists(traces, "value") == [[0, 2], [6, 8, 10]]


class Stream:
    """What polars and others give: Arrow by PyCapsule alone."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, schema: object = None) -> object:
        return self.table.__arrow_c_stream__(schema)


class DataSet:
    """As a data set of Hugging Face: Arrow of the rows that are selected."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def with_format(self, kind: str) -> pa.Table:
        assert kind == "arrow"
        return self.table.take(list(range(6)))


class TestFrames:
    def test_every_kind_of_frame(self) -> None:
        table = packets().to_arrow()
        frame = table.to_pandas()
        batches = table.combine_chunks().to_batches()
        for one in (
            frame, frame.set_index(frame.index + 7), table, batches[0], table.to_reader(),
            Stream(table), table.to_pydict(),
        ):  # fmt: skip
            assert Traces.from_frame(one).equals(packets())
        assert Traces.from_frame(DataSet(table)).equals(packets()[:6])
        with pytest.raises(InputError, match="got int"):
            Traces.from_frame(5)

    def test_one_row_per_packet_against_pandas(self) -> None:
        rng = np.random.default_rng(0)
        frame = pd.DataFrame(
            {
                "flow_id": rng.integers(0, 9, 200),
                "packet_length": rng.integers(40, 1500, 200),
                "direction": rng.choice([-1, 1], 200),
                "timestamp": np.arange(200) / 8,
            }
        )
        frame["label"] = np.where(frame.flow_id % 2, "odd", "even")
        frame["port"] = frame.flow_id + 1000
        frame["ttl"] = rng.integers(0, 255, 200)
        with pytest.warns(Note) as said:
            traces = Traces.from_frame(frame, by="flow_id")
        assert any("column 'ttl' was left out: it changes" in str(one.message) for one in said)
        for row, flow in enumerate(frame.flow_id.unique()):
            mine = frame[frame.flow_id == flow]
            assert traces.meta["trace_id"][row].as_py() == flow
            assert lists(traces, "packet_length")[row] == mine.packet_length.tolist()
            since = (mine.timestamp - mine.timestamp.iloc[0]).tolist()
            assert lists(traces, "timestamp")[row] == since
            assert traces.label_names[row] == mine.label.iloc[0]
            assert traces.meta["port"][row].as_py() == flow + 1000
        with_ttl = pytest.warns(Note)
        with with_ttl:
            chosen = Traces.from_frame(frame, by="flow_id", channels=["ttl", "timestamp"])
        assert [channel.name for channel in chosen.channels] == ["ttl", "timestamp"]

    def test_packets_that_do_not_fit_are_named(self) -> None:
        frame = pd.DataFrame({"f": [1, 1, 2], "label": ["a", "b", "a"], "value": [1, 2, 3]})
        with pytest.raises(InputError, match="row 1: trace 1 has the class 'b' beside another"):
            Traces.from_frame(frame, by="f")
        with pytest.raises(InputError, match="no column 'flow'"):
            Traces.from_frame(frame, by="flow")
        frame["f"] = [1, None, 2]
        with pytest.raises(InputError, match="column 'f' is empty in row 1"):
            Traces.from_frame(frame, by="f")


def test_arrow_streams_both_ways() -> None:
    """By the Arrow PyCapsule interface, which pandas, polars and DuckDB speak, too."""
    traces = packets()
    table = pa.table(traces)
    assert table.equals(traces.to_arrow())
    for one in (table, table.to_reader(), table.combine_chunks().to_batches()[0], traces):
        assert Traces.from_arrow(one).equals(traces)


def test_frames_with_an_index_of_the_users() -> None:
    frame = pd.DataFrame({"label": ["a", "b"], "value": [[1, 2], [3]]})
    assert Traces.from_frame(frame.set_index("label")).counts() == {"a": 1, "b": 1}
    assert Traces.from_frame(frame[::-1]).meta.column_names == []
    rows = pd.DataFrame(
        {"label": ["a", "a", "b"], "value": [1, 2, 3]}, index=pd.Index([0, 0, 1], name="flow")
    )
    assert lists(Traces.from_frame(rows, by="flow"), "value") == [[1, 2], [3]]


def test_frames_with_lists_as_text_and_rows_of_mappings() -> None:
    """As `read_csv` gives them."""
    frame = pd.DataFrame({"label": ["a", "b"], "value": ["[1, 2]", "[3]"], "note": ["[1]", "[2]"]})
    traces = Traces.from_frame(frame)
    assert lists(traces, "value") == [[1, 2], [3]]
    assert traces.meta["note"].to_pylist() == ["[1]", "[2]"]
    rows = [{"label": "a", "value": [1, 2]}, {"label": "b", "value": [3]}]
    assert lists(Traces.from_frame(rows), "value") == [[1, 2], [3]]


class TestNamedArrays:
    def test_npz_of_channels(self, tmp_path: Path) -> None:
        sizes, signs = np.array([[60, 1500, 0], [44, 52, 60]]), np.array([[1, -1, 0], [1, 1, -1]])
        np.savez(tmp_path / "t.npz", packet_length=sizes, directions=signs, labels=Y)
        with pytest.warns(Note, match="padding"):
            traces = Traces.load(tmp_path / "t.npz")
        assert lists(traces, "packet_length") == [[60, 1500], [44, 52, 60]]
        assert lists(traces, "direction") == [[1, -1], [1, 1, -1]]
        np.savez(tmp_path / "t.npz", packet_length=sizes, direction=signs[:, :2], labels=Y)
        with pytest.raises(InputError, match=r"have the shapes .*\(traces, points\)"):
            Traces.load(tmp_path / "t.npz")

    @pytest.mark.parametrize(("x", "y"), [("X", "y"), ("X_train", "y_train"), ("data", "labels")])
    def test_npy_and_folders_of_them(self, x: str, y: str, tmp_path: Path) -> None:
        np.save(tmp_path / f"{x}.npy", np.array([[1, -1], [-1, 1]]))
        np.save(tmp_path / f"{y}.npy", Y)
        for path in (tmp_path / f"{x}.npy", tmp_path):
            assert lists(Traces.load(path), "direction") == [[1, -1], [-1, 1]]


class TestWide:
    def test_numbered_columns_of_several_channels(self, tmp_path: Path) -> None:
        names = [f"{name}_{k}" for k in (1, 2, 3) for name in ("packet_length", "dir", "iat_ms")]
        frame = pd.DataFrame(
            [[60, 1, 0, 1500, -1, 250, 52, 1, 500], [60, 1, 0, 44, -1, 125] + [np.nan] * 3],
            columns=names,
        )
        frame.assign(label=Y, port=[443, 53]).to_csv(tmp_path / "t.csv", index=False)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            traces = Traces.load(tmp_path / "t.csv")
            chosen = Traces.load(tmp_path / "t.csv", channels="iat")
        assert any("'iat_ms_1' to 'iat_ms_3' were read as the" in str(one.message) for one in said)
        assert [one.name for one in chosen.channels] == ["iat"]
        assert lists(traces, "packet_length") == [[60, 1500, 52], [60, 44]]
        assert lists(traces, "direction") == [[1, -1, 1], [1, -1]]
        assert lists(traces, "iat") == [[0, 0.25, 0.5], [0, 0.125]]
        assert traces.meta["port"].to_pylist() == [443, 53]


class TestFolders:
    def test_tables_in_folders_of_classes(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            (tmp_path / name / "day").mkdir(parents=True)
            (tmp_path / name / "day" / "t.csv").write_text('value\n"[1,2]"\n')
        with pytest.warns(Note, match="the folder just below the one that was given"):
            assert Traces.load(tmp_path).counts() == {"a": 1, "b": 1}

    def test_other_files_beside_parquet_are_named(self, tmp_path: Path) -> None:
        packets().save(tmp_path / "a.parquet")
        packets().save(tmp_path / "b.csv")
        with pytest.warns(Note, match=r"only those of Parquet were read, not b\.csv"):
            assert len(Traces.load(tmp_path)) == len(packets())

    @pytest.mark.parametrize("suffix", ["parquet", "csv", "csv.gz", "feather", "jsonl", "npz"])
    def test_names_that_are_not_utf8(self, suffix: str, tmp_path: Path) -> None:
        plain, odd = tmp_path / f"t.{suffix}", tmp_path / os.fsdecode(b"caf\xe9." + suffix.encode())
        if suffix == "feather":
            pyarrow.feather.write_feather(packets().to_arrow(), plain)
        elif suffix == "jsonl":
            plain.write_text('{"label": "a", "value": [1]}')
        elif suffix == "csv.gz":
            plain.write_bytes(gzip.compress(b'label,value\na,"[1]"\n'))
        else:
            packets().save(plain)
        os.replace(plain, odd)
        assert len(Traces.load(odd)) in (1, len(packets()))


class TestForeignColumns:
    """As polars and data sets of Hugging Face hand them over."""

    SIZES = [[60, 1500], [44], [70, 80]]  # noqa: RUF012

    def read(self, label: Any, **options: Any) -> Traces:
        return Traces.from_frame(pa.table({"label": label, "packet_length": self.SIZES}), **options)

    @pytest.mark.parametrize("index", [None, pa.uint8(), pa.uint32()])
    def test_views_of_text(self, index: pa.DataType | None) -> None:
        label = pa.array(["b", "a", "b"], pa.string_view())
        if index is not None:
            codes = pa.array([0, 1, 0], index)
            label = pa.DictionaryArray.from_arrays(codes, pa.array(["b", "a"], pa.string_view()))
        traces = self.read(label)
        assert [traces.classes[k] for k in traces.labels] == ["b", "a", "b"]

    def test_views_of_text_in_rows_of_packets(self) -> None:
        views = pa.array(["a", "a", "b"], pa.string_view())
        rows = pa.table({"label": views, "flow": views, "packet_length": [60, 1500, 44]})
        traces = Traces.from_frame(rows, by="flow")
        assert traces.to_arrow()["packet_length"].to_pylist() == [[60, 1500], [44]]

    def test_classes_by_number_get_their_names(self) -> None:
        features = {"label": {"names": ["web", "voip"], "_type": "ClassLabel"}}
        about = {"huggingface": json.dumps({"info": {"features": features}})}
        table = pa.table({"label": [1, 0, 1], "packet_length": self.SIZES})
        traces = Traces.from_arrow(table.replace_schema_metadata(about))
        assert [traces.classes[k] for k in traces.labels] == ["voip", "web", "voip"]

    def test_one_batch_as_a_capsule(self) -> None:
        batch = pa.RecordBatch.from_pydict({"label": ["a", "b", "b"], "packet_length": self.SIZES})

        class Capsule:
            def __arrow_c_array__(self, schema: Any = None) -> Any:
                return batch.__arrow_c_array__(schema)

        assert Traces.from_frame(Capsule()).lengths.tolist() == [2, 1, 2]
