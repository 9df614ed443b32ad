"""Options that several commands have, and the traces that they ask for."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from netdiffus.cli.output import say
from netdiffus.errors import InputError, checked_seed

if TYPE_CHECKING:
    from netdiffus.parts import Dataset
    from netdiffus.tables import ReadOptions
    from netdiffus.traces.traces import Traces


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Seed = Annotated[
    int,
    typer.Option(help="Random seed; the same seed gives the same result.", callback=checked_seed),
]
ChanceSeed = Annotated[
    int | None,
    typer.Option(help="The same seed gives the same traces.", show_default="random"),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing output.")]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1 …", show_default="cuda if there is one")
]
Fast = Annotated[bool, typer.Option(help="Use native kernels, or the torch reference.")]
Sep = Annotated[str | None, typer.Option(help="Separator: group by the text before it.")]
Length = Annotated[int | None, typer.Option(help="Keep at most this many points of each trace.")]
Table = Annotated[Path, typer.Option("-o", "--out", help=".parquet, .csv or .npz.")]
ForSpreadsheets = Annotated[
    bool, typer.Option("--for-spreadsheets", help="For .csv: write no cell as a formula.")
]
Page = Annotated[
    Path, typer.Option("-o", "--out", help="HTML page; a .json beside it holds the figures.")
]
ModelFolder = Annotated[Path, typer.Argument(help="Folder of a trained model.")]
PacketSize = Literal["ip", "wire", "payload"]
Shard = Annotated[
    str | None,
    typer.Option(help="For a folder: make only this share of the parts; 0/4 is the first of 4."),
]
Ray = Annotated[
    str | None,
    typer.Option(help="For a folder: let Ray make the parts: local, auto or HOST:PORT."),
]
OF_FOLDERS = ("shard", "ray")  # a file has no use for them
TABLE_HELP = "Traces: .parquet, .csv, .npz, .feather, .json, .npy, also compressed; or a folder."


@dataclass(frozen=True)
class Reading:
    """How a table is read, but for `length`, which not all commands take."""

    channels: Annotated[
        str | None,
        typer.Option(help="Read only these channels, comma-separated. Names those of an array."),
    ] = None
    label_column: Annotated[
        str | None,
        typer.Option(help="Column of the classes, if not recognised; =NAME: one class of all."),
    ] = None
    columns: Annotated[
        list[str] | None,
        typer.Option(help="OLD=NEW renames a column, as in time=timestamp_us; repeatable."),
    ] = None
    flow_column: Annotated[
        str | None,
        typer.Option(help="Column of the trace, if a row is a packet; file: a trace per file."),
    ] = None
    encoding: Annotated[
        str | None, typer.Option(help="Of text that is not UTF-8, as in gb18030.")
    ] = None

    def options(self, length: int | None = None) -> ReadOptions:
        """The same for `Traces.load`."""
        from netdiffus.tables import ReadOptions

        names = None if self.channels is None else comma_separated(self.channels)
        renamed = dict(_renaming(one) for one in self.columns or ())
        return ReadOptions(
            length, names, self.label_column, renamed, self.flow_column, self.encoding
        )


def _renaming(choice: str) -> tuple[str, str]:
    old, _, new = choice.partition("=")
    if not (old and new):
        raise InputError(f"--columns {choice}: give the old name and the new, OLD=NEW")
    return old, new


@dataclass(frozen=True)
class CaptureOptions:
    """How a capture is written."""

    size: Annotated[
        PacketSize, typer.Option(help="What packet sizes include: from IP on, frame, or payload.")
    ] = "ip"
    ip: Annotated[int, typer.Option(help="IP version, 4 or 6.")] = 4
    mtu: Annotated[int, typer.Option(help="Largest IP packet, in bytes.")] = 1500
    protocol: Annotated[
        Literal["tcp", "udp"], typer.Option(help="For traces without a column protocol.")
    ] = "tcp"
    server_port: Annotated[int, typer.Option(help="For traces without server_port.")] = 443
    resolution: Annotated[
        Literal["ns", "us"], typer.Option(help="Time resolution of the file.")
    ] = "ns"
    small: Annotated[
        Literal["refuse", "raise"],
        typer.Option(
            help="For packets smaller than their headers: refuse the file, or raise them."
        ),
    ] = "refuse"
    ports: Annotated[
        Literal["move", "keep"],
        typer.Option(
            help="move: use another port if tools would report the zero payload as malformed."
        ),
    ] = "move"


# A table has no use for them.
OF_CAPTURES = tuple(one.name for one in fields(CaptureOptions))


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Gives typer an option for each field of a parameter whose type is a dataclass."""
    signature = inspect.signature(command, eval_str=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for name, one in signature.parameters.items():
        if is_dataclass(one.annotation):
            groups[name] = one.annotation
            parameters += _fields(one.annotation)
        else:
            parameters.append(one.replace(kind=one.KEYWORD_ONLY))

    @functools.wraps(command)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{one.name: given.pop(one.name) for one in fields(group)})
        command(**given)

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _fields(group: Any) -> list[inspect.Parameter]:
    hints, kind = get_type_hints(group, include_extras=True), inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(one.name, kind, default=one.default, annotation=hints[one.name])
        for one in fields(group)
    ]


