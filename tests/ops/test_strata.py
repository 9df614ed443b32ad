"""Numbers that are spread evenly over traces: by SciPy, and by counting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.stats import qmc
from torch import Tensor

from netdiffus.ops.noise import uniform
from netdiffus.ops.strata import spread_uniforms

SEED = 2**63 + 11


def spread(rank: Tensor, count: int = 1, seed: int = SEED, family: int = 3) -> Tensor:
    return spread_uniforms(seed, rank + 100, torch.full_like(rank, family), rank, 2**20, count)


@pytest.mark.parametrize("k", [0, 1, 2, 3, 4, 5, 7, 8, 11, 12])
def test_each_of_2_to_the_k_parts_holds_one_number_of_as_many_ranks(k: int) -> None:
    n = 2**k
    for first in (0, n, 3 * n, 5 * 4096):
        parts = (spread(torch.arange(first, first + n), 6) * n).long()
        assert (parts.sort(0).values == torch.arange(n).unsqueeze(1)).all()


def test_the_next_4096_are_in_another_order() -> None:
    u = spread(torch.arange(3 * 4096)).view(3, 4096)
    r = np.corrcoef(u.numpy()) - np.eye(3)
    assert np.abs(r).max() < 5 / np.sqrt(4096)


def test_each_trace_alone_has_independent_uniform_numbers() -> None:
    """Over traces of which no two are spread: Kolmogorov and Smirnov's test, and correlations."""
    u = spread(37 + 4096 * torch.arange(6_000), 8).numpy()
    assert min(stats.kstest(column, "uniform").pvalue for column in u.T) > 1e-3
    assert np.abs(np.corrcoef(u.T) - np.eye(8)).max() < 5 / np.sqrt(6_000)


def test_two_draws_depend_on_each_other_no_more_than_those_of_scipy_do_on_average() -> None:
    """The mean square of their correlations, beside numbers of two scrambled sequences, shuffled
    by the same rule that keeps pairs: 2 / n at most, where independent numbers have 1 / n."""
    n = 256
    r = np.corrcoef(spread(torch.arange(n), 60).numpy().T)
    assert (r[~np.eye(60, dtype=bool)] ** 2).mean() < 2 / n


def test_a_mean_varies_less_and_is_as_scipys() -> None:
    """Of x**2 over 64 traces: the error of scrambled sequences of SciPy, not that of chance."""
    ours = [float(spread(torch.arange(64), 1, s).square().mean()) for s in range(200)]
    engines = (qmc.Halton(1, scramble=True, rng=np.random.default_rng(s)) for s in range(200))
    theirs = [float((engine.random(64) ** 2).mean()) for engine in engines]
    chance = [float(uniform(s, torch.arange(64), 0).square().mean()) for s in range(200)]
    assert np.mean(ours) == pytest.approx(1 / 3, abs=1e-3)
    assert np.std(ours) < 2 * np.std(theirs)
    assert np.std(ours) < np.std(chance) / 10


def test_seed_family_draw_and_rank_all_matter() -> None:
    rank = torch.arange(64)
    base = spread(rank, 2)
    for other in (spread(rank, 2, seed=1), spread(rank, 2, family=4), spread(rank + 4096, 2)):
        assert (other != base).all()
    assert (base[:, 0] != base[:, 1]).all()
    again = spread_uniforms(SEED, rank + 100, torch.full_like(rank, 3), rank, 2**20 + 1, 1)
    assert torch.equal(again, base[:, 1:])


def test_rows_do_not_depend_on_each_other() -> None:
    rank = torch.tensor([5, 2**40, 77, 0])
    whole = spread(rank, 3)
    assert torch.equal(torch.cat([spread(one, 3) for one in rank.split(1)]), whole)
    assert ((whole >= 0) & (whole < 1)).all()
