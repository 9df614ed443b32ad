"""`netdiffus complete`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netdiffus.cli.options import (
    TABLE_HELP,
    ChanceSeed,
    Device,
    Fast,
    Force,
    ForSpreadsheets,
    Json,
    ModelFolder,
    Reading,
    Table,
    load,
)
from netdiffus.cli.output import show
from netdiffus.cli.progress import bar


def complete(
    model: ModelFolder,
    partial: Annotated[Path, typer.Argument(help=f"The first points of traces. {TABLE_HELP}")],
    out: Table,
    n: Annotated[int, typer.Option("-n", help="Number of completions of each trace.")] = 1,
    first: Annotated[
        int | None, typer.Option(help="Use only this many points of each trace as known.")
    ] = None,
    *,
    reading: Reading,
    fast: Fast = True,
    seed: ChanceSeed = None,
    device: Device = None,
    for_spreadsheets: ForSpreadsheets = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Continue traces whose first points are known."""
    from netdiffus.completion import complete as run
    from netdiffus.files import claim
    from netdiffus.model.model import Model
    from netdiffus.tables.writing import check_is_csv, check_suffix

    check_suffix(out)
    if for_spreadsheets:
        check_is_csv(out)
    with claim(out, force=force):  # what cannot be written is refused before the work
        loaded = Model.load(model)
        options = reading.options(first)
        traces = load(partial, options)
        with bar("complete", float(len(traces) * n)) as progress:
            made = run(loaded, traces, n, seed=seed, fast=fast, device=device, progress=progress)
        made.save(out, force=force, for_spreadsheets=for_spreadsheets)
    show({"traces": str(out), "classes": made.counts()}, as_json)
