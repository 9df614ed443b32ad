"""What the rule of k costs: the default network's traces, by how many traces must share a value.

python -m bench.privacy rare mirage_appx alexa_voice --minutes 2
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.fidelity import sets
from bench.fidelity.forests import Protocol, rightly_named, two_sample_auc
from bench.fidelity.kept import ending_well
from bench.fidelity.sets import FidelitySet
from bench.tables import markdown
from netdiffus import Recipe, sample, train
from netdiffus.codec.vocabulary import owners_needed


@ending_well
def main(words: Sequence[str] | None = None) -> int:
    """Prints the table, row by row."""
    reader = argparse.ArgumentParser(prog="bench.privacy rare", description=__doc__)
    reader.add_argument("sets", nargs="+", help=f"of {', '.join(sets.SETS)}")
    reader.add_argument("--k", nargs="+", type=int, default=[1, 2, 5, 10, 20])
    reader.add_argument("--minutes", type=float, default=2.0, help="processor minutes to train")
    reader.add_argument("--trees", type=int, default=100)
    reader.add_argument("--data", type=Path, help="folder of the public sets")
    reader.add_argument("--seed", type=int, default=0)
    asked = reader.parse_args(words)
    print(markdown("set | k | accuracy | two-sample AUC", []), end="", flush=True)
    for name in asked.sets:
        fs = sets.load(name, asked.data, seed=asked.seed)
        for k in asked.k:
            accuracy, auc = _judged(fs, k, asked)
            print(f"| {name} | {k} | {accuracy:.3f} | {auc:.3f} |", flush=True)
    return 0


def _judged(fs: FidelitySet, k: int, asked: argparse.Namespace) -> tuple[float, float]:
    """Accuracy and two-sample AUC of as many traces of each class as there are real ones."""
    with owners_needed(k):
        recipe = Recipe(cpu_minutes=asked.minutes, seed=asked.seed)
        model = train(fs.train, recipe=recipe)
    labels = [model.classes[label] for label in fs.train.labels]
    made = sample(model, len(labels), label=labels, seed=asked.seed)
    x, y, held, truth = fs.view(made), made.labels, fs.view(fs.holdout), fs.holdout.labels
    protocol = Protocol(trees=asked.trees, repeats=1, resamples=2)  # no intervals are shown
    accuracy = rightly_named(x, y, held, truth, protocol).mean()
    auc = two_sample_auc(x, y, held, truth, np.arange(len(truth)), protocol)
    return float(accuracy), auc["mean"]
