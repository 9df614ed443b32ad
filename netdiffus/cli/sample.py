"""`netdiffus sample`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from netdiffus.cli.capture_options import (
    OF_CAPTURES,
    Mtu,
    Ports,
    Protocol,
    Resolution,
    ServerPort,
    SizeOf,
    Small,
    Version,
)
from netdiffus.cli.options import OF_FOLDERS, Force, Json, Ray, Shard, refuse_unused
from netdiffus.cli.output import aside, say_missing, show
from netdiffus.cli.progress import bar
from netdiffus.errors import InputError

QUOTED = r'"(?:[^"]|"")*"'  # as in CSV: a quote in it stands twice
NOT_OF_SESSIONS = (
    "n",
    "mix",
    "sampler",
    "steps",
    "start",
    "batch_size",
    "part_size",
    "shard",
    "ray",
)


def sample(
    ctx: typer.Context,
    model: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help=".parquet, .csv, .npz, .pcap, .pcapng; a folder for many traces."
        ),
    ],
    n: Annotated[
        int | None, typer.Option("-n", help="How many traces.", show_default="1000")
    ] = None,
    sessions: Annotated[
        int | None,
        typer.Option(help="How many sessions of flows, by a model of them, in one network."),
    ] = None,
    over: Annotated[
        float | None,
        typer.Option(help="With --sessions: seconds over which they begin, evenly at random."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Class, or CLASS=NUMBER of its traces; repeatable. All if not given."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="COLUMN=VALUE, =LEAST..GREATEST, or = for an empty cell; repeatable. The rest is "
            "drawn given these."
        ),
    ] = None,
    mix: Annotated[
        Literal["balanced", "real"] | None,
        typer.Option(
            help="Of classes; real is as in training.",
            show_default="balanced; real with --where alone",
        ),
    ] = None,
    sampler: Annotated[
        Literal["dpm++", "ddim", "ddpm"] | None, typer.Option(help="Of a model with diffusion.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Of a model with diffusion, or masked: network runs per trace."),
    ] = None,
    fast: Annotated[bool, typer.Option(help="Native kernels, or the torch reference.")] = True,
    seed: Annotated[int | None, typer.Option(help="Same seed, same traces.")] = None,
    start: Annotated[int, typer.Option(help="Index of the first trace, to split work.")] = 0,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Traces worked on at a time.", show_default="by their points"),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 …")] = None,
    size: SizeOf = "ip",
    ip: Version = 4,
    mtu: Mtu = 1500,
    protocol: Protocol = "tcp",
    server_port: ServerPort = 443,
    starts: Annotated[
        Literal["meta", "sequence", "together"] | None,
        typer.Option(help="Of a capture: what --start of export is."),
    ] = None,
    resolution: Resolution = "ns",
    small: Small = "refuse",
    ports: Ports = "move",
    for_spreadsheets: Annotated[
        bool,
        typer.Option("--for-spreadsheets", help="Of a .csv: no cell is run as a formula."),
    ] = False,
    part_size: Annotated[
        int | None, typer.Option(help="Of a folder: traces of a part.", show_default="16384")
    ] = None,
    shard: Shard = None,
    ray: Ray = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make new traces of the classes asked for; a capture of them as `export` writes it."""
    from netdiffus.export.capture import CAPTURES, free_labels
    from netdiffus.export.packets import check_channels
    from netdiffus.files import claim
    from netdiffus.model.model import Model
    from netdiffus.parts.building import is_folder
    from netdiffus.sampling import number_of, sample_to_parquet
    from netdiffus.sampling import sample as run
    from netdiffus.sessions.model import is_session_model
    from netdiffus.tables.writing import check_is_csv, check_suffix

    sampling: dict[str, Any] = {
        "where": _where(where or []),
        "mix": mix,
        "fast": fast,
        "sampler": sampler,
        "steps": steps,
        "seed": seed,
        "start": start,
        "batch_size": batch_size,
        "device": device,
    }
    if sessions is not None:
        refuse_unused(ctx, "--sessions", NOT_OF_SESSIONS)
        options = {name: sampling[name] for name in ("where", "seed", "fast", "device")}
        options |= {"label": label, "over": over, "for_spreadsheets": for_spreadsheets}
        return _sample_sessions(ctx, model, sessions, out, options, force, as_json)
    if is_session_model(model):
        raise InputError(f"{model} is a model of sessions: --sessions says how many")
    refuse_unused(ctx, f"{model}: a model of traces", ("over",))
    if is_folder(out):
        unused = (*OF_CAPTURES, "starts", "for_spreadsheets")
        refuse_unused(ctx, f"{out}: a folder", unused)
        several = {"part_size": part_size, "shard": shard, "ray": ray, "force": force}
        return _sample_parts(model, n, label, out, several, sampling, as_json)
    refuse_unused(ctx, f"{out}: a file", (*OF_FOLDERS, "part_size"))
    is_capture = out.suffix in CAPTURES
    if for_spreadsheets:
        check_is_csv(out)
    if not is_capture:
        check_suffix(out)
        refuse_unused(ctx, f"{out}: a table", (*OF_CAPTURES, "starts"))
    files = (out, free_labels(out, force)) if is_capture else (out,)
    with claim(*files, force=force):  # what cannot be written is refused before the work
        loaded = Model.load(model)
        if is_capture:
            check_channels(loaded.codec.channels)
        asked = _numbered(label, loaded.classes)
        n = 1000 if n is None and not isinstance(asked, dict) else n
        total = number_of(n, asked)
        choices = {"label": asked, **sampling}
        with bar("sample", float(total)) as progress:
            if out.suffix.lower() == ".parquet":  # however many, they are never all in memory
                found = sample_to_parquet(loaded, n, out, force=force, progress=progress, **choices)
                return show({"traces": str(out), **found}, as_json)
            traces = run(loaded, n, progress=progress, **choices)
        if is_capture:
            of_capture = {name: ctx.params[name] for name in OF_CAPTURES}
            written = _save_capture(traces, out, {**of_capture, "start": starts, "force": force})
        else:
            traces.save(out, force=force, for_spreadsheets=for_spreadsheets)
            written = {}
    found = {"traces": str(out), "classes": traces.counts()}
    if "residual" in traces.meta.column_names:
        found["residual"] = sum(traces.meta["residual"].to_pylist()) / len(traces)
    show(found | written, as_json)


