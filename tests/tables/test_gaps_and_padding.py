"""Gaps that begin with the second packet, zeros that fill lists up, numbers to doubt."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from netdiffus.errors import InputError
from netdiffus.traces.traces import Traces

SIZES = [[60, 1500, 52], [60, 44, 70]]
GAPS = [[0, 0.25, 0.5], [0, 0.125, 0.25]]
NAN = float("nan")


def read(**columns: Any) -> tuple[dict[str, Any], list[str]]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        traces = Traces.from_arrow(pa.table({"label": ["a", "b"], **columns}))
    rows = {one.name: traces.to_arrow()[one.name].to_pylist() for one in traces.channels}
    return rows, [str(one.message) for one in said]


@pytest.mark.parametrize("missing", [None, NAN])
def test_a_first_gap_may_be_missing(missing: float | None) -> None:
    rows, said = read(packet_length=SIZES, iat=[[missing, *gaps[1:]] for gaps in GAPS])
    assert rows == {"packet_length": SIZES, "iat": GAPS}
    assert said == ["iat: no gap before the first packet was read as 0 (2 of 2 traces)"]


def test_a_first_gap_of_a_type_for_durations_may_be_missing() -> None:
    gaps = pa.array([[None, 250, 500], [None, 125, 250]], pa.list_(pa.duration("ms")))
    assert read(packet_length=SIZES, iat=gaps)[0]["iat"] == GAPS


def test_gaps_that_are_missing_elsewhere_are_refused() -> None:
    with pytest.raises(InputError, match="'iat' has a missing value in row 0 at point 1"):
        read(packet_length=SIZES, iat=[[0, None, 0.5], [0, 0.125, 0.25]])
    with pytest.raises(InputError, match="iat is nan at point 0 of trace 0"):
        read(packet_length=SIZES, iat=[[NAN, 0.25, NAN], [0, 0.125, 0.25]])
    with pytest.raises(InputError, match="'packet_length' has a missing value in row 0"):
        read(packet_length=[[None, 52], [60, 44]])


def test_differences_of_pandas_are_gaps() -> None:
    packets = pd.DataFrame(
        {"flow": [1, 1, 2, 2], "label": list("aabb"), "time": [5, 5.5, 1, 1.25], "size": [60] * 4}
    )
    packets["iat"] = packets.groupby("flow").time.diff()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traces = Traces.from_frame(packets.drop(columns="time"), by="flow")
    assert traces.to_arrow()["iat"].to_pylist() == [[0, 0.5], [0, 0.25]]


def test_gaps_between_packets_are_one_less() -> None:
    rows, said = read(iat=[gaps[1:] for gaps in GAPS], packet_length=SIZES)
    assert rows == {"iat": GAPS, "packet_length": SIZES}
    assert "0 was put before the first" in said[0]
    with pytest.raises(InputError, match="must be equally long"):
        read(iat=[GAPS[0][1:], GAPS[1]], packet_length=SIZES)


@pytest.mark.parametrize(
    "columns",
    [
        {"packet_length": [[60, 52, 0], [60, 0, 0]], "timestamp": [[1, 1.5, 0], [1, 0, 0]]},
        {"packet_length": [[60, 52, 0, 0], [60, 0, 0, 0]], "iat": [[0, 0.5, 0, 0], [0] * 4]},
        {"packet_length": [[60, -52, 0], [60, 0]]},
    ],
    ids=["times", "gaps", "signs"],
)
def test_zeros_that_fill_up_lists_are_cut_off(columns: dict[str, Any]) -> None:
    rows, said = read(**columns)
    assert rows["packet_length"] == [[60, 52], [60]]
    assert "padding at the end of traces was cut off (2 of 2 traces)" in said


@pytest.mark.parametrize(
    "columns",
    [
        {"packet_length": [[60, 0], [52, 0]]},
        {"packet_length": [[60, 0], [52, 0]], "iat": [[0, 0], [0, 0.5]]},
        {"packet_length": [[60, 0, 0], [0]], "iat": [[0, 0, 0], [0]]},
        {"packet_length": [[0], [52, 0]], "timestamp": [[0], [0, 0]]},
    ],
    ids=["sizes alone", "a single one", "of several lengths", "of one time"],
)
def test_zeros_that_may_be_packets_are_kept(columns: dict[str, Any]) -> None:
    rows, said = read(**columns)
    assert rows == columns
    assert said == []


def test_whole_seconds_for_hours_are_doubted() -> None:
    assert "call the column iat_ms or iat_us" in read(iat=[[0, 15000], [0, 2]])[1][0]
    assert read(iat=[[0, 15000.5], [0, 2]])[1] == []
    assert read(iat=[[0, 15], [0, 2]])[1] == []


def test_sizes_of_no_packet_are_doubted() -> None:
    assert "as if they were scaled" in read(packet_length=[[0.04, 1.0], [0.5, 0.1]])[1][0]
    assert "such as 70000, are of no single packet" in read(packet_length=[[60, 70000], [9]])[1][0]
    assert read(packet_length=[[1, 0], [65575]])[1] == []


def test_the_sign_of_a_time_of_zero_counts() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traces = Traces.from_arrays(np.array([[-0.0, 0.5], [0.0, -0.25]]), [0, 1])
    assert traces.to_arrow()["direction"].to_pylist() == [[-1, 1], [1, -1]]


def test_padding_is_cut_off_arrays_with_a_unit_in_their_name() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = np.array([[0, -500, 0], [0, 250, -500]])
        traces = Traces.from_arrays(x, [0, 1], channels="timestamp_ms")
    assert traces.to_arrow()["timestamp"].to_pylist() == [[0, 0.5], [0, 0.25, 0.5]]
    assert traces.to_arrow()["direction"].to_pylist() == [[1, -1], [1, 1, -1]]


def test_axes_that_could_be_either_are_said() -> None:
    with pytest.warns(UserWarning, match=r"\(traces, points, channels\)"):
        Traces.from_arrays(np.ones((4, 2, 2)), [0, 1] * 2, channels=["value", "other"])


def test_arrays_that_are_not_read_are_said(tmp_path: Path) -> None:
    x = np.array([[1, -1]] * 4)
    np.savez(tmp_path / "t.npz", X_train=x, y_train=[0, 1] * 2, X_test=x, y_test=[0, 1] * 2)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        Traces.load(tmp_path / "t.npz")
    left = [str(one.message) for one in said]
    assert any("'X_test' was left out: only the arrays X_train and" in one for one in left)


def test_a_frame_with_a_name_twice_is_refused() -> None:
    frame = pd.DataFrame([["a", [1], [2]]] * 2, columns=["label", "value", "value"])
    with pytest.raises(InputError, match="Duplicate column names"):
        Traces.from_frame(frame)
