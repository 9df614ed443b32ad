from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from netdiffus.ops import normal, philox4x32, uniform
from netdiffus.ops.noise import normal_reference

SEED = 0x0123_4567_89AB_CDEF
# kat_vectors of Random123 (D. E. Shaw Research), the lines of philox4x32 with 10 rounds:
# counter, key, expected.
KNOWN_ANSWERS = [
    (
        (0, 0, 0, 0),
        (0, 0),
        (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ),
    (
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


each_backend = pytest.mark.parametrize("backend", ["torch", "cpp"], indirect=True)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_known_answers(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    words = philox4x32([torch.tensor(word) for word in counter], key)
    assert tuple(map(int, words)) == expected


@each_backend
def test_normal_by_hand(backend: str) -> None:
    """Element 5 is lane 1 of block 1: the sine of the first pair."""
    index = 2**32 * 7 + 9
    counter = [torch.tensor(word) for word in (1, 3, 9, 7)]
    first, second, _, _ = philox4x32(counter, (0x89AB_CDEF, 0x0123_4567))
    u1, u2 = (float(first) + 0.5) / 2**32, float(second) / 2**32
    expected = math.sqrt(-2 * math.log(u1)) * math.sin(2 * math.pi * u2)
    found = normal(SEED, torch.tensor([index]), 3, (8,), backend=backend)[0, 5]
    assert found.item() == pytest.approx(expected, abs=1e-6)


@each_backend
@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 1023, 1024, 1025, 5000])
def test_backends_agree(backend: str, count: int) -> None:
    index = torch.tensor([0, 1, 2**31, 2**32, 2**62 + 3, -1])
    for step in (0, 1, 2**32 - 1):
        found = normal(SEED, index, step, (count,), backend=backend)
        expected = normal_reference(SEED, index, step, count)
        assert found.shape == (6, count)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@each_backend
def test_extremes_of_the_uniforms(backend: str) -> None:
    """Over 4 million draws the tails are reached and agree too."""
    index = torch.arange(1000)
    found = normal(SEED, index, 5, (4096,), backend=backend)
    expected = normal_reference(SEED, index, 5, 4096)
    assert found.abs().max() > 4.9
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@each_backend
def test_distribution(backend: str) -> None:
    z = normal(SEED, torch.arange(500), 0, (20, 40), backend=backend).double().numpy()
    flat = z.ravel()
    error = flat.size**-0.5
    assert abs(flat.mean()) < 4 * error
    assert abs(flat.var() - 1) < 4 * 2**0.5 * error
    assert abs(stats.skew(flat)) < 4 * 6**0.5 * error
    assert abs(stats.kurtosis(flat)) < 4 * 24**0.5 * error
    assert stats.kstest(flat, "norm").pvalue > 1e-3


@each_backend
def test_draws_are_unrelated(backend: str) -> None:
    def draw(seed: int, first: int, step: int) -> Tensor:
        index = torch.arange(first, first + 100)
        return normal(seed, index, step, (400,), backend=backend).flatten()

    draws = [draw(SEED, 0, 0), draw(SEED + 1, 0, 0), draw(SEED, 100, 0), draw(SEED, 0, 1)]
    draws += [draw(SEED + 2**32, 0, 0), draw(SEED, 2**32, 0), draws[0].roll(1)]
    correlation = torch.corrcoef(torch.stack(draws)) - torch.eye(len(draws))
    assert correlation.abs().max() < 5 * 40_000**-0.5


@each_backend
def test_batches_change_nothing(backend: str) -> None:
    whole = normal(SEED, torch.arange(100), 4, (3, 50), backend=backend)
    for size in (1, 7, 64):
        parts = [
            normal(SEED, index, 4, (3, 50), backend=backend)
            for index in torch.arange(100).split(size)
        ]
        assert torch.equal(torch.cat(parts), whole)


@each_backend
def test_order_and_length_change_nothing(backend: str) -> None:
    index = torch.tensor([5, 2, 9, 4])[::2]
    found = normal(SEED, index, 4, (1500,), backend=backend)
    assert torch.equal(found[1:, :10], normal(SEED, index[1:], 4, (10,), backend=backend))


@each_backend
def test_thread_count_changes_nothing(backend: str) -> None:
    threads, draws = torch.get_num_threads(), []
    for count in (1, 3):
        torch.set_num_threads(count)
        draws.append(normal(SEED, torch.arange(100), 0, (3000,), backend=backend))
    torch.set_num_threads(threads)
    assert torch.equal(*draws)


@each_backend
def test_float64_holds_the_float32_values(backend: str) -> None:
    index = torch.arange(3)
    single = normal(SEED, index, 0, (5,), backend=backend)
    double = normal(SEED, index, 0, (5,), dtype=torch.float64, backend=backend)
    assert double.dtype is torch.float64
    assert torch.equal(double, single.double())


@each_backend
def test_fills_and_returns_out(backend: str) -> None:
    out = torch.full((3, 2, 5), torch.nan)
    assert normal(SEED, torch.arange(3), 0, (2, 5), out=out, backend=backend) is out
    assert torch.equal(out, normal(SEED, torch.arange(3), 0, (2, 5), backend=backend))


@each_backend
@pytest.mark.parametrize(("batch", "shape"), [(0, (3,)), (2, (0,)), (2, ())])
def test_small_shapes(backend: str, batch: int, shape: tuple[int, ...]) -> None:
    assert normal(1, torch.arange(batch), 0, shape, backend=backend).shape == (batch, *shape)


def test_uniform() -> None:
    u = uniform(SEED, torch.arange(100_000), 2)
    assert u.dtype is torch.float64
    assert u.min() >= 0
    assert u.max() < 1
    assert stats.kstest(u.numpy(), "uniform").pvalue > 1e-3
    assert torch.equal(u[40:50], uniform(SEED, torch.arange(40, 50), 2))
    assert ((u * 2**53).remainder(2) == 1).double().mean() == pytest.approx(0.5, abs=0.01)


def test_uniform_shares_nothing_with_normal() -> None:
    index = torch.arange(10_000)
    u, z = uniform(SEED, index, 0), normal(SEED, index, 0, (4,)).double()
    correlation = torch.corrcoef(torch.cat([u.unsqueeze(0), z.T, z.T.square()]))[0, 1:]
    assert correlation.abs().max() < 0.05


@pytest.mark.parametrize(
    ("seed", "index", "step", "message"),
    [
        (-1, torch.arange(2), 0, "seed: .* found -1"),
        (2**64, torch.arange(2), 0, "seed: expected 0 <= seed < 2"),
        (0, torch.arange(2), -1, "step: .* found -1"),
        (0, torch.arange(2), 2**32, "step: expected"),
        (0, torch.arange(2.0), 0, r"index: expected \(B,\) int64, found \(2,\) torch.float32"),
        (0, torch.tensor(3), 0, r"index: expected \(B,\) int64, found \(\)"),
    ],
)
def test_bad_input(seed: int, index: Tensor, step: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        normal(seed, index, step, (3,))
    with pytest.raises(ValueError, match=message):
        uniform(seed, index, step)


def test_bad_dtype_and_shape() -> None:
    with pytest.raises(ValueError, match=r"dtype: .* found torch.float16"):
        normal(0, torch.arange(2), 0, (3,), dtype=torch.float16)
    with pytest.raises(ValueError, match=r"shape: expected fewer than"):
        normal(0, torch.arange(2), 0, (2**18, 2**18))
    with pytest.raises(ValueError, match=r"out: expected \(2, 3\)"):
        normal(0, torch.arange(2), 0, (3,), out=torch.empty(2, 4))
