from __future__ import annotations

import warnings
from collections.abc import Iterator
from unittest import mock

import numpy as np
import pytest
from small import packets, volumes

from netdiffus import Model, Recipe, Traces, augment, augment_with_report, lab_traffic, train
from netdiffus.augmentation import rounds
from netdiffus.errors import InputError, Note

TINY = Recipe(steps=2, batch_size=8, validation_fraction=0.0)
pytestmark = pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")
QUICK = {"times": (1,), "classifier": "forest", "progress": lambda *_: None}


@pytest.fixture(autouse=True)
def _small_cnn() -> Iterator[None]:
    with mock.patch("netdiffus.evaluation.metrics.cnn.STEPS", 2):
        yield


@pytest.fixture(scope="module")
def lab() -> Traces:
    """Volumes of five applications, 100 sessions of each."""
    traces = lab_traffic().truncate(12)
    kept = np.isin(traces.label_names, ["bulk", "upload", "video_high", "video_low", "web_tls"])
    return traces[kept].without_empty_classes()


@pytest.fixture(scope="module")
def model() -> Model:
    return train(volumes(24), recipe=TINY, width=8, progress=lambda *_: None)


@pytest.fixture
def untrained() -> Iterator[mock.Mock]:
    """Stands for `train`, where another generator stands for the model."""
    done = mock.Mock(about={"ended": "budget used"})
    with mock.patch.object(rounds, "train", return_value=done) as train:
        yield train


def rows_of(traces: Traces, first: int, last: int) -> np.ndarray:
    """Rows of the traces number `first` to `last` of each class."""
    each = [np.flatnonzero(traces.labels == k)[first:last] for k in range(len(traces.classes))]
    return np.concatenate(each)


def drawn_from(pool: Traces, wrong: bool = False):
    """Stands for `sample`: traces of a pool, of the class asked for or of the next one."""

    def draw(model: Model, label: dict[str, int], **_: object) -> Traces:
        rows = []
        for name, n in label.items():
            mine = (pool.classes.index(name) + wrong) % len(pool.classes)
            rows.append(np.resize(np.flatnonzero(pool.labels == mine), n))
        found = pool[np.concatenate(rows)]
        labels = np.repeat([pool.classes.index(name) for name in label], list(label.values()))
        columns = {name: getattr(found, name) for name in ("values", "lengths", "channels")}
        return Traces(**columns, labels=labels, classes=pool.classes)

    return draw


@pytest.mark.usefixtures("untrained")
def test_traces_as_good_as_new_real_ones_are_taken(lab):
    """Where a model makes real traffic that nobody has seen, more is better."""
    few, unseen, validation = (lab[rows_of(lab, *ends)] for ends in ((0, 6), (6, 40), (40, 100)))
    with mock.patch.object(rounds, "sample", drawn_from(unseen)):
        both, choice = augment_with_report(
            few, recipe=TINY, validation=validation, **{**QUICK, "times": (1, 5)}
        )
    assert choice.plan is not None
    assert choice.made == dict.fromkeys(lab.classes, 6 * int(choice.plan[0]))
    marks = np.array(both.meta["is_synthetic"].to_pylist())
    assert both[np.flatnonzero(~marks)].counts() == few.counts()
    assert both[np.flatnonzero(marks)].counts() == choice.made
    assert (choice.rounds, choice.traces) == (1, 300)
    gain = choice.gains[choice.plan]
    assert gain.mean > gain.error > 0


@pytest.mark.usefixtures("untrained")
def test_traces_of_the_wrong_class_are_not_taken(lab):
    few, unseen = lab[rows_of(lab, 0, 6)], lab[rows_of(lab, 6, 60)]
    with (
        mock.patch.object(rounds, "sample", drawn_from(unseen, wrong=True)),
        pytest.warns(Note, match=r"augment: 0 synthetic traces: .* gains no more than"),
    ):
        alone = augment(few, recipe=TINY, **QUICK)
    assert alone.counts() == few.counts()
    assert alone.meta["is_synthetic"].to_pylist() == [False] * len(few)
    assert alone.meta["group"].equals(few.meta["group"])


def test_no_model_learns_from_the_traces_that_validate(lab, untrained):
    few = lab[rows_of(lab, 0, 6)]
    with mock.patch.object(rounds, "sample", drawn_from(lab)):
        found = rounds.Rounds(few, None, TINY, ["1x"], 0, None).refits(None, None, lambda *_: None)
    seen = [{value.tobytes() for value in call.args[0].values} for call in untrained.mock_calls]
    assert len(seen) == 3
    assert {len(one.validation) for one in found} == {5 * 1}  # of 6 traces a quarter is 1.5
    for one, learned in zip(found, seen, strict=True):
        assert {value.tobytes() for value in one.learn.values} == learned
        assert not {value.tobytes() for value in one.validation.values} & learned
        of_real = few.values[one.unit]
        np.testing.assert_array_equal(one.validation.values, of_real)


