"""`netdiffus privatise`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netdiffus.cli.options import TABLE_HELP, Force, Json, Reading, load
from netdiffus.cli.output import show
from netdiffus.cli.private_options import (
    Anyway,
    Classes,
    Delta,
    Most,
    Ranges,
    bounds,
    most_of,
    named,
)
from netdiffus.cli.progress import bar
from netdiffus.errors import InputError


def privatise(
    data: Annotated[Path, typer.Argument(help=TABLE_HELP)],
    out: Annotated[Path, typer.Option("-o", "--out", help="A .parquet file.")],
    epsilon: Annotated[float, typer.Option(help="Privacy budget: 1 is strong, 8 is weak.")],
    delta: Delta = 1e-5,
    by: Annotated[
        str | None, typer.Option(help="Column of groups: protect a group instead of a trace.")
    ] = None,
    most: Most = None,
    classes: Classes = None,
    length: Annotated[
        int | None, typer.Option(help="Most points of a trace to use.", show_default="64")
    ] = None,
    ranges: Ranges = None,
    mix: Annotated[
        str, typer.Option(help="Class frequencies: real as in the data, balanced all equal.")
    ] = "real",
    anyway: Anyway = False,
    ledger: Annotated[
        Path | None, typer.Option(help="File that sums up all releases of this data set.")
    ] = None,
    *,
    reading: Reading,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make private traces with a guarantee: (epsilon, delta)-differential privacy."""
    from netdiffus.files import claim
    from netdiffus.ledger import statement
    from netdiffus.privacy.privatise import privatise as run

    if out.suffix.lower() != ".parquet":
        raise InputError(f"{out}: private traces go into a .parquet file, for their ledger")
    options, most = reading.options(), most_of(most, by)
    with claim(out, force=force):
        traces = load(data, options)
        with bar("privatise", 1.0) as progress:
            private = run(
                traces,
                epsilon,
                delta=delta,
                by=by,
                most=most,
                classes=named(classes),
                length=length,
                ranges=bounds(ranges),
                mix=mix,
                anyway=anyway,
                ledger=ledger,
                progress=progress,
            )
        private.save(out, force=force)
    found = {"traces": str(out), "classes": private.counts()}
    show(found | {"privacy": statement(private.ledger), "ledger": private.ledger}, as_json)
