"""How fast captures are read, in which memory, and beside a loop over dpkt.

`NETDIFFUS_BENCH_GB=1 pytest bench/test_capture.py -s`: the size of the capture that is made in the
system's folder for temporary files; 0.2 GB if not given.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from capture_oracle import flows

from netdiffus.capture import Rules, convert_captures, import_captures

# What is made repeats itself, which reading says.
pytestmark = pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")

GIGABYTES = float(os.environ.get("NETDIFFUS_BENCH_GB", "0.2"))
PACKETS_PER_S = 1_000_000  # on one core
SIZES = (66, 1514, 66, 1514, 583, 342, 90, 1514)  # frames of one round: bytes, and to whom they go
PROTOCOLS = (6, 6, 6, 6, 6, 17, 17, 6)
ROUNDS = 20_000  # made at a time
CROWD = 300_000  # flows that are open at once, which no cache holds


def frame(size: int, protocol: int) -> np.ndarray:
    """Ethernet, IPv4 and TCP or UDP without addresses and ports."""
    made = np.zeros(size, np.uint8)
    made[12:15] = 8, 0, 0x45
    made[16:18] = divmod(size - 14, 256)
    made[23] = protocol
    if protocol == 6:
        made[46:48] = 0x50, 0x10
    else:
        made[38:40] = divmod(size - 34, 256)
    return made


def words(values: np.ndarray, dtype: str) -> np.ndarray:
    """Each value's bytes, (N, width)."""
    return values.astype(dtype).view(np.uint8).reshape(len(values), -1)


def make_capture(path: Path, size: float) -> int:
    """Writes about `size` bytes of interleaved flows of some 16 packets; returns the packets."""
    block = np.concatenate(
        [
            np.concatenate([np.zeros(16, np.uint8), frame(*one)])
            for one in zip(SIZES, PROTOCOLS, strict=True)
        ]
    )
    rounds = max(1, int(size / len(block)))
    rng, now = np.random.default_rng(0), 1_700_000_000 * 10**9
    with path.open("wb") as file:
        file.write(np.array([0xA1B23C4D, 4 << 16 | 2, 0, 0, 262144, 1], "<u4").tobytes())
        for start in range(0, rounds, ROUNDS):
            count = min(ROUNDS, rounds - start)
            flow = (start + np.arange(count)) // 16 * 4 + rng.integers(0, 4, count)
            times = now + np.cumsum(rng.integers(100_000, 400_000, 8 * count)).reshape(count, 8)
            now = int(times[-1, -1])
            file.write(filled(block, flow, times).tobytes())
    return rounds * len(SIZES)


