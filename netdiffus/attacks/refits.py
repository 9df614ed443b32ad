"""Trainings for the audit, with the settings of the model that is attacked."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from netdiffus.attacks.canaries import Learned
from netdiffus.attacks.loss_attacks import Bools, halves, losses
from netdiffus.attacks.sides import as_learned
from netdiffus.codec import GasfCodec, TokenCodec
from netdiffus.errors import InputError, Note
from netdiffus.model.model import Model
from netdiffus.networks.build import Codec
from netdiffus.sampling import sample
from netdiffus.traces.traces import Floats, Traces
from netdiffus.training import Recipe, train

KEPT = (
    "batch_size",
    "learning_rate",
    "weight_decay",
    "ema_width",
    "validation_fraction",
)
Progress = Callable[[float, str], None]


def recipe_of(model: Model, minutes: float | None, seed: int) -> Recipe:
    """The recipe of the model, with `minutes` as its budget if given.

    Raises:
        InputError: The model does not say how long it was trained.
    """
    about = model.about
    budget = {"minutes": minutes} if minutes else about.get("budget")
    if not budget:
        raise InputError("the model does not say how long it was trained; give minutes (--minutes)")
    return Recipe(**budget, **{k: about[k] for k in KEPT if k in about}, seed=seed)


def trained_alike(
    model: Model, traces: Traces, recipe: Recipe, progress: Progress | None = None
) -> Model:
    """A new model with the preset, the width and the codec's settings of another.

    Raises:
        KeyboardInterrupt: It was interrupted: figures of half a training would be wrong.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)  # they were given when the model was trained
        found = train(
            traces,
            recipe=recipe,
            codec=_codec(model.codec),
            diffusion=model.diffusion,
            preset=model.preset,
            width=model.network.config.width,
            progress=progress,
        )
    if found.about["ended"] == "interrupted":
        raise KeyboardInterrupt("interrupted while training for the audit; nothing was written")
    return found


def refit_losses(
    model: Model,
    pool: Traces,
    refits: int,
    minutes: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Floats, Bools]:
    """Losses of all traces under reference models, each trained on a random half of them.

    Args:
        model: The model whose settings they have.
        pool: N traces with its classes.
        refits: R, how many; rounded up to an even number.
        minutes: Of each training; None is the model's own budget.
        seed: Of the halves and the trainings.
        progress: Called with (share done, a note).

    Returns:
        (R, N, levels) losses, and (R, N), which model learned from which trace.
    """
    inside = halves(pool.labels, refits + refits % 2, seed)
    found = []
    for one, rows in enumerate(inside):
        recipe = recipe_of(model, minutes, seed + 1 + one)
        refit = trained_alike(model, pool[rows], recipe, _part(progress, one, len(inside)))
        found.append(losses(refit, as_learned(pool, refit, "pool")))
    return np.stack(found), inside


def audited(
    model: Model, minutes: float | None, made: int, seed: int, progress: Progress | None = None
) -> Callable[[Traces], Learned]:
    """The training that a canary audit runs, with the settings of `model`.

    The score of a canary is how far its loss is below that of `model`, which has not seen it.
    """
    recipe = recipe_of(model, minutes, seed)

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


def _codec(codec: Codec) -> Codec:
    """The same settings, not yet fitted."""
    if isinstance(codec, TokenCodec):
        return TokenCodec(None if codec.bins_per_point > 1 else codec.length, codec.runs or 0)
    scales = {c.name: scale.kind for c, scale in zip(codec.channels, codec.scales, strict=True)}
    return GasfCodec(
        codec.size,
        length=codec.length,
        resize=codec.resize,
        gamma=codec.gamma,
        scales=scales,
        border=codec.border,
    )
