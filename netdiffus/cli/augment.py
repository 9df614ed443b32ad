"""`netdiffus augment`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
    data_set,
    given,
    load,
)
from netdiffus.cli.output import show
from netdiffus.cli.packages import need_eval
from netdiffus.cli.progress import bar
from netdiffus.errors import InputError

if TYPE_CHECKING:
    from netdiffus.augmentation import Choice
    from netdiffus.parts import Dataset
    from netdiffus.tables import ReadOptions


def augment(
    data: Annotated[Path, typer.Argument(help=TABLE_HELP)],
    model: Annotated[
        Path | None, typer.Argument(help="Model of these traces; trained now if not given.")
    ] = None,
    *,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Table to write, or a folder for a data set.")
    ],
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
    options = reading.options(length)
    asked: dict[str, Any] = {
        "recipe": _recipe(model, minutes, steps),
        "times": _multiples(times),
        "classifier": classifier,
        "by": by,
        "sep": sep,
        "seed": seed,
        "device": device,
    }
    number, choice = _run((data, model, validation), options, out, asked, force, for_spreadsheets)
    found = {"traces": str(out), "real": number, "made": sum(choice.made.values())}
    show(found | {"why": str(choice)} | ({"choice": choice.to_dict()} if as_json else {}), as_json)


def _run(
    paths: tuple[Path, Path | None, Path | None],
    options: ReadOptions,
    out: Path,
    asked: dict[str, Any],
    force: bool,
    for_spreadsheets: bool,
) -> tuple[int, Choice]:
    """Traces, written; how many real ones there are, and the choice."""
    from netdiffus.augmentation import augment_to_parts, augment_with_report
    from netdiffus.files import claim
    from netdiffus.model.model import Model
    from netdiffus.parts.building import is_folder
    from netdiffus.tables.writing import check_is_csv, check_suffix

    if for_spreadsheets:
        check_is_csv(out)
    data, at, validation = paths
    if is_folder(out):
        whole = _data_set(data, options, out)
        model = None if at is None else Model.load(at)
        held = None if validation is None else given(validation, options)
        with bar("augment", 1.0) as progress:
            _, choice = augment_to_parts(
                whole, out, model, validation=held, force=force, progress=progress, **asked
            )
        return len(whole), choice
    check_suffix(out)
    with claim(out, force=force):
        real = load(data, options)
        model = None if at is None else Model.load(at)
        held = None if validation is None else load(validation, options)
        with bar("augment", 1.0) as progress:
            traces, choice = augment_with_report(
                real, model, validation=held, progress=progress, **asked
            )
        traces.save(out, force=force, for_spreadsheets=for_spreadsheets)
    return len(real), choice


def _data_set(data: Path, options: ReadOptions, out: Path) -> Dataset:
    """The data set whose traces go to the folder `out`."""
    if (found := data_set(data, options)) is None:
        raise InputError(
            f"{out}: only a data set goes to a folder, and {data} is none, or is read with options "
            f"for other columns; give -o a file, such as {out}.parquet"
        )
    return found


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
