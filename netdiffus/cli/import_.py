"""`netdiffus import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from netdiffus.cli.options import (
    OF_FOLDERS,
    Force,
    Json,
    PacketSize,
    Ray,
    Shard,
    comma_separated,
    refuse_unused,
)
from netdiffus.cli.output import aside, say, say_missing, show
from netdiffus.cli.progress import bar
from netdiffus.errors import InputError


def import_(
    ctx: typer.Context,
    captures: Annotated[
        list[Path],
        typer.Argument(help="pcap, pcapng, snoop, packed or not; folders of them; -."),
    ],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="Traces: a .parquet file; a folder for many."),
    ],
    label_from: Annotated[
        str | None,
        typer.Option(
            "--label-from",
            "--labels",
            help="dir, file, a list (.csv, .tsv, .json), a column, =NAME for all, or none.",
        ),
    ] = "dir",
    per: Annotated[
        Literal["flow", "host", "capture"], typer.Option(help="A trace per flow, host or capture.")
    ] = "flow",
    keep_flows: Annotated[
        bool,
        typer.Option("--keep-flows", help="A trace per flow; `session` is its host or capture."),
    ] = False,
    packets: Annotated[
        int | None, typer.Option(help="Packets kept of each trace; 0 for all.", show_default="64")
    ] = None,
    bin_width: Annotated[
        float | None, typer.Option(help="Seconds; bytes down and up in bins, not packets.")
    ] = None,
    bins: Annotated[int | None, typer.Option(help="Bins of every trace.")] = None,
    size: Annotated[PacketSize, typer.Option(help="What the size of a packet counts.")] = "ip",
    direction: Annotated[
        Literal["first", "syn", "port"],
        typer.Option(
            help="Who the client is: the sender of the first packet, or of the SYN; or, by port,"
            " the end with the higher one."
        ),
    ] = "first",
    host: Annotated[
        list[str] | None,
        typer.Option(
            help="Network of hosts, such as 192.168.0.0/16, per host or capture; repeatable."
        ),
    ] = None,
    idle: Annotated[
        float | None, typer.Option(help="Seconds without a packet that end a flow; 120.")
    ] = None,
    active: Annotated[
        float | None, typer.Option(help="Seconds after which a flow is cut; 1800.")
    ] = None,
    packet_columns: Annotated[
        str | None,
        typer.Option(help="Of each packet also tcp_flags, ttl and tcp_window, or some of them."),
    ] = None,
    tunnels: Annotated[
        bool, typer.Option("--tunnels", help="Look into GRE, VXLAN, GTP-U and other tunnels.")
    ] = False,
    dedup: Annotated[
        bool, typer.Option("--dedup", help="Leave out packets that a mirror port shows twice.")
    ] = False,
    together: Annotated[
        bool,
        typer.Option(
            "--together",
            help="The captures of a folder are one recording: flows go on in the next, by time.",
        ),
    ] = False,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Damaged captures are no failure.")
    ] = False,
    threads: Annotated[int | None, typer.Option(help="Captures read at a time.")] = None,
    shard: Shard = None,
    ray: Ray = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Turn captures into labelled traces. Exit code 1 if one was damaged."""
    from netdiffus.capture import Rules, convert_captures
    from netdiffus.capture.files.finding import legible
    from netdiffus.capture.import_parts import import_to_parts
    from netdiffus.parts.building import is_folder

    if packets is not None and bin_width is not None:
        raise InputError(
            "--packets with --bin-width: bins count all packets; leave out one of them"
        )
    rules = Rules(
        per=per,
        keep_flows=keep_flows,
        packets=64 if packets is None else packets or None,
        bin_width=bin_width,
        bins=bins,
        size=size,
        direction=direction,
        hosts=tuple(host or ()),
        idle=idle,
        active=active,
        packet_columns=tuple(comma_separated(packet_columns or "")),
        tunnels=tunnels,
        dedup=dedup,
    )
    choices: dict[str, Any] = {
        "label_from": label_from,
        "rules": rules,
        "threads": threads,
        "together": together,
        "force": force,
    }
    made = None
    if not is_folder(out):
        refuse_unused(ctx, f"{out}: a file", OF_FOLDERS)
    with aside(ray), bar("import", 1.0) as progress:
        if is_folder(out):
            made, report = import_to_parts(
                captures, out, shard=shard, ray=ray, progress=progress, **choices
            )
        else:
            report = convert_captures(captures, out, progress=progress, **choices)
    parts = {} if made is None else made.summary()
    show({"written": legible(out), **parts, **report.summary(), "rules": report.rules}, as_json)
    if made is not None:
        say_missing(made)
    for problem in report.problems:
        say(f"warning: {problem}")
    if report.problems and not lenient:
        raise typer.Exit(1)
