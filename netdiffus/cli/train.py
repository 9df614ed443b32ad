"""`netdiffus train`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from netdiffus.cli.options import (
    TABLE_HELP,
    Device,
    Force,
    Json,
    Length,
    Reading,
    Seed,
    comma_separated,
    given,
    is_given,
    load,
    refuse_unused,
)
from netdiffus.cli.output import show
from netdiffus.cli.private_options import (
    PANEL,
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
    from netdiffus.codec.columns import Choice
    from netdiffus.networks.build import Codec
    from netdiffus.parts import Dataset
    from netdiffus.traces.traces import Traces

# Options of training with --epsilon, and those of `privatise` among them.
PRIVATE = ("delta", "most", "classes", "ranges", "anyway")
NOT_PRIVATE = ("minutes", "runs", "preset", "width", "size", "resize", "gamma", "scale", "rare",
               "with_columns", "sessions", "segments", "validation", "device", "resume",
               "deterministic")  # fmt: skip
IMAGE_PANEL = "Presets image and paper"
LOOKED_AT = 1_000  # traces of a data set by which the size of images is chosen
# Both networks of a model of sessions or of segments are the default one, with other tokens.
OF_TWO_MODELS = ("length", "runs", "preset", "width", "size", "resize", "gamma", "scale", "rare")


def train(
    ctx: typer.Context,
    data: Annotated[Path, typer.Argument(help=TABLE_HELP)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the model.")],
    minutes: Annotated[
        float | None,
        typer.Option(help="Total minutes.", show_default="5 without --steps; as before to resume"),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Total optimiser steps.")] = None,
    length: Length = None,
    runs: Annotated[
        int | None,
        typer.Option(
            help="For long traces: join equal consecutive packets into one point with a count, and "
            "learn this many points; 0: do not join."
        ),
    ] = None,
    *,
    reading: Reading,
    preset: Annotated[
        Literal["default", "causal", "series", "masked", "image", "paper"],
        typer.Option(
            help="default, causal: transformer on tokens; series, masked: diffusion of tokens; "
            "image, paper: U-Net on GASF images."
        ),
    ] = "default",
    width: Annotated[
        int | None, typer.Option(help="Width of the network: its number of features.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Height and width of images.", rich_help_panel=IMAGE_PANEL)
    ] = None,
    resize: Annotated[
        Literal["bin", "area"] | None,
        typer.Option(
            help="How to shrink longer traces.", show_default="bin", rich_help_panel=IMAGE_PANEL
        ),
    ] = None,
    gamma: Annotated[
        float | None,
        typer.Option(
            help="Contrast; 0.25 in the paper.", show_default="1", rich_help_panel=IMAGE_PANEL
        ),
    ] = None,
    scale: Annotated[
        list[str] | None,
        typer.Option(
            help="CHANNEL=minmax, =log, =quantile or =LO:HI; repeatable.",
            rich_help_panel=IMAGE_PANEL,
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="Column of groups. Values that fewer than 5 groups share are not stored."
        ),
    ] = None,
    rare: Annotated[
        Literal["drop", "keep"] | None,
        typer.Option(
            help="keep: also store values of fewer than 5 traces. Then do not share the model or "
            "its traces.",
            show_default="drop",
        ),
    ] = None,
    with_columns: Annotated[
        str | None,
        typer.Option(
            "--with",
            help="Columns of the meta-data to learn, comma-separated, or all.",
            show_default="protocol,server_port if present",
        ),
    ] = None,
    sessions: Annotated[
        bool,
        typer.Option(
            "--sessions",
            help="Learn sessions of flows. Needs columns `session` and `start`, which import "
            "--keep-flows writes.",
        ),
    ] = False,
    segments: Annotated[
        int | None,
        typer.Option(
            help="Learn whole long traces: sums over segments of this many points first, then the "
            "points of each segment; 0: choose the number.",
        ),
    ] = None,
    epsilon: Annotated[
        float | None,
        typer.Option(
            help="Train with differential privacy: 1 is strong, 8 is weak. --by then protects a "
            "group instead of a trace.",
            show_default="no guarantee",
            rich_help_panel=PANEL,
        ),
    ] = None,
    delta: Delta = 1e-5,
    most: Most = None,
    classes: Classes = None,
    ranges: Ranges = None,
    anyway: Anyway = False,
    batch_size: Annotated[
        int, typer.Option(help="Traces per step.", show_default="64; 1024 with --epsilon")
    ] = 64,
    learning_rate: Annotated[
        float,
        typer.Option(
            help="Highest learning rate of AdamW.",
            show_default="0.002; 0.015 or less with --epsilon",
        ),
    ] = 2e-3,
    validation: Annotated[
        float, typer.Option(help="Share of the validation split, which detects overfitting.")
    ] = 0.1,
    seed: Seed = 0,
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic",
            help="Train on one CPU thread: the same weights, bit for bit, whatever number of "
            "threads the machine has.",
        ),
    ] = False,
    device: Device = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the checkpoint.")] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train a model on labelled traces. After Ctrl-C it is usable; --resume continues."""
    from netdiffus.ledger import statement
    from netdiffus.model.files import refuse_model
    from netdiffus.model.model import Model
    from netdiffus.training import Recipe
    from netdiffus.training import train as run

    if epsilon is None:
        refuse_unused(ctx, "training without --epsilon", PRIVATE)
    else:
        refuse_unused(ctx, "--epsilon", NOT_PRIVATE)
        numbers = {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate}
        choices: dict[str, Any] = {k: v for k, v in numbers.items() if is_given(ctx, k)}
        choices |= {"epsilon": epsilon, "delta": delta, "by": by, "most": most_of(most, by)}
        choices |= {"classes": named(classes), "length": length, "ranges": bounds(ranges)}
        choices |= {"anyway": anyway, "seed": seed, "force": force}
        return _train_private(load(data, reading.options()), out, choices, as_json)
    of_two = _of_two_models(sessions, segments)
    if of_two:
        refuse_unused(ctx, of_two, OF_TWO_MODELS)
    if steps is None and minutes is None and not of_two:
        budget = Model.load(out).about.get("budget", {}) if resume else {}
        steps, minutes = budget.get("steps"), budget.get("minutes", None if budget else 5.0)
    recipe = Recipe(
        steps=steps,
        minutes=5.0 if of_two and steps is minutes is None else minutes,
        batch_size=batch_size,
        learning_rate=learning_rate,
        validation_fraction=validation,
        seed=seed,
        deterministic=deterministic,
    )
    if of_two:
        from netdiffus.segments import train_segments
        from netdiffus.sessions import train_sessions

        chosen: dict[str, Any] = {
            "columns": _chosen(with_columns),
            "by": by,
            "resume": resume,
            "force": force,
        }
        chosen |= {"recipe": recipe, "device": device, "traces": load(data, reading.options())}
        if sessions:
            return _train_two(train_sessions, ("sessions", "traces"), out, as_json, **chosen)
        chosen["points"] = segments or None
        return _train_two(train_segments, ("coarse", "segments"), out, as_json, **chosen)
    refuse_model(out, force or resume)  # before the traces are read
    traces = given(data, reading.options())
    images = {"size": size, "resize": resize, "gamma": gamma, "scale": scale or None}
    codec = _codec(preset, traces, length, runs, {k: v for k, v in images.items() if v is not None})
    with bar("train", 1.0) as progress:
        model = run(
            traces,
            out,
            recipe=recipe,
            codec=codec,
            preset=preset,
            width=width,
            by=by,
            columns=_chosen(with_columns),
            rare=rare,
            resume=resume,
            force=force,
            device=device,
            progress=progress,
        )
    if os.environ.get("RANK", "0") == "0":  # only one of several processes prints
        show({"model": str(out), **model.about, "privacy": statement(model.ledger)}, as_json)
    if model.about["ended"] == "interrupted":
        raise typer.Exit(130)


