"""`netdiffus complete`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netdiffus.cli.options import (
    TABLE_HELP,
    Channels,
    Columns,
    FlowColumn,
    Force,
    Json,
    LabelColumn,
    load,
    read_options,
)
from netdiffus.cli.output import show
from netdiffus.cli.progress import bar


def complete(
    model: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    partial: Annotated[Path, typer.Argument(help=f"The first points of traces. {TABLE_HELP}")],
    out: Annotated[Path, typer.Option("-o", "--out", help=".parquet, .csv or .npz.")],
    n: Annotated[int, typer.Option("-n", help="How often each trace is completed.")] = 1,
    first: Annotated[
        int | None, typer.Option(help="Take only so many points of each trace as known.")
    ] = None,
    channels: Channels = None,
    label_column: LabelColumn = None,
    columns: Columns = None,
    flow_column: FlowColumn = None,
    fast: Annotated[bool, typer.Option(help="Native kernels, or the torch reference.")] = True,
    seed: Annotated[int | None, typer.Option(help="Same seed, same traces.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 …")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Continue traces of which the first points are known."""
    from netdiffus.completion import complete as run
    from netdiffus.files import claim
    from netdiffus.model.model import Model
    from netdiffus.tables.writing import check_suffix

    check_suffix(out)
    with claim(out, force=force):  # what cannot be written is refused before the work
        loaded = Model.load(model)
        options = read_options(first, channels, label_column, columns, flow_column)
        traces = load(partial, options)
        with bar("complete", float(len(traces) * n)) as progress:
            made = run(loaded, traces, n, seed=seed, fast=fast, device=device, progress=progress)
        made.save(out, force=force)
    show({"traces": str(out), "classes": made.counts()}, as_json)
