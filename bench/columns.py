"""How well columns of the meta-data are learned: `python -m bench.columns --help`.

Each set has six columns or more, of five types. Those of `lab` are of the link, and two
that follow from it; `mirage_appx` has none, so they are counted from its traces; `flows` is a table
that `netdiffus import --keep-flows` writes. A second model learns the same traces without columns.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.fidelity import sets
from bench.fidelity.kept import ending_well
from netdiffus import Model, Recipe, Traces, evaluate, sample, train
from netdiffus.errors import InputError
from netdiffus.files import write_text
from netdiffus.sessions.flows import with_meta
from netdiffus.traces.lab import lab_traffic
from netdiffus.traces.traces import Bools, Floats

SETS = (sets.LAB, "mirage_appx", "flows")
MOST = 2_000  # traces of each side
FEWEST = 10  # traces of a class
POINTS = 32  # of the flows
TIMED = 512  # traces
ROUNDS = 5
OF_A_FLOW = ("protocol", "server_port", "packets", "bytes_up", "mean_size", "duration", "answered")
OF_A_LINK = ("delay", "jitter_ms", "loss", "rate_mbit", "queue_ms", "lossy", "grade")
OF_A_TRACE = ("packets", "bytes_up", "mean_size", "duration", "answered", "largest")
BOUNDS = {"small": 128, "medium": 600, "large": 1_400}  # of the largest packet, B


@ending_well
def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table of each set, and writes it with the figures beside it."""
    parser = argparse.ArgumentParser(prog="bench.columns", description=__doc__)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"{', '.join(SETS)}; all if none")
    parser.add_argument("--flows", type=Path, help="the table of `flows`")
    parser.add_argument("--data", type=Path, help="folder of the public sets")
    parser.add_argument("--out", type=Path, default=Path("build/columns"))
    parser.add_argument("--minutes", type=float, default=6.0, help="of processor time, a model")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--traces", type=int, default=MOST, help="of each side, at most")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.sets) - set(SETS):
        parser.error(f"unknown set {min(unknown)!r}; there are: {', '.join(SETS)}")
    asked = chosen.sets or SETS
    missing = [name for name in asked if not _measure_set(name, chosen)]
    if len(missing) == len(asked):
        raise InputError(f"no set was measured; left out: {', '.join(missing)}")
    return 0


def _measure_set(name: str, chosen: argparse.Namespace) -> bool:
    """Whether there is such a set; if so, prints and writes its table."""
    try:
        real, held, names = _read(name, chosen.flows, chosen.data, chosen.seed)
    except InputError as error:
        print(f"{name} left out: {error}", file=sys.stderr)
        return False
    rng = np.random.default_rng(chosen.seed)
    some = [one[np.sort(rng.permutation(len(one))[: chosen.traces])] for one in (real, held)]
    both = [replace(one, meta=one.meta.select(list(names))) for one in some]
    real, held = (one[_frequent(both, one)].without_empty_classes() for one in both)
    budget = {"steps": chosen.steps} if chosen.steps else {"cpu_minutes": chosen.minutes}
    figures = measured(real, held, names, Recipe(**budget, seed=chosen.seed), chosen.seed)
    write_text(chosen.out / f"{name}.json", json.dumps(figures, indent=1) + "\n")
    print(text := table(name, figures))
    write_text(chosen.out / f"{name}.md", text)
    return True


def measured(
    real: Traces, held: Traces, names: Sequence[str], recipe: Recipe, seed: int
) -> dict[str, dict[str, float]]:
    """By figure, that of made and of real traces (the floor), or with and without columns."""
    models = {
        "with": train(real, recipe=recipe, columns=list(names)),
        "without": train(real, recipe=recipe, columns=[]),
    }
    reports = {
        side: evaluate(
            real, sample(one, label=real.counts(), seed=seed), holdout=held, repeats=1, seed=seed
        )
        for side, one in models.items()
    }
    columns = reports["with"].figures["columns"]
    found = {
        name: {
            side: columns[name][of]["mean"]
            for side, of in (("made", "synthetic"), ("real", "real"))
        }
        for name in ("association", "two_sample_auc", "two_sample_auc_with_traces")
    }
    for name, path in (("auc", ["two_sample_auc"]), ("accuracy", ["trained_on_equal", "accuracy"])):
        found[name] = {
            side: _mean(one.figures["candidates"]["synthetic"], path)
            for side, one in reports.items()
        }
    found["ms_per_trace"] = _times(models)
    found["steps"] = {side: float(one.about["steps"]) for side, one in models.items()}
    return found


