"""Options that several commands have, and the traces that they ask for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netdiffus.cli.output import say
from netdiffus.errors import InputError, checked_seed

if TYPE_CHECKING:
    from netdiffus.parts import Dataset
    from netdiffus.tables import ReadOptions
    from netdiffus.traces.traces import Traces


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Seed = Annotated[int, typer.Option(help="Same seed, same result.", callback=checked_seed)]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Length = Annotated[int | None, typer.Option(help="Keep at most this many points of each trace.")]
Channels = Annotated[
    str | None,
    typer.Option(help="Read only these channels, comma-separated; of an array their names."),
]
LabelColumn = Annotated[
    str | None, typer.Option(help="Column of the classes, if it has no usual name.")
]
Columns = Annotated[
    list[str] | None,
    typer.Option(help="OLD=NEW renames a column, as in time=timestamp_us; may be repeated."),
]
FlowColumn = Annotated[
    str | None, typer.Option(help="Column of the trace, where one row is one packet.")
]
Shard = Annotated[
    str | None,
    typer.Option(help="Of a folder: only this share of its parts, as 0/4 is the first of four."),
]
Ray = Annotated[
    str | None,
    typer.Option(help="Of a folder: parts are made by Ray: local, auto or HOST:PORT of its head."),
]
OF_FOLDERS = ("shard", "ray")  # a file has no use for them
TABLE_HELP = "Traces: .parquet, .csv, .npz, .feather, .json, .npy; .gz and the like; a folder."


def read_options(
    length: int | None,
    channels: str | None,
    label_column: str | None,
    columns: list[str] | None,
    flow_column: str | None,
) -> ReadOptions:
    """How the options of a command say that a table is read."""
    from netdiffus.tables import ReadOptions

    pairs = [one.partition("=") for one in columns or ()]
    for old, equals, new in pairs:
        if not (old and equals and new):
            raise InputError(
                f"--columns {old}{equals}{new}: give the old name and the new, OLD=NEW"
            )
    names = None if channels is None else [name.strip() for name in channels.split(",")]
    renamed = {old: new for old, _, new in pairs}
    return ReadOptions(length, names, label_column, renamed, flow_column)


def load(path: Path, options: ReadOptions) -> Traces:
    """The traces of a file; what was read as what goes to standard error."""
    from netdiffus.traces.traces import Traces

    traces, report = Traces.load_with_report(path, options)
    say(f"read {report}")
    return traces


def given(path: Path, options: ReadOptions) -> Traces | Dataset:
    """The traces; a data set stays where it is, unless an option asks for other columns of it."""
    found = data_set(path, options)
    return load(path, options) if found is None else found


def data_set(path: Path, options: ReadOptions) -> Dataset | None:
    """A data set, unless it is none or an option asks for other columns of it."""
    from netdiffus.parts import Dataset
    from netdiffus.tables import ReadOptions
    from netdiffus.tables.manifest import MANIFEST

    if not (path / MANIFEST).exists() or options != ReadOptions(options.length):
        return None
    return Dataset(path) if options.length is None else Dataset(path).truncate(options.length)


def figures_beside(out: Path) -> Path:
    """Where the figures of a page go."""
    figures = out.with_suffix(".json")
    if figures == out:
        raise InputError(f"{out}: the figures go there; give the page a name that ends in .html")
    return figures


def refuse_unused(ctx: typer.Context, what: str, names: tuple[str, ...]) -> None:
    """Refuses options on the command line that have no effect."""
    sources = {name: ctx.get_parameter_source(name) for name in names}
    given = [
        f"--{name.replace('_', '-')}"
        for name, source in sources.items()
        if source is not None and source.name == "COMMANDLINE"
    ]
    if given:
        raise InputError(f"{what} has no use for {', '.join(given)}; leave out one or the other")
