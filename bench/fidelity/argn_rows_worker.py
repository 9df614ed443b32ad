"""Trains TabularARGN on rows and makes as many; runs in the environment of `peers.py`.

Each column is of the type that its table says: text is a category, a float64 a number whose
encoding the package chooses. All else is its default, but for the number of epochs, which does not
end the training, and for `protect`: whether values of few rows are replaced, its default. The first
column, the class, is asked for.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from mostlyai import engine

MODEL = "MOSTLY_AI/Medium"


def main(source: str, target: str, cpu_seconds: float, seed: int, protect: bool) -> None:
    """Reads training rows from `source` (Parquet), writes made ones to `target`."""
    rows = pd.read_parquet(source)
    engine.set_random_state(seed)
    with tempfile.TemporaryDirectory() as scratch:
        _fit(rows, Path(scratch), cpu_seconds, protect)
        asked = rows[[rows.columns[0]]]
        engine.generate(
            seed_data=asked,
            device="cpu",
            rare_category_replacement_method="SAMPLE",
            workspace_dir=scratch,
        )
        made = pd.read_parquet(Path(scratch) / "SyntheticData")
    made[rows.columns].to_parquet(target, index=False)


def _fit(rows: pd.DataFrame, folder: Path, cpu_seconds: float, protect: bool) -> None:
    """Trains for so much processor time, or until it ends by its own validation."""
    types = {
        name: "TABULAR_NUMERIC_AUTO" if kind.kind == "f" else "TABULAR_CATEGORICAL"
        for name, kind in rows.dtypes.items()
    }
    engine.split(
        tgt_data=rows, model_type="TABULAR", tgt_encoding_types=types, workspace_dir=folder
    )
    engine.analyze(value_protection=protect, workspace_dir=folder)
    engine.encode(workspace_dir=folder)
    began = time.process_time()

    def check(**_: object) -> dict[str, bool]:
        return {"stopExecution": time.process_time() - began > cpu_seconds}

    engine.train(
        model=MODEL, max_epochs=1e6, device="cpu", workspace_dir=folder, update_progress=check
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == "1")
