"""Fréchet distance between sets of GASF images, by random convolutions."""

from __future__ import annotations

import numpy as np
import torch

from netdiffus.evaluation.features.gasf_images import GasfImages
from netdiffus.traces.traces import Floats, Traces

KERNELS = 64
DILATIONS = (1, 2, 4, 8)
SEED = 2024
BATCH = 256


class RandomConvolutions:
    """64 features of GASF images: the share of pixels at which a random kernel exceeds a threshold.

    Each kernel is 3 by 3 over all channels, normal weights of mean 0, dilated by 1, 2, 4 or 8, and
    responses with zero padding. Its threshold is a random quantile of its responses to the real
    images (as MiniRocket: Dempster and others, 2021, for series). Weights come from a fixed seed,
    so that distances of different candidates are on one scale.
    """

    def __init__(self, real: Traces) -> None:
        self.images = GasfImages(real)
        rng = np.random.default_rng(SEED)
        weights = rng.standard_normal((KERNELS, len(real.channels), 3, 3))
        weights -= weights.mean(axis=(1, 2, 3), keepdims=True)
        self.weights = torch.from_numpy(weights.astype(np.float32))
        quantiles = rng.uniform(0.1, 0.9, KERNELS)
        sample = real[rng.permutation(len(real))[:BATCH]]
        responses = torch.cat(self._responses(self.images(sample)), dim=1).numpy()
        of_kernel = np.moveaxis(responses, 1, 0).reshape(KERNELS, -1)
        cuts = [np.quantile(a, q) for a, q in zip(of_kernel, quantiles, strict=True)]
        self.thresholds = torch.tensor(np.array(cuts, dtype=np.float32))[:, None, None]

    def __call__(self, traces: Traces) -> Floats:
        """(N, 64): the features of each trace, shares in [0, 1]."""
        starts = range(0, len(traces), BATCH)
        shares = [self._shares(self.images(traces[k : k + BATCH])) for k in starts]
        return torch.cat(shares).double().numpy()

    def _shares(self, batch: torch.Tensor) -> torch.Tensor:
        """(N, 64)."""
        parts = zip(self._responses(batch), self.thresholds.chunk(len(DILATIONS)), strict=True)
        return torch.cat([(one > least).float().mean(dim=(2, 3)) for one, least in parts], dim=1)

    def _responses(self, batch: torch.Tensor) -> list[torch.Tensor]:
        """Of each dilation, (N, 16, size, size)."""
        return [
            torch.nn.functional.conv2d(batch, w, padding=d, dilation=d)
            for w, d in zip(self.weights.chunk(len(DILATIONS)), DILATIONS, strict=True)
        ]


class Gaussian:
    """The normal distribution that fits a set of features (n, D), n at least 2."""

    def __init__(self, features: Floats) -> None:
        self.mean = features.mean(axis=0)
        centered = (features - self.mean) / np.sqrt(len(features) - 1)
        self.variance = float((centered**2).sum())
        # The triangular factor R of the covariance R' R, of at most D rows.
        self.factor = np.asarray(np.linalg.qr(centered, mode="r"))


def frechet_distance(x: Gaussian, y: Gaussian) -> float:
    """Squared Fréchet distance between two normal distributions.

    ``|m - n|**2 + tr(S) + tr(T) - 2 tr((S T)**(1/2))``, with means m, n and covariances S, T
    (Dowson and Landau, 1982). The last trace is the sum of the singular values of the product of
    the triangular factors (QR) of the centered sets: it needs no root of a matrix, holds for fewer
    samples than features, and costs O((n + m) D**2).
    The distance of two small sets of one source is above 0: read it beside that of real from real.
    """
    common = np.linalg.svd(x.factor @ y.factor.T, compute_uv=False).sum()
    means = ((x.mean - y.mean) ** 2).sum()
    return float(max(means + x.variance + y.variance - 2 * common, 0.0))
