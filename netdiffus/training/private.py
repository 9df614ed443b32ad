"""Training with a guarantee of differential privacy."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Mapping, Sequence
from math import sqrt
from pathlib import Path

import numpy as np
import torch

from netdiffus.codec import TokenCodec
from netdiffus.errors import InputError, Note, whole
from netdiffus.files import alone_in
from netdiffus.ledger import Ledger
from netdiffus.model.files import refuse_model
from netdiffus.model.model import Model
from netdiffus.networks.causal import CausalNetwork
from netdiffus.privacy.accounting import noise_for
from netdiffus.privacy.groups import Groups
from netdiffus.privacy.privatise import Rules, private_batches
from netdiffus.progress import Progress, given_or_bar
from netdiffus.traces.splitting import group_names
from netdiffus.traces.traces import Ints, Traces, concat
from netdiffus.training.dpsgd import MOST_GRADIENT, Private, learn_privately
from netdiffus.training.processes import interruptible
from netdiffus.training.recipe import Recipe
from netdiffus.training.trainer import train

TABLE = 0.3  # share of mu² that the private table takes
STEPS, BATCH = 300, 1024  # of DP-SGD, if not given
RATE, NOISE_RATE = 1.5e-2, 3e-2  # highest learning rate; and as a multiple of 1 / noise
LARGEST_SHARE = 0.5  # of the traces, for a step: with more, noise does not fall any more
TABLE_STEPS = 600  # of the training with the private table
BEFORE, AFTER = 0.1, 0.4  # shares of the time at which the table and its training end


def train_private(
    traces: Traces,
    path: str | Path | None = None,
    *,
    epsilon: float,
    delta: float = 1e-5,
    by: str | None = None,
    most: int = 20,
    classes: Sequence[str] | None = None,
    length: int | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    anyway: bool = False,
    steps: int = STEPS,
    batch_size: int = BATCH,
    learning_rate: float | None = None,
    seed: int = 0,
    force: bool = False,
    progress: Progress | None = None,
) -> Model:
    """Trains the default network with (epsilon, delta)-differential privacy.

    First `privatise` makes private traces with 0.3 of the budget (of mu²). Vocabularies, columns
    and class sizes are those of the private traces, and the network learns from them. Then it
    learns from the real traces by DP-SGD (Abadi et al., 2016) with the rest of the budget. See
    docs/privacy.md. Everything that you do with the model (sample, publish) keeps the guarantee.

    All noise is new in each call; `seed` fixes only the first weights and the training with the
    private traces. Ctrl-C ends the training after the current step: the model is saved and
    private. It cannot be resumed.

    Args:
        traces: What to protect, in memory.
        path: Folder for the model; None keeps it in memory.
        epsilon: Above 0; 1 is strong, 8 is weak.
        delta: Below 1 / N, N the number of traces or groups.
        by: Column of the meta-data that names a group, such as a user or a host. Then a group is
            protected, not a single trace.
        most: Keep at most this many random traces of a group; only with `by`.
        classes: The public names of the classes; None takes those of the traces as public.
        length: Number of points of a trace to learn; None is 64.
        ranges: Smallest and largest value of channels, by name, as in `privatise`.
        anyway: Continue even if a class has too few traces to be useful.
        steps: Of DP-SGD.
        batch_size: Traces that a step of DP-SGD draws on average; at most half of all.
        learning_rate: Of the first step of DP-SGD. None is 0.015, or 0.03 over the noise if that is
            less: much noise and large steps would undo what was learned from the private traces.
        seed: See above.
        force: Replace a model that is there.
        progress: Called with (share done, a note).

    Returns:
        The model, with its `ledger`.

    Raises:
        InputError: An argument is out of its range, as in `privatise`.
        FileExistsError: The folder holds a model, and `force` is false.
    """
    if not isinstance(traces, Traces):  # before anything is spent
        raise InputError(
            f"traces: {type(traces).__name__} is not in memory, which DP-SGD needs; give "
            "Dataset.load(), or use privatise"
        )
    steps, batch_size = whole("steps", steps, 1), whole("batch_size", batch_size, 1)
    if learning_rate is not None:
        Recipe(learning_rate=learning_rate, steps=steps)  # is checked there
    folder = None if path is None else Path(path)
    if folder is not None:
        refuse_model(folder, force)
    with alone_in(folder), given_or_bar(progress, "train", 1.0) as shown:
        rules = Rules(
            epsilon,
            delta,
            by,
            most,
            classes,
            length,
            ranges,
            anyway=anyway,
            share=TABLE,
        )
        table = concat(list(private_batches(traces, rules, _part(shown, 0.0, BEFORE))))
        ledger = table.ledger or {}
        share = min(LARGEST_SHARE, batch_size / len(table))
        noise = noise_for(epsilon, delta, _spent(ledger), share, steps)
        private = Private(
            steps=steps,
            share=share,
            traces=share * len(table),
            noise=noise,
            most=1 if by is None else most,
            rate=learning_rate or min(RATE, NOISE_RATE / noise),
        )
        model = _from_table(table, length, seed, shown)
        _say_lost(table, model)
        done = 0
        if model.about["ended"] != "interrupted":
            done = _learn(model, *_bounded(traces, by, most), private, shown)
    ended = "budget used" if done == steps else "interrupted"
    model.about |= {"dp_sgd_steps": done, "ended": ended, "temperature": 1.0}
    model.ledger = _with_steps(ledger, model, private)
    if folder is not None:
        model.save(folder, force=force)
    return model


def _spent(ledger: Ledger) -> float:
    """The mu of all releases of the private table."""
    return sqrt(sum(one["mu"] ** 2 for one in ledger["releases"]))


def _from_table(table: Traces, length: int | None, seed: int, shown: Progress) -> Model:
    """The default network, trained on private traces."""
    recipe, at = Recipe(steps=TABLE_STEPS, seed=seed), _part(shown, BEFORE, AFTER)
    return train(table, recipe=recipe, codec=TokenCodec(length), progress=at)


def _say_lost(table: Traces, model: Model) -> None:
    lost = [name for name in table.classes if name not in model.classes]
    if lost:
        shown = ", ".join(map(repr, lost[:8])) + (f" and {len(lost) - 8} more" if lost[8:] else "")
        text = f"{len(lost)} class(es) have no private traces, and are not learned: {shown}"
        warnings.warn(Note(text), stacklevel=3)


def _bounded(traces: Traces, by: str | None, most: int) -> tuple[Traces, Ints]:
    """At most `most` random traces of each unit of privacy, and the unit of each, (N,) from 0."""
    if by is None:
        return traces, np.arange(len(traces))
    kept = concat(list(Groups([traces], by, most, secrets.token_bytes(16)).of([traces])))
    return kept, np.unique(group_names(kept.meta, by, None), return_inverse=True)[1]


def _part(shown: Progress, begin: float, end: float) -> Progress:
    """Progress of one stage, which covers a range of the whole progress."""
    return lambda share, note: shown(begin + (end - begin) * share, note)


def _learn(model: Model, real: Traces, units: Ints, private: Private, shown: Progress) -> int:
    """DP-SGD with the real traces of the model's classes; returns the number of steps."""
    net, codec = model.network, model.codec
    assert isinstance(net, CausalNetwork)
    assert isinstance(codec, TokenCodec)
    place = {name: k for k, name in enumerate(model.classes)}
    labels = np.array([place.get(name, -1) for name in real.classes])[real.labels]
    rows = np.flatnonzero(labels >= 0)  # of other classes there are no private traces
    real = real[rows]
    data = (
        codec.encode(real),
        torch.from_numpy(labels[rows]),
        torch.from_numpy(model.columns.encode(real.truncate(codec.length or 1))),
    )
    at = _part(shown, AFTER, 1.0)
    with interruptible() as interrupted:

        def after(step: int) -> bool:
            at(step / private.steps, f"DP-SGD, step {step} of {private.steps}")
            return interrupted.is_set()

        return learn_privately(net, data, units[rows], private, after)


def _with_steps(ledger: Ledger, model: Model, private: Private) -> Ledger:
    """The ledger of the table, with DP-SGD as a further release."""
    entry = {
        "release": "DP-SGD",
        "cells": sum(one.numel() for one in model.network.parameters()),
        "sensitivity": MOST_GRADIENT,
        "sigma": private.noise,
        "steps": private.steps,
        "probability": private.share,
    }
    return {
        **ledger,
        "releases": [*ledger["releases"], entry],
        "accounting": {"dp_accounting": ledger["epsilon"]},
    }
