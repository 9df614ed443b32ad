"""Says in plain words what the figures mean, by rules that the report states."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot
from typing import Any

RULES = (
    "At the floor: no further from real traces than real traces are from each other, within twice "
    "the standard deviation of the difference (or 1 point of accuracy, 0.02 of AUC, 10% of a "
    "distance, if that is more). Near: within 5 points, 0.15 of AUC, or twice the floor. "
    "Far: anything else."
)


@dataclass(frozen=True)
class Key:
    """One of the figures that the verdict rests on.

    Attributes:
        title: What it is.
        value: Of the synthetic traces, as text.
        floor: Of real traces, as text.
        grade: `at the floor`, `near` or `far`.
        reading: How to read it.
    """

    title: str
    value: str
    floor: str
    grade: str
    reading: str


def grade(value: Any, floor: Any, least: float, near: float) -> str:
    """Grades a figure where less is better.

    Args:
        value: `mean` and `sd` of the synthetic traces.
        floor: The same of real traces.
        least: Excess over the floor that never counts.
        near: Largest excess that is still near.
    """
    noise = 2 * hypot(value["sd"] or 0.0, floor["sd"] or 0.0)
    excess = value["mean"] - floor["mean"]
    if excess <= max(least, noise):
        return "at the floor"
    return "near" if excess <= near else "far"


def grade_distance(value: Any, floor: Any) -> str:
    """Grades a distance: near is within twice the floor."""
    return grade(value, floor, 0.1 * floor["mean"], floor["mean"])


def keys(figures: dict[str, Any]) -> list[Key]:
    """The key figures: utility, two-sample test, distributions, time structure."""
    made, real = (figures["candidates"][name] for name in ("synthetic", "real"))
    return [
        _utility(made, real),
        _two_sample(made, real),
        _distance(
            made["jensen_shannon"]["overall"],
            real["jensen_shannon"]["overall"],
            "Distributions: Jensen-Shannon, bits",
            "Mean over channels, totals and classes. 0: the same shares; 1: nothing in common. "
            "Lower is better.",
        ),
        _distance(
            made["autocorrelation"]["overall"],
            real["autocorrelation"]["overall"],
            "Time structure: autocorrelation",
            "Mean absolute difference over lags, channels and classes. 0: the same memory. "
            "Lower is better.",
        ),
    ]


def verdict(figures: dict[str, Any]) -> list[str]:
    """A paragraph in plain words, as sentences."""
    found = keys(figures)
    counts = {g: sum(k.grade == g for k in found) for g in ("at the floor", "near", "far")}
    told = ", ".join(f"{n} {g}" for g, n in counts.items() if n)
    return [
        f"Of {len(found)} key figures, {told}.",
        f"A random forest that learned the classes from synthetic traces alone labels unseen real "
        f"traces with {found[0].value} balanced accuracy; from as many real traces it reaches "
        f"{found[0].floor}.",
        f"Asked to tell synthetic traces from real ones, a forest reaches an AUC of "
        f"{found[1].value}; telling real from real, {found[1].floor}.",
        _copied(figures),
        _beaten(figures),
    ]


def _utility(made: Any, real: Any) -> Key:
    value, floor = (c["trained_on_equal"]["balanced_accuracy"] for c in (made, real))
    loss = {"mean": 1 - value["mean"], "sd": value["sd"]}
    least = {"mean": 1 - floor["mean"], "sd": floor["sd"]}
    return Key(
        "Train on synthetic, test on real",
        f"{value['mean']:.1%}",
        f"{floor['mean']:.1%}",
        grade(loss, least, 0.01, 0.05),
        "Balanced accuracy on the holdout, beside training on as many real traces. "
        "Higher is better.",
    )


def _two_sample(made: Any, real: Any) -> Key:
    value, floor = (c["two_sample_auc"] for c in (made, real))
    ours, theirs = ({**x, "mean": max(x["mean"], 0.5)} for x in (value, floor))  # below is chance
    return Key(
        "Told from real: AUC",
        f"{value['mean']:.2f}",
        f"{floor['mean']:.2f}",
        grade(ours, theirs, 0.02, 0.15),
        "A forest tells synthetic from real. 0.5: it cannot; 1: it always can. Lower is better.",
    )


def _distance(value: Any, floor: Any, title: str, reading: str) -> Key:
    ours, theirs = (f"{x['mean']:.3f}" for x in (value, floor))
    return Key(title, ours, theirs, grade_distance(value, floor), reading)


def _copied(figures: dict[str, Any]) -> str:
    share = figures["candidates"]["synthetic"]["in_train"]
    usual = figures["sets"]["holdout"]["in_train"]
    if share == 0:
        return "No synthetic trace is a point-by-point copy of a training trace."
    return (
        f"{share:.1%} of the synthetic traces are point-by-point copies of a training trace "
        f"(of the holdout: {usual:.1%}); copies make every other figure look better."
    )


def _beaten(figures: dict[str, Any]) -> str:
    made = _less_is_better(figures["candidates"]["synthetic"])
    wins = {
        name: sum(
            a < b for a, b in zip(made, _less_is_better(figures["candidates"][name]), strict=True)
        )
        for name in ("jitter", "bootstrap")
    }
    return (
        f"The synthetic traces are better than jittered copies in {wins['jitter']} of the "
        f"{len(made)} key figures, "
        f"and than point-wise resampling in {wins['bootstrap']}."
    )


def _less_is_better(candidate: Any) -> list[float]:
    return [
        -candidate["trained_on_equal"]["balanced_accuracy"]["mean"],
        candidate["two_sample_auc"]["mean"],
        candidate["jensen_shannon"]["overall"]["mean"],
        candidate["autocorrelation"]["overall"]["mean"],
    ]
