"""The command: `python -m bench.processes`, from the root of the repository: one process and two.

A training of one process with one thread, and the same shared by two on this machine, as torchrun
starts them: seconds and seconds of processor time of a step, the medians. On a machine with two
idle processors both tell the same; on a busy one look at the processor time: what a process works,
without what it waits for others.
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

POINTS, STEPS, FIRST = 32, 40, 8
WANTED = 1.6  # times the steps of one process


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table; 1 if two processes are not 1.6 times as fast with the largest batch."""
    parser = argparse.ArgumentParser("python -m bench.processes", description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 256])
    given = parser.parse_args(arguments)
    print("| batch | processes | seconds a step | processor, s | speed-up | by processor time |")
    print("| --- | --- | --- | --- | --- | --- |")
    gain = 0.0
    for batch in given.batches:
        one, two = _measured(1, batch), _measured(2, batch)
        print(f"| {batch} | 1 | {one['wall']:.4f} | {one['processor']:.4f} | | |")
        gains = [one[name] / two[name] for name in ("wall", "processor")]
        print(
            f"| {batch} | 2 | {two['wall']:.4f} | {two['processor']:.4f} | {gains[0]:.2f} | "
            f"{gains[1]:.2f} |",
            flush=True,
        )
        gain = max(gains)
    return 0 if gain >= WANTED else 1


def _measured(count: int, batch: int) -> dict[str, float]:
    """Of the slowest of so many processes."""
    code = f"import bench.processes as m; m.measure({batch})"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **_rank(k, count, shared)},
        )
        for k in range(count)
    ]
    found: list[dict[str, float]] = []
    for process in running:
        out, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"a process ended with {process.returncode}")
        found.append(json.loads(out.splitlines()[-1]))
    return {name: max(one[name] for one in found) for name in found[0]}


def _rank(k: int, count: int, shared: dict[str, str]) -> dict[str, str]:
    return {} if count == 1 else {**shared, "RANK": str(k), "LOCAL_RANK": str(k)}


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
