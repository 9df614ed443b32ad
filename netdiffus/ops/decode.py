"""An image as a series again: the nearest GASF, found from all its pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

CHUNK = 64 << 20  # bytes of one float64 batch of images worked on at a time


def gasf_decode(
    image: Tensor,
    *,
    gamma: float = 1.0,
    method: str = "image",
    iterations: int = 6,
) -> tuple[Tensor, Tensor]:
    """Finds the series whose unresized GASF image is nearest.

    With theta = arccos x and G = 2 image**(1/gamma) - 1, minimises
    ``sum_ij (G_ij - cos(theta_i + theta_j))**2`` over theta in [0, pi/2] by Gauss-Newton steps,
    started from the diagonal, x_i = sqrt(image_ii). The normal matrix has a closed form: with
    ``S_ij = sin(theta_i + theta_j)**2`` it is ``S + diag(S 1)``. An image that is a GASF already is
    answered from its diagonal, which is exact.

    Args:
        image: (..., m, m) in [0, 1], float32 or float64.
        gamma: Contrast of the image.
        method: `image` uses every pixel; `diagonal` the diagonal alone (NetDiffus, Eq. 8).
        iterations: Gauss-Newton steps at most.

    Returns:
        (x, residual): float64 (..., m) in [0, 1], and float64 (...), the root mean square distance
        over pixels between the image (gamma undone) and the GASF image of x.

    Raises:
        ValueError: An image that is not square, or an unknown method.
    """
    if image.ndim < 2 or image.shape[-1] != image.shape[-2] or image.shape[-1] < 1:
        raise ValueError(f"image: expected (..., m, m), found {tuple(image.shape)}")
    if method not in ("image", "diagonal"):
        raise ValueError(f"method: expected 'image' or 'diagonal', found {method!r}")
    m = image.shape[-1]
    steps = iterations if method == "image" else 0
    exact = 1e-6 if image.dtype is torch.float32 else 1e-12
    parts = [
        _nearest(_undo_gamma(part, gamma), steps, exact)
        for part in torch.split(image.reshape(-1, m, m), max(1, CHUNK // (8 * m * m)))
    ]
    x = torch.cat([part[0] for part in parts]) if parts else image.new_empty(0, m).double()
    residual = torch.cat([part[1] for part in parts]) if parts else image.new_empty(0).double()
    return x.reshape(image.shape[:-1]), residual.reshape(image.shape[:-2])


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
