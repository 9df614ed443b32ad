"""The command line: the verbs of the path, `split` between them, `export` and `info`."""

from __future__ import annotations

import json
import platform
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from safetensors import SafetensorError
from typer.core import TyperGroup

from netdiffus import __version__
from netdiffus.errors import InputError, Note, checked_seed, visible
from netdiffus.progress import bar

if TYPE_CHECKING:
    from netdiffus.networks.build import Codec
    from netdiffus.tables import ReadOptions
    from netdiffus.traces import Traces


class _Commands(TyperGroup):
    """All commands; Ctrl-C ends each of them the same way, whatever typer makes of it."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command that was asked for."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            _fail(stop if stop.args else KeyboardInterrupt("interrupted"), 130)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Learn from labelled network traces, make new ones, and judge them.",
    epilog="Exit codes: 0 done, 1 failed, 2 input at fault, 130 interrupted.",
)

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
TABLE_HELP = "Traces: .parquet, .csv, .npz, .feather, .json, .npy; .gz and the like; a folder."

# How a capture is written.
SizeOf = Annotated[str, typer.Option(help="What sizes are: ip, wire or payload.")]
Version = Annotated[int, typer.Option(help="Of IP: 4 or 6.")]
Mtu = Annotated[int, typer.Option(help="Largest IP packet.")]
Protocol = Annotated[str, typer.Option(help="tcp or udp, where traces do not say.")]
ServerPort = Annotated[int, typer.Option(help="Where traces do not say.")]
Resolution = Annotated[str, typer.Option(help="Of times: ns or us.")]
Small = Annotated[str, typer.Option(help="Sizes below that of the headers: refuse, or raise.")]
Ports = Annotated[
    str, typer.Option(help="Flows whose zeros are called malformed there: move, or keep.")
]

# Options of `export` and `sample` that say how a capture is written; a table has no use for them.
OF_CAPTURES = ("size", "ip", "mtu", "protocol", "server_port", "resolution", "small", "ports")


def main() -> None:
    """Entry point: notes and errors of input and files are one line, not a traceback."""
    warnings.simplefilter("always", Note)
    warnings.showwarning = _show_warning
    try:
        app()
    except (InputError, FileExistsError, FileNotFoundError) as error:
        _fail(error, 2)
    except (OSError, SafetensorError) as error:  # the latter where a disk is full
        _fail(error, 1)
    except MemoryError as error:
        _fail(MemoryError(f"not enough memory: {error}; work on fewer or shorter traces"), 1)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    name = "note" if issubclass(category, Note) else f"warning: {category.__name__}"
    _say(f"{name}: {message}")


@app.command(epilog="Example: netdiffus demo -o demo")
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for everything.")] = Path("demo"),
    minutes: Annotated[float, typer.Option(help="Minutes to train.")] = 2.5,
    seed: Seed = 0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train on bundled traffic, sample, evaluate against held-out traces."""
    _need_eval()
    from netdiffus.demo import demo as run
    from netdiffus.demo import where

    report = run(out, minutes=minutes, seed=seed, force=force, bar=bar)
    _print(where(out) | {"figures": report.summary()}, as_json)


