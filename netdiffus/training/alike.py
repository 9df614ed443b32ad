"""Trainings like the one that made a model."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from netdiffus.codec import GasfCodec, TokenCodec
from netdiffus.codec.columns import Columns
from netdiffus.errors import InputError, Note
from netdiffus.model.model import Model
from netdiffus.networks.build import Codec
from netdiffus.traces.traces import Traces
from netdiffus.training.recipe import Recipe
from netdiffus.training.trainer import train


def trained_alike(
    model: Model,
    traces: Traces,
    recipe: Recipe,
    progress: Callable[[float, str], None] | None = None,
    *,
    device: str | None = None,
) -> Model:
    """A new model with the preset, the width and the codec's settings of another.

    Columns with too few equal values in these traces are left out.

    Raises:
        KeyboardInterrupt: Training was interrupted: figures of an incomplete training would be
        wrong.
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
            columns=_columns(model, traces),
            rare=model.about.get("rare"),
            device=device,
            progress=progress,
        )
    if found.about["ended"] == "interrupted":
        raise KeyboardInterrupt("interrupted during a training; nothing was written")
    return found


def _columns(model: Model, traces: Traces) -> list[str]:
    """The model's columns for which these traces have enough equal values."""
    kept = []
    for name in model.columns.chosen:
        with suppress(InputError):
            Columns.fit(traces, np.arange(len(traces)), [name])
            kept.append(name)
    return kept


def _codec(codec: Codec) -> Codec:
    """An unfitted codec with the same settings."""
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