def filled(block: np.ndarray, flow: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Rounds of packets with their times, addresses and ports."""
    out, at = np.tile(block, (len(flow), 1)), 0
    client = words(10 << 24 | flow, ">u4")
    server = np.array([203, 0, 113, 7], np.uint8)
    port, well_known = words(1024 + flow % 50_000, ">u2"), np.array([1, 187], np.uint8)
    for i, size in enumerate(SIZES):
        ends = [(client, port), (server, well_known)][:: 1 if i % 2 == 0 else -1]
        seconds, rest = np.divmod(times[:, i], 10**9)
        out[:, at : at + 4], out[:, at + 4 : at + 8] = words(seconds, "<u4"), words(rest, "<u4")
        out[:, at + 8 : at + 16] = np.array([size, size], "<u4").view(np.uint8)
        for j, (address, number) in enumerate(ends):
            out[:, at + 42 + 4 * j : at + 46 + 4 * j] = address
            out[:, at + 50 + 2 * j : at + 52 + 2 * j] = number
        at += 16 + size
    return out


def make_crowd(path: Path, size: float) -> int:
    """The same of short packets, each of any of many flows; returns the packets."""
    small, count = frame(90, 6), 100_000
    rng, now, made = np.random.default_rng(1), 1_700_000_000 * 10**9, 0
    with path.open("wb") as file:
        file.write(np.array([0xA1B23C4D, 4 << 16 | 2, 0, 0, 262144, 1], "<u4").tobytes())
        while made * (16 + len(small)) < size:
            flow, times = (
                rng.integers(0, CROWD, count),
                now + np.cumsum(rng.integers(1, 4000, count)),
            )
            now, made = int(times[-1]), made + count
            file.write(one_way(small, flow, times).tobytes())
    return made


def one_way(sent: np.ndarray, flow: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Frames from the clients of flows, with their record headers."""
    out = np.tile(np.concatenate([np.zeros(16, np.uint8), sent]), (len(flow), 1))
    out[:, :8] = words(np.stack(np.divmod(times, 10**9), 1), "<u4")
    out[:, 8:16] = np.array([len(sent)] * 2, "<u4").view(np.uint8)
    out[:, 42:46], out[:, 46:50] = words(10 << 24 | flow, ">u4"), (203, 0, 113, 7)
    out[:, 50:52], out[:, 52:54] = words(1024 + flow % 50_000, ">u2"), (1, 187)
    return out


@pytest.mark.parametrize("make", [make_capture, make_crowd])
def test_packets_per_second(make: Callable[[Path, float], int], tmp_path: Path) -> None:
    """From the file to Parquet, by processor time of all threads: so it is per core."""
    path, cpus, walls = tmp_path / "c.pcap", [], []
    packets = make(path, GIGABYTES * 1e9)
    for _ in range(4):
        began, cpu = time.perf_counter(), time.process_time()
        report = convert_captures(
            path, tmp_path / "t.parquet", label_from="=a", threads=1, force=True
        )
        cpus.append(time.process_time() - cpu)
        walls.append(time.perf_counter() - began)
    cpu, wall = np.median(cpus[1:]), np.median(walls[1:])  # the file is then in memory
    print(
        f"\n{path.stat().st_size / 1e9:.2f} GB, {packets} packets, {report.traces} flows: "
        f"{packets / cpu / 1e6:.2f} million packets/s of one core, {packets / wall / 1e6:.2f} by "
        "the clock"
    )
    assert report.packets == packets
    assert packets / cpu >= PACKETS_PER_S


def test_five_times_a_loop_over_dpkt(tmp_path: Path) -> None:
    path = tmp_path / "small.pcap"
    packets = make_capture(path, 10e6)
    ratios = []
    for _ in range(3):  # in turns, so that other load hits both alike
        began = time.perf_counter()
        theirs = flows(path, 1)
        middle = time.perf_counter()
        ours, _ = import_captures(path, label_from="=a", rules=Rules(packets=None))
        ratios.append((middle - began) / (time.perf_counter() - middle))
    assert ours.meta["start"].to_pylist() == [flow.start for flow in theirs]
    assert ours.lengths.tolist() == [len(flow.points) for flow in theirs]
    for one, n, flow in zip(ours.values, ours.lengths, theirs, strict=True):
        one[2] = np.rint(one[2] * 1e9)
        assert one[:, :n].T.tolist() == [list(point) for point in flow.points]
    print(f"\n{packets} packets: {np.median(ratios):.0f} times as fast as the loop over dpkt")
    assert np.median(ratios) >= 5


def test_memory_does_not_grow_with_the_capture(tmp_path: Path) -> None:
    """Flows end as the capture goes on, so four times as much of it needs no more.

    Of less than 0.2 GB the traces do not fill the row group that waits to be written.
    """
    # VmHWM, as a child's ru_maxrss begins with its parent's.
    code = (
        "import re, sys; from netdiffus.capture import Rules, convert_captures; "
        "convert_captures(sys.argv[1], sys.argv[2], rules=Rules(idle=5), threads=1); "
        "print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])"
    )
    peaks = []
    for gigabytes in (GIGABYTES, 4 * GIGABYTES):
        path = tmp_path / "c.pcap"
        make_capture(path, gigabytes * 1e9)
        command = [sys.executable, "-c", code, path, tmp_path / f"{gigabytes}.parquet"]
        peaks.append(int(subprocess.check_output(command)) / 1024)
    print(f"\npeak memory {peaks[0]:.0f} MiB, then {peaks[1]:.0f} MiB")
    assert peaks[1] < 1.25 * peaks[0]


def test_memory_of_many_flows_of_one_packet(tmp_path: Path) -> None:
    """As of a scan: all flows are open at once."""
    flows_, most = 2_000_000, 500  # MiB
    one = np.concatenate([np.zeros(16, np.uint8), frame(60, 17)])
    path, port = tmp_path / "scan.pcap", np.arange(200_000)
    with path.open("wb") as file:
        file.write(np.array([0xA1B23C4D, 4 << 16 | 2, 0, 0, 262144, 1], "<u4").tobytes())
        for start in range(0, flows_, len(port)):
            out = np.tile(one, (len(port), 1))
            number = start + port
            out[:, :8] = words(np.stack([np.full(len(port), 1_700_000_000), number], 1), "<u4")
            out[:, 8:16] = words(np.array([[60, 60]]), "<u4")
            out[:, 42:46] = words(167_772_160 + number, ">u4")
            out[:, 46:50] = words(np.array([3_325_256_706]), ">u4")
            out[:, 50:54] = words(np.array([[40_000, 53]]), ">u2")
            file.write(out.tobytes())
    code = (
        "import re, sys; from netdiffus.capture import convert_captures; "
        "report = convert_captures(sys.argv[1], sys.argv[2], threads=1); "
        "print(report.traces, re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])"
    )
    command = [sys.executable, "-c", code, path, tmp_path / "t.parquet"]
    traces, peak = map(int, subprocess.check_output(command).split())
    print(f"\n{traces} flows of one packet: peak memory {peak / 1024:.0f} MiB")
    assert traces == flows_
    assert peak / 1024 <= most
