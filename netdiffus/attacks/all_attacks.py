"""All membership attacks, each with its figures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from netdiffus.attacks.loss_attacks import calibrated, level_names, lira, losses
from netdiffus.attacks.rates import Figure, told_apart
from netdiffus.attacks.refits import refit_losses
from netdiffus.attacks.sample_attacks import cell_ratio, density_ratio, nearest
from netdiffus.attacks.sides import Sides, keys
from netdiffus.evaluation.features.embedding import Embedding
from netdiffus.model.model import Model
from netdiffus.traces.traces import Floats, Traces, concat

TREES, FOLDS = 100, 5  # of the control
FEWEST_REFITS = 4  # for LiRA: two models that learned from a trace, and two that did not
Say = Callable[[str, float, str], None]  # step, share of it that is done, a note


_BLIND = "A forest separates training from held-out traces without the model. Expected: 0.5."
_LOSS = "Loss of the trace under the model."
_REFERENCE = "Loss under the model, compared with that under models not trained on the trace."
_LIRA = "Likelihood ratio of the loss, by models that were and were not trained on the trace."
_DENSITY = "Density of synthetic traces at the trace, over that of real ones (as DOMIAS)."
_NEAREST = "Distance to the nearest synthetic trace of the class."
_CELLS = "Frequency of its values at their places in synthetic traces, over that in real ones."


def white_box(
    model: Model, found: Sides, refits: int, minutes: float | None, seed: int, say: Say
) -> list[Figure]:
    """Attacks on the network: by its loss alone and, with refits, against that of other models."""
    pool = concat([found.members, found.others])
    n = len(found.members)
    lost = losses(model, pool, lambda done: say("loss", done, "loss of each trace"))
    names, told = level_names(model), []
    for k, name in enumerate(names):
        told.append(_attack(name, "white box", _LOSS, -lost[:, k], n))
    if len(names) > 1:
        told.append(_attack("loss, mean", "white box", _LOSS, -lost.mean(axis=1), n))
    if not refits:
        return told
    others, inside = refit_losses(
        model, pool, refits, minutes, seed, lambda done, note: say("refits", done, note)
    )
    gap = calibrated(lost, others, inside)
    told.append(_attack("loss minus reference", "white box", _REFERENCE, gap, n))
    if len(others) >= FEWEST_REFITS:
        told.append(_attack("LiRA", "white box", _LIRA, lira(lost, others, inside), n))
    return told


def black_box(found: Sides, made: Traces, seed: int) -> list[Figure]:
    """Attacks that see synthetic traces alone."""
    sets = found.members, found.others, made
    pairs = [
        ("density ratio", _DENSITY, density_ratio(*sets, seed)),
        ("nearest trace", _NEAREST, nearest(*sets)),
        ("cells", _CELLS, cell_ratio(*sets, seed)),
    ]
    n = len(found.members)
    return [_attack(name, "black box", w, np.concatenate(s), n) for name, w, s in pairs]


def blind(found: Sides, seed: int) -> Figure:
    """The control: a forest that tells members from non-members without any model."""
    both = concat([found.members, found.others])
    places = Embedding(found.others.with_gaps())(both.with_gaps())
    x = np.column_stack([places, both.lengths, both.labels])
    is_member = np.arange(len(both)) < len(found.members)
    same = np.unique(keys(both), return_inverse=True)[1]  # equal traces stay in one fold
    forest = RandomForestClassifier(TREES, random_state=seed, class_weight="balanced")
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    chance = cross_val_predict(forest, x, is_member, groups=same, cv=folds, method="predict_proba")
    return _attack("traces alone", "control", _BLIND, chance[:, 1], len(found.members))


def _attack(name: str, kind: str, what: str, scores: Floats, members: int) -> Figure:
    told = told_apart(scores[:members], scores[members:])
    return {"name": name, "kind": kind, "what": what, **told}
