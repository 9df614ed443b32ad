"""Splits of real traces, with synthetic traces of models trained on one side."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from netdiffus.augmentation.plans import most, plans
from netdiffus.augmentation.scoring import Round
from netdiffus.errors import Note
from netdiffus.evaluation.draws import capped, class_counts, draw_rows
from netdiffus.evaluation.prepare import with_classes
from netdiffus.model.model import Model
from netdiffus.progress import Progress
from netdiffus.sampling import sample
from netdiffus.traces.splitting import group_names, holdout_rows
from netdiffus.traces.traces import Ints, Traces
from netdiffus.training import Recipe, train
from netdiffus.training.alike import trained_alike
from netdiffus.training.resume import recipe_of

ROUNDS = 3  # divisions of the real traces
HELD = 0.25  # share of each class that validates in each
MOST_JUDGED = 2_000  # traces to learn from, and to validate by
TRAINING = 0.9  # share of the time; judging takes the rest


@dataclass
class Rounds:
    """The trainings and synthetic traces of one call of `augment`, for plans of these names.

    `real` has no empty class. `model` is trained on it; None until one is needed. `recipe` is that
    of each training; None is that of the model, or two minutes.
    """

    real: Traces
    model: Model | None
    recipe: Recipe | None
    plans: Sequence[str]
    seed: int
    device: str | None

    def given(
        self, validation: Traces, by: str | None, sep: str | None, shown: Progress
    ) -> list[Round]:
        """One round, with the given validation traces."""
        held = with_classes(validation.without_empty_classes(), self.real.classes, "validation")
        model = self._of_all_traces(_part(shown, 0, 1))
        return [self._round(self.real, held, _units(held, by, sep), model)]

    def refits(self, by: str | None, sep: str | None, shown: Progress) -> list[Round]:
        """Splits the real traces several times and trains a model on each training part."""
        real, unit, found = self.real, _units(self.real, by, sep), []
        groups = [] if by is None else [unit]
        for number in range(ROUNDS):
            # Equal traces may be on both sides: new traffic repeats itself as often.
            held = holdout_rows(real.labels, real.classes, groups, HELD, self.seed + number)
            model = self._trained(real[~held], number + 1, _part(shown, number, ROUNDS))
            found.append(self._round(real[~held], real[held], unit[held], model))
        return found

    def made(self, counts: Mapping[str, int], shown: Progress) -> Traces:
        """The synthetic traces of the result, as many as given for each class."""
        return self._sampled(self._of_all_traces(_part(shown, ROUNDS, ROUNDS + 1)), counts)

    def _of_all_traces(self, shown: Progress) -> Model:
        if self.model is None:
            self.model = self._trained(self.real, 0, shown)
        return self.model

    def _trained(self, traces: Traces, number: int, shown: Progress) -> Model:
        """A model of these traces, with the settings of the given model, or else by the recipe."""
        if self.model is not None:
            recipe = self.recipe or recipe_of(self.model, seed=0)
            recipe = replace(recipe, seed=recipe.seed + number)
            return trained_alike(self.model, traces, recipe, shown, device=self.device)
        recipe = self.recipe or Recipe(minutes=2)
        recipe = replace(recipe, seed=recipe.seed + number)
        with warnings.catch_warnings():
            if number:  # the training of all traces says the same
                warnings.simplefilter("ignore", Note)
            found = train(traces, recipe=recipe, device=self.device, progress=shown)
        if found.about["ended"] == "interrupted":
            raise KeyboardInterrupt("interrupted during a training; nothing was made")
        return found

    def _round(self, learn: Traces, validation: Traces, unit: Ints, model: Model) -> Round:
        """One round to score; large sets are represented by random traces."""
        learn, held = (part[_some(part, self.seed)] for part in (learn, validation))
        counts = most(plans(self.plans, class_counts(learn.labels, len(learn.classes))))
        made = self._sampled(model, dict(zip(self.real.classes, counts.tolist(), strict=True)))
        in_form = [_bare(part, self.real.classes) for part in (learn, held, made)]
        return Round(in_form[0], in_form[1], in_form[2], unit[_some(validation, self.seed)])

    def _sampled(self, model: Model, counts: Mapping[str, int]) -> Traces:
        wanted = {name: n for name, n in counts.items() if n}
        # Sampling is short compared with the trainings, so only their progress is shown.
        return sample(
            model, label=wanted, seed=self.seed, device=self.device, progress=lambda *_: None
        )


def _some(traces: Traces, seed: int) -> Ints:
    """Rows of all traces, or of 2,000 random ones of all classes."""
    if len(traces) <= MOST_JUDGED:
        return np.arange(len(traces))
    counts = capped(class_counts(traces.labels, len(traces.classes)), MOST_JUDGED)
    return np.sort(draw_rows(traces.labels, counts, np.random.default_rng(seed)))


def _bare(traces: Traces, classes: Sequence[str]) -> Traces:
    """With gaps for times and these classes, without meta."""
    found = with_classes(traces, classes, "traces").with_gaps()
    return replace(found, meta=found.meta.select([]))


def _units(traces: Traces, by: str | None, sep: str | None) -> Ints:
    """(N,): the number of each trace's group; without groups each is its own."""
    if by is None:
        return np.arange(len(traces))
    names = group_names(traces.meta, by, sep)
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _part(shown: Progress, number: int, of: int) -> Progress:
    """Progress of one training among several."""
    return lambda share, note: shown(
        TRAINING * (number + share) / of, f"training {number + 1}: {note}"
    )
