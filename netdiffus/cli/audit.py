"""`netdiffus audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netdiffus.cli.options import (
    Force,
    Json,
    Length,
    Page,
    Reading,
    Seed,
    as_made,
    figures_beside,
    given,
)
from netdiffus.cli.output import show
from netdiffus.cli.packages import need_eval
from netdiffus.cli.progress import bar


def audit(
    train: Annotated[Path, typer.Option(help="Training traces of the model.")],
    holdout: Annotated[Path, typer.Option(help="Held-out real traces; best 1,000 or more.")],
    out: Page,
    model: Annotated[Path | None, typer.Argument(help="Folder of a trained model.")] = None,
    synthetic: Annotated[
        Path | None, typer.Option(help="Synthetic traces of any generator, to attack.")
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option("-n", help="Traces to sample.", show_default="5 per training trace"),
    ] = None,
    refits: Annotated[
        int, typer.Option(help="Reference (shadow) models to train: 2, or at least 4 for LiRA.")
    ] = 0,
    canaries: Annotated[
        int,
        typer.Option(help="Canaries (unusual traces) in an extra training; 1000 bound epsilon."),
    ] = 0,
    minutes: Annotated[
        float | None,
        typer.Option(help="Minutes of each training.", show_default="as the model"),
    ] = None,
    drop_repeats: Annotated[
        bool, typer.Option("--drop-repeats", help="Attack only traces that occur once.")
    ] = False,
    most: Annotated[int, typer.Option(help="Attack at most this many traces of each set.")] = 2000,
    length: Length = None,
    *,
    reading: Reading,
    seed: Seed = 0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Attack a model or synthetic traces: membership inference, copies, canaries."""
    need_eval()
    from netdiffus.attacks.audit import audit as run
    from netdiffus.attacks.audit_page import page
    from netdiffus.files import claim, write_together

    figures = figures_beside(out)
    options = reading.options(length)
    with claim(out, figures, force=force):
        with bar("audit", 1.0) as progress:
            found = run(
                model,
                train=given(train, options),
                holdout=given(holdout, options),
                synthetic=None if synthetic is None else as_made(given, synthetic, options),
                samples=samples,
                refits=refits,
                canaries=canaries,
                minutes=minutes,
                drop_repeats=drop_repeats,
                most=most,
                seed=seed,
                progress=progress,
            )
        write_together({out: page(found.figures), figures: found.to_json()})
    show({"audit": str(out), "json": str(figures), "figures": found.summary()}, as_json)
