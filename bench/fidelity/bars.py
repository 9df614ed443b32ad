"""Which bars a result passes and which it misses."""

from __future__ import annotations

from dataclasses import dataclass

from bench.fidelity.kept import Result

NOT_COPYING = ("bootstrap", "markov")  # jitter gives the training traces back, shaken
FEWER_FRECHET, MORE_ACCURACY = 0.664, 0.181  # than the GAN, the margins of the paper
ALLOWED_COPIES = 0.05


@dataclass(frozen=True)
class Bar:
    """One demand: what was `found` must be at least (`least`), or else at most, the bound."""

    name: str
    found: float
    bound: float
    least: bool

    @property
    def passed(self) -> bool:
        """Whether the bound is kept."""
        return self.found >= self.bound if self.least else self.found <= self.bound


def bars(result: Result) -> list[Bar]:
    """The bars of a set for its longest training, by the figures that are there."""
    run, real = result["runs"][0], result["real"]
    ours = run["ours"]
    return [
        *_of_table(ours, result["bars"] or {}),
        *_of_baselines(ours, result["baselines"]),
        *_of_real(ours, real),
        *_of_gan(ours, run.get("peers", {}).get("gan")),
    ]


def _of_table(ours: Result, wanted: Result) -> list[Bar]:
    found = (
        [Bar("synthetic→real", ours["accuracy"]["mean"], wanted["synthetic"], True)]
        if wanted
        else []
    )
    if wanted.get("auc"):
        found.append(Bar("two-sample AUC", ours["auc"]["mean"], wanted["auc"], False))
    if wanted.get("hellinger"):
        found.append(Bar("Hellinger of sizes", ours["hellinger"], wanted["hellinger"], False))
    return found


def _of_baselines(ours: Result, baselines: Result) -> list[Bar]:
    found = []
    for name in NOT_COPYING:
        if other := baselines.get(name):
            found += [
                Bar(f"synthetic→real, {name}'s", _mean(ours), _mean(other), True),
                Bar(f"two-sample AUC, {name}'s", _mean(ours, "auc"), _mean(other, "auc"), False),
            ]
    return found


def _of_real(ours: Result, real: Result) -> list[Bar]:
    floor = real["copies_floor"]
    original = _mean(real)
    return [
        Bar("5x synthetic→real", _mean(ours, "more"), original - 0.02, True),
        Bar("original + synthetic→real", _mean(ours, "with_real"), original, True),
        Bar("Wasserstein-1", ours["wasserstein"], 2 * real["wasserstein"], False),
        *(
            Bar(f"copies, {kind}", ours["copies"][kind], floor[kind] + ALLOWED_COPIES, False)
            for kind in ("exact", "near", "closer")
        ),
    ]


def _of_gan(ours: Result, gan: Result | None) -> list[Bar]:
    if gan is None:
        return []
    return [
        Bar(
            "synthetic→real, the GAN's + 18.1 %",
            _mean(ours),
            (1 + MORE_ACCURACY) * _mean(gan),
            True,
        ),
        Bar(
            "Fréchet, the GAN's - 66.4 %",
            ours["frechet"],
            (1 - FEWER_FRECHET) * gan["frechet"],
            False,
        ),
    ]


def steps_needed(result: Result) -> int | None:
    """The fewest sampling steps whose figures lie within the intervals of the most steps'.

    None if steps were not compared.
    """
    steps = sorted(result["runs"][0].get("steps", []), key=lambda one: one["steps"])
    if not steps:
        return None
    most = steps[-1]
    return next(
        int(one["steps"])
        for one in steps
        if one["accuracy"]["mean"] >= most["accuracy"]["low"]
        and one["auc"]["mean"] <= most["auc"]["high"]
    )


def _mean(figures: Result, name: str = "accuracy") -> float:
    return float(figures[name]["mean"])
