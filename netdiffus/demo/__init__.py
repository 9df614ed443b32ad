"""The whole path on bundled traffic: split, train, fill up, sample, evaluate, one folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from netdiffus.demo.filling import Filled, fill_up
from netdiffus.evaluation import Report, evaluate
from netdiffus.files import refuse_existing, write_text
from netdiffus.model.files import refuse_model
from netdiffus.progress import Progress
from netdiffus.sampling import sample
from netdiffus.traces.lab import lab_traffic
from netdiffus.training import Recipe, train
from netdiffus.training.checkpoint import read_log

Bar = Callable[[str, float | None], AbstractContextManager[Progress]]
PARTS = (
    "demo.html",
    "train.parquet",
    "holdout.parquet",
    "model",
    "synthetic.parquet",
    "filled.parquet",
    "report.html",
    "report.json",
)
RARE, KNOWN = "web_tls", 8  # the class that is filled up, and how many traces of it are known
TO_FILL = 0.3  # share of the minutes for the network that learns few traces of that class


def demo(
    folder: Path, *, minutes: float, seed: int, force: bool, bar: Bar
) -> tuple[Report, Filled]:
    """Trains on bundled traffic and writes traces, model, new traces and pages into `folder`.

    The training takes so many minutes, all else about one more.

    Raises:
        KeyboardInterrupt: A training was interrupted; the model is kept.
    """
    recipe = Recipe(minutes=minutes, seed=seed)
    for part in PARTS:
        (refuse_model if part == "model" else refuse_existing)(folder / part, force)
    for part in PARTS:  # an old one beside new ones would be of another run
        if part != "model":
            (folder / part).unlink(missing_ok=True)
    rest, holdout = lab_traffic().split(0.25, by="group", seed=seed)
    rest.save(folder / "train.parquet", force=force)
    holdout.save(folder / "holdout.parquet", force=force)
    with bar("train", 1.0) as progress:
        model = train(
            rest,
            folder / "model",
            recipe=replace(recipe, minutes=(1 - TO_FILL) * minutes),
            force=force,
            progress=progress,
        )
    if model.about["ended"] == "interrupted":
        raise KeyboardInterrupt(f"interrupted; {folder / 'model'} is kept, --force begins again")
    with bar("sample", len(rest)) as progress:
        made = sample(model, len(rest), seed=seed, progress=progress)
    made.save(folder / "synthetic.parquet", force=force)
    with bar("fill up", 1.0) as progress:
        less = replace(recipe, minutes=TO_FILL * minutes)
        filled = fill_up(rest, holdout, RARE, KNOWN, recipe=less, progress=progress)
    filled.made.save(folder / "filled.parquet", force=force)
    with bar("evaluate", 1.0) as progress:
        report = evaluate(
            rest,
            made,
            holdout=holdout,
            by="group",
            seed=seed,
            history=read_log(folder / "model"),
            about=model.about,
            progress=progress,
        )
    from netdiffus.demo.page import page  # matplotlib is slow to import

    report.save_html(folder / "report.html", force=force)
    report.save_json(folder / "report.json", force=force)
    write_text(folder / "demo.html", page(report, filled))
    return report, filled


def where(folder: Path) -> dict[str, Any]:
    """The files that `demo` wrote, by what they are."""
    return {Path(part).name: str(folder / part) for part in PARTS}
