"""`netdiffus augment`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from netdiffus.cli.options import (
    TABLE_HELP,
    Device,
    Force,
    ForSpreadsheets,
    Json,
    Length,
    Reading,
    Seed,
    Sep,
    Table,
    load,
)
from netdiffus.cli.output import show
from netdiffus.cli.packages import need_eval
from netdiffus.cli.progress import bar
from netdiffus.errors import InputError


def augment(
    data: Annotated[Path, typer.Argument(help=TABLE_HELP)],
    model: Annotated[
        Path | None, typer.Argument(help="Model of these traces; trained now if not given.")
    ] = None,
    *,
    out: Table,
    validation: Annotated[
        Path | None,
        typer.Option(help="Real traces not used in training; without them 3 models are trained."),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="Minutes of each training.", show_default="as the model, else 5"),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps of each training.")] = None,
    times: Annotated[
        str, typer.Option(help="Numbers of synthetic traces to try, as multiples of the real ones.")
    ] = "1,2,5",
    classifier: Annotated[
        Literal["forest", "cnn", "both"], typer.Option(help="Classifier that must improve.")
    ] = "both",
    by: Annotated[
        str | None, typer.Option(help="Column of groups that splits keep together.")
    ] = None,
    sep: Sep = None,
    length: Length = None,
    reading: Reading,
    seed: Seed = 0,
    device: Device = None,
    for_spreadsheets: ForSpreadsheets = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Add as many synthetic traces as raise classifier accuracy on validation traces."""
    need_eval()
    from netdiffus.augmentation import augment_with_report
    from netdiffus.files import claim
    from netdiffus.model.model import Model
    from netdiffus.tables.writing import check_is_csv, check_suffix

    check_suffix(out)
    if for_spreadsheets:
        check_is_csv(out)
    options = reading.options(length)
    multiples, recipe = _multiples(times), _recipe(model, minutes, steps)
    with claim(out, force=force):
        real = load(data, options)
        held = None if validation is None else load(validation, options)
        with bar("augment", 1.0) as progress:
            traces, choice = augment_with_report(
                real,
                None if model is None else Model.load(model),
                validation=held,
                recipe=recipe,
                times=multiples,
                classifier=classifier,
                by=by,
                sep=sep,
                seed=seed,
                device=device,
                progress=progress,
            )
        traces.save(out, force=force, for_spreadsheets=for_spreadsheets)
    found = {"traces": str(out), "real": len(real), "made": sum(choice.made.values())}
    show(found | {"why": str(choice)} | ({"choice": choice.to_dict()} if as_json else {}), as_json)


def _recipe(model: Path | None, minutes: float | None, steps: int | None) -> Any:
    """A recipe if one is asked for, or needed; None is that of the model."""
    from netdiffus.training import Recipe

    if minutes is None and steps is None:
        return Recipe(minutes=5.0) if model is None else None
    return Recipe(minutes=minutes, steps=steps)


def _multiples(times: str) -> list[int]:
    try:
        return [int(one) for one in times.split(",")]
    except ValueError:
        raise InputError(
            f"--times {times}: give whole numbers between commas, such as 1,2,5"
        ) from None
