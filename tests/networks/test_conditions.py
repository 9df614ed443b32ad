from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from nets import asked
from scipy import stats
from torch import Tensor

from netdiffus.codec.column import UNKNOWN
from netdiffus.networks.batch import Batch
from netdiffus.networks.layers.conditions import Conditions

SIZES = (3, 4)
EVERY = torch.tensor(list(itertools.product(*map(range, SIZES))))


@pytest.fixture
def conditions() -> Conditions:
    """With weights so large that columns matter to each other."""
    torch.manual_seed(1)
    made = Conditions(2, SIZES, 8)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.3)
        made.label.weight.mul_(4)
    return made


def probabilities(conditions: Conditions, label: int) -> np.ndarray:
    """(3, 4): of all values that the two columns can have."""
    with torch.no_grad():
        loss = conditions.log_loss(torch.full((len(EVERY),), label), EVERY)
    return loss.double().neg().exp().view(SIZES).numpy()


def given(conditions: Conditions, cells: list[int], j: int) -> np.ndarray:
    """Probabilities of cell j given those that are known."""
    with torch.no_grad():
        logits = conditions.logits[j](conditions._features(torch.tensor([cells])))
    return logits.double().softmax(1)[0].numpy()


def drawn(conditions: Conditions, label: Tensor, seed: int, *more: object) -> Tensor:
    """(B, 3) cells of traces 0 to B - 1."""
    draws = asked(label.clamp(min=0), seed, torch.arange(len(label)))
    with torch.inference_mode():
        classes, columns = conditions.draw(label, draws, *more)  # type: ignore[arg-type]
    return torch.cat([classes.unsqueeze(1), columns], 1)


def batch(cells: Tensor, first: int = 0) -> Batch:
    """Rows of a class and two columns."""
    return Batch(torch.empty(0), cells[:, 0], cells[:, 1:], first + torch.arange(len(cells)))


def agrees(cells: Tensor, expected: np.ndarray) -> bool:
    """Whether cells are as frequent as an array of probabilities over all of them says."""
    counts = np.zeros(expected.shape)
    np.add.at(counts, tuple(cells.T.numpy()), 1)
    wanted = len(cells) * expected / expected.sum()
    wide = wanted >= 5  # the usual rule
    assert wide.sum() > 1
    assert counts[~wide].sum() < 5 * max(1, wanted[~wide].sum())
    return bool(
        stats.chisquare(counts[wide], wanted[wide] * counts[wide].sum() / wanted[wide].sum()).pvalue
        > 1e-3
    )


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
    cells = drawn(conditions, torch.full((20_000,), label), 5, None, backend)
    assert agrees(cells[:, 1:], probabilities(conditions, label))


def test_a_class_that_is_not_given_is_drawn_first_and_columns_by_it(
    conditions: Conditions,
) -> None:
    cells = drawn(conditions, torch.full((20_000,), UNKNOWN), 5)
    of_class = given(conditions, [UNKNOWN] * 3, 0)
    assert agrees(
        cells, np.stack([p * probabilities(conditions, k) for k, p in enumerate(of_class)])
    )


def test_what_is_given_is_kept_and_the_rest_is_drawn_by_it(conditions: Conditions) -> None:
    only = torch.tensor([0.0, 0.0, 1.0, 0.0])
    cells = drawn(conditions, torch.full((20_000,), UNKNOWN), 5, [None, None, only])
    assert (cells[:, 2] == 2).all()
    expected = np.zeros((2, 3))
    for k, p in enumerate(given(conditions, [UNKNOWN, UNKNOWN, 2], 0)):
        expected[k] = p * given(conditions, [k, UNKNOWN, 2], 1)
    assert agrees(cells[:, :2], expected)


def test_a_range_cuts_the_distribution_and_nothing_else(conditions: Conditions) -> None:
    """One cell with several tokens: exactly p(cells) times the weights, over its sum."""
    weight = torch.tensor([1.0, 0.0, 0.25, 1.0])
    cells = drawn(conditions, torch.zeros(20_000).long(), 5, [None, None, weight])
    of_last = given(conditions, [0, UNKNOWN, UNKNOWN], 2) * weight.numpy()
    first = np.stack([given(conditions, [0, UNKNOWN, v], 1) for v in range(4)], 1)
    assert agrees(cells[:, 1:], first * of_last)


