from __future__ import annotations

import numpy as np
import pytest
import torch
from small import packets, volumes

from netdiffus.codec import GasfCodec, TokenCodec
from netdiffus.model.model import Model
from netdiffus.traces.traces import Traces
from netdiffus.training.batches import FEWEST, LONG, MOST, Batches, by_length, split


def batches(validation: float = 0.25, world: int = 1, rank: int = 0) -> tuple[Model, Batches]:
    traces = volumes(80)
    model = Model.new(traces, TokenCodec(), width=8)
    return model, Batches(model, traces, 12, validation, 3, rank, world)


def test_each_class_holds_out_its_share() -> None:
    labels = np.repeat([0, 1, 2], [100, 50, 30])
    same = np.arange(180)
    learned, held = split(labels, same, 0.1, seed=1)
    assert (np.abs(np.bincount(labels[held]) - [10, 5, 3]) <= 1).all()
    assert sorted([*learned, *held]) == list(range(180))
    assert np.array_equal(split(labels, same, 0.1, seed=1)[1], held)
    assert not np.array_equal(split(labels, same, 0.1, seed=2)[1], held)


def test_too_few_hold_none_out_and_many_no_more_than_enough() -> None:
    few = np.zeros(4 * FEWEST - 5, dtype=np.int64)
    learned, held = split(few, np.arange(len(few)), 0.1, seed=0)
    assert (len(learned), len(held)) == (len(few), 0)
    more = np.zeros(4 * FEWEST + 5, dtype=np.int64)  # a tenth is too few, a quarter is not
    assert FEWEST <= len(split(more, np.arange(len(more)), 0.1, seed=0)[1]) <= len(more) / 4 + 1
    assert len(split(more, np.arange(len(more)), 0.0, seed=0)[1]) == 0
    many = np.zeros(100_000, dtype=np.int64)
    assert abs(len(split(many, np.arange(100_000), 0.1, seed=0)[1]) - MOST) <= 1
    small = np.repeat(np.arange(200), 4)  # a tenth of 4 is not one
    assert 0.05 < len(split(small, np.arange(800), 0.1, seed=0)[1]) / len(small) < 0.15
    assert len(split(many, np.arange(100_000), 0.0, seed=0)[1]) == 0


