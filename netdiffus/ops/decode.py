"""Images back to series: the nearest GASF image, found from all pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from netdiffus.ops import _backend
from netdiffus.ops._library import register

_LARGEST_ON_GPU = 1024  # m: one block of threads holds a series
# The residual that rounding to the dtype alone can leave.
_EXACT = {
    torch.float64: 1e-12,
    torch.float32: 1e-6,
    torch.float16: 1e-3,
    torch.bfloat16: 1e-2,
}
CHUNK = 64 << 20  # bytes of one float64 batch of images worked on at a time


def gasf_decode(
    image: Tensor,
    *,
    gamma: float = 1.0,
    method: str = "image",
    iterations: int = 6,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Finds the series whose unresized GASF image is nearest.

    With theta = arccos x and G = 2 image**(1/gamma) - 1, minimises
    ``sum_ij (G_ij - cos(theta_i + theta_j))**2`` over theta in [0, pi/2] by Gauss-Newton steps,
    started from the diagonal, x_i = sqrt(image_ii). The normal matrix has a closed form: with
    ``S_ij = sin(theta_i + theta_j)**2`` it is ``S + diag(S 1)``. An image that is a GASF already is
    decoded from its diagonal, which is exact. The search ends at a step that does not improve.

    The reference solves with the dense matrix; the kernels use that S has rank 3, so a step costs
    O(m**2). A diagonal that is all 0 or all 1 is a saddle point, which they may leave in different
    directions.

    Args:
        image: (..., m, m) in [0, 1], float32, float64, float16 or bfloat16.
        gamma: Contrast of the image, above 0.
        method: `image` uses every pixel; `diagonal` the diagonal alone (NetDiffus, Eq. 8).
        iterations: Gauss-Newton steps at most.
        backend: ``"auto"``, ``"torch"``, ``"cpp"``, ``"cuda"`` or ``"triton"``; the last two
            compute in float32 and take m up to 1024.

    Returns:
        (x, residual): float64 (..., m) in [0, 1], and float64 (...), the root mean square distance
        over pixels between the image (gamma undone) and the GASF image of x. Neither has a
        gradient. Of an image with a NaN both are NaN.

    Raises:
        ValueError: An image that is not square, or another argument of the wrong dtype or value.
        RuntimeError: The asked backend cannot run here.
    """
    _check(image, gamma, method, iterations)
    steps, m = iterations if method == "image" else 0, image.shape[-1]
    images = image.detach().reshape(-1, m, m)
    traced = backend != "torch" and _backend.is_traced(images)
    x, residual = (_op if traced else _decoded)(images, gamma, steps, backend)
    return x.reshape(image.shape[:-1]), residual.reshape(image.shape[:-2])


