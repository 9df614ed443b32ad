"""The command: `python -m bench.scaling`, from the root of the repository: time by size.

Times are processor seconds. An exponent of 1 says that twice the size takes twice the time; it is
fitted to the sizes of its line.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from bench.big_traces import big_traces
from netdiffus import Model, Recipe, TokenCodec, evaluate, sample, train
from netdiffus.progress import silent
from netdiffus.training.batches import Batches

POINTS, CLASSES = 128, 10
START_SECONDS, EVALUATE_SECONDS = 5.0, 60.0  # bars
PER_POINT = 1.1  # at most as many times the cost of a point before: a tenth is noise
Shape = tuple[int, int, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints exponents and bars; 1 if a bar is missed."""
    parser = argparse.ArgumentParser("python -m bench.scaling", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    print(f"{torch.get_num_threads()} threads")
    holds = [PARTS[name]() for name in given.only]
    return 0 if all(holds) else 1


def train_start() -> bool:
    """64,000 traces up to the first step."""
    found = _start(64_000, POINTS, CLASSES)
    return _bar(f"train start, 64,000 traces of {POINTS} points", found, START_SECONDS)


def evaluation() -> bool:
    """6,400 traces on each side, by the clock; on a busy machine read the processor time."""
    sets = [big_traces(n, POINTS, CLASSES, seed) for seed, n in enumerate((6_400, 6_400, 1_600))]
    began, cpu = time.monotonic(), time.process_time()
    evaluate(sets[0], sets[1], holdout=sets[2], progress=silent)
    found, cpu = time.monotonic() - began, time.process_time() - cpu
    print(f"evaluate, 6,400 traces: {cpu:.1f} s of processor time", flush=True)
    return _bar(f"evaluate, 6,400 traces of {POINTS} points", found, EVALUATE_SECONDS)


def per_point() -> bool:
    """What a point costs to make, in traces of 128, 256 and 512 points that do not end early.

    Each looks at the 128 before it, of which the first points have fewer: those behind 256 are
    held beside those from 128 on.
    """
    total = {points: _sample(256, points, CLASSES) / 256 for points in (128, 256, 512)}
    for points, seconds in total.items():
        each = 1e6 * seconds / points
        print(f"sample, traces of {points} points: {each:.1f} µs a point", flush=True)
    full, later = (total[256] - total[128]) / 128, (total[512] - total[256]) / 256
    print(f"a point from 128 on {1e6 * full:.1f} µs, from 256 on {1e6 * later:.1f} µs")
    return _bar("a point from 256 on beside one from 128 on", later / full, PER_POINT, "times")


def many_classes() -> bool:
    """1,000 classes of 2 traces each are learned and judged."""
    real, holdout = (big_traces(2_000, 16, 1_000, seed) for seed in (0, 1))
    began = time.process_time()
    model = train(real, recipe=Recipe(steps=3), progress=silent)
    made = sample(model, 2_000, seed=0, progress=silent)
    report = evaluate(real, made, holdout=holdout, progress=silent)
    seconds = time.process_time() - began
    print(f"1,000 classes of 2 traces: learned, made and judged in {seconds:.0f} s", flush=True)
    return len(report.figures["protocol"]["classes"]) == 1_000


def _bar(what: str, found: float, bar: float, unit: str = "s") -> bool:
    said = "holds" if found <= bar else "MISSED"
    print(f"{what}: {found:.2f} {unit} (bar {bar:g}): {said}", flush=True)
    return found <= bar


def _start(n: int, points: int, classes: int) -> float:
    traces = big_traces(n, points, classes)
    recipe = Recipe(steps=1)
    began = time.process_time()
    model = Model.new(traces, TokenCodec(), seed=0)
    Batches(model, traces, recipe.batch_size, recipe.validation_fraction, recipe.seed)
    return time.process_time() - began


def _sample(n: int, points: int, classes: int) -> float:
    """Of an untrained network that draws no end, so that all traces are equally long."""
    traces = big_traces(max(5 * classes, 50), points, classes)
    model = Model.new(traces, TokenCodec(points), seed=0)
    with torch.no_grad():
        model.network.get_submodule("logits.last.0.free").bias[-1] = -1e9  # type: ignore[index]
    began = time.process_time()
    made = sample(model, n, seed=0, progress=silent)
    seconds = time.process_time() - began
    assert int(made.lengths.min()) == points
    return seconds


def _evaluate(n: int, points: int, classes: int) -> float:
    real, made, holdout = (big_traces(n, points, classes, seed) for seed in range(3))
    began = time.process_time()
    evaluate(real, made, holdout=holdout, repeats=1, progress=silent)
    return time.process_time() - began


# Of each verb what it takes, and the sizes: traces, points and classes of a run, and which of them
# grows. Traces that are sampled do not end early; `evaluate` has as many traces in each set.
EXPONENTS: dict[str, tuple[Callable[[int, int, int], float], dict[str, list[Shape]]]] = {
    "train start": (
        _start,
        {
            "traces": [(n, POINTS, CLASSES) for n in (4_000, 8_000, 16_000)],
            "classes": [(8_000, POINTS, k) for k in (10, 100, 1_000)],
            "points": [(8_000, p, CLASSES) for p in (64, 128, 256)],
        },
    ),
    "sample": (
        _sample,
        {
            "traces": [(n, 32, CLASSES) for n in (250, 500, 1_000)],
            "classes": [(500, 32, k) for k in (5, 25, 100)],
            "points": [(250, p, CLASSES) for p in (32, 64, 128)],
        },
    ),
    "evaluate": (
        _evaluate,
        {
            "traces": [(n, 64, CLASSES) for n in (500, 1_000, 2_000)],
            "classes": [(1_000, 64, k) for k in (10, 50, 250)],
            "points": [(500, p, CLASSES) for p in (32, 64, 128)],
        },
    ),
}


def _exponents(verb: str) -> bool:
    """Prints them; there is no bar."""
    measure, sizes = EXPONENTS[verb]
    for place, by in enumerate(("traces", "points", "classes")):
        seconds = [measure(*shape) for shape in sizes[by]]
        grown = [shape[place] for shape in sizes[by]]
        slope = np.polyfit(np.log(grown), np.log(seconds), 1)[0]
        pairs = zip(grown, seconds, strict=True)
        said = ", ".join(f"{size:,}: {one:.2f} s" for size, one in pairs)
        print(f"{verb} by {by}: exponent {slope:.2f} ({said})", flush=True)
    return True


PARTS: dict[str, Callable[[], bool]] = {
    **{f"exponents-{verb.replace(' ', '-')}": partial(_exponents, verb) for verb in EXPONENTS},
    "train-start": train_start,
    "evaluate": evaluation,
    "per-point": per_point,
    "many-classes": many_classes,
}


if __name__ == "__main__":
    sys.exit(main())
