"""`netdiffus demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netdiffus.cli.options import Force, Json, Seed
from netdiffus.cli.output import show
from netdiffus.cli.packages import need_eval
from netdiffus.cli.progress import bar


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for all results.")] = Path(
        "demo"
    ),
    minutes: Annotated[float, typer.Option(help="Minutes to train.")] = 2.5,
    seed: Seed = 0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train on bundled traffic, sample, evaluate, and augment a rare class."""
    need_eval()
    from netdiffus.demo import demo as run
    from netdiffus.demo import where

    report, filled = run(out, minutes=minutes, seed=seed, force=force, bar=bar)
    show(where(out) | {"figures": report.summary() | filled.summary()}, as_json)
