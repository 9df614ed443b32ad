"""The protocol of arXiv 2603.25507 on mirage_appx: python -m bench.published --minutes 10

All training flows of the published split, first 10 packets, sizes and directions; F1 of a random
forest that learns from real or from synthetic flows alone, as many of each class, on the held-out
flows. The abstract of the paper states up to 87 % with synthetic flows alone, as the best of
several generators, classifiers and two sets.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import f1_score

from bench.fidelity import sets
from bench.fidelity.kept import ending_well
from bench.fidelity.sets import FidelitySet
from bench.tables import markdown
from netdiffus import Recipe, sample, train
from netdiffus.traces.traces import Traces

HEADS = "learned from | flows | weighted F1 | macro F1 | accuracy"


@ending_well
def main(words: Sequence[str] | None = None) -> int:
    """Prints the table, row by row."""
    reader = argparse.ArgumentParser(prog="bench.published", description=__doc__)
    reader.add_argument("--minutes", type=float, default=10.0, help="processor minutes to train")
    reader.add_argument("--seeds", nargs="+", type=int, default=[0])
    reader.add_argument("--trees", type=int, default=100)
    reader.add_argument("--data", type=Path, help="folder of the public sets")
    asked = reader.parse_args(words)
    fs = sets.all_of_mirage_appx(asked.data)
    print(markdown(HEADS, []), end="", flush=True)
    print(_row("real", fs, fs.train, asked.trees), flush=True)
    for seed in asked.seeds:
        model = train(fs.train, recipe=Recipe(cpu_minutes=asked.minutes, seed=seed))
        labels = fs.train.label_names.tolist()
        for times in (1, 5):
            made = sample(model, times * len(labels), label=times * labels, seed=seed)
            print(_row(f"synthetic, {times}x, seed {seed}", fs, made, asked.trees), flush=True)
    return 0


def _row(name: str, fs: FidelitySet, traces: Traces, trees: int) -> str:
    """Means of three forests."""
    truth = fs.holdout.label_names
    found = []
    for seed in range(3):
        forest = RandomForestClassifier(trees, random_state=seed, n_jobs=-1)
        forest.fit(fs.view(traces), traces.label_names)
        named = forest.predict(fs.view(fs.holdout))
        kinds = (f1_score(truth, named, average=kind) for kind in ("weighted", "macro"))
        found.append([*kinds, np.mean(named == truth)])
    shown = " | ".join(f"{value:.1%}" for value in np.mean(found, axis=0))
    return f"| {name} | {len(traces):,} | {shown} |"


if __name__ == "__main__":
    raise SystemExit(main())
