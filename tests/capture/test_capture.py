"""From packets to labelled traces: rules, order, labels, files and the command."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from capture_oracle import flows
from captures import (
    ACK,
    CLIENT,
    CLIENT6,
    FIN,
    RST,
    SECOND,
    SERVER,
    SERVER6,
    START,
    SYN,
    Record,
    conversation,
    enhanced,
    ethernet,
    frames,
    interface,
    ipv4,
    ipv6,
    pcap,
    pcapng,
    section,
    tcp,
    udp,
)
from command import run
from hypothesis import given, settings
from hypothesis import strategies as st

from netdiffus.capture import (
    CaptureReport,
    Rules,
    convert_captures,
    import_captures,
    importing,
    reading,
)
from netdiffus.capture.ahead import in_order
from netdiffus.capture.report import DUPLICATES
from netdiffus.channels import Channel
from netdiffus.errors import InputError
from netdiffus.export.capture import write_capture
from netdiffus.traces.lab import lab_traffic
from netdiffus.traces.traces import Traces

# What is to be looked at before traces are used is tested in test_inputs.py.
pytestmark = pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")

ALL = Rules(packets=None)
PACKETS = conversation()
OTHER = "192.168.7.7"


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def up(seconds: float, payload: int = 10, flags: int = ACK, port: int = 5) -> tuple[int, bytes]:
    time = START + round(seconds * SECOND)
    return time, ipv4(CLIENT, SERVER, 6, tcp(port, 80, payload, flags))


def down(seconds: float, payload: int = 10, flags: int = ACK, port: int = 5) -> tuple[int, bytes]:
    time = START + round(seconds * SECOND)
    return time, ipv4(SERVER, CLIENT, 6, tcp(80, port, payload, flags))


def imported(folder: Path, packets: list[tuple[int, bytes]], rules: Rules = ALL) -> Traces:
    path = write(folder / "a.pcap", pcap(frames(packets)))
    return import_captures(path, label_from=None, rules=rules)[0]


def notes(report: CaptureReport) -> dict[str, int]:
    """Without those of packets that are alike, as many here are."""
    return {what: count for what, count in report.notes.items() if what != DUPLICATES}


def lists(traces: Traces, name: str) -> list[list[float]]:
    return traces.to_arrow()[name].to_pylist()


# Rules


def test_flows_end_when_idle_or_old(tmp_path: Path) -> None:
    quiet = [up(0), down(119.999), up(239.998), up(359.998), down(360)]
    assert imported(tmp_path, quiet).lengths.tolist() == [3, 2]
    steady = [up(second) for second in range(0, 1801, 100)]
    assert imported(tmp_path, steady).lengths.tolist() == [18, 1]
    rules = Rules(packets=None, idle=50, active=10**6)
    assert len(imported(tmp_path, steady, rules)) == len(steady)


def test_a_flow_cut_by_its_age_keeps_its_client(tmp_path: Path) -> None:
    packets = [up(0), up(100), down(200), up(250)]
    traces = imported(tmp_path, packets, Rules(active=200, idle=150))
    assert traces.meta["client"].to_pylist() == [CLIENT, CLIENT]
    assert lists(traces, "direction") == [[1, 1], [-1, 1]]
    packets = [up(0), down(200), up(250)]  # idle before: nothing is known of the new flow
    traces = imported(tmp_path, packets, Rules(active=200, idle=150))
    assert traces.meta["client"].to_pylist() == [CLIENT, SERVER]


@pytest.mark.parametrize("ends", [[(up, RST)], [(up, FIN), (down, FIN | ACK)]])
def test_a_syn_after_the_end_begins_a_flow(tmp_path: Path, ends: list[Any]) -> None:
    closing = [way(1 + i, 0, flags) for i, (way, flags) in enumerate(ends)]
    packets = [up(0, 0, SYN), *closing, up(4), up(5, 0, SYN), down(6, 0, SYN | ACK)]
    assert imported(tmp_path, packets).lengths.tolist() == [len(ends) + 2, 2]
    open_ended = [up(0, 0, SYN), up(1, 0, FIN | ACK), up(5, 0, SYN)]
    assert imported(tmp_path, open_ended).lengths.tolist() == [3]


ADDRESSES = [CLIENT, SERVER, OTHER]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 999, 10**6, 7 * SECOND, 60 * SECOND, 120 * SECOND]),
            st.permutations(ADDRESSES),
            st.sampled_from([6, 17, 1]),
            st.sampled_from([5, 80]),
            st.sampled_from([5, 80]),
            st.integers(0, 1400),
            st.sampled_from([ACK, SYN, SYN | ACK, FIN | ACK, RST]),
            st.sampled_from([7, 7, 8]),
        ),
        min_size=1,
        max_size=60,
    ),
    st.sampled_from([(120.0, 1800.0), (30.0, 100.0)]),
)
@settings(max_examples=100)
def test_any_packets_become_the_flows_of_the_oracle(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Any], limits: tuple[float, float]
) -> None:
    time, packets = START, []
    for gap, (source, destination, _), protocol, sport, dport, size, flags, number in drawn:
        time += gap
        segment = tcp(sport, dport, size, flags, number=number)
        body = segment if protocol == 6 else udp(sport, dport, size)
        packets.append((time, ipv4(source, destination, protocol, body)))
    path = write(tmp_path_factory.mktemp("any") / "a.pcap", pcap(frames(packets)))
    idle, active = limits
    traces, _ = import_captures(
        path, label_from=None, rules=Rules(packets=None, idle=idle, active=active)
    )
    expected = flows(path, 1, idle, active)
    assert traces.meta["start"].to_pylist() == [flow.start for flow in expected]
    for row, flow in zip(traces.meta.to_pylist(), expected, strict=True):
        assert (row["client"], row["client_port"]) == flow.client
        assert (row["server"], row["server_port"]) == flow.server
        ways = {1: 0, -1: 0}
        for size, direction, _ in flow.points:
            ways[direction] += size
        assert (row["bytes_up"], row["bytes_down"]) == (ways[1], ways[-1])
        assert row["packets"] == len(flow.points)
        assert row["duration"] == flow.points[-1][2] / 1e9
    points = [
        [tuple(point) for point in zip(*one, strict=True)]
        for one in zip(
            lists(traces, "packet_length"),
            lists(traces, "direction"),
            [[round(t * 1e9) for t in row] for row in lists(traces, "timestamp")],
            strict=True,
        )
    ]
    assert points == [flow.points for flow in expected]


@given(st.lists(st.integers(0, 2**51 - 1), min_size=1, max_size=20))
@settings(max_examples=50)
def test_nanoseconds_survive(tmp_path_factory: pytest.TempPathFactory, times: list[int]) -> None:
    packet = ethernet(ipv4(CLIENT, SERVER, 17, udp(1, 2)))
    times = sorted({0, *times})
    folder = tmp_path_factory.mktemp("ns")
    path = write(folder / "a.pcapng", pcapng([Record(START + t, packet) for t in times]))
    rules = Rules(packets=None, idle=1e9, active=1e9)
    convert_captures(path, folder / "t.parquet", label_from=None, rules=rules)
    traces = Traces.load(folder / "t.parquet")
    assert np.rint(traces.values[0, 2] * 1e9).astype(np.int64).tolist() == times
    assert traces.meta["start"].to_pylist() == [START]


def test_only_the_first_packets_are_kept_and_all_are_counted(tmp_path: Path) -> None:
    traces = imported(tmp_path, [up(i, i) for i in range(10)], Rules(packets=3))
    assert lists(traces, "packet_length") == [[40, 41, 42]]
    assert traces.meta.select(["packets", "bytes_up", "duration"]).to_pylist() == [
        {"packets": 10, "bytes_up": 445, "duration": 9.0}
    ]


# Hosts, captures, bins


def series(traces: Traces) -> tuple[list[list[float]], list[list[float]]]:
    return lists(traces, "value"), lists(traces, "value_up")


def test_bins_of_a_flow(tmp_path: Path) -> None:
    packets = [up(0, 0), down(0.19, 60), down(0.2, 100), up(0.65, 1)]
    traces = imported(tmp_path, packets, Rules(bin_width=0.2))
    assert series(traces) == ([[100, 140, 0, 0]], [[40, 0, 0, 41]])
    assert traces.channels == (
        Channel("value", "volume", "per bin", "int64", 0.2),
        Channel("value_up", "volume", "per bin", "int64", 0.2),
    )
    traces = imported(tmp_path, packets, Rules(bin_width=0.2, bins=3))
    assert series(traces) == ([[100, 140, 0]], [[40, 0, 0]])
    assert traces.meta["packets"].to_pylist() == [3]
    assert traces.meta["duration"].to_pylist() == [0.2]
    traces = imported(tmp_path, packets, Rules(bin_width=0.2, bins=6))
    assert series(traces) == ([[100, 140, 0, 0, 0, 0]], [[40, 0, 0, 41, 0, 0]])


def test_bins_turn_with_the_syn(tmp_path: Path) -> None:
    packets = [down(0, 0, SYN | ACK), up(0.1, 100)]
    traces = imported(tmp_path, packets, Rules(bin_width=1, direction="syn"))
    assert series(traces) == ([[40]], [[140]])


def talk(a: str, b: str, seconds: float, payload: int) -> tuple[int, bytes]:
    return START + round(seconds * SECOND), ipv4(a, b, 17, udp(1000 + payload, 53, payload))


HOUSE = [
    talk(CLIENT, SERVER, 0, 1),
    talk(SERVER, CLIENT, 1, 2),
    talk(OTHER, SERVER, 1, 4),
    talk(CLIENT, OTHER, 3000, 8),  # both are hosts; and far beyond a flow's limits
    talk(SERVER, "198.51.100.1", 3000, 16),
]


def test_a_trace_per_host(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", pcap(frames(HOUSE)))
    traces, report = import_captures(path, label_from=None, rules=Rules(per="host", size="payload"))
    assert traces.meta["host"].to_pylist() == [CLIENT, OTHER]
    assert lists(traces, "packet_length") == [[1, 2, 8], [4, 8]]
    assert lists(traces, "direction") == [[1, -1, 1], [1, -1]]
    assert report.dropped == {"neither address is a host": 1}
    rules = Rules(per="host", hosts=(f"{SERVER}/32",), size="payload")
    traces = import_captures(path, label_from=None, rules=rules)[0]
    assert lists(traces, "direction") == [[-1, 1, -1, 1]]


@pytest.mark.parametrize(
    ("per", "sessions"),
    [("capture", ["a"] * 5), ("host", [f"a#{one}" for one in (CLIENT, CLIENT, OTHER, CLIENT)])],
)
def test_flows_of_sessions(per: str, sessions: list[str], tmp_path: Path) -> None:
    """Each packet of HOUSE is a flow; that of no host is of no session."""
    path = write(tmp_path / "a.pcap", pcap(frames(HOUSE)))
    rules = Rules(per=per, keep_flows=True, size="payload", idle=1e6, active=1e6)
    traces, report = import_captures(path, label_from=None, rules=rules)
    found = [one.replace(".pcap", "") for one in traces.meta["session"].to_pylist()]
    assert found == sessions
    assert lists(traces, "packet_length") == [[1], [2], [4], [8], [16]][: len(traces)]
    assert report.dropped == ({} if per == "capture" else {"neither address is a host": 1})
    assert len(set(traces.meta["trace_id"].to_pylist())) == len(traces)


def test_flows_go_on_where_parts_of_a_capture_stand_one_behind_the_other(tmp_path: Path) -> None:
    sent = [up(k, 10 + k) for k in range(6)]
    path = write(tmp_path / "ab.pcap", pcap(frames(sent[:3])) + pcap(frames(sent[3:])))
    rules = Rules(per="capture", keep_flows=True, size="payload")
    traces = import_captures(path, label_from=None, rules=rules)[0]
    assert lists(traces, "packet_length") == [[10, 11, 12, 13, 14, 15]]


def test_flows_are_kept_of_sessions_alone() -> None:
    with pytest.raises(InputError, match="keep_flows"):
        Rules(keep_flows=True)


def test_a_trace_per_capture(tmp_path: Path) -> None:
    rules = Rules(per="capture", size="payload")
    traces = imported(tmp_path, HOUSE, rules)
    assert lists(traces, "packet_length") == [[1, 2, 4, 8, 16]]
    assert lists(traces, "direction") == [[1, -1, -1, 1, -1]]
    rules = Rules(per="capture", size="payload", hosts=("192.168.0.0/16",))
    assert lists(imported(tmp_path, HOUSE, rules), "direction") == [[1, -1, 1, 1, -1]]
    rules = Rules(per="capture", size="payload", active=2)
    assert imported(tmp_path, HOUSE, rules).lengths.tolist() == [3, 2]


@pytest.mark.parametrize("per", ["flow", "capture"])
def test_bins_are_the_packets_summed(per: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    times = np.sort(rng.integers(0, 100 * SECOND, 500)) / SECOND
    packets = [(up, down)[rng.integers(2)](t, int(rng.integers(1000))) for t in times]
    whole = imported(tmp_path, packets, Rules(per=per, packets=None))
    binned = imported(tmp_path, packets, Rules(per=per, bin_width=0.7))
    size, direction, time = whole.values[0]
    for name, sign in (("value", -1), ("value_up", 1)):
        weights = size * (direction == sign)
        bins = np.rint(time * 1e9).astype(np.int64) // 700_000_000
        np.testing.assert_array_equal(lists(binned, name)[0], np.bincount(bins, weights))


# Order


def test_packets_out_of_order_are_put_in_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    packets = [up(i / 1000, int(rng.integers(1000)), port=int(rng.integers(4))) for i in range(500)]
    mixed = [packets[i] for i in np.argsort(np.arange(500) + rng.uniform(0, 40, 500))]
    traces = imported(tmp_path, packets)
    path = write(tmp_path / "a.pcap", pcap(frames(mixed)))
    back, report = import_captures(path, label_from=None, rules=ALL)
    assert back.equals(traces)
    late = np.array([time for time, _ in mixed])
    assert notes(report) == {"put in order of time": np.sum(late < np.maximum.accumulate(late))}


def test_packets_of_one_time_keep_the_order_of_the_file(tmp_path: Path) -> None:
    packets = [up(1, i) for i in range(50)] + [up(0, 99)] + [up(1, i) for i in range(50, 80)]
    assert lists(imported(tmp_path, packets), "packet_length") == [[139, *range(40, 120)]]


SORTED = "of captures so far out of order that they were sorted on disk"


@pytest.fixture(scope="module")
def unsorted() -> dict[str, list[Record]]:
    """100,000 packets of two flows: more than are put in order on the way."""
    flows = [ethernet(up(0, port=port)[1]) for port in (5, 6)]
    packets = [Record(START + i * 10**6, flows[i % 2]) for i in range(100_000)]
    rng = np.random.default_rng(0)
    return {
        "two parts": packets[30_000:] + packets[:30_000],
        "a shuffle": [packets[i] for i in rng.permutation(len(packets))],
        "backwards": packets[::-1],
        "the first comes last": packets[1:] + packets[:1],
    }


@pytest.mark.parametrize("order", ["two parts", "a shuffle", "backwards", "the first comes last"])
def test_packets_in_no_order_are_sorted_on_disk(
    order: str, unsorted: dict[str, list[Record]], tmp_path: Path
) -> None:
    mixed = unsorted[order]
    path = write(tmp_path / "a.pcap", pcap(mixed))
    traces, report = import_captures(path, label_from=None, rules=ALL)
    write(path, pcap(sorted(mixed)))
    assert import_captures(path, label_from=None, rules=ALL)[0].equals(traces)
    assert traces.lengths.tolist() == [50_000, 50_000]
    times = np.array([record.time for record in mixed])
    late = int(np.sum(times < np.maximum.accumulate(times)))
    assert notes(report) == {"put in order of time": late, SORTED: len(mixed)}
    assert (report.packets, report.problems, dict(report.dropped)) == (len(mixed), [], {})


def test_interfaces_that_are_written_one_after_the_other(tmp_path: Path) -> None:
    """Each interface of a pcapng is in order, but their blocks are not."""
    packet = ethernet(ipv4(CLIENT, SERVER, 17, udp(1, 2)))
    answer = ethernet(ipv4(SERVER, CLIENT, 17, udp(2, 1)))
    ns = [enhanced(START + 2000 * i, packet, 0) for i in range(70_000)]
    us = [enhanced(START // 1000 + 2 * i + 1, answer, 1) for i in range(70_000)]
    blocks = [section(), interface(resolution=9), interface(resolution=6), *ns, *us]
    path = write(tmp_path / "a.pcapng", b"".join(blocks))
    traces, report = import_captures(path, label_from=None, rules=ALL)
    assert traces.lengths.tolist() == [140_000]
    assert lists(traces, "direction") == [[1, -1] * 70_000]
    ticks = np.rint(traces.points("timestamp") * 1e9)
    np.testing.assert_array_equal(ticks, 1000 * np.arange(140_000))
    assert notes(report) == {"put in order of time": 69_999, SORTED: 140_000}


def test_a_sorted_capture_keeps_its_damage_and_its_place_among_others(
    unsorted: dict[str, list[Record]], tmp_path: Path
) -> None:
    good = pcap(frames(PACKETS))
    for name, data in {"1": good, "2": pcap(unsorted["two parts"])[:-1], "3": good}.items():
        write(tmp_path / f"c/{name}.pcap", data)
    shares: list[float] = []
    with pytest.warns(UserWarning, match=r"2.pcap: byte \d+: the file ends within a packet"):
        traces, report = import_captures(
            tmp_path / "c", label_from=None, progress=lambda share, note: shares.append(share)
        )
    names = [name.partition("#")[0] for name in traces.meta["trace_id"].to_pylist()]
    assert list(dict.fromkeys(names)) == ["1.pcap", "2.pcap", "3.pcap"]
    assert report.packets == 2 * len(PACKETS) + 99_999
    assert report.notes[SORTED] == 99_999
    assert shares[-1] == 1.0


def test_a_full_disk_is_no_fault_of_the_capture(
    unsorted: dict[str, list[Record]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.pcap", pcap(unsorted["a shuffle"]))
    files = iter([tempfile.TemporaryFile(), open("/dev/full", "r+b", buffering=0)])  # noqa: SIM115
    monkeypatch.setattr(reading, "TemporaryFile", lambda: next(files))
    with pytest.raises(OSError, match="No space left on device: 'temporary file of a capture"):
        import_captures(path, label_from=None)


def test_one_wild_time_spoils_no_other_packet(tmp_path: Path) -> None:
    wild = (2**32 - 1) * SECOND, up(0)[1]
    traces = imported(tmp_path, [up(0), wild, up(1), down(2)])
    assert lists(traces, "timestamp") == [[0, 1, 2], [0]]


# Several captures


def tree(folder: Path) -> Path:
    """Two classes, three captures, of ten flows each, and a file that is none."""
    for i, name in enumerate(["voip/call-01.pcap", "voip/call-02.pcap", "web/page.pcap"]):
        packets = [up(j + i, port=1000 * i + j) for j in range(10)]
        write(folder / "captures" / name, pcap(frames(packets)))
    write(folder / "captures/voip/notes.txt", b"nothing\n")
    return folder / "captures"


def test_order_does_not_depend_on_threads(tmp_path: Path) -> None:
    made = [import_captures(tree(tmp_path), threads=n) for n in (1, 3)]
    assert made[0][0].equals(made[1][0])
    traces, report = made[0]
    assert traces.meta["trace_id"].to_pylist()[9:11] == [
        "voip/call-01.pcap#000009",
        "voip/call-02.pcap#000000",
    ]
    assert report.skipped == [str(tmp_path / "captures/voip/notes.txt")]
    assert report.captures == 3


def test_in_order_raises_what_a_job_raises_and_ends() -> None:
    def job(n: int) -> Any:
        for i in range(n):
            yield n, i
        if n == 30:
            raise InputError("thirty")

    def jobs(counts: list[int]) -> Any:
        return [lambda n=n: job(n) for n in counts]

    expected = [(n, i) for n in (20, 5, 0, 25) for i in range(n)]
    assert list(in_order(jobs([20, 5, 0, 25]), 3, Event())) == expected
    results = in_order(jobs([20, 30, 40, 50, 60]), 2, Event())
    with pytest.raises(InputError, match="thirty"):
        for count, _ in enumerate(results):  # noqa: B007
            pass
    assert count == 49
    some = in_order(jobs([100, 100]), 2, Event())
    next(some)
    some.close()  # its threads end, though their results were not taken


def test_jobs_end_soon_once_their_results_are_not_taken() -> None:
    stop, begun = Event(), []

    def job(n: int) -> Any:
        begun.append(n)
        yield n
        stop.wait(60)

    results = in_order([partial(job, n) for n in range(9)], 2, stop)
    assert next(results) == 0
    results.close()
    assert set(begun) <= {0, 1}


def test_an_error_of_one_capture_ends_the_reading_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captures, ended = tree(tmp_path), []
    labels = write(tmp_path / "labels.csv", b"file,label\npage.pcap,surf\n")

    def pieces(streams: Any, read: Any) -> Any:
        ((_, stream),) = streams
        yield stream.read(1 << 20)
        for _ in range(1000 if read.capture.path.name == "page.pcap" else 0):
            time.sleep(0.01)
            yield b""
        ended.append(read.capture.path.name)

    monkeypatch.setattr(reading, "_pieces", pieces)
    with pytest.raises(InputError, match=r"no label for voip/call-01.pcap"):
        import_captures(captures, label_from=labels, threads=3)
    assert "page.pcap" not in ended


def test_reading_ends_with_the_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pyarrow.parquet, "ParquetWriter", interrupt)
    monkeypatch.setattr(importing, "ROWS", 1)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt) as caught:
        convert_captures(tree(tmp_path), tmp_path / "t.parquet")
    assert threading.active_count() == before, caught  # which holds all that went on


def test_progress_is_by_bytes(tmp_path: Path) -> None:
    seen: list[float] = []
    import_captures(tree(tmp_path), threads=1, progress=lambda share, note: seen.append(share))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) == 3


def test_captures_in_a_folder_are_known_by_their_first_bytes(tmp_path: Path) -> None:
    plain, ng = pcap(frames(PACKETS)), pcapng(frames(PACKETS))
    for name, data in {
        "c/plain.dat": plain,
        "c/deep/ng.pcap": ng,
        "c/packed": gzip.compress(plain),
        "c/deep/er/packed.zst": pyarrow.compress(ng, "zstd", asbytes=True),
        "c/text.pcap": b"some text",
        "c/text.gz": gzip.compress(b"text"),
        "c/cut.gz": gzip.compress(plain)[:12],
        "c/empty.pcap": b"",
    }.items():
        write(tmp_path / name, data)
    with pytest.warns(UserWarning, match="c/") as caught:
        traces, report = import_captures(tmp_path / "c")
    assert [str(one.message) for one in caught] == report.hints + report.problems
    assert len(report.hints) == 1  # packed and plain.dat lie beside the folder deep
    names = ["deep/er/packed.zst", "deep/ng.pcap", "packed", "plain.dat"]
    assert list(dict.fromkeys(traces.meta["capture"].to_pylist())) == names
    assert report.skipped == [str(tmp_path / "c/text.gz")]
    bad = {
        name: problem
        for name in ("cut.gz", "empty.pcap", "text.pcap")
        for problem in report.problems
        if f"/{name}: " in problem
    }
    assert "ends early" in bad["cut.gz"]
    assert "an empty file" in bad["empty.pcap"]
    assert "text, not a capture" in bad["text.pcap"]
    assert len(report.problems) == 3
    assert traces.counts() == {"c": 6, "deep": 6}


DAMAGEABLE = [
    pcap(frames(PACKETS)),
    pcapng(frames(PACKETS)),
    gzip.compress(pcapng(frames(PACKETS))),
]


@given(st.sampled_from(DAMAGEABLE), st.lists(st.tuples(st.integers(0), st.binary(max_size=6))))
@settings(max_examples=200)
def test_any_damage_gives_traces_or_an_error_of_input(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, splices: list[tuple[int, bytes]]
) -> None:
    for at, new in splices:
        at %= len(data)
        data = data[:at] + new + data[at + len(new) // 2 :]
    path = write(tmp_path_factory.mktemp("any") / "a.pcap", data)
    try:
        traces, report = import_captures(path, label_from=None, rules=ALL, lenient=True)
    except InputError as error:
        assert re.match("no (traces; captures: 1|captures in)", str(error))  # noqa: PT017
    else:
        assert traces.lengths.sum() + report.dropped.total() == report.packets


# Labels


def test_labels_from_folder_and_file(tmp_path: Path) -> None:
    captures = tree(tmp_path)
    assert import_captures(captures)[0].counts() == {"voip": 20, "web": 10}
    assert import_captures(captures, label_from="file")[0].counts() == {"call": 20, "page": 10}
    assert import_captures(captures, label_from=None)[0].classes == ("unlabelled",)


def test_labels_from_a_column(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", pcap(frames(PACKETS)))
    assert import_captures(path, label_from="protocol")[0].classes == ("icmp", "tcp", "udp")
    assert import_captures(path, label_from="server_port")[0].classes == ("0", "443", "53")
    with pytest.raises(InputError, match=r"label_from 'colour' is none of dir, file, a .csv, or a"):
        import_captures(path, label_from="colour")


def test_labels_by_file_from_csv(tmp_path: Path) -> None:
    captures = tree(tmp_path)
    labels = write(
        tmp_path / "labels.csv",
        b"file,label\ncall-01.pcap,talk\nvoip/call-02.pcap,chat\npage.pcap,surf\n",
    )
    counts = import_captures(captures, label_from=labels)[0].counts()
    assert counts == {"chat": 10, "surf": 10, "talk": 10}
    write(labels, b"file,label\ncall-01.pcap,talk\n")
    with pytest.raises(InputError, match=r"labels.csv: no label for voip/call-02.pcap; add a row"):
        import_captures(captures, label_from=labels)


def test_labels_by_flow_from_csv(tmp_path: Path) -> None:
    packets = [up(0), up(100, port=6), up(200, port=7), up(300, port=8), down(400, port=9)]
    path = write(tmp_path / "a.pcap", pcap(frames(packets)))
    start = START // SECOND
    labels = write(
        tmp_path / "labels.csv",
        f"""label,src_ip,src_port,dst_ip,dst_port,protocol,start,end
