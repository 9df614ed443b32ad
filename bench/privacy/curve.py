"""Privatised traces judged by forests, as a curve over epsilon.

python -m bench.privacy curve --sets mirage_appx --runs 3
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from bench.fidelity.forests import FOLDS, Protocol, equal_draws, forest, two_sample_auc
from bench.fidelity.kept import ending_well
from bench.fidelity.sets import folder_of_data
from bench.tables import markdown
from netdiffus import sample, train_private
from netdiffus.errors import InputError, Note
from netdiffus.files import write_text
from netdiffus.privacy.privatise import privatise
from netdiffus.traces.lab import lab_traffic
from netdiffus.traces.traces import Floats, Ints, Traces

SPLITS = 3  # where a frequent trace falls moves the area of one split by some hundredths


@dataclass(frozen=True)
class Judged:
    """Real traces to privatise, and others to judge by, never seen.

    `length` is that of a trace in points, `ranges` are the public ones of channels.
    """

    train: Traces
    holdout: Traces
    length: int
    ranges: dict[str, tuple[float, float]]


@ending_well
def main(words: Sequence[str] | None = None) -> int:
    """Prints the table and writes the figures."""
    parser = argparse.ArgumentParser("python -m bench.privacy curve", description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--epsilons", nargs="+", type=float, default=[1.0, 4.0, 8.0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--mix", choices=("real", "balanced"), default="balanced")
    parser.add_argument("--network", action="store_true", help="traces of `train_private`")
    parser.add_argument("--trees", type=int, default=Protocol().trees)
    parser.add_argument("--out", type=Path, help="file for the figures, JSON")
    given = parser.parse_args(words)
    protocol = Protocol(trees=given.trees, repeats=1, resamples=2)  # no intervals are shown
    rows = []
    for name in given.sets:
        rows += curve(name, given.epsilons, given.runs, protocol, given.mix, given.network)
        print(table(rows), flush=True)
    if given.out is not None:
        write_text(given.out, json.dumps(rows, indent=1) + "\n")
    return 0


def _mirage_appx() -> Judged:
    """All training flows, first 10 packets; those of equal sizes and directions on one side."""
    path = folder_of_data() / "mirage_appx.parquet"
    if not path.is_file():
        raise InputError(f"{path}: no such file; set NETDIFFUS_DATA")
    whole = Traces.load(path, length=10).select(["packet_length", "direction"])
    return Judged(*whole.split(0.2), 10, {"packet_length": (0.0, 1460.0)})


def _lab_volumes() -> Judged:
    train, holdout = lab_traffic("volumes").truncate(32).split(0.2, by="group")
    return Judged(train, holdout, 32, {"value": (40.0, 1e7), "value_up": (40.0, 1e7)})


def _lab_packets() -> Judged:
    """Sizes, directions and gaps."""
    train, holdout = lab_traffic("packets").with_gaps().truncate(16).split(0.2, by="group")
    return Judged(train, holdout, 16, {})


SETS: dict[str, Callable[[], Judged]] = {
    "mirage_appx": _mirage_appx,
    "lab_volumes": _lab_volumes,
    "lab_packets": _lab_packets,
}


def view(traces: Traces, length: int) -> Floats:
    """(N, C * length): raw values; sizes have the sign of their direction."""
    names = [channel.name for channel in traces.channels]
    values = np.pad(traces.values, ((0, 0), (0, 0), (0, length - traces.values.shape[2])))
    if "packet_length" in names and "direction" in names:
        size, way = names.index("packet_length"), names.index("direction")
        values = values.copy()
        values[:, size] *= values[:, way]
        values = np.delete(values, way, axis=1)
    return values.reshape(len(values), -1)


def figures(judged: Judged, made: Traces, protocol: Protocol) -> dict[str, float]:
    """Balanced accuracy on held-out traces, and two-sample AUC against them in two ways.

    `auc` takes folds as they fall. The split keeps equal traces on one side, so a forest that saw a
    held-out trace knows its copies in other folds: it tells even real training traces from held-out
    ones. `auc_apart` keeps equal traces in one fold, so that real ones are at 0.5.
    """
    x, held = (view(traces, judged.length) for traces in (made, judged.holdout))
    y, truth = made.labels, judged.holdout.labels
    forests = [forest(protocol, seed).fit(x, y) for seed in range(protocol.repeats)]
    accuracy = np.mean([balanced_accuracy_score(truth, one.predict(held)) for one in forests])
    auc = two_sample_auc(x, y, held, truth, np.arange(len(truth)), protocol)
    apart = auc_apart(x, y, held, truth, protocol)
    return {"accuracy": float(accuracy), "auc": auc["mean"], "auc_apart": apart}


def auc_apart(x: Floats, y: Ints, held_x: Floats, held_y: Ints, protocol: Protocol) -> float:
    """The area of `two_sample_auc`, with equal traces in one fold: a mean over `SPLITS` splits."""
    found = []
    for seed in range(SPLITS):
        ours, theirs = equal_draws(y, held_y, np.random.default_rng(seed))
        both = np.concatenate([x[ours], held_x[theirs]])
        real = np.repeat([False, True], [len(ours), len(theirs)])
        same = np.unique(both, axis=0, return_inverse=True)[1].reshape(-1)
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
        for fit, judged in folds.split(both, real, same):
            score = forest(protocol, seed).fit(both[fit], real[fit]).predict_proba(both[judged])
            found.append(roc_auc_score(real[judged], score[:, 1]))
    return float(np.mean(found))


def curve(
    name: str,
    epsilons: list[float],
    runs: int,
    protocol: Protocol,
    mix: str,
    network: bool = False,
) -> list[dict[str, Any]]:
    """One row for real traces and one for each epsilon, the mean of several runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)
        judged = SETS[name]()
        rows = [{"set": name, "epsilon": "real", **figures(judged, judged.train, protocol)}]
        for epsilon in epsilons:
            rows.append(_row(name, judged, epsilon, runs, protocol, mix, network))
        return rows


