"""`netdiffus export`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from netdiffus.cli.options import (
    OF_CAPTURES,
    OF_FOLDERS,
    CaptureOptions,
    Force,
    ForSpreadsheets,
    Json,
    Length,
    Ray,
    Reading,
    Shard,
    data_set,
    load,
    refuse_unused,
)
from netdiffus.cli.output import aside, show
from netdiffus.cli.progress import bar


def export(
    ctx: typer.Context,
    data: Annotated[Path, typer.Argument(help="Traces of packets: .parquet, .csv or .npz.")],
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            help="Capture: .pcap or .pcapng; table: .csv or .parquet; arrays: .npz; captures of a "
            "data set: a folder.",
        ),
    ],
    kind: Annotated[
        Literal["capture", "flows", "ppi", "splt", "arrays"],
        typer.Option("--as", help="A capture, a flow table, or arrays X and y of equal length."),
    ] = "capture",
    *,
    capture: CaptureOptions,
    start: Annotated[
        Literal["meta", "sequence", "together"] | None,
        typer.Option(
            help="When flows begin: as in the column start, one after another, or all at once.",
            show_default="meta if there is a column start, else sequence",
        ),
    ] = None,
    addresses: Annotated[
        Literal["own", "meta"],
        typer.Option(
            help="own: addresses reserved for documentation; meta: the columns client and server, "
            "which synthetic sessions have."
        ),
    ] = "own",
    length: Length = None,
    reading: Reading,
    shard: Shard = None,
    ray: Ray = None,
    for_spreadsheets: ForSpreadsheets = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write packet traces as a capture with labels, as a flow table, or as arrays."""
    from netdiffus.export.arrays import write_arrays
    from netdiffus.export.capture import check_capture_path, free_labels, write_capture
    from netdiffus.export.flow_tables import write_flows
    from netdiffus.export.parts import export_to_parts
    from netdiffus.files import claim
    from netdiffus.parts.building import is_folder
    from netdiffus.tables.writing import check_is_csv

    options = reading.options(length)
    if kind in ("capture", "arrays"):
        refuse_unused(ctx, f"--as {kind}", ("for_spreadsheets",))
    if kind != "capture":
        refuse_unused(ctx, f"--as {kind}", (*OF_CAPTURES, *OF_FOLDERS, "start", "addresses"))
        if for_spreadsheets:
            check_is_csv(out)
        with claim(out, force=force):
            traces = load(data, options)
            if kind == "arrays":
                write_arrays(traces, out, length, force=force)
            else:
                write_flows(traces, out, kind, force=force, for_spreadsheets=for_spreadsheets)
        return show({"table": str(out), "traces": len(traces)}, as_json)
    of_capture: dict[str, Any] = {**asdict(capture), "start": start, "addresses": addresses}
    found = data_set(data, options) if is_folder(out) else None
    if found is not None:
        with aside(ray):
            of_files: dict[str, Any] = {"shard": shard, "ray": ray, "force": force}
            return show(export_to_parts(found, out, **of_files, **of_capture), as_json)
    refuse_unused(ctx, f"{out}: a file", OF_FOLDERS)
    check_capture_path(out)
    with claim(out, free_labels(out, force), force=force), bar("export", 1.0) as progress:
        traces = load(data, options)
        written = write_capture(traces, out, force=force, progress=progress, **of_capture)
    show(written, as_json)