@pytest.mark.usefixtures("untrained")
def test_groups_stay_together(lab):
    few = lab[rows_of(lab, 0, 8)]
    with mock.patch.object(rounds, "sample", drawn_from(lab)):
        found = rounds.Rounds(few, None, TINY, ["1x"], 0, None).refits(
            "group", None, lambda *_: None
        )
    link = np.unique(few.meta["group"].to_pylist(), return_inverse=True)[1]
    for one in found:
        held = np.isin(link, one.unit)
        assert len(one.validation) == held.sum()
        assert len(one.learn) == (~held).sum()


def test_same_seed_same_result_with_a_trained_model(model):
    real = volumes(24)
    found = [
        augment_with_report(real, model, seed=3, **{**QUICK, "classifier": "both"}) for _ in "ab"
    ]
    assert found[0][1] == found[1][1]
    assert found[0][0].equals(found[1][0])
    assert set(found[0][1].scores["real"]) == {"forest", "cnn"}


def test_what_a_model_made_is_among_the_result(model):
    """A rule that takes anything shows what is returned: classes, channels, meta."""
    real = volumes(24)
    with (
        mock.patch("netdiffus.augmentation.choice.Gain.is_sure", True),
        mock.patch("netdiffus.augmentation.choice._best", return_value="1x"),
    ):
        both, choice = augment_with_report(real, model, validation=volumes(12, seed=9), **QUICK)
        again, _ = augment_with_report(real, model, validation=volumes(12, seed=9), **QUICK)
    assert both.equals(again)
    assert choice.made == {"onoff": 12, "steady": 12}
    assert both[:24].meta.select(real.meta.column_names).to_pydict() == real.meta.to_pydict()
    assert both.channels == real.channels
    made = both.meta["trace_id"].to_pylist()[24:]
    assert made == [f"synthetic-{'onoff' if i < 12 else 'steady'}-{i}" for i in range(24)]


def test_validation_traces_that_are_given_need_no_training(model):
    with (
        mock.patch.object(rounds, "train", side_effect=AssertionError),
        mock.patch.object(rounds, "trained_alike", side_effect=AssertionError),
    ):
        _, choice = augment_with_report(
            volumes(24), model, validation=volumes(12, seed=9), by="group", **QUICK
        )
    assert (choice.rounds, choice.traces) == (1, 12)


def test_large_sets_are_judged_by_some_of_their_traces(model):
    with mock.patch.object(rounds, "MOST_JUDGED", 10):
        _, choice = augment_with_report(volumes(24), model, validation=volumes(40, seed=9), **QUICK)
    assert choice.traces == 10


def test_what_cannot_be_used_is_refused_by_name(model):
    real = volumes(24)
    up = real.select(["value_up"])
    one = real.of_class("steady")
    three = packets(12)
    cases = [
        ((one,), {}, r"all traces are of one class, 'steady'"),
        ((real[[0, 1, 3]],), {}, r"class 'onoff' has one trace; two are needed"),
        (
            (up, model),
            {},
            r"model: the channels are value \[per bin\], value_up \[per bin\], those",
        ),
        ((three, model), {}, r"model: the channels are .*; use the same"),
        ((real,), {"validation": one}, r"validation: lacks class 'onoff' of the real traces"),
        ((real,), {"validation": up}, r"validation: the channels are value_up"),
        ((real, model), {"times": ()}, "times is empty"),
        ((real, model), {"times": (0,)}, "times must be at least 1, got 0"),
        ((real, model), {"classifier": "svm"}, "classifier must be one of forest, cnn, both"),
        ((real, model), {"by": "host"}, "no column 'host' to group by"),
    ]
    for given, options, message in cases:
        with pytest.raises(InputError, match=message):
            augment(*given, **{**QUICK, **options})


def test_classes_of_the_model_are_those_of_the_traces(model):
    real = volumes(24)
    names = ("onoff", "other")
    renamed = Traces(real.values, real.lengths, real.channels, real.labels, names, real.meta)
    with pytest.raises(InputError, match="model: lacks class 'other' of the real traces; give"):
        augment(renamed, model, **QUICK)


def test_traces_longer_than_made_ones_are_said(model):
    longer = volumes(24, length=20)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        augment(longer, model, validation=longer, **QUICK)
    assert any(
        "100% of the real traces are longer than the 16 points" in str(w.message) for w in told
    )


def test_small_classes_are_filled_up(model):
    real = volumes(24)[[*range(0, 24, 2), 1, 3, 5]]  # 12 of one class, 3 of the other
    with mock.patch("netdiffus.augmentation.choice._best", return_value="filled"):
        both, choice = augment_with_report(real, model, validation=volumes(12, seed=9), **QUICK)
    assert set(choice.gains) == {"1x", "filled", "filled 2x"}
    assert both.counts() == {"onoff": 12, "steady": 12}
