"""The rule that chooses a plan by accuracy on validation traces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from netdiffus.augmentation.scoring import CONTROLS, MADE, REAL, Round, SetName
from netdiffus.traces.traces import Bools, Floats, Ints

ERRORS = 1.0  # standard errors that the mean gain must exceed
Answers = Mapping[str, Sequence[Mapping[SetName, Bools]]]
"""For each classifier and round: which validation traces are named rightly, for each set."""


@dataclass(frozen=True)
class Gain:
    """The gain of a plan's synthetic traces over the best control with as many traces.

    Attributes:
        mean: Of all classifiers, as a share of validation traces: 0.01 is one point.
        error: Standard error of the mean, over validation traces.
        by_classifier: The gain of each.
        controls: For each classifier, its best control.
    """

    mean: float
    error: float
    by_classifier: dict[str, float]
    controls: dict[str, str]

    @property
    def is_sure(self) -> bool:
        """Whether the gain is above its error, and no classifier is worse."""
        return self.mean > ERRORS * self.error and min(self.by_classifier.values()) >= 0


@dataclass(frozen=True)
class Choice:
    """The number of synthetic traces, and the reason.

    Attributes:
        plan: `5x` (five times as many as there are), `filled` (each class as large as the largest)
            or the like; None if no plan helps, and no traces are made.
        made: How many traces of each class were made.
        scores: For each set and classifier the accuracy on validation traces, mean over classes:
            `real`, and `repeated`, `jittered` and `made` for each plan.
        gains: Of each plan.
        rounds: Splits of the real traces; 1 if validation traces were given.
        traces: Validation traces of all rounds together.
    """

    plan: str | None
    made: dict[str, int]
    scores: dict[str, dict[str, float]]
    gains: dict[str, Gain]
    rounds: int
    traces: int

    @property
    def shown(self) -> str:
        """The chosen plan, or else the one with the largest gain."""
        return self.plan or max(self.gains, key=lambda plan: self.gains[plan].mean)

    def best_control(self, classifier: str) -> str:
        """The best set without synthetic traces, of any size."""
        controls = [name for name in self.scores if not name.startswith(MADE)]
        return max(controls, key=lambda name: self.scores[name][classifier])

    def to_dict(self) -> dict[str, Any]:
        """Nested mappings, numbers and text, as JSON has them."""
        return asdict(self)

    def __str__(self) -> str:
        """What was chosen and why, in a few sentences."""
        gain = self.gains[self.shown]
        many = (
            f"{sum(self.made.values()):,} synthetic traces" if self.plan else "0 synthetic traces"
        )
        rounds = f" of {self.rounds} splits" if self.rounds > 1 else ""
        compared = "; ".join(
            self._compared(name, control) for name, control in gain.controls.items()
        )
        return (
            f"{many}: {self._why(gain)}. Accuracy on {self.traces:,} validation traces"
            f"{rounds}: {compared}. Mean gain {100 * gain.mean:+.1f} points, standard error "
            f"{100 * gain.error:.1f}.{self._advice()}"
        )

    def _why(self, gain: Gain) -> str:
        if self.plan:
            return f"{self.plan} is better than every control"
        if not gain.mean > ERRORS * gain.error:
            return f"the best number, {self.shown}, gains no more than its standard error"
        if not gain.is_sure:
            return f"with the best number, {self.shown}, one classifier is worse"
        return (
            f"the best number, {self.shown}, is better than controls of the same number, but not "
            "than all others"
        )

    def _compared(self, classifier: str, control: str) -> str:
        ours, theirs = (
            100 * self.scores[name][classifier] for name in (f"{MADE} {self.shown}", control)
        )
        return (
            f"{classifier} {ours:.1f} % with real and synthetic traces, {theirs:.1f} % with "
            f"{_in_words(control)}"
        )

    def _advice(self) -> str:
        """Advice if a control is better than real traces alone."""
        better = {name: self.best_control(name) for name in self.scores["real"]}
        told = [
            f"{_in_words(control)} ({name})"
            for name, control in better.items()
            if control != "real"
        ]
        if self.plan or not told:
            return ""
        return f" Better than real traces alone: {', '.join(told)}."


def choose(
    answers: Answers, rounds: Sequence[Round], names: Sequence[str], of: Mapping[str, Ints]
) -> Choice:
    """Chooses the best plan that helps; `of` has the plans for all real traces.

    A score is the accuracy on validation traces, mean over classes and rounds. The gain of a plan
    is its score minus the score of the best of three controls: real traces alone, and with as many
    repeated or jittered ones. It is the mean over classifiers. As the control is the best of three
    by the same validation traces, a gain is rather understated. A plan helps if its gain is above
    its standard error, no classifier is worse, and no control of another number has a higher mean
    score.
    """
    weights = np.concatenate([one.weights for one in rounds]) / len(rounds)
    units = np.concatenate([one.unit for one in rounds])
    right = {
        classifier: {name: np.concatenate([one[name] for one in found]) for name in found[0]}
        for classifier, found in answers.items()
    }
    scores = {
        _text(name): {by: float(found[name] @ weights) for by, found in right.items()}
        for name in next(iter(right.values()))
    }
    gains = {plan: _gain(right, plan, weights, units) for plan in of}
    taken = _best(scores, gains)
    made = of[taken].tolist() if taken else [0] * len(names)
    return Choice(
        plan=taken,
        made=dict(zip(names, made, strict=True)),
        scores=scores,
        gains=gains,
        rounds=len(rounds),
        traces=len(units),
    )


def _best(scores: Mapping[str, Mapping[str, float]], gains: Mapping[str, Gain]) -> str | None:
    """The plan that helps and has the highest mean score; of equal ones the smallest."""
    mean = {name: float(np.mean(list(found.values()))) for name, found in scores.items()}
    bound = max(score for name, score in mean.items() if not name.startswith(MADE))
    helping = [p for p, gain in gains.items() if gain.is_sure and mean[f"{MADE} {p}"] >= bound]
    return max(helping, key=lambda plan: mean[f"{MADE} {plan}"], default=None)


def _gain(
    right: Mapping[str, Mapping[SetName, Bools]], plan: str, weights: Floats, units: Ints
) -> Gain:
    """The gain of one plan; its error is that of a sum over units of validation traces."""
    controls = {
        by: max(
            [REAL, *((kind, plan) for kind in CONTROLS)], key=lambda name: found[name] @ weights
        )
        for by, found in right.items()
    }
    differences = {
        by: (found[MADE, plan].astype(np.float64) - found[controls[by]]) * weights
        for by, found in right.items()
    }
    mean = np.mean(list(differences.values()), axis=0)
    of_unit: Floats = np.zeros(units.max() + 1)
    np.add.at(of_unit, units, mean)
    of_unit = of_unit[np.unique(units)]
    return Gain(
        mean=float(mean.sum()),
        error=_error_of_sum(of_unit),
        by_classifier={by: float(one.sum()) for by, one in differences.items()},
        controls={by: _text(name) for by, name in controls.items()},
    )


def _error_of_sum(terms: Floats) -> float:
    """Standard error of a sum of independent terms; of a single term its absolute value."""
    if len(terms) == 1:
        return float(abs(terms[0]))
    return float(np.std(terms, ddof=1) * np.sqrt(len(terms)))


def _text(name: SetName) -> str:
    return name[0] if name == REAL else " ".join(name)


def _in_words(control: str) -> str:
    """The traces of a control, for people."""
    return "real traces alone" if control == "real" else f"real and {control}"
