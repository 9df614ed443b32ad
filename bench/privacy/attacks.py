"""All attacks on generators that leak, on networks and on privatised traces, set by set.

python -m bench.privacy attacks web_doh alexa_voice --minutes 10 --out privacy
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

from bench.duel.figures import TIMES, of_generator
from bench.duel.plan import BASELINES
from bench.fidelity import sets
from bench.fidelity.kept import ending_well
from bench.fidelity.peers import PEERS, trained_peer
from bench.fidelity.sets import FidelitySet
from bench.tables import markdown
from netdiffus import Audit, Model, Recipe, audit, privatise, train, train_private
from netdiffus.errors import InputError, Note
from netdiffus.files import write_text
from netdiffus.traces.traces import Traces

LEAKS = ("copy", "counted")
NETWORKS = ("default", "image")
PRIVATE = tuple(f"epsilon-{one}" for one in (1, 4, 8))
PRIVATE_NETWORKS = tuple(f"network-{one}" for one in PRIVATE)

HEADS = (
    "set | attacked | attack | AUC (95 %) | at most | at 1 % FPR | at 0.1 % | members | non-members"
)


@ending_well
def main(words: Sequence[str] | None = None) -> int:
    """Prints the table, and writes it with every audit below `--out`."""
    asked = _asked(words)
    rows: list[list[object]] = []
    for name in asked.sets:
        fs = sets.load(name, asked.data, seed=asked.seed)
        for attacked in asked.attacked:
            found = _audit(fs, attacked, asked)
            found.save_html(asked.out / name / f"{attacked}.html", force=True)
            found.save_json(asked.out / name / f"{attacked}.json", force=True)
            rows += [_row(name, attacked, one, found) for one in found.figures["attacks"]]
    table = markdown(HEADS, rows)
    write_text(asked.out / "attacks.md", table)
    print(table, end="")
    return 0


def _audit(fs: FidelitySet, attacked: str, asked: argparse.Namespace) -> Audit:
    """The split of the bench leaves equal traces on both sides: only those alone are attacked."""
    given: dict[str, Any] = {"train": fs.train, "holdout": fs.holdout, "drop_repeats": True}
    given["seed"] = asked.seed
    if attacked in NETWORKS:
        more = {"refits": asked.refits, "canaries": asked.canaries}
        return audit(_model(fs, attacked, asked), **given, **more)
    if attacked == "copy":
        return audit(synthetic=fs.train, **given)
    if attacked == "counted":
        return audit(synthetic=counted(fs.train, TIMES * len(fs.train), asked.seed), **given)
    if attacked in BASELINES:
        return audit(synthetic=of_generator(fs, attacked, TIMES, asked.seed), **given)
    if attacked in PEERS:
        return audit(synthetic=_peer(fs, attacked, asked), **given)
    epsilon = epsilon_of(attacked)
    if attacked in PRIVATE_NETWORKS:
        return audit(private_network(fs.train, fs.points, epsilon), **given)
    return audit(synthetic=private(fs.train, fs.points, epsilon), **given)


def epsilon_of(name: str) -> float:
    """Of a name of `PRIVATE` or `PRIVATE_NETWORKS`."""
    return float(name.rpartition("-")[2])


def counted(traces: Traces, n: int, seed: int) -> Traces:
    """The known leak: each value drawn from those that the class has at the place.

    So did versions that kept exact counts of values by class and place, most of them of one trace.
    """
    rng = np.random.default_rng(seed)
    base = traces[rng.integers(len(traces), size=n)]
    values = base.values.copy()
    for label in range(len(traces.classes)):
        mine, of_class = np.flatnonzero(base.labels == label), traces[traces.labels == label]
        for place in range(values.shape[2]):
            there = of_class.values[of_class.lengths > place, :, place]
            if len(there):
                drawn = rng.integers(len(there), size=(len(mine), values.shape[1]))
                values[mine, :, place] = there[drawn, np.arange(values.shape[1])]
    return replace(base, values=np.where(base.mask[:, None], values, 0.0))


def private(traces: Traces, points: int, epsilon: float) -> Traces:
    """Private traces; most classes of the sets are smaller than the rule of 150 asks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)
        return privatise(traces, epsilon, length=points, anyway=True)


