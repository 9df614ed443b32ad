"""`netdiffus evaluate`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netdiffus.cli.options import (
    Force,
    Json,
    Length,
    Page,
    Reading,
    Seed,
    Sep,
    as_made,
    figures_beside,
    given,
    load,
)
from netdiffus.cli.output import show
from netdiffus.cli.packages import need_eval
from netdiffus.cli.progress import bar
from netdiffus.errors import InputError

if TYPE_CHECKING:
    from netdiffus.tables import ReadOptions


def evaluate(
    real: Annotated[Path, typer.Argument(help="Training traces of the generator.")],
    synthetic: Annotated[Path, typer.Argument(help="Synthetic traces.")],
    out: Page,
    holdout: Annotated[
        Path | None, typer.Option(help="Held-out real traces, not used in training.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Model folder, for the training curve.")
    ] = None,
    attack: Annotated[
        bool,
        typer.Option("--attack", help="Add membership inference attacks; needs --holdout."),
    ] = False,
    sessions: Annotated[
        bool,
        typer.Option("--sessions", help="Also compare sessions of flows; needs --holdout."),
    ] = False,
    cnn: Annotated[
        bool, typer.Option("--cnn", help="Also use a small CNN as classifier; takes a minute.")
    ] = False,
    by: Annotated[
        str | None, typer.Option(help="Column of groups of dependent traces, such as host.")
    ] = None,
    sep: Sep = None,
    length: Length = None,
    *,
    reading: Reading,
    seed: Seed = 0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Compare synthetic with real traces, beside a floor (real vs real) and baselines."""
    need_eval()
    from netdiffus.evaluation import evaluate as run
    from netdiffus.files import claim, write_together
    from netdiffus.model.model import Model
    from netdiffus.sessions import compare_sessions
    from netdiffus.training.checkpoint import read_log

    figures = figures_beside(out)
    options = reading.options(length)
    if attack and holdout is None:
        raise InputError("--attack needs --holdout: real traces that were not used in training")

    read: Callable[[Path, ReadOptions], Any] = load if attack else given  # attacks: in memory

    if sessions and holdout is None:
        raise InputError("--sessions needs --holdout: sessions that were not used in training")
    with claim(out, figures, force=force):
        learned, made = read(real, options), as_made(read, synthetic, options)
        unseen = None if holdout is None else read(holdout, options)
        audited = _audited(model, learned, unseen, made, seed) if attack else None
        with bar("evaluate", 1.0) as progress:
            report = run(
                learned,
                made,
                holdout=unseen,
                by=by,
                sep=sep,
                seed=seed,
                cnn=cnn,
                history=() if model is None else read_log(model),
                about=None if model is None else Model.load(model).about,
                audit=audited,
                progress=progress,
            )
        if sessions and unseen is not None:
            report.figures["sessions"] = compare_sessions(made, learned, unseen, seed=seed)
        write_together({out: report.to_html(), figures: report.to_json()})
    show({"report": str(out), "json": str(figures), "figures": report.summary()}, as_json)


def _audited(model: Path | None, learned: Any, unseen: Any, made: Any, seed: int) -> dict[str, Any]:
    """The figures of an audit, of traces that occur once: others are on both sides of a split."""
    from netdiffus.attacks.audit import audit

    with bar("attack", 1.0) as progress:
        found = audit(
            model,
            train=learned,
            holdout=unseen,
            synthetic=made,
            drop_repeats=True,
            seed=seed,
            progress=progress,
        )
    return found.figures
