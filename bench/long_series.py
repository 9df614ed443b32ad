"""The command: `python -m bench.long_series`, from the root of the repository: whole long traces.

Trains the default network on whole traces of two public sets, sizes and directions, and asks what a
forest that learned from made traces knows of real ones, beside one that learned from the real
training traces. It sees totals and cumulated bytes of whole traces, as the CUMUL attack does
(Panchenko et al., 2016). Half of the traces of each class train, half judge.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from bench.fidelity.sets import folder_of_data
from netdiffus import Recipe, TokenCodec, Traces, sample, train
from netdiffus.errors import Note
from netdiffus.traces.traces import Floats

SETS = ("web_doh", "alexa_voice")
BAR = 0.9  # of the accuracy that real traces give
PLACES = 100  # of a trace at which its cumulated bytes are looked at


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a row for each set; 1 if a bar is missed."""
    parser = argparse.ArgumentParser("python -m bench.long_series", description=__doc__)
    parser.add_argument("sets", nargs="*", default=SETS, metavar="SET")
    parser.add_argument("--data", type=Path, default=folder_of_data())
    parser.add_argument("--runs", type=int, default=1024)
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="of processor time, of a training"
    )
    parser.add_argument("--batch-size", type=int, default=8, help="small, as traces are long")
    parser.add_argument("--times", type=int, default=1, help="made traces for each training trace")
    parser.add_argument("--out", type=Path, help="folder for models; a training there goes on")
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore", Note)
    print("| set | real | made | share | steps, minutes |\n| --- | --- | --- | --- | --- |")
    return int(not all([_row(name, given) for name in given.sets]))


def _row(name: str, given: argparse.Namespace) -> bool:
    channels = ["packet_length", "direction"]
    traces = Traces.load(given.data / f"{name}.parquet", channels=channels)
    real, holdout = traces.split(0.5, seed=0)
    folder = None if given.out is None else given.out / name
    began_before = folder is not None and (folder / "checkpoint").exists()
    recipe = Recipe(cpu_minutes=given.minutes, batch_size=given.batch_size)
    codec = TokenCodec(runs=given.runs)
    model = train(real, folder, recipe=recipe, codec=codec, resume=began_before)
    began = time.process_time()
    made = sample(model, given.times * len(real), seed=0)
    if folder is not None:
        made.save(folder / "made.parquet")
    best, found = accuracy(real, holdout), accuracy(made, holdout)
    steps, spent = model.about["steps"], (time.process_time() - began) / 60
    print(
        f"| {name} | {best:.3f} | {found:.3f} | {found / best:.2f} | {steps} steps in "
        f"{given.minutes:g} minutes, {spent:.1f} to sample and judge |",
        flush=True,
    )
    return found >= BAR * best


def accuracy(train_on: Traces, judge: Traces) -> float:
    """Of a forest that learned from some traces, on others; the mean of three."""
    names = np.array(judge.classes)[judge.labels]
    forests = [RandomForestClassifier(100, n_jobs=1, random_state=seed) for seed in range(3)]
    x, y = whole_features(train_on), np.array(train_on.classes)[train_on.labels]
    return float(np.mean([one.fit(x, y).score(whole_features(judge), names) for one in forests]))


def whole_features(traces: Traces) -> Floats:
    """Packets and bytes each way, and signed bytes up to each of 100 places, evenly spread."""
    sizes, directions = traces.values[:, 0], traces.values[:, 1]
    up, down = directions > 0, directions < 0
    totals = [up.sum(1), down.sum(1), (sizes * up).sum(1), (sizes * down).sum(1)]
    sums = np.cumsum(sizes * directions, axis=1)
    places = np.linspace(0, traces.lengths - 1, PLACES).astype(int).T
    return np.concatenate([np.stack(totals, 1), np.take_along_axis(sums, places, 1)], 1)


if __name__ == "__main__":
    raise SystemExit(main())
