"""Augmented data sets: what is chosen is chosen on some traces, and written for all."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from small import volumes

from netdiffus import Dataset, Model, Recipe, Traces, augment_to_parts, train
from netdiffus.augmentation import augmenter, large
from netdiffus.augmentation.large import standing_for
from netdiffus.errors import InputError
from netdiffus.evaluation.draws import RandomOfEach
from netdiffus.sampling import sample

TINY = Recipe(steps=2, batch_size=8, validation_fraction=0.0)
QUICK: dict[str, Any] = {"times": (1,), "classifier": "forest", "progress": lambda *_: None}
pytestmark = pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")
PARTS = [0, 10, 31, 60]


@pytest.fixture(scope="module")
def traces() -> Traces:
    return volumes(60)


@pytest.fixture(scope="module")
def model(traces: Traces) -> Model:
    return train(traces, recipe=TINY, width=8, progress=lambda *_: None)


@pytest.fixture
def dataset(traces: Traces, tmp_path: Path) -> Dataset:
    parts = (traces[first:last] for first, last in pairwise(PARTS))
    return Dataset.write(tmp_path / "real", parts)


def some_stand_for_all() -> Any:
    """24 traces stand for all, and at least 4 of each class."""
    return mock.patch.multiple(large, JUDGED=24, FEWEST=4)


def choosing(plan: str | None) -> Any:
    """Takes this plan, whatever the figures."""
    choose = augmenter.choose

    def chosen(*given: Any) -> Any:
        return replace(choose(*given), plan=plan, made={})

    return mock.patch.object(augmenter, "choose", chosen)


def test_real_parts_come_first_then_made_ones_of_all(
    dataset: Dataset, traces: Traces, model: Model, tmp_path: Path
) -> None:
    """The sample has 24 of the 60 traces; the plan `1x` adds as many as there are of all."""
    with some_stand_for_all(), choosing("1x"):
        found, choice = augment_to_parts(dataset, tmp_path / "more", model, seed=3, **QUICK)
    assert choice.made == traces.counts()
    assert choice.traces == 3 * 6  # three times a quarter of the 24
    assert [part.rows for part in found.manifest.parts] == [10, 21, 29, 60]
    both = found.load()
    assert both.meta["is_synthetic"].to_pylist() == [False] * 60 + [True] * 60
    np.testing.assert_array_equal(both.values[:60], traces.values)
    assert both.label_names[:60].tolist() == traces.label_names.tolist()
    made = sample(model, label=choice.made, seed=3, progress=lambda *_: None)
    np.testing.assert_array_equal(both[60:].truncate(made.values.shape[2]).values, made.values)
    assert both.meta["trace_id"].to_pylist()[60:] == made.meta["trace_id"].to_pylist()
    found.check()


def test_nothing_is_made_where_nothing_helps(
    dataset: Dataset, traces: Traces, model: Model, tmp_path: Path
) -> None:
    given = {"validation": volumes(12, seed=5), **QUICK}
    with choosing(None):
        found, choice = augment_to_parts(dataset, tmp_path / "more", model, **given)
    assert choice.made == {}
    assert found.load().meta["is_synthetic"].to_pylist() == [False] * 60
    assert found.counts() == traces.counts()


def test_memory_holds_no_more_than_the_sample_and_a_batch(
    dataset: Dataset, model: Model, tmp_path: Path
) -> None:
    """Of 4 times as many traces no more lie in memory at a time."""

    def most(whole: Dataset, out: Path) -> int:
        sizes: list[int] = []
        post = Traces.__post_init__

        def counted(one: Traces) -> None:
            sizes.append(len(one))
            post(one)

        with (
            some_stand_for_all(),
            choosing("1x"),
            mock.patch("netdiffus.parts.dataset.ROWS", 10),
            mock.patch("netdiffus.sampling._usual_batch", return_value=20),
            mock.patch.object(Dataset, "load", side_effect=AssertionError("read whole")),
            mock.patch.object(Traces, "__post_init__", counted),
        ):
            augment_to_parts(whole, out, model, validation=volumes(12, seed=5), **QUICK)
        return max(sizes)

    four = Dataset.write(tmp_path / "four", [one for _ in range(4) for one in dataset])
    assert most(four, tmp_path / "b") <= most(dataset, tmp_path / "a") < 60


def test_a_sample_has_its_share_of_each_class_wherever_parts_end(
    traces: Traces, tmp_path: Path
) -> None:
    with some_stand_for_all():
        found = [
            standing_for(Dataset.write(tmp_path / str(k), parts), 7)
            for k, parts in enumerate(([traces], [traces[:11], traces[11:]]))
        ]
    assert found[0].counts() == found[1].counts() == dict.fromkeys(traces.classes, 12)
    np.testing.assert_array_equal(found[0].values, found[1].values)
    rows = {one.tobytes() for one in traces.values}
    assert {one.tobytes() for one in found[0].values} <= rows


def test_every_trace_of_a_class_is_drawn_as_often() -> None:
    """Of 40 traces 10 are drawn 2,000 times: 500 each, standard deviation 19.4, within six."""
    labels, drawn = np.repeat([0, 1], 40), np.zeros(80)
    for seed in range(2_000):
        one = RandomOfEach(np.array([40, 40]), np.array([10, 40]), seed)
        for first in range(0, 80, 16):
            rows = one.rows(labels[first : first + 16])
            drawn[first + rows] += 1
    assert np.abs(drawn[:40] - 500).max() < 6 * 19.4
    assert set(drawn[40:]) == {2_000}


def test_what_cannot_be_written_is_refused_first(
    dataset: Dataset, model: Model, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="the traces are read from there"):
        augment_to_parts(dataset, dataset.folder, model, force=True, **QUICK)
    assert len(Dataset(dataset.folder)) == 60
    marks = {"is_synthetic": pa.array([False] * 59 + [True])}
    marked = replace(dataset.load(), meta=pa.table(marks))
    parts = Dataset.write(tmp_path / "marked", [marked[:30], marked[30:]])
    with pytest.raises(InputError, match=r"'is_synthetic' is True in row 59"):
        augment_to_parts(parts, tmp_path / "y", model, **QUICK)
    with pytest.raises(FileExistsError):
        augment_to_parts(dataset, Dataset.write(tmp_path / "x", dataset).folder, model, **QUICK)
