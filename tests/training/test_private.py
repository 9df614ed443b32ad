"""Training with differential privacy, from the call to the samples."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from command import run
from small import users

from netdiffus import Dataset, Model, Traces, sample, train_private
from netdiffus.errors import InputError, Note
from netdiffus.privacy.accounting import mu_of
from netdiffus.training import private as module

pytestmark = pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")
LENGTH = 6


@pytest.fixture(autouse=True)
def _short() -> Iterator[None]:
    with mock.patch.object(module, "TABLE_STEPS", 20):
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("private") / "model"
    with mock.patch.object(module, "TABLE_STEPS", 20):
        train_private(users(), folder, epsilon=8, delta=1e-4, length=LENGTH, steps=4, batch_size=90)
    return Model.load(folder)


def test_the_guarantee_travels_into_card_and_samples(model: Model) -> None:
    assert model.ledger is not None
    assert "epsilon 8, delta 0.0001 for one trace added or removed" in model.card()
    made = sample(model, 6, seed=0)
    assert made.ledger == model.ledger
    assert model.about["dp_sgd_steps"] == 4
    assert model.about["ended"] == "budget used"


def test_the_ledger_has_the_table_and_the_steps(model: Model) -> None:
    assert model.ledger is not None
    *table, steps = model.ledger["releases"]
    spent = sqrt(sum(one["mu"] ** 2 for one in table))
    assert spent == pytest.approx(mu_of(8, 1e-4) * sqrt(module.TABLE), rel=0.01)
    assert steps["release"] == "DP-SGD"
    assert steps["steps"] == 4
    assert steps["probability"] == pytest.approx(0.1, rel=0.1)  # 90 of about 900
    assert model.ledger["few"] == {}


def test_vocabularies_hold_no_value_of_the_traces() -> None:
    traces = users(300)
    seen = []

    def train(table: Traces, *given: object, **more: object) -> Model:
        seen.append(table)
        return real_train(table, *given, **more)

    real_train = module.train
    with mock.patch.object(module, "train", train):
        model = train_private(
            traces, epsilon=50, delta=1e-3, length=2, anyway=True, steps=1, batch_size=50
        )
    again = Model.new(seen[0], type(model.codec)(2))
    for ours, theirs in zip(model.codec.vocabularies, again.codec.vocabularies, strict=True):
        np.testing.assert_array_equal(ours.table, theirs.table)
    np.testing.assert_array_equal(model.shares, again.shares)


@pytest.mark.parametrize(("noise", "rate"), [(0.5, 0.015), (2.0, 0.015), (6.0, 0.005)])
def test_much_noise_lowers_the_learning_rate(noise: float, rate: float) -> None:
    with (
        mock.patch.object(module, "noise_for", return_value=noise),
        mock.patch.object(module, "learn_privately", return_value=1) as learn,
    ):
        train_private(
            users(120), epsilon=100, delta=1e-3, length=2, anyway=True, steps=1, batch_size=50
        )
    assert learn.call_args.args[3].rate == pytest.approx(rate)


def test_groups_are_protected_as_wholes() -> None:
    with pytest.warns(Note, match="have more than 2 traces"):
        model = train_private(
            users(300),
            epsilon=50,
            delta=1e-3,
            by="user",
            most=2,
            length=2,
            anyway=True,
            steps=1,
            batch_size=50,
        )
    assert model.ledger is not None
    assert model.ledger["unit"] == "one group of 'user' with at most 2 traces"


def test_a_class_without_private_traces_is_named() -> None:
    def without_video(*given: Any) -> Iterator[Traces]:
        for one in real(*given):
            yield one[one.labels != one.classes.index("video")]

    real = module.private_batches
    with (
        mock.patch.object(module, "private_batches", without_video),
        pytest.warns(Note, match=r"1 class\(es\) have no private traces, and are not .*'video'"),
    ):
        model = train_private(users(60), epsilon=50, delta=1e-3, length=2, anyway=True, steps=1)
    assert model.classes == ("chat",)


def test_noise_is_new_each_time() -> None:
    given = {"epsilon": 50.0, "delta": 1e-3, "length": 2, "anyway": True, "steps": 1}
    one, two = (train_private(users(120), seed=0, **given) for _ in range(2))  # type: ignore[arg-type]
    assert one.ledger != {}
    first, second = (next(iter(model.network.parameters())) for model in (one, two))
    assert first.shape != second.shape or not bool((first == second).all())


def test_it_learns_from_the_real_traces() -> None:
    """With hardly any noise the loss on real traces falls below that after the private table."""
    traces = users(300)
    given = {"epsilon": 100.0, "delta": 1e-3, "length": LENGTH, "batch_size": 100}

    def loss(steps: int) -> float:
        model = train_private(traces, steps=steps, learning_rate=1e-2, **given)  # type: ignore[arg-type]
        return -float(np.mean(model.log_prob(traces)))

    assert loss(25) < loss(1) - 1.0


def test_an_interrupted_one_is_saved_and_private(tmp_path: Path) -> None:
    def progress(done: float, note: str) -> None:
        if note.startswith("DP-SGD, step 2"):
            signal.raise_signal(signal.SIGINT)

    model = train_private(
        users(120), tmp_path / "m", epsilon=50, delta=1e-3, length=2, anyway=True, steps=9,
        progress=progress,
    )  # fmt: skip
    assert model.about["ended"] == "interrupted"
    assert model.about["dp_sgd_steps"] == 2
    assert Model.load(tmp_path / "m").ledger == model.ledger


def test_an_interruption_before_dp_sgd_ends_the_training() -> None:
    def progress(done: float, note: str) -> None:
        if note.startswith("step 3 "):
            signal.raise_signal(signal.SIGINT)

    model = train_private(
        users(120), epsilon=50, delta=1e-3, length=2, anyway=True, progress=progress
    )
    assert model.about["ended"] == "interrupted"
    assert model.about["dp_sgd_steps"] == 0
    assert model.ledger is not None


def test_a_data_set_is_refused_before_anything_is_spent(tmp_path: Path) -> None:
    data = Dataset.write(tmp_path / "parts", iter([users(60)]))
    with (
        mock.patch.object(module, "private_batches", side_effect=AssertionError),
        pytest.raises(InputError, match=r"Dataset is not in memory.*Dataset.load"),
    ):
        train_private(data, epsilon=8)  # type: ignore[arg-type]


def test_a_model_that_is_there_is_not_replaced(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    with pytest.raises(FileExistsError):
        train_private(users(60), tmp_path / "m", epsilon=8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0}, "epsilon must lie above 0"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must"),
        ({}, "fewer traces than the"),
    ],
)
def test_is_refused(options: dict[str, object], message: str) -> None:
    settings = {"epsilon": 4, "delta": 1e-3} | options
    with pytest.raises(InputError, match=message):
        train_private(users(60), **settings)  # type: ignore[arg-type]


class TestCommand:
    def test_trains(self, tmp_path: Path) -> None:
        users(120).save(tmp_path / "t.parquet")
        done = run("train", str(tmp_path / "t.parquet"), "--epsilon", "50", "--delta", "1e-3",
                   "--length", "2", "--steps", "1", "--anyway", "--range", "packet_length=0:1460",
                   "-o", str(tmp_path / "m"), "--json")  # fmt: skip
        assert done.code == 0, done.err
        assert json.loads(done.out)["privacy"].startswith("epsilon 50, delta 0.001 for one trace")
        ledger = Model.load(tmp_path / "m").ledger
        assert ledger is not None
        assert ledger["public"]["ranges"]["packet_length"] == [0, 1460]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--epsilon", "4", "--preset", "masked"], "--epsilon has no use for --preset"),
            (["--epsilon", "4", "--with", "all"], "--epsilon has no use for --with"),
            (["--epsilon", "4", "--most", "3"], "--most without --by"),
            (["--delta", "1e-4"], "without --epsilon has no use for --delta"),
            (["--range", "x=1:2"], "without --epsilon has no use for --range"),
        ],
    )
    def test_refuses(self, options: list[str], message: str, tmp_path: Path) -> None:
        users(20).save(tmp_path / "t.parquet")
        done = run("train", str(tmp_path / "t.parquet"), "-o", str(tmp_path / "m"), *options)
        assert done.code == 2
        assert message in done.err