def _sample_sessions(
    ctx: typer.Context,
    model: Path,
    n: int,
    out: Path,
    options: dict[str, Any],
    force: bool,
    as_json: bool,
) -> None:
    """Flows of sessions, as traces or as one capture."""
    from netdiffus.export.capture import CAPTURES, free_labels
    from netdiffus.files import claim
    from netdiffus.sessions import SessionModel, sample_sessions
    from netdiffus.tables.writing import check_is_csv, check_suffix

    is_capture, spreadsheets = out.suffix in CAPTURES, options.pop("for_spreadsheets")
    if spreadsheets:
        check_is_csv(out)
    if not is_capture:
        check_suffix(out)
        refuse_unused(ctx, f"{out}: a table", (*OF_CAPTURES, "starts"))
    with claim(*((out, free_labels(out, force)) if is_capture else (out,)), force=force):
        loaded = SessionModel.load(model)
        label = _numbered(options.pop("label"), loaded.sessions.classes)
        with bar("sample", float(n)) as progress:
            flows = sample_sessions(loaded, n, label=label, progress=progress, **options)
        written: dict[str, Any] = {"traces": str(out), "sessions": n, "classes": flows.counts()}
        if is_capture:
            of_capture = {name: ctx.params[name] for name in OF_CAPTURES}
            of_capture |= {"start": ctx.params["starts"], "force": force}
            if "client" in flows.meta.column_names:
                of_capture["addresses"] = "meta"
            written |= _save_capture(flows, out, of_capture)
        else:
            flows.save(out, force=force, for_spreadsheets=spreadsheets)
    show(written, as_json)


def _sample_parts(
    model: Path,
    n: int | None,
    label: list[str] | None,
    out: Path,
    several: dict[str, Any],
    sampling: dict[str, Any],
    as_json: bool,
) -> None:
    """Traces in parts, of which others may make some."""
    from netdiffus.model.model import Model
    from netdiffus.sampling import number_of
    from netdiffus.sampling_parts import PART_SIZE, sample_to_parts

    loaded = Model.load(model)
    asked = _numbered(label, loaded.classes)
    n = 1000 if n is None and not isinstance(asked, dict) else n
    size = several.pop("part_size")
    with aside(several["ray"]), bar("sample", float(number_of(n, asked))) as progress:
        found = sample_to_parts(
            loaded,
            n,
            out,
            label=asked,
            part_size=PART_SIZE if size is None else size,
            progress=progress,
            **several,
            **sampling,
        )
    show({"traces": str(out), **found.summary(), "classes": found.classes}, as_json)
    say_missing(found)


def _numbered(
    label: list[str] | None, classes: tuple[str, ...]
) -> list[str] | dict[str, int] | None:
    """The classes as they are, or how many of each where numbers stand behind them."""
    parts = [name.rpartition("=") for name in label or () if name not in classes]
    if not any(equals and number.isdecimal() for _, equals, number in parts):
        return label
    if len(parts) < len(label or ()) or not all(number.isdecimal() for _, _, number in parts):
        raise InputError("--label: give a number with each class, CLASS=NUMBER, or with none")
    names = [name for name, _, _ in parts]
    if len(set(names)) < len(names):
        raise InputError("--label: a class stands twice; add its numbers up")
    return {name: int(number) for name, _, number in parts}


def _where(choices: list[str]) -> dict[str, Any]:
    """{"port": "443", "duration": ("10", "20")} from ["port=443", "duration=10..20"]."""
    found: dict[str, Any] = {}
    for choice in choices:
        name, one = _condition(choice)
        if name not in found:
            found[name] = one
        elif isinstance(one, str) and isinstance(found[name], (str, list)):
            earlier = found[name] if isinstance(found[name], list) else [found[name]]
            found[name] = [*earlier, one]
        else:
            raise InputError(f"--where {name}: give one range, or values alone")
    return found


def _condition(choice: str) -> tuple[str, Any]:
    """A column and what is asked of it; in double quotes either is taken as it is."""
    parts = re.fullmatch(rf"({QUOTED}|[^=\"][^=]*)=(.*)", choice, re.DOTALL)
    if parts is None:
        raise InputError(
            f"--where {choice}: give a column and a value, COLUMN=VALUE; put a name with = and a "
            "value with .. into double quotes"
        )
    name, value = parts.groups()
    if re.fullmatch(QUOTED, value, re.DOTALL):
        return _unquoted(name), _unquoted(value)
    least, dots, greatest = value.partition("..")
    return _unquoted(name), (least or None, greatest or None) if dots else value or None


def _unquoted(text: str) -> str:
    return text[1:-1].replace('""', '"') if re.fullmatch(QUOTED, text, re.DOTALL) else text


def _save_capture(traces: Any, out: Path, choices: dict[str, Any]) -> dict[str, int]:
    """Writes a capture; traces that it refuses are kept in another file, for `export`.

    Returns:
        How many flows are not as the traces say, if any: other protocols as UDP, ports moved.
    """
    from netdiffus.export.capture import write_capture

    try:
        done = write_capture(traces, out, **choices)
        return {name: done[name] for name in ("as_udp", "moved", "mended") if done[name]}
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
