"""How the points of a series vary together, by class: what each tells of the others at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from netdiffus.ops.precision import precision

# Traces that what all classes had may weigh as much as, beside those of the class.
TRUSTS = (20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1280.0)
MEAN_TRUST = 4.0  # the same for the mean
SEEN = 1.0  # variance of the noise that trusts are compared through: there points are decided
GRAIN = 1e-3  # variance of a point that no other explains, about that of a level's width
LARGEST = 2**25  # numbers in the matrices of all classes; where there are more, one serves all


@dataclass(frozen=True, eq=False)
class Covariance:
    """A normal distribution of series, as vectors of D = C m points, for each class.

    Attributes:
        mean: float32 (classes, D).
        variances: float32 (G, D), eigenvalues of the covariances; G is `classes`, or 1.
        vectors: float32 (G, D, D), their eigenvectors as columns.
    """

    mean: Tensor
    variances: Tensor
    vectors: Tensor

    @classmethod
    def fit(cls, series: Tensor, inside: Tensor, labels: Tensor, classes: int) -> Covariance:
        """Estimates from series; a point outside its trace counts as the mean.

        A class's own covariance is leaned towards that of all classes, as if these had so many
        traces more in it as make either half of the traces likeliest to the other (`TRUSTS`).

        Args:
            series: (N, C, m).
            inside: Bool (N, m).
            labels: int64 (N,).
            classes: Number of classes.
        """
        there = inside.unsqueeze(1).expand_as(series).flatten(1).double()
        x = series.flatten(1).double() * there
        mean = _means(x, there, labels, classes)
        apart = (x - mean[labels]) * there
        pooled = apart.T @ apart / len(x)
        if classes * pooled.numel() > LARGEST:
            matrices = pooled.unsqueeze(0)
        else:
            traces = torch.bincount(labels, minlength=classes).double().view(-1, 1, 1)
            parts = (apart[labels == k] for k in range(classes))
            own = torch.stack([part.T @ part for part in parts])
            trust = _trust(x, there, labels, classes)
            matrices = (own + trust * pooled) / (traces + trust)
        values, vectors = torch.linalg.eigh(matrices)
        variances = values.clamp(min=0) + GRAIN
        return cls(mean.float(), variances.float(), vectors.float())

    def others(
        self,
        seen: Tensor,
        noise: Tensor,
        label: Tensor,
        inside: Tensor,
        backend: str = "auto",
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the other points of a series tell of each, before it is looked at itself.

        With K the inverse of the covariance of noisy series, the distribution of noisy point i
        given the others is normal with mean ``y_i - (K (y - mean))_i / K_ii`` and variance
        ``1 / K_ii`` (Rasmussen and Williams, 2006, Eq. 5.12); without its noise it is point i's.

        Args:
            seen: y (B, C, m), series with normal noise.
            noise: (B,), variance of that.
            label: int64 (B,).
            inside: Bool (B, m); what is seen outside a trace is not used.
            backend: Of the products, see `precision`.

        Returns:
            Mean and variance, and the variance before any was seen, all (B, C, m).
        """
        group, mean = label.clamp(max=len(self.vectors) - 1), self.mean[label]
        there = inside.unsqueeze(1).expand_as(seen).flatten(1)
        apart = (seen.flatten(1) - mean) * there
        given = apart, noise, group, self.variances, self.vectors
        pulled, kept, signal, before = precision(*given, backend=backend)
        variance = (signal / kept).clamp(min=GRAIN).minimum(before)  # 1 / K_ii - noise cancels
        found = mean + apart - pulled / kept
        return found.view_as(seen), variance.view_as(seen), before.view_as(seen)


def _means(x: Tensor, there: Tensor, labels: Tensor, classes: int) -> Tensor:
    everywhere = x.sum(0) / there.sum(0).clamp(min=1)
    total, count = (
        torch.zeros(classes, x.shape[1], dtype=x.dtype).index_add_(0, labels, part)
        for part in (x, there)
    )
    return (total + MEAN_TRUST * everywhere) / (count + MEAN_TRUST)


def _trust(x: Tensor, there: Tensor, labels: Tensor, classes: int) -> float:
    """By which the halves of all classes, first and second as they come, tell each other best."""
    place = torch.empty_like(labels)
    for k in range(classes):
        mine = labels == k
        place[mine] = 2 * torch.arange(int(mine.sum())) // mine.sum()
    first = place == 0
    given = x, there, labels, classes
    likely = _likelihoods(*given, first) + _likelihoods(*given, ~first)
    return TRUSTS[int(likely.argmax())]


def _likelihoods(x: Tensor, there: Tensor, labels: Tensor, classes: int, learn: Tensor) -> Tensor:
    """Of the other traces by those to learn from, for each trust: logarithms, but for a constant.

    In axes where the covariance of all classes is diagonal, a class adds a matrix of no more ranks
    than it has traces, few beside the points (Woodbury's identity).
    """
    mean = _means(x[learn], there[learn], labels[learn], classes)
    apart = (x - mean[labels]) * there
    usual, axes = torch.linalg.eigh(apart[learn].T @ apart[learn] / max(1, int(learn.sum())))
    apart, usual = apart @ axes, usual.clamp(min=0) + SEEN
    likely = torch.zeros(len(TRUSTS), dtype=x.dtype)
    for k in range(classes):
        known, new = (apart[half & (labels == k)] for half in (learn, ~learn))
        likely += torch.stack([_likelihood(known, new, usual, trust) for trust in TRUSTS])
    return likely


def _likelihood(known: Tensor, new: Tensor, usual: Tensor, trust: float) -> Tensor:
    """Of traces `new` (M, D), where a class has `known` (n, D) and all classes variances `usual`.

    With A = known and diagonal d, which has the noise in it, the covariance is
    ``(A'A + d) / (n + trust)``, and ``(A'A + d)^-1 = d^-1 - B'B`` where ``B = L^-1 A d^-1`` and
    ``L L' = 1 + A d^-1 A'``.
    """
    n, d = len(known), trust * usual + len(known) * SEEN
    # Where traces are more than points, D rows have the same A'A.
    rows = torch.linalg.qr(known, mode="r").R if n > known.shape[1] else known
    scaled = rows / d
    lower = torch.linalg.cholesky(scaled @ rows.T + torch.eye(len(rows), dtype=rows.dtype))
    b = torch.linalg.solve_triangular(lower, scaled, upper=False)
    squares = (new.square().sum(0) / d).sum() - (new @ b.T).square().sum()
    squares += len(new) * SEEN * ((1 / d).sum() - b.square().sum())  # of the noise on them
    log_det = (d / (n + trust)).log().sum() + 2 * lower.diagonal().log().sum()
    likely: Tensor = -0.5 * ((n + trust) * squares + len(new) * log_det)
    return likely
