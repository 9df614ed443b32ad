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
        typer.Argument(help="pcap, pcapng or snoop, also compressed; folders; - for stdin."),
    ],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="A .parquet file; or a folder, for many traces."),
    ],
    label_from: Annotated[
        str | None,
        typer.Option(
            "--label-from",
            "--labels",
            help="Source of classes: dir, file, a list (.csv, .tsv, .json), a column, =NAME, none.",
        ),
    ] = "dir",
    per: Annotated[
        Literal["flow", "host", "capture"],
        typer.Option(help="One trace per flow, host or capture."),
    ] = "flow",
    keep_flows: Annotated[
        bool,
        typer.Option(
            "--keep-flows",
            help="With --per host, capture: keep flows; `session` names host or capture.",
        ),
    ] = False,
    packets: Annotated[
        int | None, typer.Option(help="Packets to keep of each trace; 0: all.", show_default="64")
    ] = None,
    bin_width: Annotated[
        float | None, typer.Option(help="Volumes instead of packets: seconds per bin.")
    ] = None,
    bins: Annotated[int | None, typer.Option(help="Number of bins of every trace.")] = None,
    size: Annotated[
        PacketSize, typer.Option(help="What packet sizes include: from IP on, frame, or payload.")
    ] = "ip",
    direction: Annotated[
        Literal["first", "syn", "port"],
        typer.Option(
            help="The client is the sender of the first packet, the sender of the SYN, or the end "
            "with the higher port."
        ),
    ] = "first",
    host: Annotated[
        list[str] | None,
        typer.Option(
            help="With --per host, capture: network of hosts, as 192.168.0.0/16; repeatable."
        ),
    ] = None,
    idle: Annotated[
        float | None,
        typer.Option(help="A flow ends after this many idle seconds.", show_default="120"),
    ] = None,
    active: Annotated[
        float | None,
        typer.Option(help="A flow is cut after this many seconds.", show_default="1800"),
    ] = None,
    packet_columns: Annotated[
        str | None,
        typer.Option(help="More channels: any of tcp_flags, ttl, tcp_window; comma-separated."),
    ] = None,
    tunnels: Annotated[
        bool, typer.Option("--tunnels", help="Read the packets inside GRE, VXLAN, GTP-U, …")
    ] = False,
    dedup: Annotated[
        bool, typer.Option("--dedup", help="Skip packets that a mirror port captured twice.")
    ] = False,
    together: Annotated[
        bool,
        typer.Option(
            "--together",
            help="The captures of a folder are one recording; flows continue across files.",
        ),
    ] = False,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Exit code 0 even if captures are damaged.")
    ] = False,
    threads: Annotated[int | None, typer.Option(help="Captures to read in parallel.")] = None,
    shard: Shard = None,
    ray: Ray = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Convert captures into labelled traces. Exit code 1 if a capture was damaged."""
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
