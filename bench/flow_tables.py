"""A table of flows alone, such as NetFlow or Zeek's conn.log: `python -m bench.flow_tables --help`.

Half of its rows train each generator, which makes as many of each class; the other half judges.
Addresses and identifiers are left out, as `train --with all` leaves them out. Beside the generators
stand the training rows themselves (the floor: no generator can be expected to be closer), a
bootstrap of them, and rows whose columns were shuffled one by one.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench import flow_figures as figures
from bench.fidelity.kept import ending_well
from bench.fidelity.peers import HERE, environment
from bench.tables import markdown
from netdiffus import Recipe, Traces, sample, train
from netdiffus.arrays import Floats
from netdiffus.codec.column import Column, is_category, plain
from netdiffus.codec.columns import safe_columns

FEWEST = 10  # rows of a class on each side
FLOOR, INDEPENDENT = "training rows (floor)", "independent columns"
PEERS = {"TabularARGN": "1", "TabularARGN, rare values kept": "0"}
_PORT = re.compile(r"port|(^|[._])(orig|resp|src|dst)_p$|^[sd]p$", re.IGNORECASE)
Judged = dict[str, dict[str, float]]  # by generator and figure


@ending_well
def main(words: Sequence[str] | None = None) -> int:
    """Prints the table."""
    reader = argparse.ArgumentParser(prog="bench.flow_tables", description=__doc__)
    reader.add_argument("table", type=Path)
    reader.add_argument("--label-column", help="as for `train`")
    reader.add_argument("--columns", help="names with commas; if not given, all that are safe")
    reader.add_argument("--peer", choices=["argn"], help="TabularARGN, in its own environment")
    reader.add_argument("--environment", type=Path, default=Path("fidelity/argn/environment"))
    reader.add_argument("--minutes", type=float, default=3.0, help="of processor time, a generator")
    reader.add_argument("--rows", type=int, default=20_000, help="of both halves, at most")
    reader.add_argument("--seeds", nargs="+", type=int, default=[0], help="of split and generators")
    reader.add_argument("--out", type=Path, default=Path("build/flow_tables"))
    asked = reader.parse_args(words)
    traces = Traces.load(asked.table, label_column=asked.label_column)
    names = asked.columns.split(",") if asked.columns else safe_columns(traces)
    traces = replace(traces, meta=traces.meta.select(names))
    python = environment(asked.environment, "argn") if asked.peer else None
    asked.out.mkdir(parents=True, exist_ok=True)
    runs = [_run(traces, names, asked, python, seed) for seed in asked.seeds]
    print(f"{asked.table.name}: {_said(traces, asked)}\n\n{table(runs)}", end="")
    return 0


def _said(traces: Traces, asked: argparse.Namespace) -> str:
    channels = [channel.name for channel in traces.channels]
    listed = ", ".join([*channels, *traces.meta.column_names])
    return f"{min(len(traces), asked.rows):,} rows, seeds {asked.seeds}; class, {listed}"


def _run(
    traces: Traces, names: list[str], asked: argparse.Namespace, python: Path | None, seed: int
) -> Judged:
    """The figures of each generator after one split."""
    real, held = _halves(traces, asked.rows, seed)
    rows, judge = rows_of(real), rows_of(held)
    made = dict(_controls(rows, seed))
    seconds = {}
    began = time.process_time()
    recipe = Recipe(cpu_minutes=asked.minutes, seed=seed)
    model = train(real, recipe=recipe, columns=names)
    made["default"] = rows_of(sample(model, label=real.counts(), seed=seed)).select(
        rows.column_names
    )
    seconds["default"] = time.process_time() - began
    if python is not None:
        for title, protect in PEERS.items():
            began = time.monotonic()
            made[title] = _peer(python, rows, asked, seed, protect)
            seconds[title] = time.monotonic() - began
    found = judged(made, rows, judge, seed)
    for title, taken in seconds.items():
        found[title]["seconds"] = taken
    return found


def _halves(traces: Traces, most: int, seed: int) -> tuple[Traces, Traces]:
    """Two halves of the rows at random, of the classes that have `FEWEST` rows in both."""
    order = np.random.default_rng(seed).permutation(len(traces))[:most]
    sides = [traces[np.sort(one)] for one in np.array_split(order, 2)]
    counts = [side.counts() for side in sides]
    kept = [name for name in traces.classes if min(c.get(name, 0) for c in counts) >= FEWEST]
    if left := sorted(set(traces.classes) - set(kept)):
        print(f"classes of fewer than {FEWEST} rows in a half, left out: {', '.join(left)}")
    real, held = (one[np.isin(one.label_names, kept)].without_empty_classes() for one in sides)
    return real, held


def rows_of(traces: Traces) -> pa.Table:
    """A row for each trace of one point: its class, channels and columns, see `flow_figures`."""
    found = {"label": pa.array(traces.label_names.tolist(), pa.string())}
    for c, channel in enumerate(traces.channels):
        found[channel.name] = pa.array(traces.values[:, c, 0].astype(np.float64))
    for name in traces.meta.column_names:
        cells = plain(name, traces.meta[name])
        is_port = bool(_PORT.search(name)) and not pa.types.is_string(cells.type)
        if is_category(name, cells.type) or is_port:
            whole = cells.cast(pa.int64()) if is_port else cells
            found[name] = whole.cast(pa.string())
        else:
            numbers = Column(name, str(cells.type)).raw(cells)
            found[name] = pa.array(numbers, mask=np.isnan(numbers))
    return pa.table(found)


def _controls(rows: pa.Table, seed: int) -> Mapping[str, pa.Table]:
    """The training rows, a bootstrap of them, and their columns shuffled one by one."""
    rng, n = np.random.default_rng(seed), len(rows)
    shuffled = {name: rows[name].take(pa.array(rng.permutation(n))) for name in rows.column_names}
    bootstrap = rows.take(pa.array(rng.integers(n, size=n)))
    return {FLOOR: rows, "bootstrap": bootstrap, INDEPENDENT: pa.table(shuffled)}


def _peer(
    python: Path, rows: pa.Table, asked: argparse.Namespace, seed: int, protect: str
) -> pa.Table:
    """Rows that TabularARGN made; its numbers and texts in our types."""
    source, target = asked.out / "train.parquet", asked.out / "made.parquet"
    pq.write_table(rows, source)
    worker = [python, "-Wignore", HERE / "argn_rows_worker.py", source, target]
    words = [str(one) for one in (*worker, 60 * asked.minutes, seed, protect)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return pq.read_table(target).select(rows.column_names).cast(rows.schema)


def judged(made: Mapping[str, pa.Table], train_rows: pa.Table, held: pa.Table, seed: int) -> Judged:
    """By generator: its figures against the held-out rows."""
    names = figures.fields(held, number=True)
    moved: Floats = np.array(
        [[figures.earth_mover(one[name], held[name]) for name in names] for one in made.values()]
    )
    means = figures.normalised(moved).mean(axis=1)
    found: Judged = {}
    for k, (title, rows) in enumerate(made.items()):
        own = {
            f"JSD of {name}": figures.divergence(rows[name], held[name])
            for name in figures.fields(held, number=False)
        }
        distances = dict(zip(names, moved[k], strict=True))
        found[title] = {
            **own,
            "JSD, mean": float(np.mean(list(own.values()))),
            "JS distance, mean": float(np.mean(np.sqrt(list(own.values())))),
            **{f"EMD of {name}": float(distance) for name, distance in distances.items()},
            "normalised EMD, mean": float(means[k]),
            "CMD": figures.contingency(rows, held),
            "association error": figures.association(rows, held),
            "two-sample AUC": figures.two_sample_auc(rows, held, seed),
            "TSTR accuracy": figures.accuracy(rows, held, "label", seed),
            "exact copies": figures.copied(held if title == FLOOR else rows, train_rows),
        }
    return found


def table(runs: Sequence[Judged]) -> str:
    """A row for each figure, a column for each generator; means over the runs."""
    titles = list(runs[0])
    names = dict.fromkeys(name for one in runs[0].values() for name in one)
    rows = [[name, *(_mean(runs, title, name) for title in titles)] for name in names]
    return markdown(" | ".join(["mean of the seeds", *titles]), rows)


def _mean(runs: Sequence[Judged], title: str, name: str) -> str:
    values = [run[title].get(name) for run in runs]
    return "" if None in values else f"{np.mean(np.array(values, dtype=np.float64)):.3g}"


if __name__ == "__main__":
    raise SystemExit(main())
