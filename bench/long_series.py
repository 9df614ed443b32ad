"""The command: `python -m bench.long_series`, from the root of the repository: whole long traces.

Trains the default network on whole traces of two public sets, sizes and directions, and asks what a
forest that learned from made traces knows of real ones, beside one that learned from the real
training traces. It sees totals and cumulated bytes of whole traces, as the CUMUL attack does
(Panchenko et al., 2016). Half of the traces of each class train, half judge.

With --segments it is a model of long traces (`train_segments`). Then two more figures are printed:
how far the bytes of a trace are from those of its sums (median of |made - sum| / sum), and the AUC
of a forest that separates windows of points across a seam from windows in the middle of a segment.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from bench.fidelity.sets import folder_of_data
from netdiffus import (
    Model,
    Recipe,
    SegmentModel,
    TokenCodec,
    Traces,
    sample,
    sample_segments,
    train,
    train_segments,
)
from netdiffus.errors import Note
from netdiffus.traces.traces import Floats

SETS = ("web_doh", "alexa_voice")
BAR = 0.9  # of the accuracy that real traces give
SEED, MOST_WINDOWS = 0, 6_000
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
    parser.add_argument("--segments", type=int, help="points of a segment; 0 chooses them")
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
    recipe = Recipe(cpu_minutes=given.minutes, batch_size=given.batch_size)
    model, made, spent = (_whole if given.segments is None else _in_segments)(
        real, folder, recipe, given
    )
    if folder is not None:
        made.save(folder / "made.parquet", force=True)
    best, found = accuracy(real, holdout), accuracy(made, holdout)
    parts = [model] if isinstance(model, Model) else [model.coarse, model.segments]
    steps = " and ".join(str(one.about["steps"]) for one in parts)
    more = [f"{1000 * spent / len(made):.1f} ms a trace"]
    if isinstance(model, SegmentModel):
        more += [
            f"bytes {distance_to_sums(model, made):.1%} off",
            f"seams {seams(model, made):.2f}",
        ]
    print(
        f"| {name} | {best:.3f} | {found:.3f} | {found / best:.2f} | {steps} steps in "
        f"{given.minutes:g} minutes, {', '.join(more)} |",
        flush=True,
    )
    return found >= BAR * best


def _whole(
    real: Traces, folder: Path | None, recipe: Recipe, given: argparse.Namespace
) -> tuple[Model, Traces, float]:
    """A model of runs, its traces, and the processor seconds that these took."""
    began_before = folder is not None and (folder / "checkpoint").exists()
    model = train(
        real, folder, recipe=recipe, codec=TokenCodec(runs=given.runs), resume=began_before
    )
    began = time.process_time()
    made = sample(model, given.times * len(real), seed=SEED)
    return model, made, time.process_time() - began


def _in_segments(
    real: Traces, folder: Path | None, recipe: Recipe, given: argparse.Namespace
) -> tuple[SegmentModel, Traces, float]:
    """The same of a model of long traces."""
    points = given.segments or None
    model = train_segments(real, folder, points=points, recipe=recipe, force=True)
    began = time.process_time()
    made = sample_segments(model, given.times * len(real), seed=SEED)
    return model, made, time.process_time() - began


def distance_to_sums(model: SegmentModel, made: Traces) -> float:
    """Median over traces of |bytes - their sum| / their sum, both ways together."""
    coarse = sample(model.coarse, len(made), seed=SEED)  # which `made` was drawn by
    wanted, found = coarse.values[:, :2].sum((1, 2)), made.values[:, 0].sum(1)
    return float(np.median(np.abs(found - wanted) / wanted))


def seams(model: SegmentModel, made: Traces) -> float:
    """AUC of a forest on windows of points across a seam and in the middle of a segment.

    A window has as many points as a segment; traces are not on both sides of a fold.
    """
    half, signed = model.points // 2, made.values[:, 0] * made.values[:, 1]
    windows, is_seam, trace = [], [], []
    for i, points in enumerate(signed):
        for seam in range(model.points, int(made.lengths[i]) - model.points, model.points):
            for place, kind in ((seam, True), (seam + half, False)):
                windows.append(points[place - half : place + half])
                is_seam.append(kind)
                trace.append(i)
    rows = np.random.default_rng(SEED).permutation(len(windows))[:MOST_WINDOWS]
    x, y, groups = (np.array(one)[rows] for one in (windows, is_seam, trace))
    forest = RandomForestClassifier(100, min_samples_leaf=5, n_jobs=1, random_state=SEED)
    scores = cross_val_predict(
        forest, x, y, groups=groups, cv=GroupKFold(3), method="predict_proba"
    )
    return float(roc_auc_score(y, scores[:, 1]))


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
