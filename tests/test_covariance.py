from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from netdiffus import covariance
from netdiffus.covariance import GRAIN, MEAN_TRUST, SEEN, TRUSTS, Covariance, _likelihood

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


def matrix(lacks: np.ndarray, labels: np.ndarray, k: int, trust: float) -> np.ndarray:
    """The covariance of a class: its own squares, and some traces' worth of all classes'."""
    own = lacks[labels == k]
    pooled = lacks.T @ lacks / len(lacks)
    return np.asarray((own.T @ own + trust * pooled) / (len(own) + trust))


def likeliest(series: torch.Tensor, labels: torch.Tensor) -> float:
    """The trust by which either half of the classes is likeliest to the other, by SciPy.

    Of noisy points the mean over their noise, which adds the trace of the inverse.
    """
    order = np.concatenate([np.flatnonzero(labels == k) for k in range(CLASSES)])
    n = np.bincount(labels)
    first = np.zeros(len(labels), dtype=bool)
    first[order] = np.concatenate([np.arange(c) < (c + 1) // 2 for c in n])
    found = np.zeros(len(TRUSTS))
    for learn in (first, ~first):
        mean, lacks = apart(series[learn], labels[learn])
        noise = SEEN * np.eye(len(mean[0]))
        for k in range(CLASSES):
            new = series[~learn & (labels == k).numpy()].flatten(1).double().numpy()
            for i, trust in enumerate(TRUSTS):
                s = matrix(lacks, labels[learn].numpy(), k, trust) + noise
                told = multivariate_normal(mean[k], s).logpdf(new).sum()
                found[i] += told - len(new) * np.trace(np.linalg.solve(s, noise)) / 2
    return TRUSTS[int(found.argmax())]


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
    s = matrix(lacks, labels.numpy(), 0, likeliest(series, labels))
    s = s + GRAIN * np.eye(len(s))
    for i in range(2 * POINTS):
        m, v = conditional(s, mean[0], seen.flatten().double().numpy(), noise, i)
        np.testing.assert_allclose(found.flatten()[i], m, atol=1e-4)
        np.testing.assert_allclose(variance.flatten()[i], v, rtol=1e-3)
    np.testing.assert_allclose(before.flatten(), np.diag(s), rtol=1e-4)


@pytest.mark.parametrize("alike", [True, False])
def test_classes_that_are_alike_lean_on_each_other(alike: bool) -> None:
    """And all choose as SciPy's likelihoods do."""
    generator = torch.Generator().manual_seed(2)
    turns = torch.randn(CLASSES, 2 * POINTS, 2 * POINTS, generator=generator)
    labels = torch.arange(90) % CLASSES
    series = torch.randn(90, 1, 2 * POINTS, generator=generator)
    series = (series @ turns[labels * (not alike)]).view(90, 2, POINTS) / 8
    inside = torch.ones(90, POINTS) > 0
    known = Covariance.fit(series, inside, labels, CLASSES)
    trust = likeliest(series, labels)
    assert trust >= 320 if alike else trust == TRUSTS[0]
    _, lacks = apart(series, labels)
    for k in range(CLASSES):
        s = (known.vectors[k] * known.variances[k]) @ known.vectors[k].T
        expected = matrix(lacks, labels.numpy(), k, trust) + GRAIN * np.eye(2 * POINTS)
        np.testing.assert_allclose(s, expected, atol=1e-5)


@pytest.mark.parametrize("traces", [0, 3, 30])
@pytest.mark.parametrize("trust", [TRUSTS[0], TRUSTS[-1]])
def test_likelihood_is_that_of_scipy(traces: int, trust: float) -> None:
    """Of classes with fewer traces than points, and with more."""
    rng = np.random.default_rng(0)
    known, new = rng.normal(size=(traces, 8)), rng.normal(size=(5, 8))
    usual = rng.uniform(SEEN, 4, 8)
    s = known.T @ known + np.diag(trust * usual + traces * SEEN)
    s /= traces + trust
    expected = multivariate_normal(np.zeros(8), s).logpdf(new).sum()
    expected += 0.5 * len(new) * (8 * np.log(2 * np.pi) - SEEN * np.trace(np.linalg.inv(s)))
    found = _likelihood(*map(torch.from_numpy, (known, new, usual)), trust)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_classes_of_one_trace_or_none() -> None:
    series, inside, _ = traffic()
    labels = torch.tensor([0, 0, 0, 2])
    known = Covariance.fit(series[:4], inside[:4], labels, CLASSES)
    assert all(torch.isfinite(v).all() for v in (known.mean, known.variances, known.vectors))


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
