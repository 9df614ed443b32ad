"""The command: `python -m bench.paper_tasks`, from the root of the repository."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.fidelity import sets
from bench.fidelity.kept import ending_well, kept
from bench.paper_tasks import learners, tasks
from bench.paper_tasks.cnn import paper_cnn
from netdiffus import Recipe, sample, train
from netdiffus.files import write_text
from netdiffus.traces.traces import Ints, Traces

TIMES = 5  # synthetic traces for each real one
LEARNERS = {
    "forest": learners.forest,
    "boosting": learners.boosting,
    "network": learners.network,
    "series-cnn": learners.series_cnn,
}


@ending_well
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the tasks and writes results.json."""
    asked = _asked(arguments)
    results = {name: _run(asked, name) for name in asked.sets}
    text = json.dumps(results, indent=1) + "\n"
    write_text(asked.out / "results.json", text)
    print(text)
    return 0


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What is asked for, with the `recipe` of every training."""
    parser = argparse.ArgumentParser("python -m bench.paper_tasks", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("paper_tasks"), help="default %(default)s")
    parser.add_argument("--data", type=Path, help="folder of the public sets")
    parser.add_argument("--sets", nargs="+", choices=list(sets.SETS), default=["video_platforms"])
    parser.add_argument("--learner", choices=[*LEARNERS, "cnn"], default="cnn")
    parser.add_argument("--minutes", type=float, default=5.0, help="of every training")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="seconds: does the bench work?")
    asked = parser.parse_args(arguments)
    asked.recipe = Recipe(minutes=asked.minutes)
    if asked.tiny:
        asked.sets, asked.learner, asked.repeats = [sets.LAB], "forest", 1
        asked.recipe = Recipe(steps=2)
    return asked


def _run(asked: argparse.Namespace, name: str) -> dict[str, Any]:
    """Every task on one set; what is in the folder is not done again."""
    data = sets.load(name, asked.data)
    real, holdout, rare = data.train, data.holdout, data.train.classes[:2]
    learn = paper_cnn(real) if asked.learner == "cnn" else LEARNERS[asked.learner]
    common = {"learn": learn, "repeats": asked.repeats}
    generate = _generator(asked.recipe)
    made = generate(real, tasks.counts(real) * TIMES, 0)
    originals = [n for n in (5, 10, 15, 20) if n <= tasks.counts(real).min()]
    runs = {
        "train_and_test_sets": lambda: tasks.train_and_test_sets(real, made, holdout, **common),
        "synthetic_curve": lambda: tasks.synthetic_curve(real, made, holdout, **common),
        "few_originals": lambda: tasks.few_originals(
            real, holdout, generate, originals=originals, **common
        ),
        "rare_classes": lambda: tasks.rare_classes(real, holdout, generate, rare=rare, **common),
        "unknown_classes": lambda: tasks.unknown_classes(
            real, holdout, made, unknown=rare, **common
        ),
    }
    return {task: kept(asked.out / name / f"{task}.json", run) for task, run in runs.items()}


def _generator(recipe: Recipe) -> tasks.Generator:
    """Trains a model on the traces that are given and samples from it."""

    def generate(known: Traces, counts: Ints, seed: int) -> Traces:
        with tempfile.TemporaryDirectory() as folder:
            model = train(known, Path(folder) / "model", recipe=recipe)
            labels = np.repeat(np.array(known.classes), counts).tolist()
            return sample(model, len(labels), label=labels, seed=seed)

    return generate


if __name__ == "__main__":
    sys.exit(main())
