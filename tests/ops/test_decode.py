from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from everywhere import DTYPES
from torch import Tensor

from netdiffus.ops import gasf_decode, gasf_image
from netdiffus.ops.decode import gasf_decode_reference

NATIVE = ["cpp", "cuda", "triton"]
# Of the residual: cuda and triton compute in float32.
TOLERANCE = {"torch": 1e-14, "cpp": 2e-8, "cuda": 1e-6, "triton": 1e-6}
# Of x. A step is kept if it lowers the residual, and in float32 one of 2.2e-4 was lost in rounding
# (on an H100; under emulation none was): residuals are flat there, so x is known to about a root.
CLOSE = {"cpp": 2e-6, "cuda": 1e-3, "triton": 1e-3}
DTYPE = {"torch": torch.float64, "cpp": torch.float64}


def dtype_of(backend: str) -> torch.dtype:
    return DTYPE.get(backend, torch.float32)


def series(kind: str, batch: int, m: int) -> Tensor:
    x = torch.rand(batch, m, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return {
        "any": x,
        "binary": (x > 0.5).double(),
        "sparse": torch.where(x > 0.8, x, 0.0),
        "spiky": x**8,
        "dark": torch.zeros_like(x),
        "bright": torch.ones_like(x),
    }[kind]


def noisy(kind: str, batch: int, m: int, noise: float) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    added = noise * torch.randn(batch, m, m, generator=generator, dtype=torch.float64)
    return (gasf_image(series(kind, batch, m), m, backend="torch") + added).clamp(0, 1)


@pytest.mark.parametrize("kind", ["any", "binary", "sparse", "spiky", "dark", "bright"])
@pytest.mark.parametrize("m", [1, 2, 7, 16, 33, 64])
def test_gives_series_back(backend: str, device: str, kind: str, m: int) -> None:
    x = series(kind, 5, m)
    for dtype in DTYPES[backend]:
        image = gasf_image(x, m, backend="torch").to(dtype).to(device)
        found, residual = gasf_decode(image, backend=backend)
        assert found.dtype is residual.dtype is torch.float64
        # Near 0 the diagonal's x = sqrt(pixel) is as coarse as the pixel's rounding, under a root.
        step = torch.finfo(dtype).eps
        assert residual.max() <= 2 * step
        assert (found.cpu() - x).abs().max() <= 2 * step**0.5


@pytest.mark.parametrize("backend", NATIVE, indirect=True)
@pytest.mark.parametrize("kind", ["any", "binary", "sparse", "spiky", "dark", "bright"])
@pytest.mark.parametrize("noise", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("m", [16, 33])
def test_noisy_images_as_the_reference_does(
    backend: str, device: str, kind: str, noise: float, m: int
) -> None:
    """The residuals agree; x as well, where the image determines it."""
    image = noisy(kind, 10, m, noise).to(dtype_of(backend))
    expected, least = gasf_decode_reference(image, 1.0, 6, 1e-12)
    found, residual = (v.cpu() for v in gasf_decode(image.to(device), backend=backend))
    torch.testing.assert_close(residual, least, rtol=0, atol=TOLERANCE[backend])
    if kind == "any" and noise < 0.5:
        torch.testing.assert_close(found, expected, rtol=0, atol=CLOSE[backend])


@pytest.mark.parametrize("backend", NATIVE, indirect=True)
@pytest.mark.parametrize("m", [7, 64, 131])
def test_random_images_as_the_reference_does(backend: str, device: str, m: int) -> None:
    generator = torch.Generator().manual_seed(4)
    image = torch.rand(4, m, m, generator=generator, dtype=dtype_of(backend))
    _, least = gasf_decode_reference(image, 1.0, 20, 1e-12)
    found, residual = gasf_decode(image.to(device), iterations=20, backend=backend)
    assert found.min() >= 0
    assert found.max() <= 1
    torch.testing.assert_close(residual.cpu(), least, rtol=0, atol=TOLERANCE[backend])


@pytest.mark.parametrize("backend", ["cuda", "triton"], indirect=True)
@pytest.mark.parametrize("m", [7, 24])
def test_starts_anywhere(backend: str, device: str, m: int) -> None:
    """Also where Gauss-Newton's matrix is singular, or its slope 0."""
    generator = torch.Generator().manual_seed(7)
    bits = (torch.rand(6, m, m, generator=generator) < 0.4).float()
    eye = torch.eye(m).unsqueeze(0)
    image = torch.cat([bits, eye, 1 - eye, 0 * eye, 1 + 0 * eye])
    found, residual = gasf_decode(image.to(device), backend=backend)
    assert found.min() >= 0
    assert found.max() <= 1
    expected = gasf_decode(image, backend="torch")[1]
    # Measured: 1.5e-6, in images whose six steps end before the minimum; 0.2 is to get stuck.
    torch.testing.assert_close(residual.cpu(), expected, rtol=0, atol=5e-6)


@pytest.mark.parametrize("backend", NATIVE, indirect=True)
@pytest.mark.parametrize("gamma", [0.25, 0.3, 0.5, 2.2])
def test_undoes_gamma(backend: str, device: str, gamma: float) -> None:
    image = noisy("any", 6, 20, 0.05)
    bright = (image**gamma).to(dtype_of(backend)).to(device)
    found, residual = (v.cpu() for v in gasf_decode(bright, gamma=gamma, backend=backend))
    expected, least = gasf_decode_reference(bright.cpu(), gamma, 6, 1e-12)
    torch.testing.assert_close(residual, least, rtol=0, atol=TOLERANCE[backend])
    torch.testing.assert_close(found, expected, rtol=0, atol=CLOSE[backend])


def test_the_diagonal_alone(backend: str, device: str) -> None:
    image = noisy("any", 4, 9, 0.1).to(dtype_of(backend)).to(device)
    found, residual = gasf_decode(image, method="diagonal", backend=backend)
    expected = image.double().diagonal(dim1=-2, dim2=-1).sqrt()
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE[backend])
    assert (gasf_decode(image, backend=backend)[1] < residual).all()


def test_more_steps_never_make_it_worse(backend: str, device: str) -> None:
    image = noisy("sparse", 50, 12, 0.3).to(dtype_of(backend)).to(device)
    residuals = [gasf_decode(image, iterations=k, backend=backend)[1] for k in range(8)]
    assert all((after <= before).all() for before, after in itertools.pairwise(residuals))
    assert (residuals[-1] < residuals[0]).any()


def test_values_outside_are_clamped(backend: str, device: str) -> None:
    image = noisy("any", 3, 8, 0.1).to(dtype_of(backend)).to(device)
    wild = torch.where(image > 0.8, image + 5, torch.where(image < 0.2, image - 5, image))
    found = gasf_decode(wild, backend=backend)
    expected = gasf_decode(
        torch.where(image > 0.8, 1, torch.where(image < 0.2, 0, image)), backend=backend
    )
    assert all(map(torch.equal, found, expected))


def test_nan_makes_its_trace_nan(backend: str, device: str) -> None:
    clean = noisy("any", 3, 8, 0.1).to(dtype_of(backend)).to(device)
    image = clean.clone()
    image[1, 2, 5] = torch.nan
    found, expected = (gasf_decode(v, backend=backend) for v in (image, clean))
    for one, other in zip(found, expected, strict=True):
        assert one[1].isnan().all()
        assert torch.equal(one[[0, 2]], other[[0, 2]])


@pytest.mark.parametrize("shape", [(0, 4, 4), (4, 4), (2, 3, 4, 4), (2, 0, 4, 4)])
def test_leading_dimensions(backend: str, device: str, shape: tuple[int, ...]) -> None:
    image = torch.rand(shape, dtype=dtype_of(backend)).to(device)
    found, residual = gasf_decode(image, backend=backend)
    assert found.shape == shape[:-1]
    assert residual.shape == shape[:-2]


def test_result_has_no_gradient(backend: str, device: str) -> None:
    image = torch.rand(2, 5, 5, device=device, requires_grad=True)
    assert not any(v.requires_grad for v in gasf_decode(image, backend=backend))


def test_large_images_on_a_gpu_are_left_to_torch(backend: str, device: str) -> None:
    image = torch.full((1, 1025, 1025), 0.25, device=device)
    if backend in ("cuda", "triton"):
        with pytest.raises(ValueError, match="no such kernel"):
            gasf_decode(image, backend=backend)
    found, _ = gasf_decode(image, iterations=0)
    torch.testing.assert_close(found, torch.full_like(found, 0.5))


def test_registered_op_keeps_torchs_rules() -> None:
    torch.library.opcheck(torch.ops.netdiffus.gasf_decode, (torch.rand(2, 5, 5), 0.5, 3, "auto"))


@pytest.mark.parametrize(
    ("image", "arguments", "message"),
    [
        (torch.zeros(3), {}, r"expected \(\.\.\., m, m\), found \(3,\)"),
        (torch.zeros(3, 4), {}, r"found \(3, 4\)"),
        (torch.zeros(2, 0, 0), {}, r"found \(2, 0, 0\)"),
        (torch.zeros(2, 2).int(), {}, "image: expected float32"),
        (torch.zeros(1, 1).expand(2**16, 2**16), {}, "image: .* more than 2"),
        (torch.zeros(2, 2), {"gamma": 0.0}, "gamma: .* found 0"),
        (torch.zeros(2, 2), {"gamma": float("nan")}, "gamma: .* found nan"),
        (torch.zeros(2, 2), {"method": "corner"}, "expected 'image' or 'diagonal'"),
        (torch.zeros(2, 2), {"iterations": -1}, "iterations: .* found -1"),
    ],
)
def test_bad_input(backend: str, image: Tensor, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gasf_decode(image, backend=backend, **arguments)
