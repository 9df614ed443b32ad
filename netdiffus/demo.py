"""The whole path on bundled traffic: split, train, sample, evaluate, one folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from netdiffus.evaluation import Report, evaluate
from netdiffus.files import refuse_existing
from netdiffus.model.files import refuse_model
from netdiffus.sampling import sample
from netdiffus.traces.lab import lab_traffic
from netdiffus.training import Recipe, train
from netdiffus.training.checkpoint import read_log

Bar = Callable[[str, float | None], AbstractContextManager[Callable[[float, str], None]]]
PARTS = (
    "train.parquet",
    "holdout.parquet",
    "model",
    "synthetic.parquet",
    "report.html",
    "report.json",
)


def demo(folder: Path, *, minutes: float, seed: int, force: bool, bar: Bar) -> Report:
    """Trains on bundled traffic and writes traces, model, new traces and report into `folder`.

    Args:
        folder: Where everything goes.
        minutes: Time to train; the rest takes about a minute more.
        seed: Of split, training, sampling and evaluation.
        force: Replace what is there.
        bar: Makes a progress bar from (what, total).

    Raises:
        KeyboardInterrupt: Training was interrupted; the model is kept.
    """
    recipe = Recipe(minutes=minutes, seed=seed)
    for part in PARTS:
        (refuse_model if part == "model" else refuse_existing)(folder / part, force)
    rest, holdout = lab_traffic().split(0.25, by="group", seed=seed)
    rest.save(folder / "train.parquet", force=force)
    holdout.save(folder / "holdout.parquet", force=force)
    with bar("train", 1.0) as progress:
        model = train(rest, folder / "model", recipe=recipe, force=force, progress=progress)
    if model.about["ended"] == "interrupted":
        raise KeyboardInterrupt(f"interrupted; {folder / 'model'} is kept, --force begins again")
    with bar("sample", len(rest)) as progress:
        made = sample(model, len(rest), seed=seed, progress=progress)
    made.save(folder / "synthetic.parquet", force=force)
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
    report.save_html(folder / "report.html", force=force)
    report.save_json(folder / "report.json", force=force)
    return report


def where(folder: Path) -> dict[str, Any]:
    """The files that `demo` wrote, by what they are."""
    return {Path(part).name: str(folder / part) for part in PARTS}
