"""A class of which few traces are known, filled up with made ones, beside controls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netdiffus.augmentation.plans import FILLED
from netdiffus.augmentation.rounds import Rounds
from netdiffus.augmentation.scoring import CLASSIFIERS, MADE, REAL, Round, named_rightly
from netdiffus.progress import Progress
from netdiffus.traces.traces import Traces
from netdiffus.training import Recipe

SEEDS = range(3)  # classifiers that a figure is the mean of
CONTROLS = {REAL[0]: "alone", "repeated": "repeated", "jittered": "jittered"}


@dataclass(frozen=True, eq=False)
class Filled:
    """What filling a class up gains.

    Attributes:
        label: The class.
        known: How many real traces of it are known.
        total: How many traces it has with the made ones: as many as the largest class.
        made: The made ones.
        recognised: For each classifier, share of held-out traces of the class named rightly: by
            the known ones `alone`, and with `repeated`, `jittered` and `made` ones.
        accuracy: The same of all classes, mean over classes.
    """

    label: str
    known: int
    total: int
    made: Traces
    recognised: dict[str, dict[str, float]]
    accuracy: dict[str, dict[str, float]]

    def gain(self, classifier: str) -> float:
        """Share recognised with made traces, less that of the best control."""
        found = self.recognised[classifier]
        return found[MADE] - max(found[name] for name in CONTROLS.values())

    def summary(self) -> dict[str, str]:
        """What each classifier recognises, in words."""
        return {
            f"{self.label}, {self.known} known, recognised by a {name}": ", ".join(
                f"{share:.0%} {what}" for what, share in shares.items()
            )
            for name, shares in self.recognised.items()
        }


def fill_up(
    real: Traces,
    holdout: Traces,
    label: str,
    known: int,
    *,
    recipe: Recipe,
    progress: Progress,
) -> Filled:
    """Forgets most traces of a class, learns from the others and makes as many as are missing.

    Of the class stay `known` traces, drawn with the seed of the recipe. The holdout, of groups that
    `real` has not, judges.
    """
    few = _with_few(real, label, known, recipe.seed)
    work = Rounds(few, None, recipe, [FILLED], recipe.seed, None)
    (one,) = work.given(holdout, "group", None, progress)
    rare = list(few.classes).index(label)
    recognised, accuracy = {}, {}
    for name in CLASSIFIERS:
        recognised[name], accuracy[name] = _scores(one, name, rare, recipe.seed)
    made = one.made.of_class(label)
    return Filled(label, known, known + len(made), made, recognised, accuracy)


def _with_few(real: Traces, label: str, known: int, seed: int) -> Traces:
    mine = np.flatnonzero(real.label_names == label)
    kept = np.random.default_rng(seed).permutation(mine)[:known]
    return real[np.sort(np.concatenate([np.setdiff1d(np.arange(len(real)), mine), kept]))]


def _scores(
    one: Round, classifier: str, rare: int, seed: int
) -> tuple[dict[str, float], dict[str, float]]:
    runs = [named_rightly(one, [FILLED], classifier, seed + n) for n in SEEDS]
    mine = one.validation.labels == rare
    names = {**CONTROLS, MADE: MADE}
    right = {
        names[kind]: np.mean([run[kind, plan] for run in runs], axis=0) for kind, plan in runs[0]
    }
    recognised = {name: float(share[mine].mean()) for name, share in right.items()}
    return recognised, {name: float(share @ one.weights) for name, share in right.items()}