def gasf_decode_reference(
    image: Tensor, gamma: float, iterations: int, exact: float
) -> tuple[Tensor, Tensor]:
    """The formula of :func:`gasf_decode` in torch, for (B, m, m) images."""
    m = image.shape[-1]
    parts = [
        _nearest(_undo_gamma(part, gamma), iterations, exact)
        for part in torch.split(image, max(1, CHUNK // (8 * m * m)))
    ]
    x, residual = (torch.cat(part) for part in zip(*parts, strict=True))
    return torch.where(residual.isnan().unsqueeze(-1), torch.nan, x), residual


def gasf_decode_area(image: Tensor, anchor: Tensor, *, gamma: float = 1.0) -> tuple[Tensor, Tensor]:
    """Finds the area-averaged series behind an area-resized GASF image.

    Such an image is rank 2, ``X X' - S S'``, where X and S are the area averages of x and
    sqrt(1 - x**2). The two eigenvectors of largest and smallest eigenvalue give X and S up to one
    hyperbolic rotation, chosen so that X**2 + S**2 is as near to 1 as it can be on the rows
    marked in `anchor` (windows in which x is constant, padding for one), or on all rows where
    none is marked. Windows in which x varies have X**2 + S**2 < 1, so without an anchor the answer
    is biased: a limit of the paper's way of resizing.

    Args:
        image: (N, m, m) in [0, 1].
        anchor: Bool (N, m).
        gamma: Contrast of the image.

    Returns:
        (X, residual) as `gasf_decode` gives them.
    """
    g = 2 * _undo_gamma(image, gamma) - 1
    values, vectors = torch.linalg.eigh(g)
    s = vectors[..., 0] * values[..., :1].clamp(max=0).neg().sqrt()
    x = vectors[..., -1] * values[..., -1:].clamp(min=0).sqrt()
    nearest = x.unsqueeze(-1) * x.unsqueeze(-2) - s.unsqueeze(-1) * s.unsqueeze(-2)
    residual = 0.5 * (g - nearest).square().mean((-1, -2)).sqrt()
    s = s * _sign(s.sum(-1, keepdim=True))
    x = x * _sign(x.sum(-1, keepdim=True))
    weight = torch.where(anchor.any(-1, keepdim=True), anchor, torch.ones_like(anchor)).double()
    b = _boost(x, s, weight)
    return (x * b.cosh() + s * b.sinh()).clamp(0, 1), residual


def _check(image: Tensor, gamma: float, method: str, iterations: int) -> None:
    if image.ndim < 2 or image.shape[-1] != image.shape[-2] or image.shape[-1] < 1:
        raise ValueError(f"image: expected (..., m, m), found {tuple(image.shape)}")
    if image.dtype not in _EXACT:
        raise ValueError(f"image: expected float32, float64 or a half, found {image.dtype}")
    if not 0 < gamma < math.inf:
        raise ValueError(f"gamma: expected a number above 0, found {gamma}")
    if method not in ("image", "diagonal"):
        raise ValueError(f"method: expected 'image' or 'diagonal', found {method!r}")
    if not 0 <= iterations < 2**31:
        raise ValueError(f"iterations: expected 0 or more, found {iterations}")
    _backend.check_size("image", tuple(image.shape))


def _decoded(image: Tensor, gamma: float, iterations: int, backend: str) -> tuple[Tensor, Tensor]:
    m, exact = image.shape[-1], _EXACT[image.dtype]
    kernels = _backend.KERNELS if m <= _LARGEST_ON_GPU else {"cpp": _backend.KERNELS["cpp"]}
    chosen = _backend.choose(backend, image, kernels)
    if chosen == "torch":
        return gasf_decode_reference(image, gamma, iterations, exact)
    x, residual = _room(image)
    if not image.numel():
        return x, residual
    image = image.contiguous()
    if chosen == "triton":
        from netdiffus.ops.triton import decode

        decode.gasf_decode(image, gamma, iterations, exact, x, residual)
    else:
        search = (len(image), m, gamma, iterations, exact, x.data_ptr(), residual.data_ptr())
        _backend.native(chosen, "gasf_decode", image, image.data_ptr(), *search)
    return x, residual


def _room(image: Tensor) -> tuple[Tensor, Tensor]:
    batch, m = image.shape[:2]
    x = image.new_empty((batch, m), dtype=torch.float64)
    return x, image.new_empty(batch, dtype=torch.float64)


_op = register(
    "gasf_decode(Tensor image, float gamma, int iterations, str backend) -> (Tensor, Tensor)",
    _decoded,
    fake=lambda image, gamma, iterations, backend: _room(image),
)


def _undo_gamma(image: Tensor, gamma: float) -> Tensor:
    p = image.double().clamp(0, 1)
    p = 0.5 * (p + p.mT)
    return p if gamma == 1 else p ** (1 / gamma)


def _nearest(p: Tensor, steps: int, exact: float) -> tuple[Tensor, Tensor]:
    """(N, m, m) images to (N, m) series and (N,) residuals."""
    theta = p.diagonal(dim1=-2, dim2=-1).sqrt().acos()
    residual = _distance(p, theta)
    for _ in range(steps):
        todo = (residual > exact).nonzero().squeeze(-1)
        if not len(todo):
            break
        better = _gauss_newton(p[todo], theta[todo])
        distance = _distance(p[todo], better)
        gained = distance < residual[todo]
        rows = todo[gained]
        theta[rows], residual[rows] = better[gained], distance[gained]
        if not gained.any():
            break
    return theta.cos(), residual


def _distance(p: Tensor, theta: Tensor) -> Tensor:
    half = 0.5 * (theta.unsqueeze(-1) + theta.unsqueeze(-2))
    return (p - half.cos().square()).square().mean((-1, -2)).sqrt()


def _gauss_newton(p: Tensor, theta: Tensor) -> Tensor:
    total = theta.unsqueeze(-1) + theta.unsqueeze(-2)
    error, sine = (2 * p - 1) - total.cos(), total.sin()
    normal = sine.square()
    diagonal = normal.sum(-1) + 1e-9  # an all-dark image fixes nothing; then stay
    step: Tensor = torch.linalg.solve(normal + torch.diag_embed(diagonal), (error * sine).sum(-1))
    return (theta - step.clamp(-0.5, 0.5)).clamp(0, math.pi / 2)


def _sign(total: Tensor) -> Tensor:
    return torch.where(total < 0, -1.0, 1.0)


def _boost(x: Tensor, s: Tensor, weight: Tensor) -> Tensor:
    """(N, 1): b that minimises sum w (P cosh 2b + Q sinh 2b - 1)**2, P = x² + s², Q = 2 x s."""
    p, q = x * x + s * s, 2 * x * s
    b = torch.linspace(-1.5, 1.5, 61, dtype=x.dtype, device=x.device)
    width = 0.05
    grid = b.expand(len(x), -1)
    for _ in range(6):  # each round narrows the bracket thirtyfold
        a = 2 * grid.unsqueeze(-1)
        cost = (p.unsqueeze(1) * a.cosh() + q.unsqueeze(1) * a.sinh() - 1).square()
        best = (cost * weight.unsqueeze(1)).sum(-1).argmin(-1, keepdim=True)
        centre = grid.gather(-1, best)
        grid = centre + width * torch.linspace(-1, 1, 61, dtype=x.dtype, device=x.device)
        width /= 30
    return centre