early,,,,,tcp,{start},{start + 50.5}
six,{SERVER},80,{CLIENT},6,TCP,,
never,{CLIENT},7,{SERVER},80,udp,,
iso,,,{SERVER},,,2023-11-14T22:16:40Z,2023-11-14 22:16:41
six too,,,,6,,,
nine,{CLIENT},9,,,,,
""".encode(),
    )
    traces, report = import_captures(path, label_from=labels)
    assert traces.label_names.tolist() == ["early", "six", "iso", "nine"]
    assert report.dropped == {f"without a label in {labels}": 1}


def test_labels_by_flow_compare_values_and_not_their_spelling(tmp_path: Path) -> None:
    packets = [up(0, port=5)[1], up(0, port=6)[1], ipv6(CLIENT6, SERVER6, 17, udp(7, 53))]
    packets += [ipv4(CLIENT, SERVER, 89, bytes(16)), ipv6("::1.2.3.4", SERVER6, 58, bytes(8))]
    path = write(tmp_path / "a.pcap", pcap(frames([(START, packet) for packet in packets])))
    labels = write(
        tmp_path / "labels.csv",
        f"""label,src_ip,src_port,dst_ip,dst_port,protocol
five,,5.0,,080,6
six,::ffff:{CLIENT},6,,,Tcp
seven,FD00:0::0005,,2001:DB8:0:0::9,53.,17.0
ospf,,,,,089
ping,::102:304,,,0,58
""".encode(),
    )
    traces, _ = import_captures(path, label_from=labels)
    assert traces.label_names.tolist() == ["five", "six", "seven", "ospf", "ping"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,class\na,b\n", "columns are name, class; give file,label, or label and some of"),
        ("label,start\nx,yesterday\n", "line 2: give a label, and start and end as seconds"),
        ("label,src_ip\nx,1.2.3.4\n,5.6.7.8\n", "line 3: give a label"),
        ("label,src_ip\nx\n", "not a readable CSV"),
        ("label,src_ip\nx,::1\nx,home\n", "line 3: 'home' does not appear to be an IPv4 or IPv6"),
        ("label,dst_port\nx,http\n", "line 2: dst_port is 'http', no number in 0..65535"),
        ("label,src_port\nx,65536\n", "line 2: src_port is '65536', no number in 0..65535"),
        ("label,protocol\nx,quic\n", "line 2: protocol is 'quic', none of icmp, .* in 0..255"),
    ],
)
def test_labels_that_cannot_be(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "a.pcap", pcap(frames(PACKETS)))
    labels = write(tmp_path / "labels.csv", text.encode())
    with pytest.raises(InputError, match=message) as caught:
        import_captures(path, label_from=labels)
    assert str(labels) in str(caught.value)


def test_flow_labels_are_for_flows(tmp_path: Path) -> None:
    labels = write(tmp_path / "labels.csv", b"label,protocol\nx,tcp\n")
    path = write(tmp_path / "a.pcap", pcap(frames(PACKETS)))
    with pytest.raises(InputError, match="labels by address and time are for flows"):
        import_captures(path, label_from=labels, rules=Rules(per="capture"))


# Synthetic captures


def made(packet: bytes, end: int, framing: bool = False) -> bytes:
    return ethernet(packet, source=bytes([2, 0x6E, 0x64, 0x66, framing, end]))


def test_synthetic_captures_give_their_traces_back(tmp_path: Path) -> None:
    """The server may speak first, gaps may be long, the framing is left out."""
    time = iter(range(START, 2**63, 500 * SECOND))
    records = [
        Record(next(time), made(up(0, 0, SYN)[1], 1, framing=True)),
        Record(next(time), made(down(0, 0, SYN | ACK)[1], 2, framing=True)),
        Record(next(time), made(down(0, 100)[1], 2)),
        *(Record(next(time), made(up(0, 200, RST)[1], 1)) for _ in range(5)),
        Record(next(time), made(up(0, 0, FIN | ACK)[1], 1, framing=True)),
        Record(next(time), made(down(0, 0, FIN | ACK)[1], 2, framing=True)),
        Record(next(time), made(up(0, 7)[1], 1)),
        Record(next(time), ethernet(up(0, 8, port=9)[1])),
    ]
    path = write(tmp_path / "a.pcap", pcap(records))
    traces, report = import_captures(path, label_from=None)
    assert report.dropped == {"framing of a synthetic capture": 4}
    assert lists(traces, "packet_length") == [[140, 240, 240, 240, 240, 240], [47], [48]]
    assert lists(traces, "direction") == [[-1, 1, 1, 1, 1, 1], [1], [1]]
    assert lists(traces, "timestamp")[0] == [500.0 * i for i in range(6)]
    assert traces.meta["client_port"].to_pylist() == [5, 5, 9]
    assert traces.meta["synthetic"].to_pylist() == [True, True, False]


@pytest.mark.parametrize(("name", "unit"), [("out.pcapng", 1), ("out.pcap", 1000)])
def test_what_the_writer_writes_comes_back(name: str, unit: int, tmp_path: Path) -> None:
    traces = lab_traffic("packets")
    write_capture(traces, tmp_path / name, resolution="us" if unit == 1000 else "ns")
    back, report = import_captures(
        tmp_path / name, label_from=tmp_path / "out.labels.csv", rules=ALL
    )
    assert back.label_names.tolist() == traces.label_names.tolist()
    assert back.lengths.tolist() == traces.lengths.tolist()
    np.testing.assert_array_equal(back.values[:, :2], traces.values[:, :2])
    ticks = [np.rint(one.values[:, 2] * 1e9 / unit) for one in (back, traces)]
    np.testing.assert_array_equal(*ticks)
    assert set(back.meta["synthetic"].to_pylist()) == {True}
    assert report.dropped.keys() == {"framing of a synthetic capture"}


# Files and the command


def test_the_file_says_what_it_holds_and_by_which_rules(tmp_path: Path) -> None:
    captures, out = tree(tmp_path), tmp_path / "t.parquet"
    report = convert_captures(captures, out, rules=Rules(idle=60))
    assert Traces.load(out).equals(import_captures(captures, rules=Rules(idle=60))[0])
    metadata = pyarrow.parquet.read_schema(out).metadata
    rules = json.loads(metadata[b"netdiffus_capture"])
    assert rules == report.rules
    assert (rules["per"], rules["idle"], rules["active"], rules["size"]) == ("flow", 60, 1800, "ip")
    assert pyarrow.parquet.read_schema(out).names[0] == "label"
    assert [c.name for c in Traces.load(out).channels] == [
        "packet_length",
        "direction",
        "timestamp",
    ]


def test_many_traces_go_to_few_row_groups(tmp_path: Path) -> None:
    packets = [up(i / 1000, port=i % 60_000) for i in range(25_000)]
    for i in range(3):
        write(tmp_path / f"c/{i}.pcap", pcap(frames(packets)))
    convert_captures(tmp_path / "c", tmp_path / "t.parquet", label_from=None)
    about = pyarrow.parquet.ParquetFile(tmp_path / "t.parquet").metadata
    assert about.num_rows == 75_000
    assert about.num_row_groups <= 7


def test_nothing_is_left_of_a_failed_import(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", pcap([]))
    with pytest.raises(InputError, match=r"no traces; captures: 1, packets: 0; they hold no"):
        convert_captures(path, tmp_path / "out/t.parquet", label_from=None)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"per": "packet"}, "per must be one of flow, host, capture, got 'packet'"),
        ({"size": "big"}, "size must be one of ip, wire, payload, got 'big'"),
        ({"direction": "last"}, "direction must be one of first, syn"),
        ({"direction": "syn", "per": "host"}, "direction 'syn' is a rule for flows"),
        ({"hosts": ("10.0.0.0/8",)}, "hosts are a rule for per='host' and 'capture'"),
        ({"packets": 0}, "packets must be above 0, got 0"),
        ({"idle": float("nan")}, "idle must be above 0, got nan"),
        ({"bins": 5}, "bins is given without bin_width"),
        ({"bin_width": 1e-10}, "bin_width must be 1 ns at least"),
        ({"bin_width": 1.0, "bins": 10**7}, "bins must be at most 1000000"),
        (
            {"hosts": ("home",), "per": "host"},
            "hosts: 'home' does not appear to be an IPv4 or IPv6 network",
        ),
    ],
)
def test_rules_that_cannot_be(rules: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Rules(**rules)


def test_captures_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.pcap: no such file or folder"):
        import_captures(tmp_path / "none.pcap")
    write(tmp_path / "only/readme.md", b"words")
    with pytest.raises(InputError, match=r"no captures in .*: none of the 1 other files begins"):
        import_captures(tmp_path / "only")


def test_command(tmp_path: Path) -> None:
    captures, out = tree(tmp_path), tmp_path / "t.parquet"
    result = run("import", captures, "-o", out, "--label-from", "dir", "--json")
    assert result.code == 0, result.err
    said = json.loads(result.out)
    assert (said["captures"], said["packets"], said["traces"]) == (3, 30, 30)
    assert said["rules"]["idle"] == 120
    assert Traces.load(out).counts() == {"voip": 20, "web": 10}
    again = run("import", captures, "-o", out)
    assert again.code == 2
    assert "exists" in again.err
    args = ["--per", "capture", "--bin-width", 0.5, "--bins", 8, "--host", "192.168.0.0/16"]
    result = run("import", captures, "-o", out, "--force", *args)
    assert result.code == 0, result.err
    assert Traces.load(out).values.shape == (3, 2, 8)


def test_command_with_a_damaged_capture(tmp_path: Path) -> None:
    captures, out = tree(tmp_path), tmp_path / "t.parquet"
    page = captures / "web/page.pcap"
    page.write_bytes(page.read_bytes()[:-1])
    result = run("import", captures, "-o", out)
    assert result.code == 1
    assert f"warning: {page}: byte {24 + 9 * 80}: the file ends within a packet" in result.err
    assert len(Traces.load(out)) == 29
    result = run("import", captures, "-o", out, "--lenient", "--force")
    assert result.code == 0
    assert "warning: " in result.err


def test_command_without_a_trace(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", pcap([Record(0, bytes(12) + b"\x08\x06" + bytes(28))]))
    result = run("import", path, "-o", tmp_path / "t.parquet")
    assert result.code == 2
    assert "left out: 1 not IP (ARP)" in result.err
    assert run("import", path, "-o", tmp_path / "t.csv").code == 2


def test_without_compiled_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.pcap", pcap(frames(PACKETS)))
    monkeypatch.setitem(sys.modules, "netdiffus._capture", None)
    with pytest.raises(InputError, match="captures are read by compiled code, which is not there"):
        import_captures(path, label_from=None)


def test_torch_is_not_loaded(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", pcap(frames(PACKETS)))
    code = (
        "import sys; from netdiffus.capture import import_captures; "
        f"import_captures({str(path)!r}, label_from=None); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


LAB = Path(__file__).parents[2] / "examples/lab_capture"


def test_lab_sessions_are_read_as_by_the_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tables of the bundled traffic come from captures by these rules."""
    monkeypatch.syspath_prepend(str(LAB))
    import packets as lab

    rng = np.random.default_rng(0)
    times = np.sort(rng.integers(0, 13 * SECOND, 2000))
    ends = [(lab.CLIENT, "10.9.0.2"), ("10.9.0.2", lab.CLIENT)]
    ways = np.concatenate([[0], rng.integers(2, size=1999)])
    wanted = [
        Record(START + int(t), ipv4(*ends[way], 6, tcp(int(p), 80, int(size))))
        for t, way, size, p in zip(
            times, ways, rng.integers(0, 1400, 2000), rng.integers(1, 4, 2000), strict=True
        )
    ]
    path = write(tmp_path / "s.pcap", pcap(wanted, link=101))
    session = lab.read_pcap(path)
    window = {"per": "capture", "active": lab.WINDOW_S}
    whole = import_captures(path, label_from=None, rules=Rules(packets=lab.PACKETS, **window))[0][
        :1
    ]
    for name, values in lab.packet_columns(session).items():
        ours = whole.values[0, [c.name for c in whole.channels].index(name)]
        if name == "timestamp":
            ours = np.round(ours * 1e6) / 1e6
        np.testing.assert_array_equal(ours.astype(values.dtype), values)
    binned = import_captures(
        path, label_from=None, rules=Rules(bin_width=lab.BIN_S, bins=lab.BINS, **window)
    )[0]
    for c, values in enumerate(lab.volume_columns(session).values()):
        np.testing.assert_array_equal(binned.values[0, c], values)
