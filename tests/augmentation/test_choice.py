from __future__ import annotations

import json

import numpy as np
import pytest

from netdiffus.augmentation.choice import choose
from netdiffus.augmentation.plans import first_of_each, jittered, most, plan_names, plans, repeated
from netdiffus.augmentation.scoring import CONTROLS, MADE, REAL, Round
from netdiffus.traces.traces import Traces

NAMES = ("a", "b")
OF = {"1x": np.array([30, 10]), "5x": np.array([150, 50])}


def traces(per_class: tuple[int, ...]) -> Traces:
    labels = [NAMES[k] for k, n in enumerate(per_class) for _ in range(n)]
    rng = np.random.default_rng(0)
    return Traces.from_lists({"value": rng.integers(1, 99, (len(labels), 6)).tolist()}, labels)


def rounds(per_class: tuple[int, int] = (60, 20), number: int = 1) -> list[Round]:
    some = traces(per_class)
    return [Round(some, some, some, np.arange(len(some)))] * number


def answers(shares: dict[str, float], n: int = 80, seed: int = 0) -> dict:
    """Random answers, each set's with a chance of its own to be right; 0.5 where none is named."""
    rng = np.random.default_rng(seed)
    names = [REAL, *((kind, plan) for plan in OF for kind in (*CONTROLS, MADE))]
    return {name: rng.random(n) < shares.get(" ".join(name).strip(), 0.5) for name in names}


def test_what_helps_every_classifier_is_taken():
    better = {"made 1x": 0.8, "made 5x": 0.95}
    found = {"forest": [answers(better)], "cnn": [answers(better, seed=1)]}
    choice = choose(found, rounds(), NAMES, OF)
    assert choice.plan == "5x"
    assert choice.made == {"a": 150, "b": 50}
    assert str(choice).startswith("200 synthetic traces: 5x is better than every control")
    assert json.loads(json.dumps(choice.to_dict()))["gains"]["5x"]["mean"] > 0.3


def test_what_one_classifier_is_worse_with_is_not_taken():
    found = {
        "forest": [answers({"made 1x": 1.0, "made 5x": 1.0})],
        "cnn": [answers({"made 1x": 0.4, "made 5x": 0.4}, seed=1)],
    }
    choice = choose(found, rounds(), NAMES, OF)
    assert choice.plan is None
    assert choice.made == {"a": 0, "b": 0}
    assert "one classifier is worse" in str(choice)


def test_a_control_of_another_number_must_be_beaten_too():
    shares = {"made 1x": 0.8, "made 5x": 0.8, "jittered 5x": 0.97}
    choice = choose({"forest": [answers(shares, 400)]}, rounds((300, 100)), NAMES, OF)
    assert choice.gains["1x"].is_sure  # over as many controls
    assert choice.plan is None
    assert "Better than real traces alone: real and jittered 5x (forest)" in str(choice)


def test_chance_alone_is_seldom_taken():
    """A gain over the best of three equals is below 0 on average, and must exceed its error."""
    taken = [
        choose({"forest": [answers({}, seed=s)]}, rounds(), NAMES, OF).plan for s in range(100)
    ]
    # One of 7 equal sets is best by chance in 2 of 7 cases at most, and few of those are sure.
    assert sum(plan is not None for plan in taken) < 20


def test_scores_are_means_over_classes_and_errors_are_those_of_a_mean():
    shares = {"made 1x": 0.9, "real": 0.5}
    found = [answers(shares)]
    (one,) = rounds()
    choice = choose({"forest": found}, [one], NAMES, OF)
    of_class = [found[0][MADE, "1x"][one.validation.labels == k].mean() for k in (0, 1)]
    assert choice.scores["made 1x"]["forest"] == pytest.approx(np.mean(of_class))
    gain = choice.gains["1x"]
    control = tuple(gain.controls["forest"].split()) if gain.controls["forest"] != "real" else REAL
    difference = found[0][MADE, "1x"].astype(float) - found[0][control]
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 80, (4000, 80))  # a bootstrap over traces; weights go with the traces
    drawn = (difference * one.weights)[rows].sum(axis=1)
    assert gain.mean == pytest.approx((difference * one.weights).sum())
    # The bootstrap's own error is 1 / sqrt(2 * 4000) of it, and n - 1 for n is 0.6 % more.
    assert gain.error == pytest.approx(drawn.std(), rel=0.05)


def test_traces_of_one_group_are_one_unit():
    """Each trace eight times in one group: the error is that of a tenth of the traces."""
    found = answers({"made 1x": 0.8}, 10)
    again = {name: np.tile(right, 8) for name, right in found.items()}
    few = traces((6, 4))
    rows = np.tile(np.arange(10), 8)
    many = Round(few, few[rows], few, rows)
    alone = choose({"forest": [found]}, [Round(few, few, few, np.arange(10))], NAMES, OF)
    grouped = choose({"forest": [again]}, [many], NAMES, OF)
    assert grouped.gains["1x"].mean == pytest.approx(alone.gains["1x"].mean)
    assert grouped.gains["1x"].error == pytest.approx(alone.gains["1x"].error)


def test_plans_fill_classes_up_only_where_they_differ():
    counts = np.array([8, 3, 1])
    names = plan_names(counts, [1, 5])
    found = plans(names, counts)
    assert {name: counts.tolist() for name, counts in found.items()} == {
        "1x": [8, 3, 1],
        "5x": [40, 15, 5],
        "filled": [0, 5, 7],
        "filled 2x": [8, 13, 15],
    }
    assert most(found).tolist() == [40, 15, 15]
    assert plan_names(np.array([4, 4]), [2]) == ["2x"]
    # A division may be of equal classes, or of others: the plans are the same.
    assert plans(names, np.array([2, 2, 2]))["filled"].tolist() == [0, 0, 0]


def test_first_of_each_is_what_a_loop_takes():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 60)
    counts = np.array([3, 0, 100, 5])
    taken, left = [], counts.copy()
    for row, label in enumerate(labels):
        if left[label]:
            taken.append(row)
            left[label] -= 1
    assert first_of_each(labels, counts).tolist() == taken


def test_controls_are_as_many_and_of_the_right_class():
    real = traces((5, 2))
    keys = {value.tobytes(): label for value, label in zip(real.values, real.labels, strict=True)}
    again = repeated(real, np.array([12, 4]), np.random.default_rng(0))
    assert again.counts() == {"a": 12, "b": 4}
    labels = [keys[value.tobytes()] for value in again.values]
    assert labels == again.labels.tolist()
    times = np.unique([value.tobytes() for value in again.values], return_counts=True)[1]
    assert sorted(times.tolist()) == [2, 2, 2, 2, 2, 3, 3]
    shaken = jittered(real, np.array([12, 4]), np.random.default_rng(0))
    assert shaken.counts() == {"a": 12, "b": 4}
    assert not {value.tobytes() for value in shaken.values} & set(keys)
