"""Each reader of files from strangers as a function of bytes: it returns, or raises InputError.

What only some readers need is imported by them, because a process fuzzes one reader and torch takes
seconds to import.
"""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import numpy as np

from netdiffus import Traces, import_captures
from netdiffus.capture.labels import labeller
from netdiffus.errors import InputError
from netdiffus.model.files import CONFIG, LOG, STATE, WEIGHTS

if TYPE_CHECKING:
    from torch import nn

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
    from netdiffus import Model

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
    from netdiffus import Model, sample

    put_model(data, folder)
    sample(Model.load(folder), 2, seed=0)


def training_state(data: bytes, folder: Path) -> None:
    """What is read is used for a step, as the optimiser writes where tensors say."""
    import torch

    from netdiffus import Recipe
    from netdiffus.training.checkpoint import State

    beside = shutil.copytree(trained(), folder / "m")
    (beside / STATE).write_bytes(data)
    state = State.new(deepcopy(network()), Recipe(steps=1, weight_decay=0.1))
    state.load(beside, {})
    for parameter in state.net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    state.optimizer.step()


def log(data: bytes, folder: Path) -> None:
    from netdiffus.training.checkpoint import read_log

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


def warm_up(reader: str) -> None:
    """Reads the first inputs of its corpus, which imports all that it needs: it takes seconds."""
    for path in sorted((CORPUS / reader).iterdir())[:3]:
        with suppress(InputError):
            READERS[reader](path.read_bytes(), Path(mkdtemp()))
