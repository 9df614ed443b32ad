"""Whole traces of the models of a duel: how far their traits are from those of held-out traces.

python -m bench.duel.coherence --out duel

Traits are spread, steps, plateaus, peaks, idle points, bursts and totals of a trace. The figure is
the mean Kolmogorov-Smirnov distance of their distributions, by class, divided by that of the
training traces. Also for the lab traffic, of which a network learns two thirds here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.duel.summary import error
from bench.fidelity import sets
from bench.tables import markdown
from netdiffus import Model, Recipe, lab_traffic, sample, train
from netdiffus.evaluation.metrics.distributions import SetDistributions, distribution_distances
from netdiffus.traces.traces import Traces

DRAWS = 3
LAB = {"packets": 64, "volumes": None}  # points that are learned


def main(words: Sequence[str] | None = None) -> int:
    """Prints a row for each set, over seeds of split and training."""
    reader = argparse.ArgumentParser("python -m bench.duel.coherence", description=__doc__)
    reader.add_argument("--out", type=Path, default=Path("duel"), help="folder of the duel")
    reader.add_argument("--models", default="causal-10min", help="folders of the preset")
    reader.add_argument("--lab", nargs="*", choices=LAB, default=list(LAB))
    reader.add_argument("--minutes", type=float, default=10.0, help="of a training on the lab's")
    reader.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="on the lab's")
    reader.add_argument("--data", type=Path, help="folder of the public sets")
    asked = reader.parse_args(words)
    print(markdown("set | seeds | times the floor | standard error", []), end="", flush=True)
    for folder in sorted(one for one in asked.out.iterdir() if one.is_dir()):
        seeds = sorted(folder.glob(f"seed*/{asked.models}/model"))
        _print(folder.name, [_of_set(folder.name, one, asked.data) for one in seeds])
    for kind in asked.lab:
        _print(f"lab, {kind}", [_of_lab(kind, asked.minutes, seed) for seed in asked.seeds])
    return 0


def _print(name: str, found: list[float]) -> None:
    if found:
        spread = f"{error(np.array(found)):.2f}" if found[1:] else "-"
        print(f"| {name} | {len(found)} | {np.mean(found):.2f} | {spread} |", flush=True)


def _of_set(name: str, folder: Path, data: Path | None) -> float:
    seed = int(folder.parts[-3].removeprefix("seed"))
    fs, model = sets.load(name, data, seed=seed), Model.load(folder)
    return times_the_floor(model, fs.train, fs.holdout)


def _of_lab(kind: str, minutes: float, seed: int) -> float:
    traces = lab_traffic(kind).truncate(LAB[kind] or 10**6)
    learn, holdout = traces.split(1 / 3, seed=seed)
    model = train(learn, recipe=Recipe(cpu_minutes=minutes, seed=seed))
    return times_the_floor(model, learn, holdout)


def times_the_floor(model: Model, learned: Traces, holdout: Traces) -> float:
    """The distance of made traces to held-out ones, over that of as many learned ones."""
    length = model.codec.length or 10**6
    real, held = learned.truncate(length), holdout.truncate(length)
    labels = real.label_names.tolist()
    made = [sample(model, len(labels), label=labels, seed=seed) for seed in range(DRAWS)]
    return float(np.mean([_distance(one, held) for one in made]) / _distance(real, held))


def _distance(traces: Traces, held: Traces) -> float:
    sides = (SetDistributions.of(one.with_gaps()) for one in (traces, held))
    return float(
        np.mean([np.nanmean(x) for x in distribution_distances(*sides)["coherence"].values()])
    )


if __name__ == "__main__":
    sys.exit(main())
