"""The command: `python -m bench.processes`, from the root of the repository: one process and two.

A training of one process with one thread, the same shared by two on this machine, as torchrun
starts them, and two that share nothing: each trains alone, with half of each batch. The last row is
the most that two can reach. Medians of seconds and of processor seconds of a step, over all
repeats, which take turns. On two idle processors wall time counts. On a busy machine look at the
processor time: what a process works, without what it waits for others.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

POINTS, STEPS, FIRST, REPEATS = 32, 24, 6, 3
WANTED, JUDGED = 1.6, 256  # times the steps of one process, with batches of this size or more
KINDS = {"one": 1, "two": 2, "two that share nothing": 2}
Times = dict[str, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table; 1 if two processes are not 1.6 times as fast with a batch of 256 or more.

    By processor time: it is the same on a busy machine.
    """
    parser = argparse.ArgumentParser("python -m bench.processes", description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--repeats", type=int, default=REPEATS)
    given = parser.parse_args(arguments)
    print("| batch | processes | seconds a step | processor, s | speed-up | by processor time |")
    print("| --- | --- | --- | --- | --- | --- |")
    slow = False
    for batch in given.batches:
        found = _repeated(batch, given.repeats)
        for kind in KINDS:
            gains = [found["one"][name] / found[kind][name] for name in ("wall", "processor")]
            wall, processor = found[kind]["wall"], found[kind]["processor"]
            shown = f"{gains[0]:.2f} | {gains[1]:.2f}" if kind != "one" else "|"
            print(f"| {batch} | {kind} | {wall:.4f} | {processor:.4f} | {shown} |", flush=True)
            slow |= kind == "two" and batch >= JUDGED and gains[1] < WANTED
    return int(slow)


def _repeated(batch: int, repeats: int) -> dict[str, Times]:
    """The median of all repeats of each kind."""
    runs = [{kind: _measured(kind, batch) for kind in KINDS} for _ in range(repeats)]
    return {
        kind: {name: statistics.median(one[kind][name] for one in runs) for name in runs[0][kind]}
        for kind in KINDS
    }


def _measured(kind: str, batch: int) -> Times:
    """Of the slowest process."""
    count, is_alone = KINDS[kind], kind != "two"
    own = batch // count if is_alone else batch
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    running = [_started(own, {} if is_alone else _rank(k, shared)) for k in range(count)]
    found: list[Times] = []
    for process in running:
        out, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"a process ended with {process.returncode}")
        found.append(json.loads(out.splitlines()[-1]))
    return {name: max(one[name] for one in found) for name in found[0]}


def _started(batch: int, more: dict[str, str]) -> subprocess.Popen[str]:
    code = f"import bench.processes as m; m.measure({batch})"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **more}
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    )


def _rank(k: int, shared: dict[str, str]) -> dict[str, str]:
    return {**shared, "RANK": str(k), "LOCAL_RANK": str(k)}


def measure(batch: int) -> None:
    """Trains, and prints the medians as JSON."""
    import warnings

    from bench.big_traces import big_traces
    from netdiffus import Recipe, train

    warnings.simplefilter("ignore")
    marks: list[tuple[float, float]] = []

    def mark(done: float, note: str) -> None:
        marks.append((time.monotonic(), time.process_time()))

    recipe: Any = Recipe(steps=STEPS, batch_size=batch)
    train(big_traces(2_000, POINTS), recipe=recipe, progress=mark)
    pairs = list(zip(marks[FIRST:], marks[FIRST + 1 :], strict=False))
    wall, processor = (statistics.median(b[i] - a[i] for a, b in pairs) for i in (0, 1))
    print(json.dumps({"wall": wall, "processor": processor}))


if __name__ == "__main__":
    sys.exit(main())
