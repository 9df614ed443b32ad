"""Runs of equal packets as points: nothing is lost but what is said to be, and models take them."""

from __future__ import annotations

import warnings
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import packets

from netdiffus import complete, sample, train
from netdiffus.channels import Channel
from netdiffus.codec import TokenCodec
from netdiffus.codec.runs import merge, split
from netdiffus.errors import InputError, Note
from netdiffus.export.arrays import write_arrays
from netdiffus.model.model import Model
from netdiffus.traces.traces import Traces
from netdiffus.training.recipe import Recipe

DIRECTION, SIZE = Channel.named("direction", "int8"), Channel.named("packet_length", "int64")
TIME = Channel.named("timestamp", "double")
rows = st.lists(
    st.lists(
        st.tuples(st.sampled_from([60, 1500]), st.sampled_from([1, -1])), min_size=1, max_size=30
    ),
    min_size=1,
    max_size=5,
)


def padded(
    lists: list[list[tuple[int, ...]]],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    lengths = np.array(list(map(len, lists)))
    values = np.zeros((len(lists), len(lists[0][0]), lengths.max()))
    for k, one in enumerate(lists):
        values[k, :, : len(one)] = np.array(one).T
    return values, lengths


@settings(deadline=None)
@given(rows)
def test_runs_are_those_of_groupby_and_come_back(lists: list[list[tuple[int, ...]]]) -> None:
    values, lengths = padded(lists)
    channels = (SIZE, DIRECTION)
    runs, counts = merge(values, lengths, channels, 30)
    for k, one in enumerate(lists):
        expected = [(*key, len(list(group))) for key, group in groupby(one)]
        assert [tuple(run) for run in runs[k, :, : counts[k]].T] == expected
    back, points = split(runs, counts, channels, 30)
    assert points.tolist() == lengths.tolist()
    assert back.tolist() == values.tolist()


@settings(deadline=None)
@given(rows)
def test_directions_alone_are_bursts_in_pairs(lists: list[list[tuple[int, ...]]]) -> None:
    values, lengths = padded([[one[1:] for one in row] for row in lists])
    runs, counts = merge(values, lengths, (DIRECTION,), 30)
    for k, one in enumerate(lists):
        bursts = [(sign, len(list(group))) for sign, group in groupby(row[1] for row in one)]
        in_turn = [n for n in runs[k, :, : counts[k]].T.reshape(-1) if n]
        assert in_turn == [n for _, n in bursts]
        assert counts[k] <= len(bursts) // 2 + 1
    back, points = split(runs, counts, (DIRECTION,), 30)
    assert points.tolist() == lengths.tolist()
    assert back.tolist() == values.tolist()


def test_times_of_a_run_are_spread_evenly() -> None:
    gaps = [0.0, 0.1, 0.3, 1.0, 0.5]
    values = np.array([[[60, 60, 60, 52, 52], [1, 1, 1, 1, 1], gaps]])
    runs, counts = merge(values, np.array([5]), (SIZE, DIRECTION, TIME), 9)
    back, _ = split(runs, counts, (SIZE, DIRECTION, TIME), 9)
    np.testing.assert_allclose(back[0, 2], [0.0, 0.2, 0.2, 1.0, 0.5], rtol=0, atol=1e-15)
    assert back[0, :2].tolist() == values[0, :2].tolist()


def sequences(n: int = 30, cells: int = 5_000) -> npt.NDArray[np.int8]:
    """Directions of Deep Fingerprinting's form: bursts of few sizes, 0 behind the end."""
    rng = np.random.default_rng(0)
    x = np.zeros((n, cells), np.int8)
    for row in x:
        bursts = np.where(
            np.arange(1_000) % 2, rng.choice([20, 30], 1_000), rng.choice([1, 2], 1_000)
        )
        whole = np.repeat(np.where(np.arange(1_000) % 2, -1, 1), bursts)
        end = rng.integers(cells - 500, cells)
        row[:end] = whole[:end]
    return x


@pytest.fixture(scope="module")
def website_traces() -> Traces:
    with pytest.warns(Note, match="padding"):
        return Traces.from_arrays(sequences(), np.repeat(list("abc"), 10))


def test_sequences_of_5000_directions_become_few_points(website_traces: Traces) -> None:
    codec = TokenCodec().fit(website_traces)
    assert codec.runs == codec.points < 512
    assert codec.length is not None
    assert codec.length > 4_500
    tokens = codec.encode(website_traces)
    assert tokens.shape[1] == codec.points
    back = codec.decode(
        tokens.long(), torch.zeros(tokens.shape, dtype=torch.float64), website_traces.labels,
        website_traces.classes, website_traces.meta,
    )  # fmt: skip
    # A pair has 32 cells at most. The last may be one that fewer than 5 traces reach, which is left
    # out, and how a trace ends in the one before may be rare, so another length; all else is exact.
    for k in range(len(back)):
        same = min(int(back.lengths[k]), int(website_traces.lengths[k])) - 64
        assert back.values[k, 0, :same].tolist() == website_traces.values[k, 0, :same].tolist()
    assert np.abs(back.lengths - np.minimum(website_traces.lengths, codec.length)).max() <= 64


def test_the_number_of_points_is_bounded_and_what_is_cut_is_said(website_traces: Traces) -> None:
    with pytest.warns(Note, match="30 of 30 traces have more than 50 runs"):
        codec = TokenCodec(runs=50).fit(website_traces)
    assert codec.points == 50
    first = TokenCodec(1_000).fit(website_traces)
    assert (first.length, first.points < 100) == (1_000, True)
    assert TokenCodec(256, runs=0).fit(website_traces).points == 256


def test_they_train_sample_and_come_back_in_their_form(
    website_traces: Traces, tmp_path: Path
) -> None:
    short = website_traces.truncate(600)
    model = train(short, tmp_path / "m", recipe=Recipe(steps=2, batch_size=8), width=16)
    assert model.codec.points < 40
    made = sample(Model.load(tmp_path / "m"), 6, seed=0)
    assert [one.name for one in made.channels] == ["direction"]
    assert set(made.points("direction")) <= {-1.0, 1.0}
    write_arrays(made, tmp_path / "made.npz", 5_000)
    arrays = np.load(tmp_path / "made.npz")
    assert (arrays["X"].shape, arrays["X"].dtype, arrays["y"].shape) == ((6, 5_000), np.int8, (6,))
    assert np.abs(arrays["X"]).sum(1).tolist() == made.lengths.tolist()
    with pytest.warns(Note, match="padding"):
        assert Traces.load(tmp_path / "made.npz").select(["direction"]).values.tolist() == (
            made.values.tolist()
        )


def test_runs_of_sizes_directions_and_times_train(tmp_path: Path) -> None:
    traces = packets(30)
    codec = TokenCodec(runs=8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)  # of what is cut
        model = train(traces, tmp_path / "m", recipe=Recipe(steps=1), codec=codec, width=16)
    made = sample(Model.load(tmp_path / "m"), 6, seed=0)
    assert made.channels == model.codec.channels == traces.channels
    with pytest.raises(InputError, match="a point of this model is a run of packets"):
        complete(model, traces[:2].truncate(2))


def test_what_takes_no_runs_says_so() -> None:
    volumes = Traces.from_lists({"value": [[1, 2]] * 6}, ["a"] * 6)
    with pytest.raises(InputError, match="runs are of packets"):
        TokenCodec(runs=8).fit(volumes)
    for preset in ("series", "masked"):
        with pytest.raises(InputError, match=f"preset '{preset}' takes no runs"):
            Model.new(packets(30), TokenCodec(runs=8), preset=preset, width=16)


def test_arrays_of_several_channels_come_back(tmp_path: Path) -> None:
    traces = packets(12)
    write_arrays(traces, tmp_path / "t.npz")
    with pytest.warns(Note):
        back = Traces.load(tmp_path / "t.npz")
    for channel in traces.channels:
        np.testing.assert_array_equal(back.points(channel.name), traces.points(channel.name))
    with pytest.raises(InputError, match=r"arrays are written to \.npz"):
        write_arrays(traces, tmp_path / "t.csv")
