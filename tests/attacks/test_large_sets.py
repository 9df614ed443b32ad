"""Audits of data sets: as in memory, or of random traces that stand for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from command import run
from populations import counted, thirds

from netdiffus import Dataset, InputError, Traces, audit, concat
from netdiffus.attacks.large import in_memory
from netdiffus.errors import Note
from netdiffus.parts.sketch import lowest

pytestmark = pytest.mark.usefixtures("quick_judges_of_module")
MEMBERS, OTHERS, _ = thirds(120)
SYNTHETIC = counted(MEMBERS, 300)


@contextmanager
def too_large(most: int) -> Iterator[None]:
    """No data set fits; so many traces of each stand for it."""
    with (
        mock.patch("netdiffus.attacks.large.fits", return_value=False),
        mock.patch("netdiffus.attacks.large.sample_size", return_value=(most, 99)),
    ):
        yield


def written(traces: Traces, folder: Path, seed: int | None = None) -> Dataset:
    """In two parts, in another order by the seed."""
    if seed is not None:
        traces = traces[np.random.default_rng(seed).permutation(len(traces))]
    return Dataset.write(folder, [traces[:20], traces[20:]])


def test_those_that_fit_are_read_whole(tmp_path: Path) -> None:
    sets = {"train": MEMBERS, "holdout": OTHERS, "synthetic": SYNTHETIC}
    there = {name: written(one, tmp_path / name) for name, one in sets.items()}
    assert audit(**there).figures == audit(**sets).figures


def test_random_ones_stand_for_those_that_do_not_whatever_the_parts(tmp_path: Path) -> None:
    found = []
    for name, seed in (("one", None), ("other", 3)):
        train = written(MEMBERS, tmp_path / name / "train", seed)
        with too_large(50), pytest.warns(Note, match=r"train: \d+ traces do not fit .* 50 random"):
            figures = audit(train=train, holdout=OTHERS, synthetic=SYNTHETIC).figures
        assert figures["sets"]["train"] == 50
        assert "50 random ones" in figures["notes"][0]
        found.append(figures)
    assert found[0] == found[1]


def test_a_trace_of_the_holdout_that_was_learned_from_is_found(tmp_path: Path) -> None:
    """Also where it is not among the random ones."""
    train = written(MEMBERS, tmp_path / "train")
    for row in (0, 7):
        held = concat([OTHERS, MEMBERS[[row]]])
        with (
            too_large(40),
            pytest.warns(Note),
            pytest.raises(InputError, match="are also training traces"),
        ):
            audit(train=train, holdout=held, synthetic=SYNTHETIC)


def test_a_class_that_the_random_ones_lack_is_kept(tmp_path: Path) -> None:
    two = MEMBERS.of_class(MEMBERS.classes[0])[:2].without_empty_classes()
    rare = replace(two, classes=("rare",))
    train = written(concat([MEMBERS, rare]), tmp_path / "train")
    sample = train.take(lowest(train.batches(), 10, 0))
    with too_large(10), pytest.warns(Note):
        found = in_memory(train, OTHERS, None, None, 0)
    assert sample.counts()["rare"] == 0
    assert found.train.counts()["rare"] == 2


def test_the_command_takes_data_sets(tmp_path: Path) -> None:
    for name, one in (("t", MEMBERS), ("h", OTHERS), ("s", SYNTHETIC)):
        written(one, tmp_path / name)
    sets = ["--train", tmp_path / "t", "--holdout", tmp_path / "h", "--synthetic", tmp_path / "s"]
    done = run("audit", *sets, "-o", tmp_path / "a.html", "--json")
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "a.json").read_text())["sets"]["train"] == len(MEMBERS)
