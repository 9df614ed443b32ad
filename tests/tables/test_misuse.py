"""What people give by mistake, or in forms that are near those that are read."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
import torch
from scipy.sparse import csr_matrix

from netdiffus import Traces
from netdiffus.errors import InputError, Note

pytestmark = pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")

X = np.array([[60, 1500, 52], [90, 120, 0]])
Y = ["web", "dns"]
LISTS = [[60, 1500, 52], [90, 120]]


def points(traces: Traces) -> list[list[float]]:
    return [one[0, :n].tolist() for one, n in zip(traces.values, traces.lengths, strict=True)]


def test_what_a_mask_hides_is_no_point() -> None:
    hidden = np.ma.masked_array([[60, 1500, 52], [90, 120, 999]], mask=[[0, 0, 0], [0, 0, 1]])
    assert points(Traces.from_arrays(hidden, Y, "packet_length")) == LISTS
    assert points(Traces.from_arrays(list(hidden), Y, "packet_length")) == LISTS


def test_lists_with_masks_and_bytes() -> None:
    hidden = np.ma.masked_array([60, 999], mask=[0, 1])
    with pytest.raises(InputError, match="packet_length"):
        Traces.from_lists({"packet_length": [hidden, [90]]}, Y)
    assert Traces.from_lists({"packet_length": LISTS}, [b"web", b"dns"]).classes == ("dns", "web")


@pytest.mark.parametrize(
    ("labels", "meta", "message"),
    [
        (["a", None], None, "'label' is empty in row 1"),
        ([pd.NA, "a"], None, "'label' is empty in row 0"),
        ("ab", None, "labels is the text 'ab'"),
        (Y, {"packet_length": [1, 2]}, "among the channels and in meta"),
    ],
)
def test_lists_that_do_not_fit(labels: Any, meta: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Traces.from_lists({"packet_length": LISTS}, labels, meta)


def test_truth_values_are_directions() -> None:
    x = np.array([[True, False], [True, True]])
    with pytest.warns(Note, match="false as -1"):
        assert points(Traces.from_arrays(x, Y, "direction")) == [[1, -1], [1, 1]]


SAME = {
    "sparse": torch.tensor(X).to_sparse(),
    "gradient": torch.tensor(X, dtype=torch.float32, requires_grad=True),
    "arrow": pa.array(LISTS),
    "chunked": pa.chunked_array([LISTS[:1], LISTS[1:]]),
}


@pytest.mark.parametrize("x", SAME.values(), ids=SAME.keys())
def test_arrays_of_other_libraries(x: Any) -> None:
    assert points(Traces.from_arrays(x, Y, "packet_length")) == LISTS


@pytest.mark.parametrize(
    ("x", "y", "lengths", "message"),
    [
        (X, [None, "a"], None, "y has no class for trace 0"),
        (X, pd.Series(["a", pd.NA], dtype="string"), None, "y has no class for trace 1"),
        (X, None, None, "y is None: give the class"),
        (X, np.array([[0.7, 0.3], [0.2, 0.8]]), None, "is not one-hot"),
        (X, ["a", "b", "c"], None, "X has 2 traces and y has 3"),
        (X, Y, [-1, 2], "lengths: -1 for trace 0"),
        (X, Y, [3, 2.5], r"lengths: 2\.5 for trace 1"),
        (X, Y, [3], "lengths must be 2 whole numbers"),
        (np.zeros((2, 0)), Y, None, "have no points"),
        (torch.zeros(2, 3, device="meta"), Y, None, "device meta"),
        ({"packet_length": X}, Y, None, "X is a mapping"),
        (
            torch.utils.data.TensorDataset(torch.tensor(X), torch.ones(2)),
            Y,
            None,
            "TensorDataset: give the num",
        ),
    ],
)
def test_arrays_that_do_not_fit(x: Any, y: Any, lengths: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Traces.from_arrays(x, y, "packet_length", lengths=lengths)


CELLS = {
    "series": pd.Series, "tensors": torch.tensor, "deques": deque, "tuples": tuple,
    "arrays": np.array,
}  # fmt: skip


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())
def test_cells_of_a_frame(cell: Any) -> None:
    frame = pd.DataFrame({"label": Y, "packet_length": pd.Series([cell(one) for one in LISTS])})
    assert points(Traces.from_frame(frame)) == LISTS


def test_sparse_columns_of_packets() -> None:
    sizes = pd.arrays.SparseArray([60, 0, 90])
    frame = pd.DataFrame({"flow": [1, 1, 2], "label": list("aab"), "packet_length": sizes})
    assert points(Traces.from_frame(frame, by="flow")) == [[60, 0], [90]]


def test_forms_of_arrow(tmp_path: Path) -> None:
    table = pa.table({"label": Y, "packet_length": LISTS})
    pa.parquet.write_table(table, tmp_path / "t.parquet")
    ends = pa.array([1, 2], pa.int32())
    forms = [
        pa.dataset.dataset(tmp_path / "t.parquet"),
        pa.parquet.ParquetFile(tmp_path / "t.parquet"),
        table.to_batches(),
        table.set_column(0, "label", pa.RunEndEncodedArray.from_arrays(ends, pa.array(Y))),
        table.set_column(1, "packet_length", pa.ExtensionArray.from_storage(
            pa.json_(), pa.array([str(one) for one in LISTS]))),
    ]  # fmt: skip
    for form in forms:
        assert points(Traces.from_arrow(form)) == LISTS


def test_truth_values_in_a_byte() -> None:
    values = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0, 1], pa.int8()))
    lists = pa.ListArray.from_arrays(pa.array([0, 2, 3], pa.int32()), values)
    assert points(Traces.from_arrow(pa.table({"label": Y, "direction": lists}))) == [[1, -1], [1]]


TENSORS = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(8).reshape(2, 2, 2))
LEVELS = pd.MultiIndex.from_tuples([("label", ""), ("packet_length", 0)])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pd.DataFrame({"label": Y, "packet_length": [{1, 2}, {3}]}), "a set, which has no order"),
        (pd.DataFrame([["web", 60]], columns=LEVELS), "columns have several levels"),
        (pd.DataFrame({"label": Y}).groupby("label"), "give the frame itself, and by="),
        (pd.Series(LISTS), "a Series is one column"),
        (X, r"Traces\.from_arrays"),
        ("t.parquet", r"is a path: Traces\.load"),
        (pa.table({"label": Y, "x": TENSORS}), r"tensors of shape \(2, 2\)"),
        (pa.table({"label": [b"a", b"\xff"], "x": LISTS}), "bytes that are no text in UTF-8"),
    ],
)
def test_what_is_no_frame_of_traces(data: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Traces.from_frame(data)


def test_one_column_names_the_trace() -> None:
    frame = pd.DataFrame({"a": [1], "b": [1], "label": ["x"], "packet_length": [1]})
    with pytest.raises(InputError, match="by must be the name of one column"):
        Traces.from_frame(frame, by=["a", "b"])


def test_what_hugging_face_saves_to_disk(tmp_path: Path) -> None:
    """Names of classes stand in the schema; files about the data lie beside the table."""
    about = '{"info": {"features": {"label": {"names": ["web", "dns"], "_type": "ClassLabel"}}}}'
    table = pa.table({"label": [0, 1], "packet_length": LISTS})
    table = table.replace_schema_metadata({"huggingface": about})
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        with pa.ipc.new_stream(tmp_path / part / "data-00000-of-00001.arrow", table.schema) as file:
            file.write_table(table)
        (tmp_path / part / "state.json").write_text('{"_fingerprint": "1"}')
        (tmp_path / part / "dataset_info.json").write_text('{"features": {}}')
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert Traces.load(tmp_path / "train").counts() == {"dns": 1, "web": 1}
    assert Traces.load(tmp_path).counts() == {"dns": 2, "web": 2}


def test_parts_of_a_split_are_no_classes(tmp_path: Path) -> None:
    for part in ("train", "Test"):
        (tmp_path / part).mkdir()
        pa.parquet.write_table(pa.table({"packet_length": LISTS}), tmp_path / part / "0.parquet")
    with pytest.raises(InputError, match="Test, train are parts of a split, not classes"):
        Traces.load(tmp_path)


def test_structured_arrays_are_frames() -> None:
    kind = [("label", "U5"), ("flow", ">i4"), ("packet_length", "<i4")]
    rows = [("web", 1, 60), ("dns", 2, 90), ("web", 1, 1500), ("web", 1, 52), ("dns", 2, 120)]
    packets = np.array(rows, dtype=kind)
    for form in (packets, packets.view(np.recarray)):
        assert points(Traces.from_frame(form, by="flow")) == LISTS
    kind = [("label", "S5"), ("packet_length", ">i4", 3)]
    whole = np.array([("web", [60, 1500, 52]), ("dns", [90, 120, 44])], dtype=kind)
    assert points(Traces.from_frame(whole)) == [[60, 1500, 52], [90, 120, 44]]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors_are_lists() -> None:
    lists = [torch.tensor(one) for one in LISTS]
    for layout in (torch.strided, torch.jagged):
        nested = torch.nested.as_nested_tensor(lists, layout=layout)
        assert points(Traces.from_lists({"packet_length": nested}, Y)) == LISTS


@pytest.mark.parametrize(
    ("do", "message"),
    [
        (lambda: Traces.from_lists([X], Y), "columns is a list; give a mapping"),  # type: ignore[arg-type]
        (lambda: Traces.from_lists({"packet_length": [b"ab", [1]]}, Y), "cannot become an Arrow"),
        (lambda: Traces.from_frame([("web", [60])]), r"got list: .*pandas.DataFrame\(rows\)"),
        (lambda: Traces.from_frame({} for _ in X), r"got generator: .*pandas.DataFrame\(rows\)"),
        (lambda: Traces.from_arrays(csr_matrix(X), Y), r"X is a csr_matrix, .*X.toarray\(\)"),
    ],
)
def test_what_is_near_to_what_is_read_says_how_to_go_on(do: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        do()
