from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from netdiffus import InputError, Traces, evaluate
from netdiffus.evaluation import intervals
from netdiffus.evaluation.candidates import CandidateScorer
from netdiffus.evaluation.draws import halves, in_two
from netdiffus.evaluation.features.table import features
from netdiffus.evaluation.features.vector_set import VectorSet
from netdiffus.evaluation.groups import group_numbers
from netdiffus.evaluation.metrics.classification import Predictions, two_sample_scores
from netdiffus.evaluation.metrics.memorization import CopyDetector
from netdiffus.evaluation.prepare import TraceSet, prepare


def captures(seed: int, count: int, each: int = 6, first: int = 0) -> Traces:
    """Volumes of two classes; what a capture is like, its traces share."""
    rng = np.random.default_rng(seed)
    capture = np.repeat(np.arange(count), each)
    like = rng.normal(0, 1, (count, 8))[capture] + rng.normal(0, 0.05, (count * each, 8))
    label = np.array(["web", "voice"])[capture % 2]
    values = np.exp(5 + like + 2.0 * (capture % 2)[:, None])
    names = [f"{first + k}#{i}" for i, k in enumerate(capture)]
    meta = {"capture": names, "host": ["a"] * len(names)}
    return Traces.from_lists({"value": list(values)}, label.tolist(), meta)


def table(traces: TraceSet) -> VectorSet:
    return VectorSet(features(traces.traces), traces.traces.labels, traces.group)