def test_held_traces_that_are_learned_from_are_those_with_a_twin() -> None:
    row, labels = np.arange(400), np.zeros(400, dtype=np.int64)
    same = np.where(row < 200, row // 2, row)  # pairs, and traces that come once
    learned, held = split(labels, same, 0.4, seed=0)
    assert 150 <= len(held) <= 170
    twins = set(held) & set(learned)
    assert len(twins) >= FEWEST
    others = np.setdiff1d(learned, held)
    assert all((same[k] in same[others]) == (k in twins) for k in held)
    assert set(held) | set(learned) == set(row)


def test_traces_that_begin_alike_are_the_same_to_the_network() -> None:
    rng = np.random.default_rng(0)
    begin = rng.integers(40, 1500, (20, 8))
    sizes = [[*begin[i % 20].tolist(), *rng.integers(40, 1500, 4).tolist()] for i in range(400)]
    traces = Traces.from_lists({"packet_length": sizes}, ["a"] * 400)
    assert len(set(traces.duplicates().tolist())) == 400
    model = Model.new(traces, TokenCodec(8), width=8)
    assert len(Batches(model, traces, 12, 0.1, 0).held) == 0


def test_held_traces_are_in_no_batch_and_all_others_once_an_epoch() -> None:
    _, data = batches()
    assert 18 <= len(data.held) <= 22
    for epoch in range(3):
        first = epoch * len(data.learned)
        seen = data._rows(first + torch.arange(len(data.learned)))
        assert sorted(seen.tolist()) == sorted(set(range(80)) - set(data.held.tolist()))
    orders = [data._rows(k * len(data.learned) + torch.arange(9)).tolist() for k in range(2)]
    assert orders[0] != orders[1]


def test_rows_by_length() -> None:
    lengths = torch.randint(1, 1000, (1003,), generator=torch.Generator().manual_seed(0))
    rows, seeded = torch.randperm(1003), torch.Generator().manual_seed(0)
    found = by_length(rows, lengths, 8, 5, seeded)
    assert sorted(found.tolist()) == list(range(1003))
    whole = lengths[found[5 : 5 + 8 * 124]].view(124, 8)
    spread = (whole.max(1).values - whole.min(1).values).float()
    assert spread.mean() < 50  # of random ones 780
    assert not torch.equal(whole[:50, 0].sort().values, whole[:50, 0])  # short and long by turns


def test_batches_of_long_traces_have_traces_of_like_length() -> None:
    rng = np.random.default_rng(0)
    many = rng.integers(2, 2 * LONG, 90)
    sizes = [rng.integers(40, 1500, n).tolist() for n in many]
    traces = Traces.from_lists({"packet_length": sizes}, ["a", "b"] * 45)
    model = Model.new(traces, TokenCodec(2 * LONG), width=8)
    data = Batches(model, traces, 8, 0.0, 0)
    end = model.codec.sizes[0] - 1  # type: ignore[union-attr]
    spread = []
    for step in range(3 * 90 // 8):
        lengths = (data.batch(step).data[:, :, 0] != end).sum(1)
        spread.append(float(lengths.max() - lengths.min()))
    assert np.median(spread) < 60  # of random ones 200
    for epoch in range(3):
        assert sorted(data._rows(90 * epoch + torch.arange(90)).tolist()) == list(range(90))


def test_all_are_taken_when_asked() -> None:
    _, data = batches()
    data.batch(0)
    data.take_all()
    assert sorted(data._rows(torch.arange(80)).tolist()) == list(range(80))


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    first, again = batches()[1], batches()[1]
    again.batch(40)  # whatever was asked for before
    for a, b in zip(first.batch(4), again.batch(4), strict=True):
        assert torch.equal(a, b)
    traces = volumes(80)
    model = Model.new(traces, TokenCodec(), width=8)
    other = Batches(model, traces, 12, 0.25, 4).batch(4)
    assert not torch.equal(other.data, first.batch(4).data)


def test_a_batch_holds_the_traces_with_their_classes_and_columns() -> None:
    ports = [443 if i % 3 else 22 for i in range(40)]
    lists = [[i % 7, 1] for i in range(40)]
    traces = Traces.from_lists({"x": lists}, ["a", "b"] * 20, {"server_port": ports})
    model = Model.new(traces, TokenCodec(), width=8)
    data = Batches(model, traces, 16, 0.0, 0)
    rows = data._rows(torch.arange(16, 32))
    batch = data.batch(1)
    assert torch.equal(batch.data, model.codec.encode(traces)[rows].long())
    assert batch.label.tolist() == traces.labels[rows].tolist()
    assert [model.columns.learned[0].values[k] for k in batch.columns[:, 0]] == [
        ports[r] for r in rows
    ]
    assert batch.draws.tolist() == list(range(16, 32))


@pytest.mark.parametrize("world", [2, 5])
def test_processes_share_a_batch(world: int) -> None:
    _, whole = batches()
    parts = [batches(world=world, rank=rank)[1].batch(4) for rank in range(world)]
    for k, tensor in enumerate(whole.batch(4)):
        for rank, part in enumerate(parts):
            assert torch.equal(part[k], tensor[rank::world])


def test_validation_traces_are_the_same_each_time_and_have_draws_of_their_own() -> None:
    _, data = batches()
    first, again = data.validation(), data.validation()
    assert sum(len(batch.label) for batch in first) == len(data.held)
    for one, other in zip(first, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    draws = torch.cat([batch.draws for batch in first])
    assert len(set(draws.tolist())) == len(draws)
    assert draws.min() > 2**60
    assert batches(validation=0.0)[1].validation() == []


def test_images_are_learned_as_series() -> None:
    traces = packets(40)
    model = Model.new(traces, GasfCodec(8), preset="paper", width=8)
    batch = Batches(model, traces, 12, 0.5, 0).batch(0)
    assert batch.data.shape == (12, 3, 8)
    assert batch.data.dtype == torch.float32
    assert batch.data.min() >= 0
    assert batch.data.max() <= 1
