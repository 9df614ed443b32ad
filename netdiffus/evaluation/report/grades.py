"""Says in plain words what the figures mean, by rules that the report states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import hypot
from typing import Any

RULES = (
    "At the floor: no further from real traces than real traces are from each other, within twice "
    "the standard deviation of the difference (or 1 point of accuracy, 0.02 of AUC, 10% of a "
    "distance, if that is more). Near: within 5 points, 0.15 of AUC, or twice the floor. "
    "Far: anything else. Too few traces to tell: not shown to be further, but what is near would "
    "not show either, as twice that deviation is more."
)

FLOOR = "at the floor"
TOO_FEW = "too few traces to tell"
HOLD_OUT_MORE = (
    "Too few traces, or groups of them, are compared to tell what is near from chance: hold out "
    "more real traces, and make as many."
)
BASELINES = {
    "jitter": "jittered copies",
    "bootstrap": "point-wise resampling",
    "markov": "a Markov chain",
}
COMPARED = ("synthetic", "real", *BASELINES)
UTILITY = "Train on synthetic, test on real"
TWO_SAMPLE = "Told from real: AUC"


@dataclass(frozen=True)
class Key:
    """One of the figures that the verdict rests on.

    Attributes:
        title: What it is.
        short: The same in a few words.
        value: Of the synthetic traces, as text.
        floor: Of real traces, as text.
        grade: See `grade`.
        reading: How to read it.
        losses: Of each of `COMPARED`, less is better.
        near: Largest excess over the floor that is still near.
    """

    title: str
    short: str
    value: str
    floor: str
    grade: str
    reading: str
    losses: Mapping[str, float]
    near: float


def grade(value: Any, floor: Any, least: float, near: float) -> str:
    """Grades a figure where less is better.

    Args:
        value: `mean` and `sd` of the synthetic traces.
        floor: The same of real traces.
        least: Excess over the floor that never counts.
        near: Largest excess that is still near.

    Returns:
        `at the floor`, `near`, `far` or, where the noise would hide what is near, `too few traces
        to tell`.
    """
    noise = 2 * hypot(value["sd"] or 0.0, floor["sd"] or 0.0)
    excess = value["mean"] - floor["mean"]
    if excess > max(least, noise):
        return "near" if excess <= near else "far"
    return TOO_FEW if noise > max(least, near) else FLOOR


def grade_distance(value: Any, floor: Any) -> str:
    """Grades a distance: near is within twice the floor."""
    return grade(value, floor, 0.1 * floor["mean"], floor["mean"])


def shortened(name: str, most: int = 18) -> str:
    """The name, cut with an ellipsis to so many characters."""
    return name if len(name) <= most else name[: most - 1] + "…"


def keys(figures: dict[str, Any]) -> list[Key]:
    """The key figures: utility, two-sample test, distributions, time structure.

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
            "Mean absolute difference over lags, channels and classes. 0: the same memory. "
            "Lower is better.",
        ),
    ]


def verdict(figures: dict[str, Any]) -> list[str]:
    """A paragraph in plain words, as sentences."""
    found = keys(figures)
    told = {
        UTILITY: "A random forest that learned the classes from synthetic traces alone labels "
        "unseen real traces with {0.value} balanced accuracy; from as many real traces it reaches "
        "{0.floor}.",
        TWO_SAMPLE: "Asked to tell synthetic traces from real ones, a forest reaches an AUC of "
        "{0.value}; telling real from real, {0.floor}.",
    }
    return [
        f"Of {len(found)} key figures, {graded(found)}.",
        *([HOLD_OUT_MORE] if TOO_FEW in [key.grade for key in found] else []),
        *(told[key.title].format(key) for key in found if key.title in told),
    ]


def graded(found: list[Key]) -> str:
    """How many key figures have each grade, in words."""
    counts = {g: sum(k.grade == g for k in found) for g in (FLOOR, "near", "far", TOO_FEW)}
    return ", ".join(f"{n} {g}" for g, n in counts.items() if n)


def beaten(found: list[Key]) -> str:
    """How the synthetic traces stand beside the baselines, in words."""
    won, lost = ({name: _wins(found, name, way) for name in BASELINES} for way in (-1, 1))
    told = [f"than {title} in {won[name] or 'none'}" for name, title in BASELINES.items()]
    better = [title for name, title in BASELINES.items() if 2 * lost[name] > len(found)]
    return _better(better) + (f"Of {len(found)} key figures it is better {', '.join(told)}.")


def _wins(found: list[Key], baseline: str, way: int) -> int:
    """Key figures of which the baseline has the less (way 1) or the more (-1)."""
    return sum(way * k.losses[baseline] < way * k.losses["synthetic"] for k in found)


def _better(baselines: list[str]) -> str:
    if not baselines:
        return ""
    told = " and ".join([", ".join(baselines[:-1]), baselines[-1]] if baselines[1:] else baselines)
    simple = "Simple baselines do" if baselines[1:] else "A simple baseline does"
    return f"{simple} better in most key figures: {told}. "


def _utility(candidates: Mapping[str, Any]) -> Key:
    found = {name: c["trained_on_equal"]["balanced_accuracy"] for name, c in candidates.items()}
    return Key(
        UTILITY,
        "Accuracy, trained on it",
        f"{found['synthetic']['mean']:.1%}",
        f"{found['real']['mean']:.1%}",
        grade(candidates["synthetic"]["lost"], candidates["real"]["lost"], 0.01, 0.05),
        "Balanced accuracy on the holdout, beside training on as many real traces. "
        "Higher is better.",
        {name: 1 - figure["mean"] for name, figure in found.items()},
        0.05,
    )


def _two_sample(candidates: Mapping[str, Any]) -> Key:
    found = {name: c["two_sample_auc"] for name, c in candidates.items()}
    # Below is chance.
    losses = {name: {**x, "mean": max(x["mean"], 0.5)} for name, x in found.items()}
    return Key(
        TWO_SAMPLE,
        "Told from real, AUC",
        f"{found['synthetic']['mean']:.2f}",
        f"{found['real']['mean']:.2f}",
        grade(losses["synthetic"], losses["real"], 0.02, 0.15),
        "A forest tells synthetic from real. 0.5: it cannot; 1: it always can. Lower is better.",
        _means(losses),
        0.15,
    )


def _distance(found: Mapping[str, Any], title: str, reading: str) -> Key:
    value, floor = found["synthetic"], found["real"]
    return Key(
        title,
        title.split(":")[0],
        f"{value['mean']:.3f}",
        f"{floor['mean']:.3f}",
        grade_distance(value, floor),
        reading,
        _means(found),
        floor["mean"],
    )


def _means(found: Mapping[str, Any]) -> dict[str, float]:
    return {name: figure["mean"] for name, figure in found.items()}