def table(name: str, figures: Mapping[str, Mapping[str, float]]) -> str:
    """A row for each figure."""
    lines = [
        f"| {name} | made, with columns | real (floor), or without columns |",
        "| --- | --- | --- |",
    ]
    lines += [
        "| "
        + " | ".join([figure.replace("_", " "), *(f"{value:.3f}" for value in found.values())])
        + " |"
        for figure, found in figures.items()
    ]
    return "\n".join(lines) + "\n"


def _read(
    name: str, flows: Path | None, data: Path | None, seed: int
) -> tuple[Traces, Traces, Sequence[str]]:
    """What is learned from, what judges, and the columns."""
    if name == sets.LAB:
        real, held = lab_traffic("volumes").split(0.5, seed=seed)
        return _with_link(real), _with_link(held), OF_A_LINK
    if name == "flows":
        if flows is None:
            raise InputError("name its table with --flows")
        real, held = Traces.load(flows).split(0.5, by="session", keep_duplicates=False, seed=seed)
        return _flows(real), _flows(held), OF_A_FLOW
    folder = sets.folder_of_data() if data is None else data
    whole = Traces.load(folder / f"{name}.parquet")
    real, held = whole.split(0.5, seed=seed)
    return _counted(real), _counted(held), OF_A_TRACE


def _frequent(sides: Sequence[Traces], one: Traces) -> Bools:
    """Which traces of one are of a class that has `FEWEST` traces or more on each side."""
    counts = [side.counts() for side in sides]
    names = [name for name in one.classes if all(c.get(name, 0) >= FEWEST for c in counts)]
    return np.isin(one.label_names, names)


def _with_link(traces: Traces) -> Traces:
    loss, delay = (_numbers(traces, name) for name in ("loss", "delay_ms"))
    grade = np.select([delay < 20, delay < 60], ["near", "middle"], "far")
    return with_meta(
        traces,
        delay=_duration(delay / 1e3),
        lossy=pa.array(loss > 0),
        grade=pa.array(grade.tolist()),
    )


def _flows(traces: Traces) -> Traces:
    names = "packets", "bytes_up", "bytes_down", "duration"
    packets, up, down, seconds = (_numbers(traces, name) for name in names)
    more = with_meta(
        traces,
        answered=pa.array(down > 0),
        duration=_duration(seconds),
        mean_size=pa.array((up + down) / packets),
    )
    return more.truncate(POINTS)


def _numbers(traces: Traces, name: str) -> Floats:
    return np.array(traces.meta[name].to_pylist(), dtype=np.float64)


def _counted(traces: Traces) -> Traces:
    """Columns from packets of which size, direction and gap are known."""
    size, direction, gap = traces.values[:, 0], traces.values[:, 1], traces.values[:, 2]
    up = (size * (direction > 0)).sum(axis=1)
    largest = size.max(axis=1)
    kind = np.select([largest < bound for bound in BOUNDS.values()], list(BOUNDS), "full")
    return with_meta(
        traces,
        packets=pa.array(traces.lengths),
        bytes_up=pa.array(up.astype(np.int64)),
        mean_size=pa.array(size.sum(axis=1) / traces.lengths),
        duration=_duration(gap.sum(axis=1)),
        answered=pa.array((direction < 0).any(axis=1)),
        largest=pa.array(kind.tolist()),
    )


def _duration(seconds: Floats) -> pa.Array:
    return pa.array((1e6 * seconds).astype(np.int64), pa.duration("us"))


def _mean(found: Any, path: Sequence[str]) -> float:
    for name in path:
        found = found[name]
    return float(found["mean"])


def _times(models: Mapping[str, Model]) -> dict[str, float]:
    """Processor milliseconds a made trace, median of interleaved rounds."""
    taken: dict[str, list[float]] = {side: [] for side in models}
    for i in range(ROUNDS):
        for side, one in models.items():
            began = time.process_time()
            sample(one, TIMED, seed=i, progress=lambda *_: None)
            taken[side].append((time.process_time() - began) / TIMED * 1e3)
    return {side: float(np.median(times)) for side, times in taken.items()}


if __name__ == "__main__":
    raise SystemExit(main())
