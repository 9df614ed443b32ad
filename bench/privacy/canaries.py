"""Canaries in trainings with and without privacy: exposure, and a lower bound on epsilon.

python -m bench.privacy canaries mirage_appx --minutes 2.5
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.fidelity import sets
from bench.fidelity.kept import ending_well
from bench.privacy.attacks import PRIVATE, PRIVATE_NETWORKS, epsilon_of, private, private_network
from bench.tables import markdown
from netdiffus import Model, Recipe, sample, train
from netdiffus.attacks.canaries import Learned, canary_audit
from netdiffus.attacks.loss_attacks import losses
from netdiffus.attacks.sides import as_learned
from netdiffus.errors import Note
from netdiffus.files import write_text
from netdiffus.traces.traces import Floats, Traces

KNOWN = ("default", *PRIVATE, *PRIVATE_NETWORKS)
HEADS = (
    "set | trained | AUC (95 %) | mean exposure, bits (by chance; at most) | regenerated | "
    "lower bound of epsilon (claimed; at most)"
)


@ending_well
def main(words: Sequence[str] | None = None) -> int:
    """Prints the table, and writes every audit below `--out`."""
    reader = argparse.ArgumentParser(prog="bench.privacy canaries", description=__doc__)
    reader.add_argument("sets", nargs="+", help=f"of {', '.join(sets.SETS)}")
    reader.add_argument("--trained", nargs="+", choices=KNOWN, default=KNOWN)
    reader.add_argument("--canaries", type=int, default=1000, help="a bound needs 1000")
    reader.add_argument("--minutes", type=float, default=2.5, help="processor minutes to train")
    reader.add_argument("--data", type=Path, help="folder of the public sets")
    reader.add_argument("--out", type=Path, default=Path("privacy"))
    reader.add_argument("--seed", type=int, default=0)
    asked = reader.parse_args(words)
    print(markdown(HEADS, []), end="", flush=True)
    for name in asked.sets:
        fs = sets.load(name, asked.data, seed=asked.seed)
        reference = train(fs.train, recipe=_recipe(asked))
        for trained in asked.trained:
            learn = _learn(trained, fs.points, reference, asked)
            found = canary_audit(fs.train, learn, asked.canaries, seed=asked.seed)
            target = asked.out / name / f"canaries-{trained}.json"
            target.parent.mkdir(parents=True, exist_ok=True)
            write_text(target, json.dumps(found, indent=1) + "\n")
            print(f"| {' | '.join(_row(name, trained, found))} |", flush=True)
    return 0


def _recipe(asked: argparse.Namespace) -> Recipe:
    return Recipe(cpu_minutes=asked.minutes, seed=asked.seed)


def _learn(
    trained: str, points: int, reference: Model, asked: argparse.Namespace
) -> Callable[[Traces], Learned]:
    """A training. The score is how far the loss is below that of a network without canaries."""

    def learn(traces: Traces) -> Learned:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Note)
            model = _trained(trained, traces, points, asked)

        def score(canaries: Traces) -> Floats:
            """0 for a class that private traces lack: the network cannot say anything of it."""
            known = np.isin(canaries.label_names, model.classes)
            before, after = (
                losses(one, as_learned(canaries[known], one, "canaries"))
                for one in (reference, model)
            )
            gain = np.zeros(len(canaries))
            gain[known] = (before - after).mean(axis=1)
            return gain

        return Learned(score, sample(model, 5 * len(traces), mix="real", seed=asked.seed))

    return learn


def _trained(trained: str, traces: Traces, points: int, asked: argparse.Namespace) -> Model:
    """For `privatise` the default network, which learns from the private traces."""
    if trained in PRIVATE_NETWORKS:
        return private_network(traces, points, epsilon_of(trained))
    table = private(traces, points, epsilon_of(trained)) if trained in PRIVATE else traces
    return train(table, recipe=_recipe(asked))


def _row(name: str, trained: str, found: dict[str, Any]) -> list[str]:
    auc, bits, epsilon = found["attack"]["auc"], found["exposure"], found["epsilon"]
    claimed = "none" if trained == "default" else f"{epsilon_of(trained):g}"
    least = "-" if epsilon["epsilon"] is None else f"{epsilon['epsilon']:.2f}"
    most = "-" if epsilon["epsilon"] is None else f"{epsilon['most']:.1f}"
    return [
        name,
        trained,
        f"{auc['mean']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})",
        f"{bits['mean']:.1f} ({bits['chance']:.1f}; {bits['most']:.1f})",
        f"{found['regenerated']['mean']:.1%}",
        f"{least} ({claimed}; {most})",
    ]
