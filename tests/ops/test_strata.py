"""Numbers that are spread evenly over traces: by SciPy, and by counting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from everywhere import assert_same_everywhere
from scipy import stats
from scipy.stats import qmc
from torch import Tensor

from netdiffus.ops.noise import uniform, uniforms
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


def traces(batch: int) -> list[Tensor]:
    """Numbers, families and ranks of all sizes, the largest that they can be among them."""
    largest = torch.tensor([2**63 - 1, 2**31 - 1, 2**52 - 1])
    sizes = largest.unsqueeze(1) >> 7 * torch.arange(batch) % 50
    drawn = torch.rand(3, batch, generator=torch.Generator().manual_seed(batch)).double()
    return list(torch.cat([(drawn * sizes).long()[:, 1:], largest.unsqueeze(1)], 1))


@pytest.mark.parametrize("backend", ["cpp"], indirect=True)
@pytest.mark.parametrize("seed", [0, SEED, 2**64 - 1])
@pytest.mark.parametrize(("batch", "count"), [(1, 1), (3, 65), (64, 1), (130, 7), (300, 129)])
def test_the_kernels_give_the_bits_of_the_reference(
    backend: str, seed: int, batch: int, count: int
) -> None:
    """On every instruction set, with one and several threads, for whole and broken chunks."""
    index, family, rank = traces(batch)
    for first in (0, 2**32 - count):
        draws = first, count
        assert_same_everywhere(
            lambda draws=draws: [
                uniforms(seed, index, *draws, backend=backend),
                spread_uniforms(seed, index, family, rank, *draws, backend=backend),
            ]
        )
        one = uniforms(seed, index, *draws, backend=backend)
        assert torch.equal(one, uniforms(seed, index, *draws, backend="torch"))
        other = spread_uniforms(seed, index, family, rank, *draws, backend=backend)
        expected = spread_uniforms(seed, index, family, rank, *draws, backend="torch")
        assert torch.equal(other, expected)


@pytest.mark.parametrize("backend", ["torch", "cpp"], indirect=True)
def test_no_traces_or_draws_and_strides(backend: str) -> None:
    index, family, rank = traces(6)
    for n, count in ((0, 3), (6, 0)):
        found = spread_uniforms(1, index[:n], family[:n], rank[:n], 0, count, backend=backend)
        assert found.shape == (n, count)
        assert uniforms(1, index[:n], 0, count, backend=backend).shape == (n, count)
    every = spread_uniforms(1, index, family, rank, 0, 2, backend=backend)
    others = spread_uniforms(1, index[::2], family[::2], rank[::2], 0, 2, backend=backend)
    assert torch.equal(others, every[::2])
    assert torch.equal(
        uniforms(1, index[::2], 0, 2, backend=backend), uniforms(1, index, 0, 2)[::2]
    )


def test_numbers_of_traces_that_fit_together_are_asked_for() -> None:
    index, family, rank = traces(6)
    with pytest.raises(ValueError, match=r"family: expected \(6,\) torch.int64 on cpu as index"):
        spread_uniforms(1, index, family[:5], rank, 0, 1)
    with pytest.raises(ValueError, match="rank: expected"):
        spread_uniforms(1, index, family, rank.double(), 0, 1)
    with pytest.raises(ValueError, match="this op has no such kernel"):
        uniforms(1, index, 0, 1, backend="triton")