def test_halves_keep_units_whole_and_are_as_equal_as_that_allows() -> None:
    rng = np.random.default_rng(0)
    unit = rng.permutation(np.repeat([7, 3, 5, 9], [4, 4, 4, 4]))
    for _ in range(20):
        first, second = in_two(unit, rng)
        assert sorted([*first, *second]) == list(range(16))
        assert not set(unit[first]) & set(unit[second])
        assert len(first) == len(second) == 8
    for n in (0, 1, 2, 5):
        for of in (np.arange(n), np.zeros(n, dtype=int)):  # one unit cannot stay together
            assert [len(half) for half in in_two(of, rng)] == [(n + 1) // 2, n // 2]


def test_halves_of_classes_keep_units_whole() -> None:
    train = captures(0, 8)
    group, _ = group_numbers(train, captures(1, 8, first=8), "capture", "#", [])
    first, second = halves(train.labels, group, np.random.default_rng(0))
    assert not set(group[first]) & set(group[second])
    for half in (first, second):
        assert np.bincount(train.labels[half]).tolist() == [12, 12]


def test_errors_of_accuracies_are_those_of_the_bootstrap_over_units() -> None:
    rng = np.random.default_rng(1)
    unit = np.repeat(np.arange(60), rng.integers(1, 8, 60))
    true = (unit % 3 > 0).astype(np.int64)  # 20 and 40 units
    right = rng.random(len(unit)) < np.where(rng.random(60) < 0.6, 0.95, 0.3)[unit]
    given, real = np.where(right, true, 1 - true), np.where(rng.random(len(unit)) < 0.9, true, 0)
    answers = [Predictions(true, each, 2, unit) for each in (given, real)]
    again = []
    for _ in range(800):
        drawn = (3 * rng.integers(0, 20, (20, 3)) + [0, 1, 2]).ravel()  # as many of each third
        rows = np.concatenate([np.flatnonzero(unit == u) for u in drawn])
        ours, theirs = (Predictions(true[rows], each[rows], 2) for each in (given, real))
        lost = theirs.balanced_accuracy - ours.balanced_accuracy
        again.append(
            [np.mean(ours.true == ours.predicted), ours.balanced_accuracy, ours.recalls[1], lost]
        )
    expected = np.std(again, axis=0)
    found = [
        intervals.accuracy_figure(answers[:1])["sd"],
        intervals.balanced_figure(answers[:1])["sd"],
        intervals.recall_figures(answers[:1])[1]["sd"],
        intervals.lost_figure(answers[:1], answers[1:])["sd"],
    ]
    assert found == pytest.approx(expected, rel=0.12)  # units of unequal size: a first-order error
    alone = intervals.accuracy_figure([Predictions(true, given, 2)])["sd"]
    assert found[0] > 1.5 * alone


def test_error_of_an_area_is_that_of_the_bootstrap_over_units() -> None:
    rng = np.random.default_rng(2)
    unit = np.repeat(np.arange(40), 5)
    score = rng.normal(0, 1, 40)[unit] + rng.normal(0, 0.4, 200)
    real = rng.normal(0.8, 1, 100)
    own = 40 + np.arange(100)
    found = intervals.auc_figure([(score, real)], [(unit, own)])
    side = np.repeat([0, 1], [200, 100])
    assert found["mean"] == pytest.approx(roc_auc_score(side, np.concatenate([score, real])))
    of_unit, again = score.reshape(40, 5), []
    for _ in range(1500):
        drawn = of_unit[rng.integers(0, 40, 40)].ravel()
        again.append(np.mean(rng.choice(real, 100) > drawn[:, None]))
    assert found["sd"] == pytest.approx(np.std(again), rel=0.1)
    assert found["sd"] > 1.3 * intervals.auc_figure([(score, real)])["sd"]


def test_shares_of_units_have_their_error() -> None:
    rng = np.random.default_rng(3)
    of_unit = rng.random(500) < 0.3
    found = intervals.share_figure(np.repeat(1.0 * of_unit, 4), np.repeat(np.arange(500), 4))
    alone = intervals.share_figure(1.0 * of_unit)
    for key in ("mean", "sd", "low", "high"):
        assert found[key] == pytest.approx(alone[key])


def test_no_forest_knows_a_capture_from_its_siblings() -> None:
    """Captures of one law are told apart by what each is like, unless all of it is held out."""
    train, held = captures(4, 20), captures(5, 20, first=20)
    areas = {}
    for by in (None, "capture"):
        found = prepare(train, train, held, 0, by, "#")
        ours, theirs = two_sample_scores(table(found.train), table(found.holdout), 0)
        areas[by] = np.mean(theirs > ours[:, None])
    assert areas[None] > 0.95
    assert areas["capture"] < 0.7


def test_fewer_groups_than_folds_tell_nothing_and_fail_not() -> None:
    """As where few traces are drawn: each capture is scored by what knows the other side alone."""
    found = prepare(captures(4, 4), captures(6, 4), captures(5, 4, first=4), 0, "capture", "#")
    tables = [table(side) for side in (found.train, found.holdout)]
    first = [one[np.flatnonzero(one.group == one.group[0])] for one in tables]
    ours, theirs = two_sample_scores(*first, 0)
    assert np.isfinite([*ours, *theirs]).all()


def test_figures_are_of_groups() -> None:
    train, held, made = captures(4, 20), captures(5, 12, first=20), captures(6, 60, each=2)
    sets = [prepare(train, made, held, 0, by, "#") for by in (None, "capture")]
    assert [len(np.unique(found.train.group)) for found in sets] == [120, 20]
    assert [len(np.unique(found.holdout.group)) for found in sets] == [72, 12]
    plain, of_groups = (CandidateScorer(found, 0, 3).floor() for found in sets)
    assert plain["two_sample_auc"]["mean"] > 0.95 > 0.7 > of_groups["two_sample_auc"]["mean"]
    one, two = (figures["wasserstein"]["overall"] for figures in (plain, of_groups))
    assert one["mean"] == two["mean"]
    assert two["sd"] > 1.5 * one["sd"]


def test_without_a_holdout_halves_share_no_group() -> None:
    found = prepare(captures(7, 12), captures(8, 12), None, 0, "capture", "#")
    assert not np.intersect1d(found.train.group, found.holdout.group).size
    assert len(np.unique(found.train.group)) == 6


def test_sets_of_a_report_are_judged_anew() -> None:
    found = prepare(captures(0, 4), captures(1, 4), captures(2, 4, first=4), 0, "capture", "#")
    assert found.train.traces.meta["host"].to_pylist() == ["a"] * 24
    again = prepare(found.train.traces, found.synthetic.traces, found.holdout.traces, 0)
    assert len(np.unique(again.train.group)) == 24


def test_made_traces_are_their_own_groups() -> None:
    found = prepare(captures(0, 4), captures(1, 4), captures(2, 4, first=4), 0, "capture", "#")
    assert len(np.unique(found.synthetic.group)) == 24
    assert len(np.unique(found.holdout.group)) == 4
    assert not np.intersect1d(found.synthetic.group, found.holdout.group).size


def test_halves_for_closeness_keep_units_whole() -> None:
    rng = np.random.default_rng(9)
    unit = np.repeat(np.arange(6), 4)
    one_class = np.zeros(24, dtype=np.int64)
    sets = [VectorSet(rng.normal(0, 1, (6, 3))[unit], one_class, unit) for _ in range(3)]
    found = CopyDetector(*sets[1:]).of(sets[0]).halves
    in_first = ~np.isnan(found[:, 0])
    assert (in_first.reshape(8, 6, 4).std(axis=2) == 0).all()
    assert (in_first ^ ~np.isnan(found[:, 1])).all()


def test_what_groups_cannot_tell_is_said() -> None:
    train, held = captures(0, 2), captures(1, 6, first=1)
    notes: list[str] = []
    of_train, of_holdout = group_numbers(train, held, "capture", "#", notes)
    assert notes[0].startswith("Groups (capture) with traces in training and in the holdout: 1.")
    assert notes[1].endswith("errors are larger than stated.")
    assert "training traces (capture) of voice, web are of one group" in notes[1]
    assert len(np.unique(of_train)) == 12  # each its own
    assert len(np.unique(of_holdout)) == 6
    assert not np.intersect1d(of_train, of_holdout).size


@pytest.mark.parametrize(
    ("by", "sep", "message"),
    [
        ("link", None, "real: no column 'link' to group by; columns .*: capture, host"),
        ("capture", "", "sep is empty"),
    ],
)
def test_bad_columns(by: str, sep: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(captures(0, 4), captures(1, 4), holdout=captures(2, 4), by=by, sep=sep)


def test_a_group_without_a_name_is_found_in_its_set() -> None:
    names = [*["a#1", "b#1"] * 5, "", ""]
    held = captures(2, 2)
    held = Traces.from_lists(
        {"value": [row[0] for row in held.values]}, held.label_names.tolist(), {"capture": names}
    )
    with pytest.raises(InputError, match="holdout: column 'capture' is empty in row 10"):
        evaluate(captures(0, 4), captures(1, 4), holdout=held, by="capture", sep="#")


def test_a_holdout_without_the_column_is_named() -> None:
    bare = captures(2, 4)
    bare = Traces.from_lists(
        {"value": [row[0] for row in bare.values]}, bare.label_names.tolist(), {}
    )
    with pytest.raises(InputError, match="holdout: no column 'capture'"):
        evaluate(captures(0, 4), captures(1, 4), holdout=bare, by="capture")
