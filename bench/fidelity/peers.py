"""Generators that are not ours, each installed in a separate environment."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from netdiffus.errors import InputError
from netdiffus.traces.traces import Floats, Ints, Traces

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Peer:
    """A package, and the script that trains it and makes traces.

    Attributes:
        title: As tables name it.
        package: What pip installs, without its dependencies; those that are used stand in
            `NAME_requirements.txt`.
        licence: Of the package.
        pythons: Least and most version that it runs on.
        times: How many times as many traces as there are for training it makes at most: one that
            takes a second for a few traces makes them once.
    """

    title: str
    package: str
    licence: str
    pythons: tuple[tuple[int, int], tuple[int, int]]
    times: int = 5


PEERS = {
    "gan": Peer(
        "GAN", "gretel-synthetics==0.22.20", "Gretel Source Available Licence", ((3, 10), (3, 11))
    ),
    "argn": Peer("TabularARGN", "mostlyai-engine==2.7.3", "Apache-2.0", ((3, 11), (3, 13))),
    "fdiff": Peer("frequency diffusion", "freqdiff==0.1.0", "MIT", ((3, 10), (3, 13)), times=1),
}


def trained_peer(
    name: str, train: Traces, scratch: Path, kept: str, *, cpu_seconds: float, seed: int
) -> tuple[Traces, dict[str, Any]]:
    """`times` as many traces as `train` has, of a peer trained on it for so much processor time.

    `times` is that of the peer.

    The processor time is that of all threads. What each peer does with class, channels and the
    trace's end is said in `NAME_worker.py`. A peer that cannot be asked for a class makes more
    traces, of which those are kept that bring each class to `times` its number in `train`; a class
    that it seldom makes stays short. `scratch` is the folder of the environment, and of what was
    made under the name `kept`, which is not made again.

    Returns:
        The traces; version, settings and cost, `ms_per_trace` too.

    Raises:
        InputError: This Python is too new for the package, or too old.
    """
    python, times = environment(scratch / "environment", name), PEERS[name].times
    target = scratch / f"{kept}.npz"
    if not target.exists():
        half = scratch / f"{kept}.part.npz"
        source = _given(train, scratch / f"{kept}.train.npz")
        worker = [python, "-Wignore", HERE / f"{name}_worker.py", source, half]
        subprocess.run([str(part) for part in (*worker, cpu_seconds, seed, times)], check=True)
        half.replace(target)
    with np.load(target, allow_pickle=False) as made:
        traces = as_traces(made["values"], made["lengths"], made["labels"], train)
        return in_classes(traces, train, times), json.loads(str(made["about"]))


def _given(train: Traces, path: Path) -> Path:
    """The training traces as the workers read them."""
    np.savez(
        path,
        values=train.values,
        lengths=train.lengths,
        labels=train.labels,
        names=np.array([channel.name for channel in train.channels]),
        discrete=np.array([channel.kind == "direction" for channel in train.channels]),
    )
    return path


def environment(folder: Path, name: str) -> Path:
    """The Python of the peer's virtual environment, which is made if it is not there."""
    peer, done, python = PEERS[name], folder / "installed", folder / "bin" / "python"
    if done.exists():
        return python
    least, most = peer.pythons
    if not least <= sys.version_info[:2] <= most:
        raise InputError(
            f"{peer.package} needs Python {_dotted(least)} to {_dotted(most)}, this is "
            f"{_dotted(sys.version_info[:2])}; run the bench with one of these, or leave {name} "
            "out of --peers"
        )
    venv.create(folder, with_pip=True, clear=True)
    print(f"Installing {peer.package} ({peer.licence}) into {folder}", flush=True)
    install = [str(python), "-m", "pip", "install", "--quiet"]
    same_torch = f"torch=={torch.__version__.split('+')[0]}"
    listed = str(HERE / f"{name}_requirements.txt")
    subprocess.run([*install, same_torch, "-r", listed], check=True)
    subprocess.run([*install, "--no-deps", peer.package], check=True)
    done.touch()
    return python


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


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


def in_classes(made: Traces, train: Traces, times: int = 1) -> Traces:
    """The first made traces of each class, at most `times` as many as `train` has.

    In `times` rounds, each with the classes of `train`, as far as there are enough.
    """
    counts = np.bincount(train.labels, minlength=len(train.classes))
    rounds = [
        np.flatnonzero(made.labels == label)[k * n : (k + 1) * n]
        for k in range(times)
        for label, n in enumerate(counts)
    ]
    return made[np.concatenate(rounds)]
