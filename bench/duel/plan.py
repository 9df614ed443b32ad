"""What the duel does: a plan, and the parts that it falls into."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from bench.fidelity import sets
from bench.fidelity.forests import Protocol
from netdiffus.networks.build import PRESETS

BASELINES = ("bootstrap", "markov", "jitter")


@dataclass(frozen=True)
class Judges:
    """How hard the judges try.

    Attributes:
        trees: Of a forest.
        repeats: Forests that a figure is the mean of.
    """

    trees: int = 200
    repeats: int = 3

    @property
    def protocol(self) -> Protocol:
        """Of the forests; the table does not show their intervals, so few draws give them."""
        return Protocol(self.trees, self.repeats, resamples=100)


@dataclass(frozen=True)
class Part:
    """What one process does: a training with its figures, or what needs no training.

    Attributes:
        out: Folder of the duel.
        set_name: Of the set.
        seed: Of the split, and of training and sampling.
        preset: None for the real traces, the controls and the baselines.
        minutes: Budget of processor time; 0 without a preset.
        judges: How the traces are judged.
        data: Folder of the public sets, None for the usual one.
    """

    out: Path
    set_name: str
    seed: int
    preset: str | None
    minutes: float
    judges: Judges
    data: Path | None

    @property
    def folder(self) -> Path:
        """Where its files are."""
        of_set = self.out / self.set_name / f"seed{self.seed}"
        return of_set / f"{self.preset}-{self.minutes:g}min" if self.preset else of_set

    @property
    def files(self) -> list[Path]:
        """All that it writes."""
        names = ("training", "figures") if self.preset else ("real", *BASELINES)
        return [self.folder / f"{name}.json" for name in names]


@dataclass(frozen=True)
class Plan:
    """What the duel does.

    Attributes:
        out: Folder of models, parts and results.
        sets: Names of the sets.
        presets: Names of the presets.
        seeds: Each of a split of its own, and of a training on it.
        minutes: Budgets of processor time; each is a training of its own.
        judges: How the traces are judged.
        data: Folder of the public sets, None for the usual one.
    """

    out: Path
    sets: tuple[str, ...] = tuple(name for name in sets.SETS if name != sets.LAB)
    presets: tuple[str, ...] = tuple(name for name in PRESETS if name != "default")
    seeds: tuple[int, ...] = (0, 1, 2)
    minutes: tuple[float, ...] = (2.5, 10.0)
    judges: Judges = field(default_factory=Judges)
    data: Path | None = None

    @property
    def longest(self) -> float:
        """The budget that bars and rule are about."""
        return max(self.minutes)

    def parts(self) -> Iterator[Part]:
        """All parts, the longest trainings first, and all sets before the next seed."""
        for seed, name in product(self.seeds, self.sets):
            yield self._part(name, seed, None, 0.0)
        budgets = sorted(self.minutes, reverse=True)
        for seed, minutes, name, preset in product(self.seeds, budgets, self.sets, self.presets):
            yield self._part(name, seed, preset, minutes)

    def _part(self, name: str, seed: int, preset: str | None, minutes: float) -> Part:
        return Part(self.out, name, seed, preset, minutes, self.judges, self.data)
