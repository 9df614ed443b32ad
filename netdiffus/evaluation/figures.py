"""Every figure of a report: synthetic traces beside real ones and beside the baselines."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from netdiffus.errors import InputError
from netdiffus.evaluation.baselines import bootstrap, copy, jitter, markov
from netdiffus.evaluation.comparison import Comparison, class_counts, comparable
from netdiffus.evaluation.copying import point_keys, usual_exact
from netdiffus.evaluation.fidelity import scales
from netdiffus.evaluation.groups import units
from netdiffus.evaluation.judging import Figures, Judge
from netdiffus.evaluation.report import Report
from netdiffus.evaluation.utility import pool
from netdiffus.traces import Floats, Traces

Progress = Callable[[float, str], None]


def evaluate(
    real: Traces,
    synthetic: Traces,
    *,
    holdout: Traces | None = None,
    by: str | None = None,
    sep: str | None = None,
    seed: int = 0,
    repeats: int = 3,
    history: Sequence[Mapping[str, Any]] = (),
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Judges synthetic traces.

    Every figure is given for six sets: the synthetic traces; the real traces that the generator
    learned from, which is the floor that no generator can be expected to pass; and four baselines
    made from those (`copy`, `jitter`, `bootstrap`, `markov`). All are compared with the same
    holdout, at the same count per class, and every figure has its standard error and interval.

    Args:
        real: What the generator learned from.
        synthetic: What it made, from any generator.
        holdout: Real traces that it did not see. Without them `real` is halved at random, which
            the report says.
        by: Meta column of the real traces that names a group, such as a capture, host or session,
            whose traces are not independent: errors are then those of so many groups, and no
            classifier tells a real trace by others of its group.
        sep: The group is only the part of that column's text before `sep`.
        seed: Same seed, same figures.
        repeats: Draws of traces, each with classifiers of its own, that means are taken over.
        history: Training log, one mapping with `step` and `loss` each, for the report's curve.
        about: Settings and costs to print in the report, such as steps or seconds a trace.
        progress: Called with (share done, what comes next).

    Raises:
        InputError: The sets cannot be compared: other channels, classes that no real trace has,
            too few traces of a class; or `repeats` is below 1.
    """
    if repeats < 1:
        raise InputError(f"repeats must be at least 1, got {repeats}")
    comparison = comparable(real, synthetic, holdout, seed, by, sep)
    candidates = _candidates(comparison, seed)
    judge = Judge(comparison, seed, repeats)
    figures: Figures = {
        "protocol": _protocol(comparison, holdout is not None, by, seed, repeats),
        "sets": _sets(comparison),
        "candidates": {},
    }
    for i, (name, traces) in enumerate(candidates.items()):
        if progress is not None:
            progress(i / len(candidates), name)
        figures["candidates"][name] = {
            **judge(traces),
            **_duplicate_figures(traces, comparison.known),
        }
    if progress is not None:
        progress(1.0, "done")
    figures["sets"]["holdout"]["copying"] = judge.holdout_copying()
    figures["usual"] = _usual(comparison, judge.usual_near())
    figures["about"] = dict(about or {})
    figures["ledger"] = synthetic.ledger
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
        "markov": markov(train, len(train), seed),
    }


def _sets(comparison: Comparison) -> Figures:
    return {
        "real": _set_figures(comparison.train, comparison.train),
        "synthetic": _set_figures(comparison.synthetic, comparison.known),
        "holdout": _set_figures(comparison.holdout, comparison.train),
    }


def _usual(comparison: Comparison, near: Floats) -> Figures:
    """Shares of copies among real traces themselves, in the class mix of the synthetic ones."""
    real = pool([comparison.train, comparison.holdout])
    exact = usual_exact(point_keys(real), len(comparison.known))
    weights = (class_counts(comparison.synthetic) / class_counts(real))[real.labels]
    shares = {"exact": exact, "near": near}
    return {
        "traces": len(real),
        **{name: float(np.average(x, weights=weights)) for name, x in shares.items()},
    }


def _protocol(
    comparison: Comparison, given: bool, by: str | None, seed: int, repeats: int
) -> Figures:
    return {
        "holdout": "given" if given else "half of the real traces",
        "notes": list(comparison.notes),
        "by": by,
        "units": {
            "real": len(np.unique(units(comparison.train))),
            "holdout": len(np.unique(units(comparison.holdout))),
        },
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


def _set_figures(traces: Traces, known: Traces) -> Figures:
    return {
        "traces": len(traces),
        "per_class": class_counts(traces).tolist(),
        "shortest": int(traces.lengths.min()),
        "median_length": float(np.median(traces.lengths)),
        "longest": int(traces.lengths.max()),
        "points": int(traces.lengths.sum()),
        **_duplicate_figures(traces, known),
    }


def _duplicate_figures(traces: Traces, known: Traces) -> Figures:
    """Traces that are, point by point, one of the known traces or an earlier one of the set."""
    keys = point_keys(traces)
    real = set(point_keys(known))
    return {
        "in_train": float(np.mean([key in real for key in keys])),
        "repeated": 1 - len(set(keys)) / len(keys),
    }
