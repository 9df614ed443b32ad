"""Headline metrics and their grades, by rules that the report states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import hypot
from typing import Any

RULES = (
    "At the floor: no further from real traces than real traces are from each other, within twice "
    "the standard error of the difference (or 1 point of accuracy, 0.02 of AUC, 10% of a distance, "
    "if that is more). Near: within 5 points, 0.15 of AUC, or twice the floor. Far: anything else. "
    "Too few traces to tell: no difference is visible, but twice the standard error is larger than "
    "the limit of near, so a small difference could not be seen."
)

FLOOR = "at the floor"
TOO_FEW = "too few traces to tell"
HOLD_OUT_MORE = (
    "Too few traces or groups are compared for a clear answer: hold out more real traces, and make "
    "as many synthetic ones."
)
BASELINES = {
    "jitter": "jittered copies",
    "bootstrap": "point-wise resampling",
    "markov": "a Markov chain",
}
MEANINGS = {
    FLOOR: "no different from real traces",
    "near": "near them",
    "far": "far from them",
    TOO_FEW: "undecided because of too few traces",
}
COMPARED = ("synthetic", "real", *BASELINES)
UTILITY = "Train on synthetic, test on real"
TWO_SAMPLE = "Two-sample AUC"


@dataclass(frozen=True)
class HeadlineMetric:
    """One of the metrics that are shown first.

    Attributes:
        title: What it is.
        short: The same in a few words.
        value: Of the synthetic traces, as text.
        floor: Of real traces, as text.
        grade: See `grade`.
        explanation: How to read it.
        losses: Of each of `COMPARED`, less is better.
        near: Largest excess over the floor that is still near.
    """

    title: str
    short: str
    value: str
    floor: str
    grade: str
    explanation: str
    losses: Mapping[str, float]
    near: float


def grade(value: Any, floor: Any, tolerance: float, near: float) -> str:
    """Grades a figure where less is better, by its excess over the floor.

    An excess of at most `tolerance` never counts; one up to `near` is still near.

    Returns:
        `at the floor`, `near`, `far` or, where the noise would hide what is near, `too few traces
        to tell`.
    """
    noise = 2 * hypot(value["sd"] or 0.0, floor["sd"] or 0.0)
    excess = value["mean"] - floor["mean"]
    if excess > max(tolerance, noise):
        return "near" if excess <= near else "far"
    return TOO_FEW if noise > max(tolerance, near) else FLOOR


def grade_distance(value: Any, floor: Any) -> str:
    """Grades a distance: near is within twice the floor."""
    return grade(value, floor, 0.1 * floor["mean"], floor["mean"])


def headline_metrics(figures: dict[str, Any]) -> list[HeadlineMetric]:
    """Utility, two-sample test, distributions, time structure.

    Of one class there is nothing to learn, so utility is left out.
    """
    candidates = {name: figures["candidates"][name] for name in COMPARED}
    return [
        *([_utility(candidates)] if len(figures["protocol"]["classes"]) > 1 else []),
        _two_sample(candidates),
        _distance(
            {name: c["jensen_shannon"]["overall"] for name, c in candidates.items()},
            "Distributions: Jensen-Shannon, bits",
            "Mean over channels, totals and classes. 0: the same shares; 1: nothing in common. "
            "Lower is better.",
        ),
        _distance(
            {name: c["autocorrelation"]["overall"] for name, c in candidates.items()},
            "Time structure: autocorrelation",
            "Mean absolute difference over lags, channels and classes. 0: the same. "
            "Lower is better.",
        ),
    ]


def lead(figures: dict[str, Any]) -> list[str]:
    """What a reader should know first, as sentences."""
    metrics = headline_metrics(figures)
    sentences = {
        UTILITY: "A classifier trained only on synthetic traces reaches {0.value} balanced "
        "accuracy on held-out real traces; trained on as many real traces, it reaches {0.floor}.",
        TWO_SAMPLE: "A classifier that separates synthetic from held-out real traces has an AUC of "
        "{0.value} (0.5 is chance, 1 is perfect); for real training traces it has {0.floor}.",
    }
    return [
        *(sentences[m.title].format(m) for m in metrics if m.title in sentences),
        f"Of the {len(metrics)} headline metrics: {count_grades(metrics)}.",
        *([HOLD_OUT_MORE] if TOO_FEW in [metric.grade for metric in metrics] else []),
    ]


def count_grades(metrics: list[HeadlineMetric]) -> str:
    """How many metrics have each grade, in words."""
    counts = {g: sum(m.grade == g for m in metrics) for g in MEANINGS}
    return ", ".join(f"{n} {MEANINGS[g]}" for g, n in counts.items() if n)


def compare_baselines(metrics: list[HeadlineMetric]) -> str:
    """How the synthetic traces stand beside the baselines, in words."""
    better, worse = ({name: _count(metrics, name, sign) for name in BASELINES} for sign in (-1, 1))
    each = [f"than {title} in {better[name] or 'none'}" for name, title in BASELINES.items()]
    ahead = [title for name, title in BASELINES.items() if 2 * worse[name] > len(metrics)]
    return (
        f"{_ahead(ahead)}Of {len(metrics)} headline metrics, the synthetic traces are better "
        f"{', '.join(each)}."
    )


def _count(metrics: list[HeadlineMetric], baseline: str, sign: int) -> int:
    """Metrics of which the baseline has the smaller loss (sign 1) or the larger (-1)."""
    return sum(sign * m.losses[baseline] < sign * m.losses["synthetic"] for m in metrics)


def _ahead(baselines: list[str]) -> str:
    if not baselines:
        return ""
    if len(baselines) == 1:
        return f"A simple baseline does better in most headline metrics: {baselines[0]}. "
    names = f"{', '.join(baselines[:-1])} and {baselines[-1]}"
    return f"Simple baselines do better in most headline metrics: {names}. "


def _utility(candidates: Mapping[str, Any]) -> HeadlineMetric:
    accuracies = {
        name: c["trained_on_equal"]["balanced_accuracy"] for name, c in candidates.items()
    }
    return HeadlineMetric(
        UTILITY,
        "TSTR accuracy",
        f"{accuracies['synthetic']['mean']:.1%}",
        f"{accuracies['real']['mean']:.1%}",
        grade(candidates["synthetic"]["lost"], candidates["real"]["lost"], 0.01, 0.05),
        "Balanced accuracy on held-out traces. Real: after training on as many real traces. "
        "Higher is better.",
        {name: 1 - figure["mean"] for name, figure in accuracies.items()},
        0.05,
    )


def _two_sample(candidates: Mapping[str, Any]) -> HeadlineMetric:
    areas = {name: c["two_sample_auc"] for name, c in candidates.items()}
    # Below is chance.
    losses = {name: {**x, "mean": max(x["mean"], 0.5)} for name, x in areas.items()}
    return HeadlineMetric(
        TWO_SAMPLE,
        "Two-sample AUC",
        f"{areas['synthetic']['mean']:.2f}",
        f"{areas['real']['mean']:.2f}",
        grade(losses["synthetic"], losses["real"], 0.02, 0.15),
        "How well a forest separates synthetic from held-out traces. 0.5: not at all; 1: "
        "perfectly. Lower is better.",
        _means(losses),
        0.15,
    )


def _distance(distances: Mapping[str, Any], title: str, explanation: str) -> HeadlineMetric:
    value, floor = distances["synthetic"], distances["real"]
    return HeadlineMetric(
        title,
        title.split(":")[0],
        f"{value['mean']:.3f}",
        f"{floor['mean']:.3f}",
        grade_distance(value, floor),
        explanation,
        _means(distances),
        floor["mean"],
    )


def _means(distances: Mapping[str, Any]) -> dict[str, float]:
    return {name: figure["mean"] for name, figure in distances.items()}
