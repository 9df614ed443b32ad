from __future__ import annotations

import math
from fractions import Fraction
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from everywhere import DTYPES
from scipy import stats
from torch import Tensor

from netdiffus.ops import normal, philox4x32, q_sample, uniform
from netdiffus.ops.noise import PREDICTIONS, normal_reference, uniforms

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


# Symmetric planes of every alignment to Philox blocks of four, and to vectors and tiles of 16.
SHAPES = [
    ((), False),
    ((0,), False),
    ((5,), False),
    ((1025,), False),
    ((3, 7, 11), False),
    ((64, 64), False),
    ((1, 1), True),
    ((2, 0, 0), True),
    ((3, 3, 3), True),
    ((2, 8, 8), True),
    ((2, 17, 17), True),
    ((1, 64, 64), True),
    ((2, 2, 33, 33), True),
    ((70, 70), True),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_known_answers(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    words = philox4x32([torch.tensor(word) for word in counter], key)
    assert tuple(map(int, words)) == expected


def test_normal_by_hand(backend: str, device: str) -> None:
    """Element 5 is lane 1 of block 1: the sine of the first pair."""
    index = torch.tensor([2**32 * 7 + 9], device=device)
    counter = [torch.tensor(word) for word in (1, 3, 9, 7)]
    first, second, _, _ = philox4x32(counter, (0x89AB_CDEF, 0x0123_4567))
    u1, u2 = (float(first) + 0.5) / 2**32, float(second) / 2**32
    expected = math.sqrt(-2 * math.log(u1)) * math.sin(2 * math.pi * u2)
    found = normal(SEED, index, 3, (8,), backend=backend)[0, 5]
    assert found.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (3, 4, 4), (2, 5, 5), (1, 37, 37)])
def test_reference_of_symmetric_noise_mirrors_the_upper_triangle(shape: tuple[int, ...]) -> None:
    index = torch.tensor([3, 1])
    white = normal_reference(SEED, index, 2, shape).numpy()
    found = normal_reference(SEED, index, 2, shape, symmetric=True).numpy()
    for i, j in np.ndindex(shape[-2:]):
        expected = white[..., min(i, j), max(i, j)] * np.float32(2**0.5 if i == j else 1)
        np.testing.assert_array_equal(found[..., i, j], expected)


@pytest.mark.parametrize(("shape", "symmetric"), SHAPES)
def test_backends_agree(backend: str, device: str, shape: tuple[int, ...], symmetric: bool) -> None:
    index = torch.tensor([0, 1, 2**32, 2**62 + 3, -1], device=device)
    for step in (0, 2**32 - 1):
        found = normal(SEED, index, step, shape, symmetric=symmetric, backend=backend)
        expected = normal_reference(SEED, index, step, shape, symmetric)
        assert found.shape == (5, *shape)
        assert not symmetric or torch.equal(found, found.mT)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2**31 + 5, 2**40 + 7, 2**64 - 1])
def test_keys_of_every_width(backend: str, device: str, seed: int) -> None:
    index = torch.tensor([2**40 + 5, 0, -1], device=device)
    found = normal(seed, index, 7, (9,), backend=backend)
    torch.testing.assert_close(found, normal_reference(seed, index, 7, (9,)), rtol=0, atol=1e-6)


def test_extremes_of_the_uniforms(backend: str, device: str) -> None:
    """Over 2 million draws the tails are reached and agree too."""
    index = torch.arange(500, device=device)
    found = normal(SEED, index, 5, (4096,), backend=backend)
    expected = normal_reference(SEED, index, 5, (4096,))
    assert found.abs().max() > 4.7
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_distribution(backend: str, device: str) -> None:
    index = torch.arange(500, device=device)
    flat = normal(SEED, index, 0, (20, 40), backend=backend).cpu().double().numpy().ravel()
    error = flat.size**-0.5
    assert abs(flat.mean()) < 4 * error
    assert abs(flat.var() - 1) < 4 * 2**0.5 * error
    assert abs(stats.skew(flat)) < 4 * 6**0.5 * error
    assert abs(stats.kurtosis(flat)) < 4 * 24**0.5 * error
    assert stats.kstest(flat, "norm").pvalue > 1e-3


def test_symmetric_noise_has_the_law_of_the_mean_of_two(backend: str, device: str) -> None:
    """(w + w') / sqrt(2): variance 1 off the diagonal and 2 on it, and no pair related."""
    index = torch.arange(20_000, device=device)
    z = normal(SEED, index, 0, (3, 3), symmetric=True, backend=backend).cpu().double()
    rows, columns = torch.triu_indices(3, 3)
    upper = z[:, rows, columns].numpy()
    diagonal = np.array([True, False, False, True, False, True])
    np.testing.assert_allclose(np.cov(upper.T), np.diag(1.0 + diagonal), atol=0.06)
    for values, on_it in zip(upper.T, diagonal, strict=True):
        assert stats.kstest(values / (2**0.5 if on_it else 1), "norm").pvalue > 1e-3