def private_network(traces: Traces, points: int, epsilon: float) -> Model:
    """The default network by `train_private`, with batches of an eighth of the traces."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)
        steps = {"batch_size": max(1, len(traces) // 8), "length": points}
        return train_private(traces, epsilon=epsilon, anyway=True, **steps)


def _model(fs: FidelitySet, preset: str, asked: argparse.Namespace) -> Path:
    """Trains, unless it is there."""
    folder: Path = asked.out / fs.name / f"{preset}-{asked.minutes:g}min-seed{asked.seed}"
    if not folder.exists():
        recipe = Recipe(cpu_minutes=asked.minutes, seed=asked.seed)
        train(fs.train, folder, recipe=recipe, preset=preset)
    if Model.load(folder).about["ended"] == "interrupted":
        raise InputError(f"{folder}: its training was interrupted; remove it to train again")
    return folder


def _peer(fs: FidelitySet, name: str, asked: argparse.Namespace) -> Traces:
    """Its traces, made in a separate environment, unless `bench.fidelity` left them in `--out`."""
    kept = f"{fs.name}-split{asked.seed}-{asked.minutes:g}min-seed{asked.seed}"
    budget: dict[str, Any] = {"cpu_seconds": 60 * asked.minutes, "seed": asked.seed}
    return trained_peer(name, fs.train, asked.out / name, kept, **budget)[0]


def bound(found: Audit) -> float | None:
    """The AUC that no attack on one trace can pass, Phi(mu / sqrt 2); None without a guarantee.

    For DP-SGD mu is that of Gaussian noise with the same epsilon and delta: an approximation.
    """
    guarantee = found.figures["guarantee"]
    return float(norm.cdf(guarantee["mu"] / sqrt(2))) if guarantee else None


def _row(name: str, attacked: str, attack: dict[str, Any], found: Audit) -> list[object]:
    auc = attack["auc"]
    rates = [attack["tpr"][rate] for rate in ("0.01", "0.001")]
    told = ["-" if r["mean"] is None else _interval(r, ".1%") for r in rates]
    area = _interval(auc, ".3f")
    which = f"{attack['name']} ({attack['kind']})"
    most = bound(found)
    limit = "-" if most is None else f"{most:.3f}"
    return [name, attacked, which, area, limit, *told, attack["members"], attack["others"]]


def _interval(found: dict[str, Any], form: str) -> str:
    return f"{found['mean']:{form}} ({found['low']:{form}} to {found['high']:{form}})"


def _asked(words: Sequence[str] | None) -> argparse.Namespace:
    about = "All attacks on generators that leak, on networks and on privatised traces."
    reader = argparse.ArgumentParser(prog="bench.privacy attacks", description=about)
    reader.add_argument("sets", nargs="+", help=f"of {', '.join(sets.SETS)}")
    ours = (*LEAKS, *BASELINES, *NETWORKS, *PRIVATE, *PRIVATE_NETWORKS)
    known = (*ours, *PEERS)
    reader.add_argument("--attacked", nargs="+", choices=known, default=ours)
    reader.add_argument("--minutes", type=float, default=10.0, help="processor minutes to train")
    reader.add_argument("--refits", type=int, default=0, help="4 or more give LiRA")
    reader.add_argument("--canaries", type=int, default=0, help="1000 give a bound of epsilon")
    reader.add_argument("--data", type=Path, help="folder of the public sets")
    reader.add_argument("--out", type=Path, default=Path("privacy"))
    reader.add_argument("--seed", type=int, default=0)
    return reader.parse_args(words)