def _row(
    name: str,
    judged: Judged,
    epsilon: float,
    runs: int,
    protocol: Protocol,
    mix: str,
    network: bool,
) -> dict[str, Any]:
    found, seconds = [], 0.0
    for _ in range(runs):
        start = time.process_time()
        made = (_of_network if network else _privatised)(judged, epsilon, mix)
        seconds += (time.process_time() - start) / runs
        found.append(figures(judged, made, protocol))
    mean = {key: float(np.mean([one[key] for one in found])) for key in found[0]}
    assert made.ledger is not None
    return {
        "set": name,
        "epsilon": epsilon,
        "mix": mix,
        **mean,
        "runs": found,
        "mu": made.ledger["mu"],
        "few": len(made.ledger["few"]),
        "cpu_seconds": seconds,
    }


def _privatised(judged: Judged, epsilon: float, mix: str) -> Traces:
    public: dict[str, Any] = {"length": judged.length, "ranges": judged.ranges}
    return privatise(judged.train, epsilon, mix=mix, anyway=True, **public)


def _of_network(judged: Judged, epsilon: float, mix: str) -> Traces:
    """As many traces as there are real ones, of a network that was trained with privacy."""
    public: dict[str, Any] = {"length": judged.length, "ranges": judged.ranges}
    model = train_private(judged.train, epsilon=epsilon, anyway=True, **public)
    n, classes = len(judged.train), model.classes
    if mix == "real":
        rng = np.random.default_rng(0)
        labels = rng.choice(classes, n, p=model.shares / model.shares.sum()).tolist()
    else:
        labels = list(classes) * -(-n // len(classes))
    return sample(model, len(labels), label=labels, seed=0)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a table in Markdown."""
    heads = (
        "set | epsilon | mu | balanced accuracy | two-sample AUC | equal traces in one fold | "
        "classes with too few | CPU s"
    )
    return markdown(heads, map(_cells, rows))


def _cells(row: dict[str, Any]) -> list[object]:
    runs = [one["accuracy"] for one in row.get("runs", [])]
    spread = f" ({min(runs):.3f} to {max(runs):.3f})" if runs else ""
    mu = f"{row['mu']:.3f}" if "mu" in row else ""
    seconds = f"{row['cpu_seconds']:.0f}" if "cpu_seconds" in row else ""
    areas = [f"{row[name]:.3f}" for name in ("auc", "auc_apart")]
    accuracy = f"{row['accuracy']:.3f}{spread}"
    return [row["set"], row["epsilon"], mu, accuracy, *areas, row.get("few", ""), seconds]
