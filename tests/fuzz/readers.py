"""Each reader of files from strangers as a function of bytes: it returns, or raises InputError."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch
import torch._dynamo  # the first step of an optimiser imports it, for seconds
from torch import nn

from netdiffus import Model, Recipe, Traces, import_captures, sample
from netdiffus.capture.labels import labeller
from netdiffus.model.files import CONFIG, LOG, STATE, WEIGHTS
from netdiffus.training.checkpoint import State, read_log

CORPUS = Path(__file__).with_name("corpus")


@cache
def trained() -> Path:
    """The folder of the small model that the corpus holds."""
    folder = Path(mkdtemp())
    put_model((CORPUS / "model" / "trained").read_bytes(), folder)
    (folder / STATE).parent.mkdir()
    return folder


@cache
def network() -> nn.Module:
    """Its network."""
    return Model.load(trained()).network


def put_model(data: bytes, folder: Path) -> None:
    """Config and weights, a NUL byte between them."""
    config, _, weights = data.partition(b"\0")
    (folder / CONFIG).write_bytes(config)
    (folder / WEIGHTS).write_bytes(weights)


def table(suffix: str, **options: Any) -> Callable[[bytes, Path], None]:
    def read(data: bytes, folder: Path) -> None:
        path = folder / f"x{suffix}"
        path.write_bytes(data)
        Traces.load(path, **options)

    return read


def npz(data: bytes, folder: Path) -> None:
    """An archive, or an array: as X beside good labels, as no change survives a sum of ZIP."""
    if not data.startswith(b"PK"):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("X.npy", data)
            with archive.open("y.npy", "w") as file:
                np.save(file, np.array(["a", "b", "a", "b"]))
        data = packed.getvalue()
    table(".npz", channels="packet_length")(data, folder)


def label_list(data: bytes, folder: Path) -> None:
    path = folder / "labels.csv"
    path.write_bytes(data)
    labeller(path)


def model(data: bytes, folder: Path) -> None:
    put_model(data, folder)
    sample(Model.load(folder), 2, seed=0)


def training_state(data: bytes, folder: Path) -> None:
    """What is read is used for a step, as the optimiser writes where tensors say."""
    beside = shutil.copytree(trained(), folder / "m")
    (beside / STATE).write_bytes(data)
    state = State.new(deepcopy(network()), Recipe(steps=1, weight_decay=0.1))
    state.load(beside, {})
    for parameter in state.net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    state.optimizer.step()


def log(data: bytes, folder: Path) -> None:
    beside = shutil.copytree(trained(), folder / "m")
    (beside / LOG).write_bytes(data)
    read_log(beside)


def capture(data: bytes, folder: Path) -> None:
    path = folder / "x.pcap"
    path.write_bytes(data)
    import_captures(path, label_from="=x", threads=1, lenient=True)


READERS: dict[str, Callable[[bytes, Path], None]] = {
    "csv": table(".csv"),
    "packets": table(".csv", by="flow"),  # a row for each
    "json": table(".jsonl"),
    "arff": table(".arff"),
    "parquet": table(".parquet"),
    "arrow": table(".feather"),
    "npz": npz,
    "npy": table(".npy", channels="packet_length"),
    "labels": label_list,
    "model": model,
    "state": training_state,
    "log": log,
    "capture": capture,
}