def test_several_ranges_are_drawn_as_their_common_probability_says(conditions: Conditions) -> None:
    """Not one after the other, which would forget how likely the second is given the first."""
    weights = torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0.0, 0.1, 0.0, 1.0])
    cells = drawn(conditions, torch.zeros(5_000).long(), 5, [None, *weights])
    wanted = probabilities(conditions, 0) * np.outer(*(w.numpy() for w in weights))
    assert agrees(cells[:, 1:], wanted)
    in_turn = (
        wanted
        / wanted.sum(1, keepdims=True).clip(1e-9)
        * (probabilities(conditions, 0).sum(1, keepdims=True) * weights[0].numpy()[:, None])
    )
    assert not agrees(cells[:, 1:], in_turn)


def test_a_draw_depends_on_seed_and_number_alone(conditions: Conditions) -> None:
    index, weights = torch.arange(500), [None, torch.ones(3), torch.tensor([1.0, 0.5, 0.5, 0.0])]

    def columns(rows: Tensor, seed: int) -> Tensor:
        with torch.inference_mode():
            return conditions.draw(rows % 2, asked(rows % 2, seed, rows), weights, "torch")[1]

    whole = columns(index, 5)
    assert torch.equal(torch.cat([columns(rows, 5) for rows in index.split(7)]), whole)
    assert not torch.equal(columns(index, 6), whole)


def test_training_learns_every_cell_given_any_others() -> None:
    """The distribution of 400 rows in which the second column follows class and first column."""
    torch.manual_seed(1)
    rows = torch.cartesian_prod(torch.arange(2), torch.arange(3)).repeat(70, 1)[:400]
    cells = torch.cat([rows, (rows.sum(1, keepdim=True) + 1) % 4], 1)
    made = Conditions(2, SIZES, 16)
    optimiser = torch.optim.AdamW(made.parameters(), 5e-3)
    for step in range(400):
        optimiser.zero_grad()
        made.loss(batch(cells, 400 * step)).mean().backward()
        optimiser.step()
    assert given(made, [1, 2, UNKNOWN], 2)[0] > 0.95  # (1 + 2 + 1) % 4
    assert given(made, [UNKNOWN, 2, 3], 0)[0] > 0.95
    np.testing.assert_allclose(given(made, [UNKNOWN] * 3, 0), 0.5, atol=0.1)
    np.testing.assert_allclose(given(made, [UNKNOWN, UNKNOWN, 1], 1)[0], 1, atol=0.1)


def test_the_training_loss_is_that_of_all_cells_in_the_mean(conditions: Conditions) -> None:
    """-log p(class, columns): half the mean over all orders of the cells, half their own order."""
    orders = []
    for order in itertools.permutations(range(3)):
        seen, lost = [UNKNOWN] * 3, 0.0
        for j in order:
            lost -= float(np.log(given(conditions, seen, j)[[1, 2, 0][j]]))
            seen[j] = [1, 2, 0][j]
        orders.append(lost)
    n = 20_000
    with torch.no_grad():
        found = conditions.loss(batch(torch.tensor([[1, 2, 0]]).expand(n, 3))).numpy()
    expected = (np.mean(orders) + orders[0]) / 2
    assert abs(found.mean() - expected) < 4 * found.std() / np.sqrt(n)


def test_a_cell_that_is_not_known_is_neither_learned_nor_drawn_from(conditions: Conditions) -> None:
    label, columns = torch.tensor([0, 0]), torch.tensor([[1, UNKNOWN], [1, 2]])
    with torch.no_grad():
        one, both = conditions.log_loss(label, columns).tolist()
    p = probabilities(conditions, 0)
    assert one == pytest.approx(-np.log(p.sum(1)[1]), abs=1e-6)  # of float32
    assert both == pytest.approx(-np.log(p[1, 2]), abs=1e-6)


def test_features_are_of_class_and_every_column(conditions: Conditions) -> None:
    base = conditions(torch.tensor([0]), torch.tensor([[1, 2]]))
    for label, columns in ((1, [1, 2]), (0, [0, 2]), (0, [1, 3]), (0, [1, UNKNOWN])):
        other = conditions(torch.tensor([label]), torch.tensor([columns]))
        assert (other - base).abs().max() > 0.1


def test_no_columns_cost_nothing_and_none_are_drawn() -> None:
    none, label = Conditions(3, (), 8), torch.tensor([0, 2])
    assert [name for name, _ in none.named_parameters()] == ["label.weight"]
    assert none.loss(batch(label.unsqueeze(1))).tolist() == [0, 0]
    assert none.log_loss(label, torch.zeros(2, 0).long()).tolist() == [0, 0]
    assert drawn(none, label, 0).tolist() == [[0], [2]]
