from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from nets import asked
from scipy import stats

from netdiffus.networks.layers.conditions import Conditions, draw_columns

SIZES = (3, 4)
EVERY = torch.tensor(list(itertools.product(*map(range, SIZES))))


@pytest.fixture
def conditions() -> Conditions:
    """With weights so large that columns matter to each other."""
    torch.manual_seed(0)
    made = Conditions(2, SIZES, 8)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.45)
    return made


def probabilities(conditions: Conditions, label: int) -> np.ndarray:
    """(3, 4): of all values that the two columns can have."""
    with torch.no_grad():
        loss = conditions.loss(torch.full((len(EVERY),), label), EVERY)
    return loss.double().neg().exp().view(SIZES).numpy()


@pytest.mark.parametrize("label", [0, 1])
def test_probabilities_of_all_columns_sum_to_1(conditions: Conditions, label: int) -> None:
    assert probabilities(conditions, label).sum() == pytest.approx(1, abs=1e-6)  # of float32


def test_columns_depend_on_the_class_and_on_the_columns_before(conditions: Conditions) -> None:
    p, other = (probabilities(conditions, label) for label in range(2))
    of_second = p / p.sum(1, keepdims=True)
    assert np.abs(of_second[0] - of_second[1]).max() > 0.05
    assert np.abs(p.sum(1) - other.sum(1)).max() > 0.05


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_columns_are_as_frequent_as_they_are_likely(
    conditions: Conditions, backend: str, label: int
) -> None:
    n = 20_000
    drawn = draw_columns(conditions, asked(torch.full((n,), label), 5, torch.arange(n)), backend)
    counts = np.zeros(SIZES)
    np.add.at(counts, tuple(drawn.T.numpy()), 1)
    expected = n * probabilities(conditions, label)
    assert expected.min() > 5
    assert stats.chisquare(counts.ravel(), expected.ravel() * n / expected.sum()).pvalue > 1e-3


def test_a_draw_depends_on_seed_and_number_alone(conditions: Conditions) -> None:
    index = torch.arange(500)
    whole = draw_columns(conditions, asked(index % 2, 5, index), "torch")
    parts = [draw_columns(conditions, asked(i % 2, 5, i), "torch") for i in index.split(7)]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(draw_columns(conditions, asked(index % 2, 6, index), "torch"), whole)


def test_features_are_of_class_and_every_column(conditions: Conditions) -> None:
    base = conditions(torch.tensor([0]), torch.tensor([[1, 2]]))
    for label, columns in ((1, [1, 2]), (0, [0, 2]), (0, [1, 3])):
        other = conditions(torch.tensor([label]), torch.tensor([columns]))
        assert (other - base).abs().max() > 0.1


def test_no_columns_cost_nothing_and_none_are_drawn() -> None:
    none, label = Conditions(3, (), 8), torch.tensor([0, 2])
    assert none.loss(label, torch.zeros(2, 0).long()).tolist() == [0, 0]
    assert draw_columns(none, asked(label, 0, torch.arange(2)), "auto").shape == (2, 0)
