"""Trains DoppelGANger and makes traces; runs in the environment of `peers.py`."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version

import numpy as np
import pandas as pd
import torch
from gretel_synthetics.timeseries_dgan.config import DfStyle, DGANConfig
from gretel_synthetics.timeseries_dgan.dgan import DGAN

STEPS_PER_CELL = 20  # the package advises 10 to 20 cells of its LSTM over a series
BATCH = 128
OVERSAMPLE = 4  # classes cannot be asked for, so more traces are made than are kept


class BudgetUsedError(Exception):
    """Ends the training, which knows no other end than a number of epochs."""


def main(source: str, target: str, cpu_seconds: float, seed: int, times: int) -> None:
    """Reads training traces from `source` (.npz), writes made ones to `target`."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    given = dict(np.load(source, allow_pickle=False))
    model = DGAN(config(given))
    spent, batches = fit(model, given, cpu_seconds)
    began = time.process_time()
    count = OVERSAMPLE * times * len(given["lengths"])
    made = model.generate_dataframe(count)
    ms = 1000 * (time.process_time() - began) / count
    about = {
        "package": f"gretel-synthetics {version('gretel-synthetics')}",
        "torch": torch.__version__,
        "cpu_seconds": spent,
        "batches": batches,
        "ms_per_trace": ms,
        "config": {name: str(value) for name, value in asdict(model.config).items()},
    }
    np.savez(target, about=np.array(json.dumps(about)), **arrays(made, given))


def config(given: dict[str, np.ndarray]) -> DGANConfig:
    """The package's defaults but for what depends on the size of the data."""
    length = int(given["lengths"].max())
    least = -(-length // STEPS_PER_CELL)
    return DGANConfig(
        max_sequence_len=length,
        sample_len=next(k for k in range(least, length + 1) if length % k == 0),
        batch_size=min(BATCH, len(given["lengths"])),
        epochs=10**9,
        cuda=False,
    )


def fit(model: DGAN, given: dict[str, np.ndarray], cpu_seconds: float) -> tuple[float, int]:
    """Trains for so much processor time; returns it and the number of batches."""
    names = given["names"].tolist()
    discrete = [n for n, yes in zip(names, given["discrete"], strict=True) if yes]
    batches, began = 0, time.process_time()

    def check(_: object) -> None:
        nonlocal batches
        batches += 1
        if time.process_time() - began > cpu_seconds:
            raise BudgetUsedError

    with suppress(BudgetUsedError):
        model.train_dataframe(
            table(given),
            attribute_columns=["label"],
            feature_columns=names,
            example_id_column="trace",
            time_column="point",
            discrete_columns=["label", *discrete],
            df_style=DfStyle.LONG,
            progress_callback=check,
        )
    return time.process_time() - began, batches


def table(given: dict[str, np.ndarray]) -> pd.DataFrame:
    """One row per point."""
    lengths = given["lengths"]
    inside = np.arange(lengths.max()) < lengths[:, None]
    trace, point = np.nonzero(inside)
    columns = {"trace": trace, "point": point, "label": given["labels"][trace]}
    for c, name in enumerate(given["names"].tolist()):
        columns[name] = given["values"][:, c][inside]
    return pd.DataFrame(columns)


def arrays(made: pd.DataFrame, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same arrays as in `given`, of the made traces."""
    names = given["names"].tolist()
    traces = [one for _, one in made.groupby("trace", sort=False)]
    lengths = np.array([len(one) for one in traces])
    values = np.zeros((len(traces), len(names), int(given["lengths"].max())))
    for i, one in enumerate(traces):
        values[i, :, : len(one)] = one[names].to_numpy(dtype=float).T
    labels = np.array([int(one["label"].iloc[0]) for one in traces])
    return {"values": values, "lengths": lengths, "labels": labels}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), *map(int, sys.argv[4:]))