def _train_private(traces: Traces, out: Path, choices: dict[str, Any], as_json: bool) -> None:
    """A model with a guarantee."""
    from netdiffus.ledger import statement
    from netdiffus.training import train_private

    with bar("train", 1.0) as progress:
        model = train_private(traces, out, **choices, progress=progress)
    show({"model": str(out), **model.about, "privacy": statement(model.ledger)}, as_json)
    if model.about["ended"] == "interrupted":
        raise typer.Exit(130)


def _train_two(
    learn: Callable[..., Any], names: tuple[str, str], out: Path, as_json: bool, **choices: Any
) -> None:
    """A model of two networks, in a folder of two models."""
    from netdiffus.ledger import statement

    with bar("train", 1.0) as progress:
        found = learn(path=out, progress=progress, **choices)
    models = {name: getattr(found, name) for name in names}
    about = {name: model.about for name, model in models.items()}
    show({"model": str(out), **about, "privacy": statement(models[names[0]].ledger)}, as_json)
    if any(one["ended"] == "interrupted" for one in about.values()):
        raise typer.Exit(130)


def _of_two_models(sessions: bool, segments: int | None) -> str:
    """The option that asks for a model of two networks; none is empty."""
    if sessions and segments is not None:
        raise InputError("--sessions and --segments are models of different things; give one")
    return "--sessions" if sessions else "" if segments is None else "--segments"


def _chosen(names: str | None) -> Choice:
    """The columns that `--with` names."""
    if names is None or names == "all":
        return names
    return comma_separated(names)


def _codec(
    preset: str,
    traces: Traces | Dataset,
    length: int | None,
    runs: int | None,
    images: dict[str, Any],
) -> Codec:
    """The codec that the options of `train` ask for; those in `images` are of images alone."""
    from netdiffus.codec import GasfCodec, TokenCodec, default_size
    from netdiffus.networks.build import IMAGES, check_preset
    from netdiffus.traces.traces import Traces

    check_preset(preset)
    if preset in IMAGES:
        if runs:
            raise InputError(f"--runs: preset {preset!r} draws images; leave it out")
        chosen = _scales(images.pop("scale", []))
        some = traces if isinstance(traces, Traces) else traces.head(LOOKED_AT)
        size = images.pop("size", default_size(some))
        return GasfCodec(size, length=length, scales=chosen, **images)
    if images:
        names = ", ".join(f"--{name}" for name in images)
        raise InputError(
            f"{names}: preset {preset!r} draws no images; leave it out, or give --preset image or "
            "paper"
        )
    return TokenCodec(length, runs)


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
