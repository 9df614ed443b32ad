"""`netdiffus sample`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from netdiffus.cli.options import (
    OF_CAPTURES,
    OF_FOLDERS,
    CaptureOptions,
    ChanceSeed,
    Device,
    Fast,
    Force,
    ForSpreadsheets,
    Json,
    ModelFolder,
    Ray,
    Shard,
    refuse_unused,
)
from netdiffus.cli.output import aside, say_missing, show
from netdiffus.cli.progress import bar
from netdiffus.errors import InputError

if TYPE_CHECKING:
    from netdiffus.traces.traces import Traces

QUOTED = r'"(?:[^"]|"")*"'  # as in CSV: a quote in it stands twice
OF_SESSIONS = ("where", "seed", "fast", "device")  # and of traces
OF_SEGMENTS = (*OF_SESSIONS, "mix", "start")
NOT_OF_SEGMENTS = ("sampler", "steps", "batch_size", "part_size", "over", *OF_FOLDERS)
NOT_OF_SESSIONS = ("n", "mix", "sampler", "steps", "start", "batch_size", "part_size", *OF_FOLDERS)


def sample(
    ctx: typer.Context,
    model: ModelFolder,
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            help=".parquet, .csv, .npz, .pcap, .pcapng; or a folder, for many traces.",
        ),
    ],
    n: Annotated[
        int | None, typer.Option("-n", help="Number of traces.", show_default="1000")
    ] = None,
    sessions: Annotated[
        int | None,
        typer.Option(help="Number of sessions; needs a model trained with --sessions."),
    ] = None,
    over: Annotated[
        float | None,
        typer.Option(help="With --sessions: they begin within this many seconds, uniformly."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Class, or CLASS=NUMBER of traces; repeatable.", show_default="all"),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="Fix a column: COLUMN=VALUE, COLUMN=MIN..MAX, or COLUMN= for an empty cell; "
            "repeatable. Other columns are drawn given these."
        ),
    ] = None,
    mix: Annotated[
        Literal["balanced", "real"] | None,
        typer.Option(
            help="Class frequencies: all equal, or as in the training traces.",
            show_default="balanced; real with --where but no --label",
        ),
    ] = None,
    sampler: Annotated[
        Literal["dpm++", "ddim", "ddpm"] | None, typer.Option(help="For diffusion models.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="For diffusion and masked models: sampling steps."),
    ] = None,
    fast: Fast = True,
    seed: ChanceSeed = None,
    start: Annotated[int, typer.Option(help="Number of the first trace, to split work.")] = 0,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Traces per batch.", show_default="by their length"),
    ] = None,
    device: Device = None,
    *,
    capture: CaptureOptions,
    starts: Annotated[
        Literal["meta", "sequence", "together"] | None,
        typer.Option(help="For a capture: when flows begin; see export --start."),
    ] = None,
    for_spreadsheets: ForSpreadsheets = False,
    part_size: Annotated[int, typer.Option(help="For a folder: traces per part.")] = 16_384,
    shard: Shard = None,
    ray: Ray = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Generate synthetic traces of chosen classes, as a table or as a capture."""
    from netdiffus.parts.building import is_folder
    from netdiffus.segments.model import is_segment_model
    from netdiffus.sessions.model import is_session_model

    choices: dict[str, Any] = {
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
    of_capture = {**asdict(capture), "start": starts}
    if sessions is not None:
        refuse_unused(ctx, "--sessions", NOT_OF_SESSIONS)
        file = _File(ctx, out, of_capture, for_spreadsheets, force)
        choices = {"over": over, **{name: choices[name] for name in OF_SESSIONS}}
        return show(_sample_sessions(model, sessions, label, file, choices), as_json)
    if is_session_model(model):
        raise InputError(f"{model} is a model of sessions: --sessions says how many")
    if is_segment_model(model):
        refuse_unused(ctx, f"{model}: a model of long traces", NOT_OF_SEGMENTS)
        file = _File(ctx, out, of_capture, for_spreadsheets, force)
        choices = {name: choices[name] for name in OF_SEGMENTS}
        return show(_sample_segments(model, n, label, file, choices), as_json)
    refuse_unused(ctx, f"{model}: a model of traces", ("over",))
    if is_folder(out):
        unused = (*OF_CAPTURES, "starts", "for_spreadsheets")
        refuse_unused(ctx, f"{out}: a folder", unused)
        several = {"part_size": part_size, "shard": shard, "ray": ray, "force": force}
        return _sample_parts(model, n, label, out, several, choices, as_json)
    refuse_unused(ctx, f"{out}: a file", (*OF_FOLDERS, "part_size"))
    file = _File(ctx, out, of_capture, for_spreadsheets, force)
    show(_sample_file(model, n, label, file, choices), as_json)


class _File:
    """A table or a capture to write; refuses other names, and options that it has no use for."""

    def __init__(
        self,
        ctx: typer.Context,
        path: Path,
        of_capture: dict[str, Any],
        for_spreadsheets: bool,
        force: bool,
    ) -> None:
        from netdiffus.export.capture import CAPTURES
        from netdiffus.tables.writing import check_is_csv, check_suffix

        self.path, self.force = path, force
        self.is_capture = path.suffix in CAPTURES
        self._of_capture, self._for_spreadsheets = of_capture, for_spreadsheets
        if for_spreadsheets:
            check_is_csv(path)
        if not self.is_capture:
            check_suffix(path)
            refuse_unused(ctx, f"{path}: a table", (*OF_CAPTURES, "starts"))

    def claimed(self) -> AbstractContextManager[None]:
        """Refuses, before the work, what cannot be written; keeps the name to this run."""
        from netdiffus.export.capture import free_labels
        from netdiffus.files import claim

        labels = (free_labels(self.path, self.force),) if self.is_capture else ()
        return claim(self.path, *labels, force=self.force)

    def write(self, traces: Traces, **of_capture: Any) -> dict[str, Any]:
        """Writes the traces; what is to be said of them."""
        found = {"traces": str(self.path), "classes": traces.counts()}
        if self.is_capture:
            choices = {**self._of_capture, **of_capture, "force": self.force}
            return found | _save_capture(traces, self.path, choices)
        traces.save(self.path, force=self.force, for_spreadsheets=self._for_spreadsheets)
        return found


def _sample_file(
    model: Path, n: int | None, label: list[str] | None, file: _File, choices: dict[str, Any]
) -> dict[str, Any]:
    """Traces in a table or a capture."""
    from netdiffus.export.packets import check_channels
    from netdiffus.model.model import Model
    from netdiffus.sampling import number_of, sample_to_parquet
    from netdiffus.sampling import sample as run

    with file.claimed():
        loaded = Model.load(model)
        if file.is_capture:
            check_channels(loaded.codec.channels)
        n, asked = _asked(n, label, loaded.classes)
        choices = {"label": asked, **choices}
        with bar("sample", float(number_of(n, asked))) as progress:
            if file.path.suffix.lower() == ".parquet":  # however many, never all in memory
                choices |= {"force": file.force, "progress": progress}
                found = sample_to_parquet(loaded, n, file.path, **choices)
                return {"traces": str(file.path), **found}
            traces = run(loaded, n, progress=progress, **choices)
        found = file.write(traces)
    if "residual" in traces.meta.column_names:
        found["residual"] = sum(traces.meta["residual"].to_pylist()) / len(traces)
    return found


def _sample_sessions(
    model: Path, n: int, label: list[str] | None, file: _File, choices: dict[str, Any]
) -> dict[str, Any]:
    """Flows of sessions in a table or a capture."""
    from netdiffus.sessions import SessionModel, sample_sessions

    with file.claimed():
        loaded = SessionModel.load(model)
        asked = _numbered(label, loaded.sessions.classes)
        with bar("sample", float(n)) as progress:
            flows = sample_sessions(loaded, n, label=asked, progress=progress, **choices)
        addresses = {"addresses": "meta"} if "client" in flows.meta.column_names else {}
        return {"sessions": n, **file.write(flows, **addresses)}


def _sample_segments(
    model: Path, n: int | None, label: list[str] | None, file: _File, choices: dict[str, Any]
) -> dict[str, Any]:
    """Whole long traces in a table or a capture."""
    from netdiffus.export.packets import check_channels
    from netdiffus.sampling import number_of
    from netdiffus.segments import SegmentModel, sample_segments

    with file.claimed():
        loaded = SegmentModel.load(model)
        if file.is_capture:
            check_channels(loaded.segments.codec.channels)
        n, asked = _asked(n, label, loaded.classes)
        with bar("sample", float(number_of(n, asked))) as progress:
            traces = sample_segments(loaded, n, label=asked, progress=progress, **choices)
        return file.write(traces)


def _sample_parts(
    model: Path,
    n: int | None,
    label: list[str] | None,
    out: Path,
    several: dict[str, Any],
    choices: dict[str, Any],
    as_json: bool,
) -> None:
    """Traces in parts, of which others may make some."""
    from netdiffus.model.model import Model
    from netdiffus.sampling import number_of
    from netdiffus.sampling_parts import sample_to_parts

    loaded = Model.load(model)
    n, asked = _asked(n, label, loaded.classes)
    with aside(several["ray"]), bar("sample", float(number_of(n, asked))) as progress:
        found = sample_to_parts(
            loaded, n, out, label=asked, progress=progress, **several, **choices
        )
    show({"traces": str(out), **found.summary(), "classes": found.classes}, as_json)
    say_missing(found)


def _asked(
    n: int | None, label: list[str] | None, classes: tuple[str, ...]
) -> tuple[int | None, list[str] | dict[str, int] | None]:
    """How many traces, 1,000 where nothing says it, and of which classes."""
    asked = _numbered(label, classes)
    return (1000 if n is None and not isinstance(asked, dict) else n), asked


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
    """The column and its condition; text in double quotes is not interpreted."""
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


def _save_capture(traces: Traces, out: Path, choices: dict[str, Any]) -> dict[str, int]:
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
