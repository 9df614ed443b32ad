"""A student learns from what its teacher makes, and from nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from runs import run, state_of
from scipy import stats
from small import packets, volumes

from netdiffus.codec import TokenCodec
from netdiffus.model.model import Model
from netdiffus.networks.causal import CausalNetwork
from netdiffus.training import Recipe, train
from netdiffus.training.checkpoint import State
from netdiffus.training.distill import BATCHES, TIMES, Taught


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Students of a few steps."""
    monkeypatch.setattr("netdiffus.training.run.FEWEST_STEPS", 1)


def teacher() -> CausalNetwork:
    made = Model.new(packets(60), TokenCodec(), width=16, seed=1).network
    assert isinstance(made, CausalNetwork)
    return made


def taught(rank: int = 0, world: int = 1, seed: int = 0, batch_size: int = 6) -> Taught:
    shares = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    return Taught(teacher(), shares, batch_size, seed, rank, world)


def test_a_batch_is_a_function_of_seed_and_step_alone() -> None:
    one, other = taught(), taught()
    steps = [3, 60, 0, 47, 48, 3]
    for step in steps:
        for a, b in zip(one.batch(step), other.batch(step), strict=True):
            assert torch.equal(a, b)
    assert not torch.equal(one.batch(3).data, one.batch(60).data)
    assert not torch.equal(one.batch(3).data, taught(seed=1).batch(3).data)


def test_each_trace_is_seen_three_times_and_then_never() -> None:
    source = taught()
    parts = [
        torch.cat([source.batch(first + k).data for k in range(BATCHES * TIMES)]).flatten(1)
        for first in (0, BATCHES * TIMES)
    ]
    for part in parts:
        _, counts = part.unique(dim=0, return_counts=True)
        assert len(part) == TIMES * BATCHES * 6
        assert (counts % TIMES == 0).all()
    first, second = (set(map(tuple, part.tolist())) for part in parts)
    assert len(first & second) < 0.2 * len(first)  # but for the shortest


def test_processes_share_the_batch_of_one() -> None:
    whole = taught()
    parts = [taught(rank, 2) for rank in range(2)]
    for step in (0, 5, 50):
        batch, halves = whole.batch(step), [part.batch(step) for part in parts]
        assert torch.equal(batch.data[0::2], halves[0].data)
        assert torch.equal(batch.data[1::2], halves[1].data)


def test_classes_are_as_frequent_as_their_shares() -> None:
    label = torch.cat([taught(batch_size=60).batch(k).label for k in range(BATCHES)])
    counts = np.bincount(label.numpy())
    expected = len(label) * np.array([0.2, 0.5, 0.3])
    assert stats.chisquare(counts, expected).pvalue > 1e-3


def test_the_student_sees_no_real_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its training does not change with the traces, once its teacher is fixed."""
    fixed, averaged = teacher().state_dict(), State.averaged

    def instead(state: State) -> dict[str, torch.Tensor]:
        return averaged(state) if state.teacher else fixed

    monkeypatch.setattr(State, "averaged", instead)
    recipe = Recipe(steps=12, batch_size=4)
    orders = np.arange(60), np.arange(60)[::-1]
    models = [train(packets(60)[order], recipe=recipe, width=16) for order in orders]
    first, second = (model.network.state_dict() for model in models)
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_without_a_student_the_teacher_is_the_model() -> None:
    alone = run(None, 12, recipe={"teacher_share": 1.0})
    assert "teacher_steps" not in alone.about
    assert alone.network.config.dropout > 0
    both = run(None, 12)
    assert both.about["teacher_steps"] == 8
    assert both.network.config.dropout == 0


@pytest.mark.parametrize(("steps", "has_student"), [(12, True), (9, False)])
def test_a_budget_too_short_for_a_student_is_the_networks(
    steps: int, has_student: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netdiffus.training.run.FEWEST_STEPS", 4)
    model = run(None, steps)
    assert ("teacher_steps" in model.about) == has_student
    assert model.about["steps"] == steps


def test_the_teacher_is_in_the_checkpoint_alone(tmp_path: Path) -> None:
    model = run(tmp_path, 12, traces=volumes(40))
    names = {name for name in state_of(tmp_path) if name.startswith("teacher.")}
    assert names
    kept = model.network.state_dict()
    assert any(
        not torch.equal(tensor, kept[name.removeprefix("teacher.")])
        for name, tensor in state_of(tmp_path).items()
        if name in names
    )
    assert not any("teacher" in name for name in Model.load(tmp_path).network.state_dict())
