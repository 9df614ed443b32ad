"""The command: `python -m bench.memory`, from the root of the repository: memory beside its bars.

Each line is measured in a new process: the most memory that the process had (VmHWM of Linux), less
what it had after all imports. `data` is what the traces take that the line works on: their values
as float64, lengths, labels and meta-data.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.big_traces import big_traces, write_traces
from netdiffus import Model, Recipe, Traces, evaluate, sample, train
from netdiffus.progress import silent
from netdiffus.sampling import sample_to_parquet

MB = 1e6
MODULES = (
    "sklearn.ensemble",
    "sklearn.neural_network",
    "torch._dynamo",
    "netdiffus.cli.app",
    "netdiffus.evaluation",
    "netdiffus.sampling",
    "netdiffus.training",
)
# Of each line: how many times the data may stand in memory, and how many MB more.
BARS = {
    "load": (1.5, 0),
    "load, all doubles": (1.5, 0),
    "split": (None, 0),
    "train start": (2.0, 500),
    "sample 2,000": (1.0, 500),
    "sample 8,000": (1.0, 500),
    "sample 2,000 to Parquet": (0.0, 500),
    "sample 8,000 to Parquet": (0.0, 500),
    "evaluate": (2.0, 1000),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table; 1 if a bar is missed."""
    parser = argparse.ArgumentParser("python -m bench.memory", description=__doc__)
    parser.add_argument("--traces", type=int, default=50_000)
    parser.add_argument("--points", type=int, default=256)
    parser.add_argument("--only", nargs="+", choices=list(BARS), default=list(BARS))
    given = parser.parse_args(arguments)
    print(f"{given.traces:,} traces of {given.points} points and 3 channels; MB = 1e6 bytes")
    print("| what | data, MB | peak, MB | bar, MB | |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        _run("prepare", folder, given.traces, given.points)
        missed = [name for name in given.only if not _line(name, folder)]
    return 1 if missed else 0


def _line(name: str, folder: str) -> bool:
    found = json.loads(_run("measure", folder, name).splitlines()[-1])
    data, peak = found["data"] / MB, found["peak"] / MB
    times, more = BARS[name]
    if times is None:
        print(f"| {name} | {data:,.0f} | {peak:,.0f} | | {peak / data:.2f} x data |", flush=True)
        return True
    bar = times * data + more
    said = "holds" if peak <= bar else "MISSED"
    print(f"| {name} | {data:,.0f} | {peak:,.0f} | {bar:,.0f} | {said} |", flush=True)
    return peak <= bar


def _run(step: str, folder: str, *values: Any, module: str = "bench.memory") -> str:
    """Runs a step of a bench in a new process; returns what it prints."""
    code = f"import {module} as m; m.{step}({folder!r}, *{values!r})"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{step} {values}: ended with {done.returncode}")
    return done.stdout


def prepare(folder: str, traces: int, points: int) -> None:
    """The files that the lines begin with: traces, a model and what it makes."""

    _be_quiet()
    path = Path(folder)
    write_traces(path / "few.parquet", 8, 8)
    write_traces(path / "traces.parquet", traces, points)
    write_traces(path / "wide.parquet", traces, points, wide=True)
    train(big_traces(500, points), path / "model", recipe=Recipe(steps=1), progress=silent)
    big_traces(2_000, points, seed=1).save(path / "made.parquet")


def measure(folder: str, name: str) -> None:
    """Prints the bytes of the data and of the peak, as JSON."""
    _be_quiet()
    _import_all(Path(folder))
    before = _status("VmRSS")
    data = _STEPS[name](Path(folder))
    print(json.dumps({"data": data, "peak": _status("VmHWM") - before}))


def _load(path: Path) -> int:
    return _bytes(Traces.load(path))


def _split(folder: Path) -> int:
    traces = Traces.load(folder / "traces.parquet")
    parts = traces.split(0.2)
    return _bytes(*parts)


def _train_start(folder: Path) -> int:
    """Up to the first step, which is done."""
    traces = Traces.load(folder / "traces.parquet")
    train(traces, recipe=Recipe(steps=1), progress=silent)
    return _bytes(traces)


def _sample(folder: Path, n: int) -> int:
    return _bytes(sample(Model.load(folder / "model"), n, seed=1, progress=silent))


def _sample_to_file(folder: Path, n: int) -> int:
    model, out = Model.load(folder / "model"), folder / f"{n}.parquet"
    sample_to_parquet(model, n, out, seed=1, progress=silent)
    return 0


def _evaluate(folder: Path) -> int:
    real, made = (Traces.load(folder / f"{name}.parquet") for name in ("traces", "made"))
    train, holdout = real.split(0.2)
    del real
    evaluate(train, made, holdout=holdout, progress=silent)
    return _bytes(train, made, holdout)


_STEPS: dict[str, Callable[[Path], int]] = {
    "load": lambda folder: _load(folder / "traces.parquet"),
    "load, all doubles": lambda folder: _load(folder / "wide.parquet"),
    "split": _split,
    "train start": _train_start,
    "sample 2,000": partial(_sample, n=2_000),
    "sample 8,000": partial(_sample, n=8_000),
    "sample 2,000 to Parquet": partial(_sample_to_file, n=2_000),
    "sample 8,000 to Parquet": partial(_sample_to_file, n=8_000),
    "evaluate": _evaluate,
}


def _bytes(*sets: Any) -> int:
    return sum(
        one.values.nbytes + one.lengths.nbytes + one.labels.nbytes + one.meta.nbytes for one in sets
    )


def _status(name: str) -> int:
    text = Path("/proc/self/status").read_text()
    found = re.search(rf"{name}:\s+(\d+) kB", text)
    assert found is not None
    return 1024 * int(found[1])


def _import_all(folder: Path) -> None:
    """All that is imported when it is first needed, Arrow's functions included."""
    for name in MODULES:
        import_module(name)
    Traces.load(folder / "few.parquet")


def _be_quiet() -> None:
    warnings.simplefilter("ignore")


if __name__ == "__main__":
    sys.exit(main())
