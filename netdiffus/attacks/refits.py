"""Trainings for the audit, with the settings of the model that is attacked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from netdiffus.attacks.canaries import Learned
from netdiffus.attacks.loss_attacks import halves, losses
from netdiffus.attacks.sides import as_learned
from netdiffus.model.model import Model
from netdiffus.progress import Progress
from netdiffus.sampling import sample
from netdiffus.traces.traces import Bools, Floats, Traces
from netdiffus.training.alike import trained_alike
from netdiffus.training.resume import recipe_of


def refit_losses(
    model: Model,
    pool: Traces,
    refits: int,
    minutes: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Floats, Bools]:
    """Losses of all traces under reference models, each trained on a random half of them.

    `refits` is rounded up to R, an even number. `minutes` are those of each training; None is the
    budget of `model`, whose settings they have. `seed` is that of the halves and the trainings.

    Returns:
        (R, N, levels) losses, and (R, N), which model learned from which trace.
    """
    inside = halves(pool.labels, refits + refits % 2, seed)
    found = []
    for one, rows in enumerate(inside):
        recipe = recipe_of(model, minutes=minutes, seed=seed + 1 + one)
        refit = trained_alike(model, pool[rows], recipe, _part(progress, one, len(inside)))
        found.append(losses(refit, as_learned(pool, refit, "pool")))
    return np.stack(found), inside


def audited(
    model: Model, minutes: float | None, made: int, seed: int, progress: Progress | None = None
) -> Callable[[Traces], Learned]:
    """The training that a canary audit runs, with the settings of `model`.

    The score of a canary is how far its loss is below that of `model`, which has not seen it.
    """
    recipe = recipe_of(model, minutes=minutes, seed=seed)

    def learn(traces: Traces) -> Learned:
        found = trained_alike(model, traces, recipe, progress)

        def score(wanted: Traces) -> Floats:
            before = losses(model, as_learned(wanted, model, "canaries"))
            after = losses(found, as_learned(wanted, found, "canaries"))
            gain: Floats = (before - after).mean(axis=1)
            return gain

        return Learned(score, sample(found, made, mix="real", seed=seed))

    return learn


def _part(progress: Progress | None, one: int, of: int) -> Progress | None:
    if progress is None:
        return None
    return lambda share, note: progress((one + share) / of, f"training {one + 1} of {of}: {note}")
