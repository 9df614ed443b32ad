"""Training on a data set: the same bits as on its traces in memory, also from a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
import torch
from command import files_of_at_most
from command import run as command
from runs import run, same_weights, stops_at
from small import packets

from netdiffus import Dataset, InputError, Model, Traces
from netdiffus.codec import TokenCodec
from netdiffus.errors import Note
from netdiffus.training.batches import Batches
from netdiffus.training.encoded import encoded, fits, sample_of

TRACES = packets(90, longest=8, seed=2)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data") / "set"
    return Dataset.write(folder, [TRACES[:50], TRACES[50:51], TRACES[51:]])


@contextmanager
def from_a_file(most: int) -> Iterator[None]:
    """Data sets are not read into memory, but for samples of so many traces."""
    with (
        mock.patch("netdiffus.training.encoded.sample_size", return_value=(most, 8)),
        mock.patch("netdiffus.training.trainer.fits", return_value=False),
        pytest.warns(Note, match=f"fitted on {most:,} random"),
    ):
        yield


def test_one_that_fits_is_read_into_memory(dataset: Dataset, tmp_path: Path) -> None:
    run(tmp_path / "traces", 4, traces=TRACES)
    run(tmp_path / "set", 4, traces=dataset)
    assert same_weights(tmp_path / "traces", tmp_path / "set")


@pytest.mark.parametrize("preset", ["default", "image"])
def test_from_a_file_the_weights_are_the_same(
    dataset: Dataset, tmp_path: Path, preset: str
) -> None:
    run(tmp_path / "traces", 4, traces=TRACES, preset=preset)
    with from_a_file(90):
        run(tmp_path / "set", 4, traces=dataset, preset=preset)
    assert same_weights(tmp_path / "traces", tmp_path / "set")


def test_from_a_file_it_goes_on_to_the_same_bits(dataset: Dataset, tmp_path: Path) -> None:
    with from_a_file(60):
        run(tmp_path / "once", 6, traces=dataset)
        run(tmp_path / "twice", 6, traces=dataset, progress=stops_at(3))
        assert Model.load(tmp_path / "twice").about["steps"] == 3
        run(tmp_path / "twice", 6, traces=dataset, resume=True)
    assert same_weights(tmp_path / "once", tmp_path / "twice")


def test_other_parts_are_another_data_set(dataset: Dataset, tmp_path: Path) -> None:
    """What is fitted is the same, but not the order of the training."""
    other = Dataset.write(tmp_path / "other", [TRACES[50:], TRACES[:50]])
    with from_a_file(60):
        run(tmp_path / "m", 2, traces=dataset)
        with pytest.raises(InputError, match="resume: traces was"):
            run(tmp_path / "m", 4, traces=other, resume=True)


def test_what_is_counted_is_counted_over_all_traces(tmp_path: Path) -> None:
    """A class of which the sample may have nothing; and how many traces are cut."""
    rare = TRACES.of_class("web")[:2].without_empty_classes()
    rare = rare.__class__(**{**vars(rare), "classes": ("rare",)})
    found = Dataset.write(tmp_path / "set", [TRACES, rare])
    with (
        from_a_file(40),
        pytest.warns(Note, match="of 40 traces are longer than 4 points"),
        pytest.warns(Note, match="class 'rare' has 2 traces"),
    ):
        model = run(None, 2, traces=found, codec=TokenCodec(4))
    assert model.classes == ("rare", "ssh", "video", "web")
    np.testing.assert_allclose(model.shares, np.array([5, 30, 30, 30]) / 95)
    assert model.about["traces"] == 92
    assert model.about["longer_traces"] == (Dataset(tmp_path / "set").load().lengths > 4).sum()


def test_a_total_is_one_in_all_traces(tmp_path: Path) -> None:
    """Also in those that are not in the sample; and so with columns that are in order."""
    sums = TRACES.values[:, 0].sum(axis=1)
    meta = {"bytes": sums.astype(np.int64), "first": sums - 1.0, "last": sums + 1.0}
    table = TRACES.meta
    for name, cells in meta.items():
        table = table.append_column(name, pa.array(cells))
    right = replace(TRACES, meta=table)
    for name in ("bytes", "last"):
        wrong = meta[name].copy()
        wrong[77] = 0
        at = table.column_names.index(name)
        odd = replace(right, meta=table.set_column(at, name, pa.array(wrong)))
        found = Dataset.write(tmp_path / name, [odd[:50], odd[50:]])
        rows = np.setdiff1d(np.arange(90), [77])[:60]
        with (
            mock.patch("netdiffus.training.trainer.fits", return_value=False),
            mock.patch("netdiffus.training.trainer.sample_of", return_value=found.take(rows)),
        ):
            model = run(None, 2, traces=found, columns=["bytes", "first", "last"])
        assert ("bytes" in model.columns.totals) == (name != "bytes")
        assert (("first", "last") in model.columns.orders) == (name != "last")


def test_one_long_trace_leaves_a_sample(tmp_path: Path) -> None:
    long = Traces.from_lists({"value": [list(range(3000))]}, ["a"])
    short = Traces.from_lists({"value": [[i, i + 1] for i in range(60)]}, ["a", "b"] * 30)
    found = Dataset.write(tmp_path / "set", [short, long])
    with (
        mock.patch("netdiffus.training.encoded.FITS", 8 * 600),
        mock.patch("netdiffus.training.encoded.FEWEST", 40),
    ):
        assert not fits(found)
        with pytest.warns(Note, match="fitted on 40 random .* of at most 15 points each"):
            sample = sample_of(found, 0, None)
        assert len(sample) == 40
        with pytest.warns(Note, match="fitted on 61 random"):
            assert len(sample_of(found, 0, 4)) == 61


def test_it_is_encoded_as_in_memory(dataset: Dataset) -> None:
    model = Model.new(TRACES, TokenCodec(6), width=16)
    twice = TRACES[np.arange(90) // 2]  # each trace has a twin
    with mock.patch.object(type(dataset), "batches", return_value=iter([twice[:7], twice[7:]])):
        in_file = encoded(model, dataset)
    wanted = encoded(model, twice)
    assert isinstance(in_file.data, torch.Tensor)
    for one, other in zip(in_file[:3], wanted[:3], strict=True):
        assert torch.equal(one, other)
    assert in_file.longer == wanted.longer
    # The numbers may be others, but the same traces have the same.
    pairs = {(a, b) for a, b in zip(in_file.same.tolist(), wanted.same.tolist(), strict=True)}
    assert len(pairs) == len(set(wanted.same.tolist())) == len(set(in_file.same.tolist()))


def test_a_full_disk_is_said(dataset: Dataset) -> None:
    model = Model.new(TRACES, TokenCodec(), width=16)
    with files_of_at_most(100), pytest.raises(OSError, match="temporary file, see TMPDIR"):
        Batches(model, dataset, 4, 0.1, 0)


def test_the_command_line(dataset: Dataset, tmp_path: Path) -> None:
    done = command("train", dataset.folder, "-o", tmp_path / "m", "--steps", 2, "--width", 16)
    assert done.code == 0, done.err
    assert Model.load(tmp_path / "m").about["traces"] == 90
    of_one = ["--channels", "packet_length", "--steps", 2, "--width", 16]
    done = command("train", dataset.folder, "-o", tmp_path / "n", *of_one)
    assert done.code == 0, done.err
    assert [one.name for one in Model.load(tmp_path / "n").codec.channels] == ["packet_length"]
