"""Checks that an interrupted run is resumed with the same traces and settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from netdiffus.codec.series import parts_of
from netdiffus.errors import InputError
from netdiffus.model.model import Model
from netdiffus.parts import Dataset
from netdiffus.traces.traces import Traces
from netdiffus.training.checkpoint import refuse_changes
from netdiffus.training.recipe import Recipe

SETTINGS = (
    "batch_size",
    "learning_rate",
    "weight_decay",
    "ema_width",
    "validation_fraction",
    "hidden_columns",
    "seed",
    "deterministic",
)


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """Settings that a resumed run must share with the earlier run, with their text for the card."""
    return {name: getattr(recipe, name) for name in SETTINGS}


def recipe_of(model: Model, *, minutes: float | None = None, seed: int | None = None) -> Recipe:
    """The recipe that a model was trained by, with another budget or seed if given.

    Raises:
        InputError: The model does not say how long it was trained, or its settings are damaged.
    """
    about = model.about
    settings = {name: about[name] for name in SETTINGS if name in about}
    if seed is not None:
        settings["seed"] = seed
    budget = {"minutes": minutes} if minutes else about.get("budget")
    if not budget:
        raise InputError("the model does not say how long it was trained; give minutes (--minutes)")
    try:
        return Recipe(**budget, **settings)
    except (InputError, TypeError) as error:
        raise InputError(f"the settings of the model cannot be used: {error}") from None


def hash_of(traces: Traces | Dataset, columns: Sequence[str] = ()) -> str:
    """Hash of all training data, which a resumed run must have, too."""
    digest = hashlib.sha256()
    if isinstance(traces, Dataset):
        for one in traces.manifest.parts:
            digest.update(one.sha256.encode())
        if traces.length is not None:
            digest.update(str(traces.length).encode())
        return digest.hexdigest()
    for rows in parts_of(len(traces)):
        digest.update(traces.values[rows].tobytes())
    for part in (traces.lengths, traces.labels):
        digest.update(part.tobytes())
    digest.update(json.dumps(traces.classes).encode())
    for name in columns:
        digest.update(json.dumps(traces.meta[name].to_pylist(), default=str).encode())
    return digest.hexdigest()


def check_same(before: Model, now: Model) -> None:
    """Refuses to resume a model with other classes or settings."""
    refuse_changes(_shape(before), _shape(now))


def _shape(model: Model) -> dict[str, Any]:
    config = json.loads(json.dumps(model.config()))
    parts: dict[str, Any] = {**config["codec"], **config["network"], **(config["diffusion"] or {})}
    channels = [channel.name for channel in model.codec.channels]
    return {
        "preset": model.preset,
        "classes": config["classes"],
        **parts,
        "channels": channels,
        "columns of the meta-data": list(model.columns.chosen),
    }
