"""Every figure of a report: synthetic traces beside real ones and beside the baselines."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from netdiffus.errors import InputError
from netdiffus.evaluation.baselines import bootstrap, copy, jitter
from netdiffus.evaluation.comparison import Comparison, class_counts, comparable, draw
from netdiffus.evaluation.fidelity import fidelity, scales
from netdiffus.evaluation.report import Report
from netdiffus.evaluation.utility import train_and_test, two_sample_auc
from netdiffus.traces import Ints, Traces

Progress = Callable[[float, str], None]
Figures = dict[str, Any]


def evaluate(
    real: Traces,
    synthetic: Traces,
    *,
    holdout: Traces | None = None,
    seed: int = 0,
    repeats: int = 5,
    history: Sequence[Mapping[str, Any]] = (),
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Judges synthetic traces.

    Every figure is given for five sets: the synthetic traces; the real traces that the generator
    learned from, which is the floor that no generator can be expected to pass; and three baselines
    made from those (`copy`, `jitter`, `bootstrap`). All are compared with the same holdout, at the
    same count per class.

    Args:
        real: What the generator learned from.
        synthetic: What it made, from any generator.
        holdout: Real traces that it did not see. Without them `real` is halved at random, which
            the report says.
        seed: Same seed, same figures.
        repeats: Draws of traces and forests that mean and standard deviation are taken over.
        history: Training log, one mapping with `step` and `loss` each, for the report's curve.
        about: Settings and costs to print in the report, such as steps or seconds a trace.
        progress: Called with (share done, what comes next).

    Raises:
        InputError: The sets cannot be compared: other channels, classes that no real trace has,
            too few traces of a class; or `repeats` is below 1.
    """
    if repeats < 1:
        raise InputError(f"repeats must be at least 1, got {repeats}")
    comparison = comparable(real, synthetic, holdout, seed)
    candidates = _candidates(comparison, seed)
    yardstick = scales(comparison.train)
    figures: Figures = {
        "protocol": _protocol(comparison, holdout is not None, seed, repeats),
        "sets": {name: _set_figures(t, comparison.train) for name, t in _sets(comparison).items()},
        "candidates": {},
    }
    for i, (name, traces) in enumerate(candidates.items()):
        if progress is not None:
            progress(i / len(candidates), name)
        figures["candidates"][name] = _judge(name, traces, comparison, yardstick, seed, repeats)
    if progress is not None:
        progress(1.0, "done")
    figures["about"] = dict(about or {})
    return Report(
        figures, comparison.train, comparison.synthetic, comparison.holdout, tuple(history)
    )


def _candidates(comparison: Comparison, seed: int) -> dict[str, Traces]:
    train = comparison.train
    return {
        "synthetic": comparison.synthetic,
        "real": train,
        "copy": copy(train, len(train), seed),
        "jitter": jitter(train, len(train), seed),
        "bootstrap": bootstrap(train, len(train), seed),
    }


def _sets(comparison: Comparison) -> dict[str, Traces]:
    return {
        "real": comparison.train,
        "synthetic": comparison.synthetic,
        "holdout": comparison.holdout,
    }


def _protocol(comparison: Comparison, given: bool, seed: int, repeats: int) -> Figures:
    return {
        "holdout": "given" if given else "half of the real traces",
        "notes": list(comparison.notes),
        "classes": list(comparison.train.classes),
        "channels": [c.name for c in comparison.train.channels],
        "compared_per_class": comparison.compared.tolist(),
        "trained_per_class": comparison.trained.tolist(),
        "scales": scales(comparison.train),
        "seed": seed,
        "repeats": repeats,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("netdiffus", "numpy", "scipy", "scikit-learn")},
        },
    }


def _set_figures(traces: Traces, train: Traces) -> Figures:
    return {
        "traces": len(traces),
        "per_class": class_counts(traces).tolist(),
        "shortest": int(traces.lengths.min()),
        "median_length": float(np.median(traces.lengths)),
        "longest": int(traces.lengths.max()),
        "points": int(traces.lengths.sum()),
        **_duplicate_figures(traces, train),
    }


