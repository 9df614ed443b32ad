from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy import stats
from small import packets, volumes

from netdiffus.batches import FEWEST_HELD, MOST_HELD, Batches, loss_of, split, taught
from netdiffus.codec import GasfCodec
from netdiffus.diffusion import Diffusion
from netdiffus.model import Model
from netdiffus.traces import Traces


def batches(held: float = 0.25, world: int = 1, rank: int = 0) -> tuple[Model, Batches]:
    traces = volumes(80)
    model = Model.new(traces, GasfCodec(8, border=1), width=8)
    return model, Batches(model, traces, 12, held, 3, rank, world)


def test_each_class_holds_out_its_share() -> None:
    labels = np.repeat([0, 1, 2], [100, 50, 30])
    same = np.arange(180)
    learned, held = split(labels, same, 0.1, seed=1)
    assert (np.abs(np.bincount(labels[held]) - [10, 5, 3]) <= 1).all()
    assert sorted([*learned, *held]) == list(range(180))
    assert np.array_equal(split(labels, same, 0.1, seed=1)[1], held)
    assert not np.array_equal(split(labels, same, 0.1, seed=2)[1], held)


def test_too_few_hold_none_out_and_many_no_more_than_enough() -> None:
    few = np.zeros(10 * FEWEST_HELD - 10, dtype=np.int64)
    learned, held = split(few, np.arange(len(few)), 0.1, seed=0)
    assert (len(learned), len(held)) == (len(few), 0)
    many = np.zeros(100_000, dtype=np.int64)
    assert abs(len(split(many, np.arange(100_000), 0.1, seed=0)[1]) - MOST_HELD) <= 1
    small = np.repeat(np.arange(200), 4)  # a tenth of 4 is not one
    assert 0.05 < len(split(small, np.arange(800), 0.1, seed=0)[1]) / len(small) < 0.15
    assert len(split(many, np.arange(100_000), 0.0, seed=0)[1]) == 0


def test_no_held_trace_has_a_duplicate_that_is_learned_from() -> None:
    row, labels = np.arange(400), np.zeros(400, dtype=np.int64)
    same = np.where(row < 200, row // 2, row)  # pairs, and traces that come once
    learned, held = split(labels, same, 0.4, seed=0)
    assert len(held) >= FEWEST_HELD
    assert not set(same[held]) & set(same[learned])
    assert len(learned) + len(held) == 400


def test_traces_that_begin_alike_are_the_same_to_the_network() -> None:
    rng = np.random.default_rng(0)
    begin = rng.integers(40, 1500, (20, 8))
    sizes = [[*begin[i % 20].tolist(), *rng.integers(40, 1500, 4).tolist()] for i in range(400)]
    traces = Traces.from_lists({"packet_length": sizes}, ["a"] * 400)
    assert len(set(traces.duplicates().tolist())) == 400
    model = Model.new(traces, GasfCodec(8, border=1), width=8)
    assert len(Batches(model, traces, 12, 0.1, 0).held) == 0


def test_held_traces_are_in_no_batch_and_all_others_once_an_epoch() -> None:
    _, data = batches()
    assert 18 <= len(data.held) <= 22
    seen = data._rows(torch.arange(len(data.learned)))
    assert sorted(seen.tolist()) == sorted(set(range(80)) - set(data.held.tolist()))


def test_processes_share_a_batch() -> None:
    _, whole = batches()
    parts = [batches(world=2, rank=rank)[1].batch(4) for rank in range(2)]
    for name, tensor in whole.batch(4).items():
        for rank, part in enumerate(parts):
            assert torch.equal(part[name], tensor[rank::2])


def test_held_distance_is_that_of_a_network_with_the_weights() -> None:
    model, data = batches()
    other = copy.deepcopy(model.unet)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    before = [p.clone() for p in model.unet.parameters()]
    weights = [p.detach() for p in other.parameters()]
    found = data.held_distance(model.unet, weights)
    assert found == pytest.approx(data.held_distance(other, weights), rel=1e-6)
    assert found != pytest.approx(data.held_distance(model.unet, before), rel=1e-3)
    assert all(torch.equal(a, b) for a, b in zip(before, model.unet.parameters(), strict=True))


def test_the_border_has_white_noise() -> None:
    """By SciPy, at the times drawn; nothing else of an image is made where nothing else is read."""
    model, data = batches()
    parts = [data.batch(step) for step in range(60)]
    assert {part["xt"].shape for part in parts} == {(12, 2, 8, 1)}
    codec, rows = model.codec, torch.cat([data._rows(12 * k + torch.arange(12)) for k in range(60)])
    x0 = 2 * codec.draw(data.series[rows])[:, :, :8, 8:] - 1
    t, xt = (torch.cat([part[name] for part in parts]) for name in ("t", "xt"))
    alpha = model.diffusion.alphas_cumprod[t].view(-1, 1, 1, 1)
    eps = (xt - alpha.sqrt() * x0) / (1 - alpha).sqrt()
    assert stats.kstest(eps.flatten(), "norm").pvalue > 1e-3


def test_times_are_most_where_traces_are_decided() -> None:
    """A quarter at noises below 0.1, a tenth above 4, as `Diffusion` says of its log schedule."""
    model, data = batches()
    t = torch.cat([data.batch(step)["t"] for step in range(200)])
    alpha = model.diffusion.alphas_cumprod[t]
    noise = ((1 - alpha) / alpha).sqrt()
    assert float((noise < 0.1).double().mean()) == pytest.approx(0.25, abs=0.01)
    assert float((noise > 4).double().mean()) == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_other_schedules_are_learned_evenly(schedule: str) -> None:
    """The law of all times, by SciPy."""
    traces = packets(80)
    diffusion = Diffusion(schedule=schedule, prediction="x0", loss="levels")
    data = Batches(Model.new(traces, GasfCodec(8, border=1), diffusion, width=8), traces, 12, 0, 0)
    t = torch.cat([data.batch(step)["t"] for step in range(200)])
    assert stats.kstest((t + 0.5) / 1000, "uniform").statistic < 0.02
    assert t.max() < 1000


def test_no_held_traces_no_loss() -> None:
    model, data = batches(held=0.0)
    assert data.held_distance(model.unet, []) == float("inf")


def test_paper_preset_has_a_loss_too() -> None:
    traces = packets(40)
    model = Model.new(traces, GasfCodec(8), preset="paper", width=8)
    data = Batches(model, traces, 12, 0.5, 0)
    batch = data.batch(0)
    assert "levels" not in batch
    assert loss_of(model.unet, model.diffusion, *taught(batch)) > 0
    assert 0 < data.held_distance(model.unet, [p.detach() for p in model.unet.parameters()]) < 10
