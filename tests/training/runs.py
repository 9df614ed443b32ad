"""Short trainings, and what they leave behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from small import volumes
from torch import Tensor

from netdiffus.codec import GasfCodec, TokenCodec
from netdiffus.model.model import Model
from netdiffus.networks.batch import Batch
from netdiffus.traces.traces import Traces
from netdiffus.training import Recipe, train

TESTS = Path(__file__).parents[1]
STATE = Path("checkpoint", "state.safetensors")


def run(path: Path | None, steps: int, traces: Traces | None = None, **more: Any) -> Model:
    """A training of so many steps, of a small network of either kind."""
    recipe = Recipe(steps=steps, **{"batch_size": 4, **more.pop("recipe", {})})
    preset = more.get("preset")
    known = {"image": (GasfCodec(8, border=1), 8), "paper": (GasfCodec(8), 8)}
    codec, width = known.get(preset, (TokenCodec(), 16))
    settings = {"codec": codec, "width": width, **more}
    return train(volumes() if traces is None else traces, path, recipe=recipe, **settings)


def mean_loss(model: Model, batches: list[Batch], temperature: float) -> float:
    """Of a model of tokens, without its own temperature."""
    own = model.network.logits.temperature
    before = float(own)
    own.fill_(temperature)
    with torch.no_grad():
        losses = [(float(model.network.loss(batch)), len(batch.label)) for batch in batches]
    own.fill_(before)
    return float(np.average([loss for loss, _ in losses], weights=[n for _, n in losses]))


def state_of(folder: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint."""
    return load_file(folder / STATE)


def same_weights(first: Path, second: Path) -> bool:
    """Whether two checkpoints hold the same bits."""
    one, other = state_of(first), state_of(second)
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def stops_at(step: int) -> Callable[[float, str], None]:
    """Ctrl-C after the step."""

    def progress(share: float, note: str) -> None:
        if note.startswith(f"step {step} "):
            signal.raise_signal(signal.SIGINT)

    return progress


def environment(**more: str) -> dict[str, str]:
    """Of a process that imports this file."""
    paths = [str(TESTS), str(TESTS / "training"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", **more}