def comma_separated(text: str) -> list[str]:
    """["a", "b"] from "a, b"."""
    return [one.strip() for one in text.split(",") if one.strip()]


def load(path: Path, options: ReadOptions) -> Traces:
    """The traces of a file; what was read as what goes to standard error."""
    from netdiffus.tables.store import Store
    from netdiffus.traces.traces import Traces

    if not (store := Store.of(path)).is_local:
        return _load_remote(store.name, path, options)
    traces, report = Traces.load_with_report(path, options)
    say(f"read {report}")
    return traces


def _load_remote(name: str, path: Path, options: ReadOptions) -> Traces:
    """All traces of a data set in an object store."""
    found = data_set(path, options)
    if found is None:
        raise InputError(
            f"{name}: options for other columns are of no use for a data set in an object store; "
            "leave them out, or copy the data set to a folder"
        )
    say(f"read all of {found}")
    return found.load()


def as_made(read: Callable[[Path, ReadOptions], Any], path: Path, options: ReadOptions) -> Any:
    """Made traces: read as the real ones or, where these have other columns, as sample writes."""
    from netdiffus.tables import ReadOptions

    plain = ReadOptions(options.length)
    try:
        return read(path, options)
    except InputError:
        if options == plain:
            raise
        try:
            made = read(path, plain)
        except InputError:
            made = None
        if made is None:
            raise
    say(f"{path}: read without the options for the columns of the real traces, which it lacks")
    return made


def given(path: Path, options: ReadOptions) -> Traces | Dataset:
    """The traces; a data set stays where it is, unless an option asks for other columns of it."""
    found = data_set(path, options)
    return load(path, options) if found is None else found


def data_set(path: Path, options: ReadOptions) -> Dataset | None:
    """A data set, unless it is none or an option asks for other columns of it."""
    from netdiffus.parts import Dataset
    from netdiffus.tables import ReadOptions
    from netdiffus.tables.manifest import MANIFEST
    from netdiffus.tables.store import Store

    is_one = (path / MANIFEST).exists() or not Store.of(path).is_local
    if not is_one or options != ReadOptions(options.length):
        return None
    return Dataset(path) if options.length is None else Dataset(path).truncate(options.length)


def figures_beside(out: Path) -> Path:
    """Where the figures of a page go."""
    figures = out.with_suffix(".json")
    if figures == out:
        raise InputError(f"{out}: the figures go there; give the page a name that ends in .html")
    return figures


def is_given(ctx: typer.Context, name: str) -> bool:
    """Whether an option is on the command line."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def refuse_unused(ctx: typer.Context, what: str, names: tuple[str, ...]) -> None:
    """Refuses options on the command line that have no effect."""
    options = {one.name: one.opts[0] for one in ctx.command.params}
    given = [options[name] for name in names if is_given(ctx, name)]
    if given:
        raise InputError(f"{what} has no use for {', '.join(given)}; leave out one or the other")
