"""What made traces add to a few real ones, beside controls: `python -m bench.augment --help`.

Draws a few originals of each class, and asks `netdiffus.augmentation` as a user would: three
trainings on divisions of the originals choose how many traces to make, one more on all of them
makes these. The held-out traces of the set then say what each choice is worth; they choose nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from bench.fidelity import sets
from bench.fidelity.kept import ending_well, kept
from bench.tables import markdown
from netdiffus import Recipe
from netdiffus.augmentation.choice import choose
from netdiffus.augmentation.plans import plan_names, plans
from netdiffus.augmentation.rounds import Rounds
from netdiffus.augmentation.scoring import CLASSIFIERS, CONTROLS, MADE, named_rightly
from netdiffus.evaluation.draws import draw_rows
from netdiffus.files import write_text
from netdiffus.progress import silent
from netdiffus.traces.traces import Floats

PUBLIC = [name for name in sets.SETS if name != sets.LAB]
Record = Mapping[str, Any]


@ending_well
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs all draws, prints the tables and writes results.json and table.md."""
    asked = _asked(arguments)
    each = product(asked.sets, asked.originals, range(asked.draws))
    records = [one for case in each if (one := _kept(asked, *case))]
    write_text(asked.out / "results.json", json.dumps(records, indent=1) + "\n")
    text = table(records, asked.times)
    write_text(asked.out / "table.md", text)
    print(text)
    return 0


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What is asked for, with the `recipe` of every training."""
    parser = argparse.ArgumentParser("python -m bench.augment", description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, default=Path("augment"), help="default %(default)s")
    add("--data", type=Path, help="folder of the public sets")
    add("--sets", nargs="+", choices=list(sets.SETS), default=PUBLIC)
    add("--originals", nargs="+", type=int, default=[5, 10, 20], help="of each class")
    add("--draws", type=int, default=5, help="of the originals; default %(default)s")
    add("--times", nargs="+", type=int, default=[1, 2, 5], help="as many made traces are tried")
    add("--minutes", type=float, default=1.0, help="of processor time, each of four trainings")
    add("--tiny", action="store_true", help="bundled traffic, two steps: does it work?")
    asked = parser.parse_args(arguments)
    asked.recipe = Recipe(cpu_minutes=asked.minutes)
    if asked.tiny:
        asked.sets, asked.originals, asked.draws, asked.times = [sets.LAB], [4], 2, [1]
        asked.recipe = Recipe(steps=2)
    return asked


def _kept(asked: argparse.Namespace, name: str, originals: int, draw: int) -> Record | None:
    """One draw; what is in the folder is not done again. None where a class has too few."""
    path = asked.out / name / f"{originals}-originals-draw-{draw}.json"
    if path.exists():
        return kept(path, dict)
    fs = sets.load(name, asked.data)
    fewest = min(fs.train.counts().values())
    if originals > fewest:
        print(f"  {name}: a class has {fewest} training traces, not {originals}", flush=True)
        return None
    record = {"set": name, "originals": originals, "draw": draw}
    return kept(path, lambda: record | _run(fs, originals, draw, asked.times, asked.recipe))


def _run(
    fs: sets.FidelitySet, originals: int, draw: int, times: Sequence[int], recipe: Recipe
) -> dict[str, Any]:
    """Scores on held-out traces of every set, and what validation chose for each classifier."""
    rng = np.random.default_rng([originals, draw])
    counts = np.full(len(fs.train.classes), originals)
    few = fs.train[draw_rows(fs.train.labels, counts, rng)]
    names = plan_names(counts, times)
    work = Rounds(few, None, recipe, names, draw, None)
    rounds = work.refits(None, None, silent)
    (test,) = work.given(fs.holdout, None, None, silent)
    found: dict[str, Any] = {"minutes": recipe.cpu_minutes, "test": {}, "choice": {}}
    for classifier in CLASSIFIERS:
        answers = [
            named_rightly(one, names, classifier, draw + number)
            for number, one in enumerate(rounds)
        ]
        choice = choose({classifier: answers}, rounds, few.classes, plans(names, counts))
        right = named_rightly(test, names, classifier, draw)
        scores = {" ".join(name).strip(): float(x @ test.weights) for name, x in right.items()}
        found["test"][classifier] = scores
        found["choice"][classifier] = choice.plan
        found.setdefault("validation", {})[classifier] = choice.to_dict()["gains"]
    assert work.model is not None
    return found | {"steps": work.model.about["steps"], "ended": work.model.about["ended"]}


def table(records: Sequence[Record], times: Sequence[int]) -> str:
    """Accuracies by set, number of originals and classifier; then the gains by set."""
    groups: dict[tuple[str, int], list[Record]] = {}
    for one in records:
        groups.setdefault((one["set"], one["originals"]), []).append(one)
    names = ["real", *(f"{kind} {k}x" for kind in (*CONTROLS, MADE) for k in times)]
    heads = f"set | originals of a class | classifier | draws | {' | '.join(names)} | "
    rows = [
        [*group, classifier, *_cells(some, classifier, names)]
        for group, some in groups.items()
        for classifier in CLASSIFIERS
    ]
    accuracies = markdown(f"{heads}by the rule | made traces chosen in", rows)
    return f"{accuracies}\n{_GAINS}\n{_gains_table(records, max(times))}"


_GAINS = """Points gained over the best control, mean over draws ± standard error. The control is
the best on average for the set and the number of originals: of as many traces (real alone,
repeated, jittered; real alone where the rule makes none), or of any number.
"""


def _cells(some: Sequence[Record], classifier: str, names: Sequence[str]) -> list[object]:
    means = [np.mean([one["test"][classifier][name] for one in some]) for name in names]
    by_rule = [one["test"][classifier][_set(one["choice"][classifier])] for one in some]
    cells = [f"{100 * mean:.1f} %" for mean in (*means, np.mean(by_rule))]
    taken = sum(one["choice"][classifier] is not None for one in some)
    return [len(some), *cells, f"{taken} of {len(some)}"]


def _set(plan: str | None) -> str:
    return "real" if plan is None else f"{MADE} {plan}"


def _gains_table(records: Sequence[Record], most: int) -> str:
    """Mean gains of each set over all its draws."""
    rows = []
    for name in dict.fromkeys(one["set"] for one in records):
        some = [one for one in records if one["set"] == name]
        for classifier in CLASSIFIERS:
            always = [f"{most}x"] * len(some)
            chosen = [one["choice"][classifier] for one in some]
            cells = [
                _gains(some, classifier, always, any_number=False),
                _gains(some, classifier, chosen, any_number=False),
                _gains(some, classifier, chosen, any_number=True),
            ]
            rows.append([name, classifier, len(some), *map(_mean_and_error, cells)])
    heads = f"set | classifier | draws | {most}x made, as many | by the rule, as many | any number"
    return markdown(heads, rows)


def _gains(
    some: Sequence[Record], classifier: str, taken: Sequence[str | None], *, any_number: bool
) -> Floats:
    """(D,): of each draw the accuracy by a plan less that of the best control."""
    found = []
    for one, plan in zip(some, taken, strict=True):
        alike = [o["test"][classifier] for o in some if o["originals"] == one["originals"]]
        means = {
            control: np.mean([test[control] for test in alike])
            for control in _controls(alike[0], plan, any_number)
        }
        test = one["test"][classifier]
        found.append(test[_set(plan)] - test[max(means, key=means.__getitem__)])
    return np.array(found)


def _controls(test: Mapping[str, float], plan: str | None, any_number: bool) -> list[str]:
    if any_number:
        return [name for name in test if not name.startswith(MADE)]
    return ["real"] if plan is None else ["real", *(f"{kind} {plan}" for kind in CONTROLS)]


def _mean_and_error(gains: Floats) -> str:
    error = f"{100 * gains.std(ddof=1) / np.sqrt(len(gains)):.1f}" if len(gains) > 1 else "?"
    return f"{100 * gains.mean():+.1f} ± {error}"


if __name__ == "__main__":
    sys.exit(main())