def test_draws_are_unrelated(backend: str, device: str) -> None:
    def draw(seed: int, first: int, step: int) -> Tensor:
        index = torch.arange(first, first + 100, device=device)
        return normal(seed, index, step, (400,), backend=backend).flatten()

    draws = [draw(SEED, 0, 0), draw(SEED + 1, 0, 0), draw(SEED, 100, 0), draw(SEED, 0, 1)]
    draws += [draw(SEED + 2**32, 0, 0), draw(SEED, 2**32, 0), draws[0].roll(1)]
    correlation = torch.corrcoef(torch.stack(draws)).cpu() - torch.eye(len(draws))
    assert correlation.abs().max() < 5 * 40_000**-0.5


def test_order_and_length_change_nothing(backend: str, device: str) -> None:
    index = torch.tensor([5, 2, 9, 4], device=device)[::2]
    found = normal(SEED, index, 4, (1500,), backend=backend)
    assert torch.equal(found[1:, :10], normal(SEED, index[1:], 4, (10,), backend=backend))


def test_every_dtype_holds_the_float32_values(backend: str, device: str) -> None:
    index = torch.arange(3, device=device)
    single = normal(SEED, index, 0, (2, 9, 9), symmetric=True, backend=backend)
    for dtype in DTYPES[backend]:
        found = normal(SEED, index, 0, (2, 9, 9), symmetric=True, dtype=dtype, backend=backend)
        assert found.dtype is dtype
        assert torch.equal(found, single.to(dtype))


def test_fills_and_returns_out(backend: str, device: str) -> None:
    index = torch.arange(3, device=device)
    out = torch.full((3, 2, 5), torch.nan, device=device)
    assert normal(SEED, index, 0, (2, 5), out=out, backend=backend) is out
    assert torch.equal(out, normal(SEED, index, 0, (2, 5), backend=backend))


@pytest.mark.parametrize(("batch", "shape"), [(0, (3,)), (2, (0,)), (2, ())])
def test_small_shapes(backend: str, device: str, batch: int, shape: tuple[int, ...]) -> None:
    found = normal(1, torch.arange(batch, device=device), 0, shape, backend=backend)
    assert found.shape == (batch, *shape)


