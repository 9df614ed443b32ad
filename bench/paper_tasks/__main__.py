"""The command: `python -m bench.paper_tasks`, from the root of the repository."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Plan:
    """What is done.

    Attributes:
        out: Folder of the results.
        data: Folder of the public sets.
        sets: Their names.
        learner: The kind of classifier.
        recipe: Of every training.
        repeats: Draws of each task.
    """

    out: Path
    data: Path | None
    sets: Sequence[str]
    learner: str
    recipe: Recipe
    repeats: int


@ending_well
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the tasks and writes results.json."""
    plan = _plan(arguments)
    results = {name: _run(plan, name) for name in plan.sets}
    text = json.dumps(results, indent=1) + "\n"
    write_text(plan.out / "results.json", text)
    print(text)
    return 0


def _plan(arguments: Sequence[str] | None) -> Plan:
    parser = argparse.ArgumentParser("python -m bench.paper_tasks", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("paper_tasks"), help="default %(default)s")
    parser.add_argument("--data", type=Path, help="folder of the public sets")
    parser.add_argument("--sets", nargs="+", choices=list(sets.SETS), default=["video_platforms"])
    parser.add_argument("--learner", choices=[*LEARNERS, "cnn"], default="cnn")
    parser.add_argument("--minutes", type=float, default=5.0, help="of every training")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="seconds: does the bench work?")
    chosen = parser.parse_args(arguments)
    if chosen.tiny:
        recipe = Recipe(steps=2)
        return Plan(chosen.out, chosen.data, [sets.LAB], "forest", recipe, 1)
    recipe = Recipe(minutes=chosen.minutes)
    return Plan(chosen.out, chosen.data, chosen.sets, chosen.learner, recipe, chosen.repeats)


def _run(plan: Plan, name: str) -> dict[str, Any]:
    """Every task on one set; what is in the folder is not done again."""
    data = sets.load(name, plan.data)
    learn = paper_cnn(data.train) if plan.learner == "cnn" else LEARNERS[plan.learner]
    common = {"learn": learn, "repeats": plan.repeats}
    rare = data.train.classes[:2]
    made = _generator(plan)(data.train, tasks.counts(data.train) * TIMES, 0)
    fewest = int(tasks.counts(data.train).min())
    originals = [n for n in (5, 10, 15, 20) if n <= fewest]
    runs = {
        "train_and_test_sets": lambda: tasks.train_and_test_sets(
            data.train, made, data.holdout, **common
        ),
        "synthetic_curve": lambda: tasks.synthetic_curve(data.train, made, data.holdout, **common),
        "few_originals": lambda: tasks.few_originals(
            data.train, data.holdout, _generator(plan), originals=originals, **common
        ),
        "rare_classes": lambda: tasks.rare_classes(
            data.train, data.holdout, _generator(plan), rare=rare, **common
        ),
        "unknown_classes": lambda: tasks.unknown_classes(
            data.train, data.holdout, made, unknown=rare, **common
        ),
    }
    return {task: kept(plan.out / name / f"{task}.json", run) for task, run in runs.items()}


def _generator(plan: Plan) -> tasks.Generator:
    """Trains a model on the traces that are given and samples from it."""

    def generate(known: Traces, counts: Ints, seed: int) -> Traces:
        with tempfile.TemporaryDirectory() as folder:
            model = train(known, Path(folder) / "model", recipe=plan.recipe)
            labels = np.repeat(np.array(known.classes), counts).tolist()
            return sample(model, len(labels), label=labels, seed=seed)

    return generate


if __name__ == "__main__":
    sys.exit(main())