def _duplicate_figures(traces: Traces, train: Traces) -> Figures:
    """Traces that are, point by point, one of the training traces or an earlier one of the set."""
    keys = _keys(traces)
    known = set(_keys(train))
    return {
        "in_train": float(np.mean([key in known for key in keys])),
        "repeated": 1 - len(set(keys)) / len(keys),
    }


def _keys(traces: Traces) -> list[bytes]:
    # Adding 0 turns -0.0 into 0.0, which equal each other but differ in their bytes.
    values = traces.values + 0.0
    return [row[:, :n].tobytes() for row, n in zip(values, traces.lengths, strict=True)]


def _judge(
    name: str,
    traces: Traces,
    comparison: Comparison,
    yardstick: Mapping[str, float],
    seed: int,
    repeats: int,
) -> Figures:
    """All figures of one candidate."""
    ones = dict.fromkeys(yardstick, 1.0)
    rngs = [np.random.default_rng([seed, r]) for r in range(repeats)]
    distances, aucs = zip(*(_distances(traces, comparison, rng) for rng in rngs), strict=True)
    equal = _forest_figures(traces, comparison.trained, None, comparison.holdout, rngs)
    everything = class_counts(traces)
    if np.array_equal(everything, comparison.trained):
        full = equal
    else:
        full = _forest_figures(traces, everything, None, comparison.holdout, rngs)
    if name == "real":
        added = full
    else:
        added = _forest_figures(traces, everything, comparison.train, comparison.holdout, rngs)
    return {
        "wasserstein": _by_quantity(
            [d["wasserstein"] for d in distances], traces.classes, yardstick
        ),
        **{
            measure: _by_quantity([d[measure] for d in distances], traces.classes, ones)
            for measure in ("jensen_shannon", "autocorrelation")
        },
        "two_sample_auc": _spread(aucs),
        "trained_on_equal": equal,
        "trained_on_all": full,
        "trained_with_real": added,
        **_duplicate_figures(traces, comparison.train),
    }


def _distances(
    traces: Traces, comparison: Comparison, rng: np.random.Generator
) -> tuple[dict[str, dict[str, list[float]]], float]:
    """Distances and two-sample AUC of one draw, at equal counts."""
    forest = int(rng.integers(2**31))
    # Drawn first, so that all candidates meet the same reference in the same repeat.
    reference = draw(comparison.holdout, comparison.compared, rng)
    drawn = draw(traces, comparison.compared, rng)
    return fidelity(drawn, reference), two_sample_auc(drawn, reference, forest)


def _forest_figures(
    traces: Traces,
    counts: Ints,
    added: Traces | None,
    holdout: Traces,
    rngs: Sequence[np.random.Generator],
) -> Figures:
    """Accuracy when a forest learns from `counts` traces per class, and from all of `added`."""
    known = [] if added is None else [added]
    runs = [
        train_and_test([draw(traces, counts, rng), *known], holdout, int(rng.integers(2**31)))
        for rng in rngs
    ]
    return {
        "accuracy": _spread([run.accuracy for run in runs]),
        "balanced_accuracy": _spread([run.balanced_accuracy for run in runs]),
        "confusion": np.sum([run.confusion for run in runs], axis=0).tolist(),
    }


def _by_quantity(
    runs: Sequence[Mapping[str, list[float]]],
    classes: Sequence[str],
    yardstick: Mapping[str, float],
) -> Figures:
    """One measure: each run has, for each quantity, one number per class.

    `overall` is the mean over classes and quantities, each divided by its yardstick; a quantity
    that never varies has none and is left out.
    """
    tables = {name: np.array([run[name] for run in runs]) for name in runs[0]}
    per_run = [t.mean(axis=1) / yardstick[name] for name, t in tables.items() if yardstick[name]]
    return {
        "overall": _spread(np.mean(per_run, axis=0)) if per_run else None,
        "quantities": {
            name: {
                "overall": _spread(table.mean(axis=1)),
                "classes": {k: _spread(table[:, i]) for i, k in enumerate(classes)},
            }
            for name, table in tables.items()
        },
    }


def _spread(values: Any) -> Figures:
    """Mean and standard deviation over repeats; no deviation of a single one."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "sd": sd}
