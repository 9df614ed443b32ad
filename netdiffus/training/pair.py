"""Trains two models that are only used together, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from netdiffus.codec import TokenCodec
from netdiffus.codec.columns import Choice
from netdiffus.model.model import Model
from netdiffus.model.pair import ModelPair
from netdiffus.progress import Progress, given_or_bar
from netdiffus.traces.traces import Traces
from netdiffus.training.recipe import Recipe
from netdiffus.training.trainer import train


@dataclass(frozen=True)
class Training:
    """Input of one of the two trainings, as arguments of `train`."""

    traces: Traces
    recipe: Recipe
    by: str
    columns: Choice
    codec: TokenCodec | None = None


def train_pair(
    pair: ModelPair,
    path: str | Path | None,
    first: Training,
    second: Callable[[Model], Training],
    *,
    resume: bool,
    force: bool,
    device: str | None,
    progress: Progress | None,
) -> tuple[Model, Model]:
    """Trains both; the other arguments are those of `train`.

    Args:
        pair: Which two models.
        path: Their folder; None keeps them in memory.
        first: Of the first model.
        second: Of the second model, given the first one.
        resume: Continue from existing checkpoints.
        force: Replace models that are there.
        device: `cpu` or `cuda`; None takes CUDA if there is one.
        progress: Called with (share done, a note); None shows a bar.

    Raises:
        KeyboardInterrupt: The first training was interrupted; its folder is kept.
    """
    if not resume:
        pair.disown(path)
    found: list[Model] = []
    with given_or_bar(progress, "train", 1.0) as shown:
        for name, (folder, goes_on) in zip(pair.names, pair.folders(path, resume), strict=True):
            if found and found[0].about.get("ended") == "interrupted":
                raise KeyboardInterrupt(f"interrupted before {name} were learned; --resume goes on")
            training = second(found[0]) if found else first
            found.append(
                train(
                    training.traces,
                    folder,
                    recipe=training.recipe,
                    codec=training.codec,
                    by=training.by,
                    columns=training.columns,
                    resume=goes_on,
                    force=force or resume,
                    device=device,
                    progress=_half(shown, len(found), name),
                )
            )
    return found[0], found[1]


def _half(shown: Progress, before: int, name: str) -> Progress:
    """The progress of both trainings, from the progress of one."""
    return lambda share, note: shown((before + share) / 2, f"{name}, {note}")
