"""Names of columns as people write them: with units, capitals, inside structs."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from netdiffus.errors import InputError
from netdiffus.tables.columns.names import meaning
from netdiffus.tables.formats.header import header_of
from netdiffus.tables.report import Findings
from netdiffus.traces.traces import Traces

SIZES, DIRECTIONS = [[60, 1500, 52], [60, 44]], [[1, -1, 1], [1, -1]]
LABELS = ["a", "b"]


def read(table: dict[str, Any]) -> tuple[Traces, list[str]]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        traces = Traces.from_arrow(pa.table(table))
    return traces, [str(one.message) for one in said]


def lists(traces: Traces) -> dict[str, Any]:
    return {one.name: traces.to_arrow()[one.name].to_pylist() for one in traces.channels}


@pytest.mark.parametrize(
    ("name", "channel", "per_second"),
    [
        ("packetLength", "packet_length", 1),
        ("packet_length [B]", "packet_length", 1),
        ("Size (bytes)", "packet_length", 1),
        ("pkt_size_bytes", "packet_length", 1),
        ("timeStamp", "timestamp", 1),
        ("time (ms)", "timestamp", 1e3),
        ("timestamp [us]", "timestamp", 1e6),
        ("times(µs)", "timestamp", 1e6),
        ("timeMs", "timestamp", 1e3),
        ("time in ms", "timestamp", 1e3),
        ("timestamp_millis", "timestamp", 1e3),
        ("ipt_usec", "iat", 1e6),
        ("iat_nanoseconds", "iat", 1e9),
        ("interArrivalTimes_seconds", "iat", 1),
        ("tcp.time_relative", "timestamp", 1),
        ("relTime_ms", "timestamp", 1e3),
        ("delta_time_ms", "iat", 1e3),
        ("ipds", "iat", 1),
        ("udps.splt_piat_ms", "iat", 1e3),
        ("payload_lengths", "packet_length", 1),
        ("packet_length_sequence", "packet_length", 1),
        ("iatList", "iat", 1),
        ("dir_seq", "direction", 1),
    ],
)
def test_units_and_words_in_names(name: str, channel: str, per_second: float) -> None:
    known = meaning(name)
    assert known is not None
    assert (known.channel, known.per_second) == (channel, per_second)


@pytest.mark.parametrize(
    "name", ["time_kb", "(ms)", "size_ms", "packet_length_mean", "frame.time_delta", "value_s"]
)
def test_names_that_stay_unknown(name: str) -> None:
    assert meaning(name) is None


def test_times_in_brackets_are_scaled() -> None:
    traces, _ = read({"label": LABELS, "time (ms)": [[0, 100, 300], [0, 50]]})
    assert lists(traces) == {"timestamp": [[0, 0.1, 0.3], [0, 0.05]]}


def test_types_are_taken_off_names_only_where_most_names_have_them() -> None:
    assert header_of(b"label,time (ms)\n", ",", Findings()).names == ["label", "time (ms)"]
    typed = b"ipaddr DST_IP,time TIME_FIRST,LABEL\n"
    assert header_of(typed, ",", Findings()).names == ["DST_IP", "TIME_FIRST", "LABEL"]


def test_signs_without_width_are_no_part_of_a_name() -> None:
    header = "\u200blabel,value\n".encode()
    assert header_of(header, ",", Findings()).names == ["label", "value"]


@pytest.mark.parametrize(
    ("name", "first"), [("is_outgoing", True), ("isIncoming", False), ("c2s", True)]
)
def test_truth_values_of_a_side_are_directions(name: str, first: bool) -> None:
    sides = [[first if one > 0 else not first for one in row] for row in DIRECTIONS]
    traces, said = read({"label": LABELS, "packet_length": SIZES, name: sides})
    assert lists(traces)["direction"] == DIRECTIONS
    assert any("was read as +1, from the client" in one for one in said)


def test_arrows_between_the_ends_are_directions() -> None:
    words = {1: "client->server", -1: "server->client"}
    rows = [[words[one] for one in row] for row in DIRECTIONS]
    traces, _ = read({"label": LABELS, "packet_length": SIZES, "direction": rows})
    assert lists(traces)["direction"] == DIRECTIONS


def test_fields_of_a_struct_keep_the_names_of_channels() -> None:
    flows = [
        {"len": sizes, "dir": directions}
        for sizes, directions in zip(SIZES, DIRECTIONS, strict=True)
    ]
    traces, _ = read({"label": LABELS, "packets": flows})
    assert lists(traces) == {"packet_length": SIZES, "direction": DIRECTIONS}


def test_fields_of_two_structs_are_not_taken_for_one_another() -> None:
    ways = [{"len": sizes} for sizes in SIZES]
    traces, _ = read({"label": LABELS, "up": ways, "down": ways})
    assert [one.kind for one in traces.channels] == ["number", "number"]


def test_classes_that_are_nearly_the_same_are_said() -> None:
    names = ["Z\u00fcrich", "Zu\u0308rich", "web", "Web "]
    _, said = read({"label": names, "value": [[1, 2]] * 4})
    assert any("'Web ' and 'web' are two, but differ only in" in one for one in said)
    assert any("and 1 more such" in one for one in said)


@pytest.mark.parametrize("name", ["NaN", " nan"])
def test_a_class_that_is_no_number_is_missing(name: str) -> None:
    with pytest.raises(InputError, match="column 'label' is empty in row 1"):
        read({"label": ["a", name], "value": [[1, 2]] * 2})


def test_numbers_in_the_middle_of_names_count_points() -> None:
    table: dict[str, Any] = {"label": LABELS * 2}
    table |= {f"pkt{k}_size": [60 + k] * 4 for k in range(1, 4)}
    table |= {f"iat_{k}_ms": [100 * k] * 4 for k in range(1, 4)}
    traces, _ = read(table)
    assert lists(traces)["packet_length"][0] == [61, 62, 63]
    assert lists(traces)["iat"][0] == [0.1, 0.2, 0.3]


def test_units_in_the_names_of_arrays(tmp_path: Any) -> None:
    path = tmp_path / "t.npz"
    np.savez(path, iat_ms=[[0.0, 100.0]] * 2, packet_length=[[60, 52]] * 2, y=[0, 1])
    traces = Traces.load(path)
    assert lists(traces)["iat"] == [[0, 0.1]] * 2
