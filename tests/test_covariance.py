from __future__ import annotations

import numpy as np
import pytest
import torch

from netdiffus import covariance
from netdiffus.covariance import CLASS_TRUST, GRAIN, MEAN_TRUST, Covariance

CLASSES, POINTS = 3, 4


def traffic() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    series = torch.randn(60, 2, POINTS).cumsum(2) / 4
    return series, torch.ones(60, POINTS) > 0, torch.arange(60) % CLASSES


def apart(series: torch.Tensor, labels: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Means (classes, D), and what each series lacks of its own (N, D)."""
    x, k = series.flatten(1).double().numpy(), labels.numpy()
    mean = np.stack([(x[k == c].sum(0) + MEAN_TRUST * x.mean(0)) for c in range(CLASSES)])
    mean /= np.bincount(k)[:, None] + MEAN_TRUST
    return mean, x - mean[k]


def matrix(lacks: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """The covariance of a class: its own squares, and 20 traces' worth of all classes'."""
    own = lacks[labels == k]
    pooled = lacks.T @ lacks / len(lacks)
    whole = (own.T @ own + CLASS_TRUST * pooled) / (len(own) + CLASS_TRUST)
    return np.asarray(whole + GRAIN * np.eye(len(whole)))


def conditional(
    s: np.ndarray, mean: np.ndarray, y: np.ndarray, noise: float, i: int
) -> tuple[float, float]:
    """Mean and variance of point i given the noisy others, by the textbook's block formula."""
    rest = np.arange(len(y)) != i
    weights = np.linalg.solve(s[np.ix_(rest, rest)] + noise * np.eye(rest.sum()), s[rest, i])
    return mean[i] + weights @ (y - mean)[rest], s[i, i] - weights @ s[rest, i]


@pytest.mark.parametrize("noise", [1e-4, 0.1, 100.0, 1600.0])
def test_others_tell_what_conditioning_tells(noise: float) -> None:
    series, inside, labels = traffic()
    known = Covariance.fit(series, inside, labels, CLASSES)
    mean, lacks = apart(series, labels)
    seen = series[:1] + 0.3
    found, variance, before = known.others(seen, torch.tensor([noise]), labels[:1], inside[:1])
    s = matrix(lacks, labels.numpy(), 0)
    for i in range(2 * POINTS):
        m, v = conditional(s, mean[0], seen.flatten().double().numpy(), noise, i)
        np.testing.assert_allclose(found.flatten()[i], m, atol=1e-4)
        np.testing.assert_allclose(variance.flatten()[i], v, rtol=1e-3)
    np.testing.assert_allclose(before.flatten(), np.diag(s), rtol=1e-4)


def test_points_outside_a_trace_tell_nothing() -> None:
    series, inside, labels = traffic()
    known = Covariance.fit(series, inside, labels, CLASSES)
    short = torch.arange(POINTS)[None] < 2
    noise = torch.tensor([0.05])
    first, second = (series[:1].clone() for _ in range(2))
    second[..., 2:] = 99.0
    for a, b in zip(
        *(known.others(one, noise, labels[:1], short) for one in (first, second)), strict=True
    ):
        torch.testing.assert_close(a[..., :2], b[..., :2])


def test_many_classes_share_one_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(covariance, "LARGEST", CLASSES * (2 * POINTS) ** 2 - 1)
    series, inside, labels = traffic()
    known = Covariance.fit(series, inside, labels, CLASSES)
    assert known.vectors.shape == (1, 2 * POINTS, 2 * POINTS)
    _, lacks = apart(series, labels)
    _, _, before = known.others(series[:3], torch.ones(3), labels[:3], inside[:3])
    pooled = np.diag(lacks.T @ lacks / len(lacks)) + GRAIN
    np.testing.assert_allclose(before.flatten(1), np.tile(pooled, (3, 1)), rtol=1e-4)
