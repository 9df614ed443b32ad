"""The command: `python -m bench.scale`, from the root of the repository: data sets in parts.

Time and memory of each step by the number of traces, each in a new process. The memory is
the largest private memory of the process (RssAnon of Linux, read 50 times a second), less what
it had after all imports; files that it maps are not in it. It should not grow with the traces, but
for 50 bytes of each at the start of a training: their order, classes and hashes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Any
from unittest import mock

from bench.big_traces import big_traces
from bench.memory import MB, _be_quiet, _import_all, _run, _status
from netdiffus import (
    Dataset,
    Model,
    Recipe,
    evaluate,
    import_to_parts,
    privatise_to_parts,
    sample_to_parts,
    train,
)
from netdiffus.export.parts import export_to_parts
from netdiffus.progress import silent

POINTS, PART = 32, 4_096
FITS = 8 << 20  # bytes, so that all sizes are learned from by way of a file
STEPS, BATCH = 20, 64
GROWS = 40.0  # MB that the memory of a step may be more for the most traces than for the fewest
EACH = 50 / MB  # MB of a trace at the start of a training


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table; 1 if the memory of a step grows."""
    parser = argparse.ArgumentParser("python -m bench.scale", description=__doc__)
    parser.add_argument("--traces", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--steps", nargs="+", choices=list(_STEPS), default=list(_STEPS))
    parser.add_argument("--folder", type=Path, help="Keeps what is made, for other steps of it.")
    given = parser.parse_args(arguments)
    print(f"traces of {POINTS} points and 3 channels; MB = 1e6 bytes of the process's own memory")
    print("| what | traces | seconds | processor, s | traces/s | peak, MB |")
    print("| --- | --- | --- | --- | --- | --- |")
    grown = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = str(given.folder or temporary)
        if not (Path(folder) / "model").exists():
            _run("prepare", folder, 8, POINTS)
        for name in given.steps:
            peaks = [_line(name, folder, n) for n in sorted(given.traces)]
            more = EACH * (max(given.traces) - min(given.traces)) if name == "train" else 0.0
            grown += [name for low, high in pairwise(peaks) if high > low + GROWS + more]
    if grown:
        print(f"memory grows with the traces: {', '.join(grown)}")
    return 1 if grown else 0


def _line(name: str, folder: str, n: int) -> float:
    found = json.loads(_run("measure", folder, name, n, module="bench.scale").splitlines()[-1])
    seconds, peak = found["seconds"], found["peak"] / MB
    took = f"{seconds:.1f} | {found['processor']:.1f} | {n / found['processor']:,.0f}"
    print(f"| {name} | {n:,} | {took} | {peak:.0f} |", flush=True)
    return peak


def measure(folder: str, name: str, n: int) -> None:
    """Prints seconds and bytes, as JSON."""
    _be_quiet()
    _import_all(Path(folder))
    with _highest() as peak:
        began, worked = time.monotonic(), time.process_time()
        _STEPS[name](Path(folder), n)
        seconds, processor = time.monotonic() - began, time.process_time() - worked
    print(json.dumps({"seconds": seconds, "processor": processor, "peak": max(peak) - peak[0]}))


@contextmanager
def _highest() -> Iterator[list[int]]:
    """Memory of the process alone, measured every 20 ms until the block ends."""
    seen, ended = [_status("RssAnon")], Event()

    def look() -> None:
        while not ended.wait(0.02):
            seen.append(_status("RssAnon"))

    looker = Thread(target=look)
    looker.start()
    try:
        yield seen
    finally:
        ended.set()
        looker.join()


def _write(folder: Path, n: int, name: str = "set", seed: int = 0) -> None:
    starts = range(0, n, PART)
    parts = (big_traces(min(PART, n - start), POINTS, seed=seed + start) for start in starts)
    Dataset.write(folder / f"{name}-{n}", parts)


def _read(folder: Path, n: int) -> None:
    assert sum(map(len, Dataset(folder / f"set-{n}"))) == n


def _check(folder: Path, n: int) -> None:
    Dataset(folder / f"set-{n}").check()


def _export(folder: Path, n: int) -> None:
    found = Dataset(folder / f"set-{n}")
    export_to_parts(found, folder / f"captures-{n}", small="raise", progress=silent)


def _import(folder: Path, n: int) -> None:
    captures = sorted((folder / f"captures-{n}").glob("*.pcap"))
    out = folder / f"imported-{n}"
    import_to_parts(captures, out, label_from="=web", threads=1, progress=silent)
    print(
        f"{sum(one.stat().st_size for one in captures) / 1e9:.1f} GB of captures", file=sys.stderr
    )


def _split(folder: Path, n: int) -> None:
    Dataset(folder / f"set-{n}").split(folder / f"split-{n}", 0.1)


def _evaluate(folder: Path, n: int) -> None:
    """As many synthetic traces as real ones, of another seed; a tenth of these held out."""
    train, holdout = (Dataset(folder / f"split-{n}" / name) for name in ("train", "holdout"))
    report = evaluate(train, Dataset(folder / f"other-{n}"), holdout=holdout, progress=silent)
    report.to_html()


def _train(folder: Path, n: int) -> None:
    recipe = Recipe(steps=STEPS, batch_size=BATCH)
    with mock.patch("netdiffus.training.encoded.FITS", FITS):
        train(Dataset(folder / f"set-{n}"), recipe=recipe, progress=silent)


def _privatise(folder: Path, n: int) -> None:
    found = Dataset(folder / f"set-{n}")
    privatise_to_parts(found, folder / f"private-{n}", 4, delta=1e-7, length=POINTS, anyway=True)


def _sample(folder: Path, n: int) -> None:
    model = Model.load(folder / "model")
    out = folder / f"made-{n}"
    assert sample_to_parts(model, n, out, part_size=PART, seed=1, progress=silent).is_whole


_STEPS: dict[str, Callable[[Path, int], Any]] = {
    "write": _write,
    "write others": partial(_write, name="other", seed=1 << 40),
    "read": _read,
    "check": _check,
    "export": _export,
    "import": _import,
    "split": _split,
    "evaluate": _evaluate,
    "train": _train,
    "privatise": _privatise,
    "sample": _sample,
}

if __name__ == "__main__":
    sys.exit(main())