@app.command("import", epilog="Example: netdiffus import captures/ -o traces.parquet")
def import_(
    captures: Annotated[
        list[Path],
        typer.Argument(help="pcap, pcapng, snoop, packed or not; folders of them; -."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Traces: a .parquet file.")],
    label_from: Annotated[
        str | None,
        typer.Option(
            "--label-from",
            "--labels",
            help="dir, file, a list (.csv, .tsv, .json), a column, =NAME for all, or none.",
        ),
    ] = "dir",
    per: Annotated[str, typer.Option(help="A trace per flow, host or capture.")] = "flow",
    packets: Annotated[
        int | None, typer.Option(help="Packets kept of each trace; 0 for all  [default: 64]")
    ] = None,
    bin_width: Annotated[
        float | None, typer.Option(help="Seconds; bytes down and up in bins, not packets.")
    ] = None,
    bins: Annotated[int | None, typer.Option(help="Bins of every trace.")] = None,
    size: Annotated[str, typer.Option(help="Bytes of a packet: ip, wire or payload.")] = "ip",
    direction: Annotated[
        str,
        typer.Option(help="The client sent the first packet, or the syn; or by port."),
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
    tunnels: Annotated[
        bool, typer.Option("--tunnels", help="Look into GRE, VXLAN, GTP-U and other tunnels.")
    ] = False,
    dedup: Annotated[
        bool, typer.Option("--dedup", help="Leave out packets that a mirror port shows twice.")
    ] = False,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Damaged captures are no failure.")
    ] = False,
    threads: Annotated[int | None, typer.Option(help="Captures read at a time.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Turn captures into labelled traces. Exit code 1 if one was damaged."""
    from netdiffus.capture import Rules, convert_captures
    from netdiffus.capture.files import legible

    if packets is not None and bin_width is not None:
        raise InputError(
            "--packets with --bin-width: bins count all packets; leave out one of them"
        )
    rules = Rules(
        per=per,
        packets=64 if packets is None else packets or None,
        bin_width=bin_width,
        bins=bins,
        size=size,
        direction=direction,
        hosts=tuple(host or ()),
        idle=idle,
        active=active,
        tunnels=tunnels,
        dedup=dedup,
    )
    with bar("import", 1.0) as progress:
        report = convert_captures(
            captures,
            out,
            label_from=label_from,
            rules=rules,
            threads=threads,
            force=force,
            progress=progress,
        )
    _print({"written": legible(out), **report.summary(), "rules": report.rules}, as_json)
    for problem in report.problems:
        _say(f"warning: {problem}")
    if report.problems and not lenient:
        raise typer.Exit(1)


@app.command(epilog="Example: netdiffus split traces.parquet --by trace_id --sep '#' -o parts")
def split(
    data: Annotated[Path, typer.Argument(help=TABLE_HELP)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the two parts.")],
    fraction: Annotated[float, typer.Option(help="Share of each class held out.")] = 0.2,
    by: Annotated[str | None, typer.Option(help="Column whose groups stay together.")] = None,
    sep: Annotated[str | None, typer.Option(help="Group by the text before this only.")] = None,
    length: Length = None,
    channels: Channels = None,
    label_column: LabelColumn = None,
    columns: Columns = None,
    flow_column: FlowColumn = None,
    seed: Seed = 0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Hold out a stratified part: train.parquet and holdout.parquet."""
    from netdiffus.files import claim

    options = _read_options(length, channels, label_column, columns, flow_column)
    with claim(out / "train.parquet", out / "holdout.parquet", force=force):
        traces = _load(data, options)
        rest, holdout = traces.split(fraction, by=by, sep=sep, seed=seed)
        (out / "holdout.parquet").unlink(missing_ok=True)  # else it might hold new training traces
        rest.save(out / "train.parquet", force=force)
        holdout.save(out / "holdout.parquet", force=force)
    twins = len(traces) - len(set(traces.duplicates().tolist()))
    _print(
        {
            "train": str(out / "train.parquet"),
            "holdout": str(out / "holdout.parquet"),
            "traces": {"train": len(rest), "holdout": len(holdout)},
            "duplicates": twins,
        },
        as_json,
    )


@app.command(
    epilog="Example: netdiffus privatise traces.parquet --epsilon 4 --length 10 -o private.parquet"
)
def privatise(
    data: Annotated[Path, typer.Argument(help=TABLE_HELP)],
    out: Annotated[Path, typer.Option("-o", "--out", help="A .parquet file.")],
    epsilon: Annotated[float, typer.Option(help="Of the guarantee: 1 is strong, 8 is weak.")],
    delta: Annotated[float, typer.Option(help="Of the guarantee; below 1 / traces.")] = 1e-5,
    by: Annotated[
        str | None, typer.Option(help="Column of groups; a group is protected, not a trace.")
    ] = None,
    most: Annotated[
        int | None, typer.Option(help="Traces of a group that are kept  [default: 20]")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="Public names of the classes, comma-separated; else those of the file."),
    ] = None,
    length: Annotated[
        int | None, typer.Option(help="Points of a trace that are looked at  [default: 64]")
    ] = None,
    ranges: Annotated[
        list[str] | None,
        typer.Option("--range", help="CHANNEL=LO:HI, public bounds; may be repeated."),
    ] = None,
    mix: Annotated[
        str, typer.Option(help="Classes real, as many as there were, or balanced.")
    ] = "real",
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Go on where classes have too few traces.")
    ] = False,
    ledger: Annotated[
        Path | None, typer.Option(help="File that adds up all releases of this data set.")
    ] = None,
    channels: Channels = None,
    label_column: LabelColumn = None,
    columns: Columns = None,
    flow_column: FlowColumn = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make private traces with a guarantee: (epsilon, delta)-differential privacy."""
    from netdiffus.files import claim
    from netdiffus.privacy.ledger import statement
    from netdiffus.privacy.privatise import privatise as run

    if out.suffix.lower() != ".parquet":
        raise InputError(f"{out}: private traces go into a .parquet file, for their ledger")
    if most is not None and by is None:
        raise InputError("--most without --by: name the column of the groups, or leave it out")
    options = _read_options(None, channels, label_column, columns, flow_column)
    names = None if classes is None else [name.strip() for name in classes.split(",")]
    with claim(out, force=force):
        traces = _load(data, options)
        with bar("privatise", 1.0) as progress:
            private = run(
                traces,
                epsilon,
                delta=delta,
                by=by,
                most=20 if most is None else most,
                classes=names,
                length=length,
                ranges=_ranges(ranges or []),
                mix=mix,
                anyway=anyway,
                ledger=ledger,
                progress=progress,
            )
        private.save(out, force=force)
    found = {"traces": str(out), "classes": private.counts()}
    _print(found | {"privacy": statement(private.ledger), "ledger": private.ledger}, as_json)


def _ranges(choices: list[str]) -> dict[str, tuple[float, float]]:
    """{"packet_length": (0, 1460)} from ["packet_length=0:1460"]."""
    found = {}
    for choice in choices:
        name, _, bounds = choice.partition("=")
        low, _, high = bounds.partition(":")
        try:
            found[name] = float(low), float(high)
        except ValueError:
            raise InputError(f"--range {choice}: give a channel and two numbers, x=LO:HI") from None
    return found


@app.command(epilog="Example: netdiffus train traces.parquet --minutes 5 -o model")
def train(
    data: Annotated[Path, typer.Argument(help=TABLE_HELP)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the model.")],
    minutes: Annotated[
        float | None,
        typer.Option(help="Minutes in all; 5 if no --steps either, or those of the resumed run."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps in all.")] = None,
    length: Length = None,
    channels: Channels = None,
    label_column: LabelColumn = None,
    columns: Columns = None,
    flow_column: FlowColumn = None,
    preset: Annotated[
        str, typer.Option(help="default or causal: a transformer; paper: a U-Net on images.")
    ] = "default",
    width: Annotated[int | None, typer.Option(help="Features inside the network.")] = None,
    size: Annotated[
        int | None, typer.Option(help="For paper: height and width of the images.")
    ] = None,
    resize: Annotated[
        str | None, typer.Option(help="For paper, of longer traces: bin or area  [default: bin]")
    ] = None,
    gamma: Annotated[
        float | None, typer.Option(help="For paper: contrast; the paper's is 0.25  [default: 1]")
    ] = None,
    scale: Annotated[
        list[str] | None,
        typer.Option(help="For paper: CHANNEL=minmax, =log, =quantile or =LO:HI; may be repeated."),
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="Column of groups; values of fewer than 5 are never kept.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Traces per step.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Of AdamW, at its highest.")] = 2e-3,
    validation: Annotated[
        float, typer.Option(help="Share of the traces that tell of overfitting; 0 uses all.")
    ] = 0.1,
    seed: Seed = 0,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; CUDA if there is one.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.")] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train a model on labelled traces. Ctrl-C keeps it usable; --resume goes on."""
    from netdiffus.model import Model
    from netdiffus.privacy.ledger import statement
    from netdiffus.training import Recipe
    from netdiffus.training import train as run

    if steps is None and minutes is None:
        budget = Model.load(out).about.get("budget", {}) if resume else {}
        steps, minutes = budget.get("steps"), budget.get("minutes", None if budget else 5.0)
    recipe = Recipe(
        steps=steps,
        minutes=minutes,
        batch_size=batch_size,
        learning_rate=learning_rate,
        validation_fraction=validation,
        seed=seed,
    )
    _check_folder(out, resume, force)
    traces = _load(data, _read_options(None, channels, label_column, columns, flow_column))
    images = {"size": size, "resize": resize, "gamma": gamma, "scale": scale or None}
    codec = _codec(preset, traces, length, {k: v for k, v in images.items() if v is not None})
    with bar("train", 1.0) as progress:
        model = run(
            traces,
            out,
            recipe=recipe,
            codec=codec,
            preset=preset,
            width=width,
            by=by,
            resume=resume,
            force=force,
            device=device,
            progress=progress,
        )
    _print({"model": str(out), **model.about, "privacy": statement(model.ledger)}, as_json)
    if model.about["ended"] == "interrupted":
        raise typer.Exit(130)


def _check_folder(out: Path, resume: bool, force: bool) -> None:
    """Refuses a folder that no model can go into, before the traces are read."""
    from netdiffus.model_files import refuse_model

    refuse_model(out, force or resume)


def _codec(preset: str, traces: Traces, length: int | None, images: dict[str, Any]) -> Codec:
    """The codec that the options of `train` ask for; those in `images` are of images alone."""
    from netdiffus.codec import GasfCodec, TokenCodec, default_size
    from netdiffus.networks.build import IMAGES, check_preset

    check_preset(preset)
    if preset in IMAGES:
        chosen = _scales(images.pop("scale", []))
        size = images.pop("size", default_size(traces))
        return GasfCodec(size, length=length, scales=chosen, **images)
    if images:
        names = ", ".join(f"--{name}" for name in images)
        raise InputError(
            f"{names}: preset {preset!r} draws no images; leave it out, or give --preset paper"
        )
    return TokenCodec(length)


@app.command(epilog="Example: netdiffus sample model -n 1000 --label youtube -o out.parquet")
def sample(
    ctx: typer.Context,
    model: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help=".parquet, .csv, .npz, .pcap or .pcapng.")
    ],
    n: Annotated[int, typer.Option("-n", help="How many traces.")] = 1000,
    label: Annotated[
        list[str] | None, typer.Option(help="Class; may be repeated. All if not given.")
    ] = None,
    mix: Annotated[
        str, typer.Option(help="Classes balanced, or real as in training.")
    ] = "balanced",
    sampler: Annotated[
        str | None, typer.Option(help="Of a model of images: dpm++, ddim or ddpm.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Of a model of images: network runs per trace.")
    ] = None,
    fast: Annotated[bool, typer.Option(help="Native kernels, or the torch reference.")] = True,
    seed: Annotated[int | None, typer.Option(help="Same seed, same traces.")] = None,
    start: Annotated[int, typer.Option(help="Index of the first trace, to split work.")] = 0,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Traces worked on at a time  [default: 256, or 1024 on a GPU]"),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 …")] = None,
    size: SizeOf = "ip",
    ip: Version = 4,
    mtu: Mtu = 1500,
    protocol: Protocol = "tcp",
    server_port: ServerPort = 443,
    starts: Annotated[
        str | None, typer.Option(help="Of a capture: what --start of export is.")
    ] = None,
    resolution: Resolution = "ns",
    small: Small = "refuse",
    ports: Ports = "move",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make new traces of the classes asked for; a capture of them as `export` writes it."""
    from netdiffus.files import claim
    from netdiffus.formats import check_suffix
    from netdiffus.model import Model
    from netdiffus.packets import check_channels
    from netdiffus.pcap_writer import CAPTURES, free_labels
    from netdiffus.sampling import sample as run

    is_capture = out.suffix in CAPTURES
    if not is_capture:
        check_suffix(out)
        _refuse_unused(ctx, f"{out}: a table", (*OF_CAPTURES, "starts"))
    files = (out, free_labels(out, force)) if is_capture else (out,)
    with claim(*files, force=force):  # what cannot be written is refused before the work
        loaded = Model.load(model)
        if is_capture:
            check_channels(loaded.codec.channels)
        with bar("sample", float(n)) as progress:
            traces = run(
                loaded,
                n,
                label=label,
                mix=mix,
                fast=fast,
                sampler=sampler,
                steps=steps,
                seed=seed,
                start=start,
                batch_size=batch_size,
                device=device,
                progress=progress,
            )
        if is_capture:
            choices = {name: ctx.params[name] for name in OF_CAPTURES}
            written = _save_capture(traces, out, {**choices, "start": starts, "force": force})
        else:
            traces.save(out, force=force)
            written = {}
    found: dict[str, Any] = {"traces": str(out), "classes": traces.counts()}
    if "residual" in traces.meta.column_names:
        found["residual"] = sum(traces.meta["residual"].to_pylist()) / len(traces)
    _print(found | written, as_json)


@app.command(epilog="Example: netdiffus export out.parquet -o out.pcapng --ip 6")
def export(
    ctx: typer.Context,
    data: Annotated[Path, typer.Argument(help="Traces of packets: .parquet, .csv or .npz.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help=".pcap or .pcapng; of a table .csv or .parquet.")
    ],
    kind: Annotated[
        str, typer.Option("--as", help="capture, or a table: flows, ppi or splt.")
    ] = "capture",
    size: SizeOf = "ip",
    ip: Version = 4,
    mtu: Mtu = 1500,
    protocol: Protocol = "tcp",
    server_port: ServerPort = 443,
    start: Annotated[
        str | None,
        typer.Option(help="meta, sequence or together; meta if traces have it, else sequence."),
    ] = None,
    resolution: Resolution = "ns",
    small: Small = "refuse",
    ports: Ports = "move",
    length: Length = None,
    label_column: LabelColumn = None,
    columns: Columns = None,
    flow_column: FlowColumn = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write traces of packets as a capture with its labels, or as a table of flows."""
    from netdiffus.files import claim
    from netdiffus.flow_tables import write_flows
    from netdiffus.pcap_writer import check_capture_path, free_labels, write_capture

    if kind != "capture":
        _refuse_unused(ctx, f"--as {kind}", (*OF_CAPTURES, "start"))
    options = _read_options(length, None, label_column, columns, flow_column)
    if kind != "capture":
        with claim(out, force=force):
            traces = _load(data, options)
            write_flows(traces, out, kind, force=force)
        _print({"table": str(out), "traces": len(traces)}, as_json)
        return
    check_capture_path(out)
    with claim(out, free_labels(out, force), force=force), bar("export", 1.0) as progress:
        traces = _load(data, options)
        written = write_capture(
            traces,
            out,
            size=size,
            ip=ip,
            mtu=mtu,
            protocol=protocol,
            server_port=server_port,
            start=start,
            resolution=resolution,
            small=small,
            ports=ports,
            force=force,
            progress=progress,
        )
    _print(written, as_json)


@app.command(
    epilog="Example: netdiffus evaluate train.parquet out.parquet --holdout rest.parquet -o r.html"
)
def evaluate(
    real: Annotated[Path, typer.Argument(help="The traces that the generator learnt from.")],
    synthetic: Annotated[Path, typer.Argument(help="The traces that it made.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="HTML page; figures go to .json beside it.")
    ],
    holdout: Annotated[
        Path | None, typer.Option(help="Real traces that the generator has not seen.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Its folder, for the training curve.")] = None,
    by: Annotated[
        str | None, typer.Option(help="Column whose groups are not independent within.")
    ] = None,
    sep: Annotated[str | None, typer.Option(help="Group by the text before this only.")] = None,
    length: Length = None,
    channels: Channels = None,
    label_column: LabelColumn = None,
    columns: Columns = None,
    flow_column: FlowColumn = None,
    seed: Seed = 0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Compare synthetic with real traces; every figure beside its real-vs-real floor."""
    _need_eval()
    from netdiffus.evaluation import evaluate as run
    from netdiffus.evaluation.page import page
    from netdiffus.files import claim, write_together
    from netdiffus.model import Model
    from netdiffus.training.checkpoint import read_log

    figures = out.with_suffix(".json")
    if figures == out:
        raise InputError(f"{out}: the figures go there; give the page a name that ends in .html")
    options = _read_options(length, channels, label_column, columns, flow_column)
    with claim(out, figures, force=force):
        with bar("evaluate", 1.0) as progress:
            report = run(
                _load(real, options),
                _load(synthetic, options),
                holdout=None if holdout is None else _load(holdout, options),
                by=by,
                sep=sep,
                seed=seed,
                history=() if model is None else read_log(model),
                about=None if model is None else Model.load(model).about,
                progress=progress,
            )
        write_together({out: page(report), figures: report.to_json()})
    _print({"report": str(out), "json": str(figures), "figures": report.summary()}, as_json)


@app.command(epilog="Example: netdiffus info --json")
def info(as_json: Json = False) -> None:
    """Versions, and which backends are there or why one is missing."""
    import torch

    from netdiffus.ops import backends, isa

    packages = (
        "numpy",
        "pyarrow",
        "safetensors",
        "accelerate",
        "scikit-learn",
        "matplotlib",
        "opendp",
        "dp-accounting",
        "triton",
    )
    _print(
        {
            "netdiffus": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "instruction set": isa(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
            "backends": backends(),
            "packages": {name: _version(name) for name in packages},
        },
        as_json,
    )


def _fail(error: BaseException, code: int) -> None:
    message = str(error)
    if isinstance(error, OSError) and error.filename:
        message = f"{error.filename}: {error.strerror}"
    if "--json" in sys.argv:
        print(json.dumps({"error": message}))
    _say(f"error: {message}")
    sys.exit(code)


def _load(path: Path, options: ReadOptions) -> Traces:
    """The traces of a file; what was read as what goes to standard error."""
    from netdiffus.traces import Traces

    traces, report = Traces.load_with_report(path, options)
    _say(f"read {report}")
    return traces


def _read_options(
    length: int | None,
    channels: str | None,
    label_column: str | None,
    columns: list[str] | None,
    flow_column: str | None,
) -> ReadOptions:
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


def _save_capture(traces: Any, out: Path, choices: dict[str, Any]) -> dict[str, int]:
    """Writes a capture; traces that it refuses are kept in another file, for `export`.

    Returns:
        How many flows are not as the traces say, if any: other protocols as UDP, ports moved.
    """
    from netdiffus.pcap_writer import write_capture

    try:
        done = write_capture(traces, out, **choices)
        return {name: done[name] for name in ("as_udp", "moved") if done[name]}
    except (InputError, FileExistsError) as error:
        kept = next(path for path in _beside(out) if not path.exists())
        traces.save(kept)
        raise InputError(f"{error}. The traces are kept in {kept}: netdiffus export") from None


def _beside(out: Path) -> Iterator[Path]:
    """Names for the traces of a capture."""
    yield out.with_suffix(".parquet")
    yield out.with_suffix(".traces.parquet")
    for number in count(2):
        yield out.with_suffix(f".traces-{number}.parquet")


def _refuse_unused(ctx: typer.Context, what: str, names: tuple[str, ...]) -> None:
    sources = {name: ctx.get_parameter_source(name) for name in names}
    given = [
        f"--{name.replace('_', '-')}"
        for name, source in sources.items()
        if source is not None and source.name == "COMMANDLINE"
    ]
    if given:
        raise InputError(f"{what} has no use for {', '.join(given)}; leave out one or the other")


def _scales(choices: list[str]) -> dict[str, str | tuple[float, float]]:
    """{"size": "log", "direction": (-1, 1)} from ["size=log", "direction=-1:1"]."""
    scales: dict[str, str | tuple[float, float]] = {}
    for choice in choices:
        name, equals, kind = choice.partition("=")
        if not equals:
            raise InputError(
                f"--scale {choice}: give a channel and its scale, such as {choice}=log"
            )
        lo, colon, hi = kind.partition(":")
        try:
            scales[name] = (float(lo), float(hi)) if colon else kind
        except ValueError:
            raise InputError(f"--scale {choice}: bounds are two numbers, LO:HI") from None
    return scales


def _need_eval() -> None:
    for name in ("scikit-learn", "scipy", "jinja2", "matplotlib"):
        if _version(name) == "missing":
            raise InputError(f"{name} is not installed; run: pip install 'netdiffus[eval]'")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _print(result: dict[str, Any], as_json: bool) -> None:
    """The result on stdout: JSON, or one `key: value` per line, nested ones indented."""
    if as_json:
        print(json.dumps(result, indent=2, default=str))
        return
    for line in _lines(result):
        _put(line, sys.stdout)


def _say(line: str) -> None:
    _put(line, sys.stderr)


def _put(line: str, stream: TextIO) -> None:
    """One line: labels and names of files, which others choose, cannot steer the terminal."""
    encoding = stream.encoding or "utf-8"
    shown = visible(line).encode(encoding, "backslashreplace").decode(encoding)
    print(shown, file=stream)


def _lines(result: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in result.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        else:
            shown = f"{value:.4g}" if isinstance(value, float) else value
            lines.append(f"{indent}{key}: {shown}")
    return lines
