"""One part of the duel, run as a process of its own by `runs.py`."""

from __future__ import annotations

import json
import resource
import sys
import time
from functools import partial
from pathlib import Path

from bench.duel import figures
from bench.duel.membership import membership
from bench.duel.plan import BASELINES, Judges, Part
from bench.fidelity import sets
from bench.fidelity.kept import Result, kept
from bench.fidelity.sets import FidelitySet
from netdiffus import Model, Recipe, sample, train
from netdiffus.errors import InputError
from netdiffus.networks.build import parameters
from netdiffus.traces.traces import Traces


def main(text: str) -> int:
    """Does the part that the JSON text describes."""
    part = _read(text)
    try:
        fs = sets.load(part.set_name, part.data, seed=part.seed)
        if part.preset is None:
            _without_training(fs, part)
        else:
            _with_training(fs, part)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _read(text: str) -> Part:
    given = json.loads(text)
    data = given["data"] and Path(given["data"])
    known = {"out": Path(given["out"]), "judges": Judges(**given["judges"]), "data": data}
    return Part(**given | known)


def _without_training(fs: FidelitySet, part: Part) -> None:
    kept(part.folder / "real.json", lambda: figures.of_real(fs, part.seed, part.judges))
    for name in BASELINES:
        make = partial(figures.of_baseline, fs, name, part.seed, part.judges)
        kept(part.folder / f"{name}.json", make)


def _with_training(fs: FidelitySet, part: Part) -> None:
    training, found = part.files
    folder = part.folder / "model"
    kept(training, lambda: _train(fs, part, folder))
    kept(found, lambda: _judged(fs, part, Model.load(folder)))


def _train(fs: FidelitySet, part: Part, folder: Path) -> Result:
    recipe = Recipe(cpu_minutes=part.minutes, seed=part.seed)
    model = train(
        fs.train, folder, recipe=recipe, preset=str(part.preset), force=True, device="cpu"
    )
    if model.about["ended"] == "interrupted":
        raise KeyboardInterrupt
    return {
        **model.about,
        "parameters": parameters(model.network),
        "training_peak_mb": _peak_mb(),
    }


def _judged(fs: FidelitySet, part: Part, model: Model) -> Result:
    made, _ = _sampled(fs, model, part.seed, range(1))
    more, ms = _sampled(fs, model, part.seed, range(1, figures.TIMES))
    peak = _peak_mb()  # before the judges take memory of their own
    return {
        **figures.of_made(fs, made, more, part.seed, part.judges),
        "membership": membership(model, fs.train, fs.holdout),
        "ms_per_trace": ms,
        "peak_mb": peak,
    }


def _sampled(fs: FidelitySet, model: Model, seed: int, rounds: range) -> tuple[Traces, float]:
    """Traces with the classes of the training traces, once a round; processor ms for each."""
    labels = fs.train.label_names.tolist()
    n, first = len(rounds) * len(labels), rounds.start * len(labels)
    began = time.process_time()
    made = sample(model, n, label=labels, seed=seed, start=first, device="cpu")
    return made, 1000 * (time.process_time() - began) / n


def _peak_mb() -> float:
    """The most memory that this process has held so far, MiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)  # Linux: KiB


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
