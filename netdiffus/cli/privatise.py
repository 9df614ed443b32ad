"""`netdiffus privatise`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netdiffus.cli.options import TABLE_HELP, Force, Json, Reading, given
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

if TYPE_CHECKING:
    from netdiffus.parts import Dataset
    from netdiffus.tables import ReadOptions
    from netdiffus.traces.traces import Traces


def privatise(
    data: Annotated[Path, typer.Argument(help=TABLE_HELP)],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="A .parquet file, or a folder for parts.")
    ],
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
    from netdiffus.ledger import statement
    from netdiffus.parts.building import is_folder

    if not is_folder(out) and out.suffix.lower() != ".parquet":
        raise InputError(
            f"{out}: private traces go into a .parquet file or a folder, for their ledger"
        )
    rules = {
        "epsilon": epsilon,
        "delta": delta,
        "by": by,
        "most": most_of(most, by),
        "classes": named(classes),
        "length": length,
        "ranges": bounds(ranges),
        "mix": mix,
        "anyway": anyway,
        "ledger": ledger,
    }
    private = _run(data, reading.options(), out, rules, force)
    found = {"traces": str(out), "classes": private.counts()}
    show(found | {"privacy": statement(private.ledger), "ledger": private.ledger}, as_json)


def _run(
    data: Path, options: ReadOptions, out: Path, rules: dict[str, Any], force: bool
) -> Traces | Dataset:
    """The private traces, written."""
    from netdiffus.files import claim
    from netdiffus.parts.building import is_folder
    from netdiffus.privacy.privatise import privatise, privatise_to_parts

    if is_folder(out):
        traces = given(data, options)
        with bar("privatise", 1.0) as progress:
            return privatise_to_parts(traces, out, force=force, progress=progress, **rules)
    with claim(out, force=force):
        traces = given(data, options)
        with bar("privatise", 1.0) as progress:
            private = privatise(traces, progress=progress, **rules)
        private.save(out, force=force)
    return private
