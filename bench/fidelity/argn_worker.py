"""Trains TabularARGN and makes traces; runs in the environment of `peers.py`.

A trace is a row of a wide table: its class, and a column for each point of each channel, empty
beyond its end. A size and its direction are one signed number, of which each value is a category.
These settings, and the large model, were the best of those tried (docs/benchmarks.md). Columns keep
their order, since points have one; no value is called rare, as these traces are no persons'; and
epochs do not end the training, so that the processor time does, unless it ends early by its own
validation loss. The class is asked for.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from mostlyai import engine

MODEL = "MOSTLY_AI/Large"
SIZES, OTHERS = "TABULAR_NUMERIC_DISCRETE", "TABULAR_NUMERIC_AUTO"


def main(source: str, target: str, cpu_seconds: float, seed: int, times: int) -> None:
    """Reads training traces from `source` (.npz), writes made ones to `target`."""
    given = dict(np.load(source, allow_pickle=False))
    names = given["names"].tolist()
    signed = names == ["packet_length", "direction"]
    encoding = SIZES if signed or names == ["packet_length"] else OTHERS
    seen = joined(given) if signed else given
    engine.set_random_state(seed)
    with tempfile.TemporaryDirectory() as scratch:
        spent = fit(table(seen), Path(scratch), cpu_seconds, encoding)
        began = time.process_time()
        made = generate(Path(scratch), np.tile(given["labels"], times))
        ms = 1000 * (time.process_time() - began) / len(made)
        progress = pd.read_csv(next(Path(scratch).rglob("progress-messages.csv")))
    about = {
        "package": f"mostlyai-engine {version('mostlyai-engine')}",
        "torch": torch.__version__,
        "cpu_seconds": spent,
        "epochs": float(progress["epoch"].max()),
        "ms_per_trace": ms,
        "config": {"model": MODEL, "flexible_generation": False, "value_protection": False},
    }
    found = arrays(made, seen)
    np.savez(target, about=np.array(json.dumps(about)), **(apart(found) if signed else found))


def joined(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Packet length and direction as one channel of signed sizes."""
    size, direction = given["values"][:, :1], given["values"][:, 1:]
    values = np.where(direction < 0, -size, size)
    return {**given, "values": values, "discrete": np.array([False])}


def apart(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The two channels of signed sizes."""
    signed = found["values"]
    return {**found, "values": np.concatenate([abs(signed), np.where(signed < 0, -1.0, 1.0)], 1)}


def fit(rows: pd.DataFrame, folder: Path, cpu_seconds: float, encoding: str) -> float:
    """Trains for so much processor time, or until it ends by itself; returns the time."""
    types = {name: encoding for name in rows.columns if name != "label"}
    engine.split(
        tgt_data=rows,
        model_type="TABULAR",
        tgt_encoding_types={"label": "TABULAR_CATEGORICAL", **types},
        workspace_dir=folder,
    )
    engine.analyze(value_protection=False, workspace_dir=folder)
    engine.encode(workspace_dir=folder)
    began = time.process_time()

    def check(**_: object) -> dict[str, bool]:
        return {"stopExecution": time.process_time() - began > cpu_seconds}

    engine.train(
        model=MODEL,
        max_epochs=1e6,
        enable_flexible_generation=False,
        device="cpu",
        workspace_dir=folder,
        update_progress=check,
    )
    return time.process_time() - began


def generate(folder: Path, labels: np.ndarray) -> pd.DataFrame:
    """A row for each of the labels, in their order."""
    asked = pd.DataFrame({"label": [f"c{label}" for label in labels]})
    engine.generate(seed_data=asked, device="cpu", workspace_dir=folder)
    return pd.read_parquet(folder / "SyntheticData").reset_index(drop=True)


def table(given: dict[str, np.ndarray]) -> pd.DataFrame:
    """One row per trace; directions are categories, all else whole or plain numbers."""
    inside = np.arange(given["values"].shape[2]) < given["lengths"][:, None]
    columns: dict[str, object] = {"label": [f"c{label}" for label in given["labels"]]}
    for t in range(inside.shape[1]):
        for c, discrete in enumerate(given["discrete"]):
            x = pd.Series(np.where(inside[:, t], given["values"][:, c, t], np.nan))
            whole = bool((x.dropna() == x.dropna().round()).all())
            number = x.astype("Int64") if whole else x
            columns[f"p{t}_{c}"] = number.astype("string") if discrete else number
    return pd.DataFrame(columns)


def arrays(made: pd.DataFrame, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same arrays as in `given`, of the made traces, which end before an empty point."""
    _, channels, points = given["values"].shape
    names = [[f"p{t}_{c}" for t in range(points)] for c in range(channels)]
    numbers = [made[of].apply(pd.to_numeric, errors="coerce").to_numpy(float) for of in names]
    values = np.stack(numbers, axis=1)
    empty = np.isnan(values).any(axis=1)
    lengths = np.where(empty.any(axis=1), empty.argmax(axis=1), points).clip(1)
    labels = made["label"].str[1:].astype(int).to_numpy()
    return {"values": np.nan_to_num(values), "lengths": lengths, "labels": labels}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), *map(int, sys.argv[4:]))
