"""`netdiffus split`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netdiffus.cli.options import (
    TABLE_HELP,
    Force,
    Json,
    Length,
    Reading,
    Seed,
    Sep,
    data_set,
    load,
)
from netdiffus.cli.output import show


def split(
    data: Annotated[Path, typer.Argument(help=TABLE_HELP)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the two parts.")],
    fraction: Annotated[float, typer.Option(help="Share of each class to hold out.")] = 0.2,
    by: Annotated[str | None, typer.Option(help="Column whose groups stay together.")] = None,
    sep: Sep = None,
    length: Length = None,
    *,
    reading: Reading,
    seed: Seed = 0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Split traces by class into training and held-out ones: train.parquet, holdout.parquet."""
    from netdiffus.files import claim

    options = reading.options(length)
    if (found := data_set(data, options)) is not None:
        parts = found.split(out, fraction, by=by, sep=sep, seed=seed, force=force)
        sides = dict(zip(("train", "holdout"), parts, strict=True))
        paths = {name: str(one.folder) for name, one in sides.items()}
        return show(paths | {"traces": {k: len(v) for k, v in sides.items()}}, as_json)
    with claim(out / "train.parquet", out / "holdout.parquet", force=force):
        traces = load(data, options)
        rest, holdout = traces.split(fraction, by=by, sep=sep, seed=seed)
        (out / "holdout.parquet").unlink(missing_ok=True)  # else it might hold new training traces
        rest.save(out / "train.parquet", force=force)
        holdout.save(out / "holdout.parquet", force=force)
    twins = len(traces) - len(set(traces.duplicates().tolist()))
    show(
        {
            "train": str(out / "train.parquet"),
            "holdout": str(out / "holdout.parquet"),
            "traces": {"train": len(rest), "holdout": len(holdout)},
            "duplicates": twins,
        },
        as_json,
    )