def images(*shape: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Tensor:
    values = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (2 * values - 1).to(dtype).to(device)


def levels(batch: int, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
    signal = torch.linspace(0.05, 0.99, batch, dtype=torch.float64)
    return tuple(v.to(dtype).to(device) for v in (signal, (1 - signal**2).sqrt()))


# xt and v are below 6 in size, and take three roundings of the dtype's.
TOLERANCE = {
    torch.float64: 5e-6,  # the noise is float32
    torch.float32: 5e-6,
    torch.float16: 4e-3,
    torch.bfloat16: 3e-2,
}


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize(("shape", "symmetric"), SHAPES)
def test_q_sample(
    backend: str, device: str, prediction: str, shape: tuple[int, ...], symmetric: bool
) -> None:
    index = torch.tensor([4, 0, 2**40], device=device)
    for dtype in DTYPES[backend]:
        x0 = images(3, *shape, dtype=dtype, device=device)
        signal, sigma = levels(3, dtype, device)
        arguments = (SEED, index, 2)
        how = {"prediction": prediction, "symmetric": symmetric, "backend": backend}
        xt, target = q_sample(x0, signal, sigma, *arguments, **how)
        eps = normal_reference(SEED, index, 2, shape, symmetric).double()
        a, b = (v.double().reshape(3, *[1] * len(shape)) for v in (signal, sigma))
        expected = {"eps": eps, "v": a * eps - b * x0.double(), "x0": x0.double()}[prediction]
        for found, value in ((xt, a * x0.double() + b * eps), (target, expected)):
            assert found.dtype is dtype
            torch.testing.assert_close(found.double(), value, rtol=0, atol=TOLERANCE[dtype])
        assert (target is x0) == (prediction == "x0")


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_q_sample_fills_out(backend: str, device: str, prediction: str) -> None:
    x0, index = images(3, 9, 9, device=device), torch.arange(3, device=device)
    mixing = (x0, *levels(3, torch.float32, device), 1, index)
    out = [torch.full_like(x0, torch.nan) for _ in range(1 if prediction == "x0" else 2)]
    found = q_sample(*mixing, prediction=prediction, out=out, backend=backend)
    assert found[0] is out[0]
    assert found[1] is (x0 if prediction == "x0" else out[1])
    assert all(map(torch.equal, found, q_sample(*mixing, prediction=prediction, backend=backend)))


def test_q_sample_shows_nan_where_it_is(backend: str, device: str) -> None:
    x0 = images(2, 5, 5, device=device)
    x0[1, 2, 3] = torch.nan
    mixing = (*levels(2, torch.float32, device), 1, torch.arange(2, device=device))
    for found in q_sample(x0, *mixing, backend=backend):
        assert torch.equal(found.isnan(), x0.isnan())


def test_q_sample_takes_torch_for_a_gradient() -> None:
    x0 = images(2, 3, 3, dtype=torch.float64).requires_grad_()
    mixing = (*levels(2, torch.float64, "cpu"), 1, torch.arange(2))
    assert torch.autograd.gradcheck(lambda x: q_sample(x, *mixing), x0)


def test_native_q_sample_refuses_a_gradient(backend: str, device: str) -> None:
    x0 = images(2, 3, 3, device=device).requires_grad_()
    mixing = (x0, *levels(2, torch.float32, device), 1, torch.arange(2, device=device))
    if backend == "torch":
        assert all(v.requires_grad for v in q_sample(*mixing, backend=backend))
        return
    with pytest.raises(ValueError, match="has no gradient"):
        q_sample(*mixing, backend=backend)
    with torch.no_grad():
        assert q_sample(*mixing, backend=backend)[0].shape == x0.shape


def test_registered_ops_keep_torchs_rules() -> None:
    index, x0 = torch.arange(2), images(2, 1, 6, 6)
    mixing = (*levels(2, torch.float32, "cpu"), -5, index, 1, "v", True, "auto")
    torch.library.opcheck(
        torch.ops.netdiffus.normal, (-5, index, 1, [3, 3], True, torch.float32, "auto")
    )
    torch.library.opcheck(torch.ops.netdiffus.q_sample, (x0, *mixing))


def test_uniform() -> None:
    u = uniform(SEED, torch.arange(100_000), 2)
    assert u.dtype is torch.float64
    assert u.min() >= 0
    assert u.max() < 1
    assert stats.kstest(u.numpy(), "uniform").pvalue > 1e-3
    assert torch.equal(u[40:50], uniform(SEED, torch.arange(40, 50), 2))
    assert ((u * 2**53).remainder(2) == 1).double().mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("high", [0, 2**31, 2**32 - 128, 2**32 - 1])
def test_uniform_numbers_have_53_bits_and_stay_below_1(high: int) -> None:
    """Also those that float32 would round up to 1: one in 30 million."""
    words = tuple(torch.tensor([[word]]) for word in (high, 2**32 - 1, 0, 0))
    with mock.patch("netdiffus.ops.noise.philox4x32", return_value=words):
        found = uniforms(0, torch.tensor([0]), 0, 1, backend="torch")
    assert float(found) == float(Fraction((high >> 5 << 26) + (2**26 - 1), 2**53)) < 1


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": torch.int32}, "dtype: .* found torch.int32"),
        ({"shape": (2**16, 2**15)}, "shape: .* more than 2"),
        ({"shape": (3, 4), "symmetric": True}, r"square last axes, found \(2, 3, 4\)"),
        ({"shape": (3,), "symmetric": True}, "square last axes"),
        ({"out": torch.empty(2, 4)}, r"out: expected \(2, 3\)"),
        ({"out": torch.empty(3, 2).mT}, "contiguous"),
        ({"dtype": torch.float16, "backend": "cpp"}, "expected torch.float32, torch.float64"),
        ({"backend": "gpu"}, "found 'gpu'"),
    ],
)
def test_bad_noise(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        normal(0, torch.arange(2), 0, **{"shape": (3,), **arguments})


X0 = torch.zeros(2, 3, 3)
LEVEL = torch.full((2,), 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x0": X0.int()}, "x0: expected float32"),
        ({"x0": torch.tensor(0.5)}, r"x0: expected \(B, \.\.\.\)"),
        ({"x0": X0[:, :2]}, r"x0: symmetric noise needs square last axes, found \(2, 2, 3\)"),
        ({"x0": torch.empty(1, 1).expand(2, 2**31)}, "x0: .* more than 2"),
        ({"signal": LEVEL.double()}, r"signal: expected \(2,\) torch.float32"),
        ({"signal": LEVEL[:1]}, r"signal: expected \(2,\)"),
        ({"sigma": LEVEL.unsqueeze(1)}, r"sigma: expected \(2,\)"),
        ({"sigma": torch.empty(2, device="meta")}, "sigma: .* on meta"),
        ({"index": torch.arange(3)}, r"index: expected \(2,\) on cpu as x0, found \(3,\)"),
        ({"seed": -1}, "seed: .* found -1"),
        ({"step": 2**32}, "step: expected"),
        ({"prediction": "y"}, "prediction: expected one of eps, v, x0, found 'y'"),
        ({"out": [X0 + 1]}, "out: .* found 1 tensors"),
        ({"out": [X0 + 1, X0]}, "out: shares memory with x0"),
        ({"out": [torch.empty(2, 3, 3)] * 2}, r"out: shares memory with out\[1\]"),
        ({"out": [X0 + 1, X0.double()]}, r"out\[1\]: expected"),
    ],
)
def test_bad_mixture(backend: str, arguments: dict[str, Any], message: str) -> None:
    plain = {"x0": X0, "signal": LEVEL, "sigma": LEVEL, "seed": 0, "index": torch.arange(2)}
    with pytest.raises(ValueError, match=message):
        q_sample(**{**plain, "backend": backend, **arguments})
