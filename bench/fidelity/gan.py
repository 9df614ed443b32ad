"""A GAN that is not ours, in an environment of its own: DoppelGANger of gretel-synthetics."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import numpy as np
import torch

from netdiffus.errors import InputError
from netdiffus.traces.traces import Floats, Ints, Traces

HERE = Path(__file__).parent
PACKAGE = "gretel-synthetics==0.22.20"
PYTHONS = ((3, 10), (3, 11))  # that the versions of NumPy and pandas which it needs run on


def trained_gan(
    train: Traces, scratch: Path, *, cpu_seconds: float, seed: int
) -> tuple[Traces, dict[str, Any]]:
    """Traces of a GAN trained on `train` for so much processor time.

    Class is an attribute, sizes and volumes are continuous, directions discrete, and the trace's
    end is learned. It cannot be asked for a class: of many traces those are kept that bring each
    class to its number in `train`, and a class that it seldom makes stays short.

    Args:
        train: What to learn from.
        scratch: Folder for the environment and for what is passed to and fro.
        cpu_seconds: Processor time to train, summed over threads.
        seed: Of weights, order and noise.

    Returns:
        The traces; version, settings and cost.

    Raises:
        InputError: This Python is too new for the package.
    """
    python = environment(scratch / "environment")
    source, target = scratch / "train.npz", scratch / "made.npz"
    np.savez(
        source,
        values=train.values,
        lengths=train.lengths,
        labels=train.labels,
        names=np.array([channel.name for channel in train.channels]),
        discrete=np.array([channel.kind == "direction" for channel in train.channels]),
    )
    worker = [python, "-Wignore", HERE / "gan_worker.py", source, target, cpu_seconds, seed]
    subprocess.run([str(part) for part in worker], check=True)
    with np.load(target, allow_pickle=False) as made:
        traces = in_classes(
            as_traces(made["values"], made["lengths"], made["labels"], train), train
        )
        return traces, json.loads(str(made["about"]))


def environment(folder: Path) -> Path:
    """The Python of the GAN's virtual environment, which is made if it is not there."""
    done, python = folder / "installed", folder / "bin" / "python"
    if done.exists():
        return python
    if sys.version_info[:2] not in PYTHONS:
        raise InputError(
            f"{PACKAGE} needs Python 3.10 or 3.11, this is {sys.version_info[0]}."
            f"{sys.version_info[1]}; run the bench with one of these, or with --no-gan"
        )
    venv.create(folder, with_pip=True, clear=True)
    print(f"Installing {PACKAGE} (Gretel Source Available Licence) into {folder}", flush=True)
    install = [str(python), "-m", "pip", "install", "--quiet"]
    same_torch = f"torch=={torch.__version__.split('+')[0]}"
    listed = str(HERE / "gan_requirements.txt")
    subprocess.run([*install, same_torch, "-r", listed], check=True)
    subprocess.run([*install, "--no-deps", PACKAGE], check=True)
    done.touch()
    return python


def as_traces(values: Floats, lengths: Ints, labels: Ints, train: Traces) -> Traces:
    """Made numbers as traces like `train`: whole, in its range, directions ±1."""
    inside = np.arange(values.shape[2]) < lengths[:, None]
    for c, channel in enumerate(train.channels):
        if channel.kind == "direction":
            values[:, c] = np.where(values[:, c] < 0, -1.0, 1.0)
        elif channel.is_integer:
            values[:, c] = np.rint(values[:, c])
        real = train.points(c)
        values[:, c] = np.clip(values[:, c], real.min(), real.max())
    values = np.where(inside[:, None], values, 0.0)
    return Traces(values, lengths, train.channels, labels, train.classes)


def in_classes(made: Traces, train: Traces) -> Traces:
    """The first made traces of each class, at most as many as `train` has."""
    return made[
        np.concatenate(
            [
                np.flatnonzero(made.labels == label)[:n]
                for label, n in enumerate(np.bincount(train.labels, minlength=len(train.classes)))
            ]
        )
    ]
