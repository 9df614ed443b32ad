"""Fréchet distance between sets of GASF images, by random convolutions."""

from __future__ import annotations

import numpy as np
import torch

from netdiffus.evaluation.features.gasf_images import SIZE, Imaging
from netdiffus.traces import Floats, Traces

KERNELS = 64
DILATIONS = (1, 2, 4, 8)
SEED = 2024
BATCH = 256


class RandomConvolutions:
    """64 features of a set of GASF images: the share of positive answers to random kernels.

    Each kernel is 3 by 3 over all channels, normal weights of mean 0, dilated by 1, 2, 4 or 8, and
    answers with zero padding. Its threshold is a random quantile of its answers to the real
    images (as MiniRocket: Dempster and others, 2021, for series). Weights come from a fixed seed,
    so that distances of different candidates are on one scale.

    Args:
        real: Real traces, which set the images' bounds and the thresholds.
        size: Height and width of the images.
    """

    def __init__(self, real: Traces, size: int = SIZE) -> None:
        self.images = Imaging(real, size)
        chance = np.random.default_rng(SEED)
        weights = chance.standard_normal((KERNELS, len(real.channels), 3, 3))
        weights -= weights.mean(axis=(1, 2, 3), keepdims=True)
        self.weights = torch.from_numpy(weights.astype(np.float32))
        quantiles = chance.uniform(0.1, 0.9, KERNELS)
        some = real[chance.permutation(len(real))[:BATCH]]
        answers = self._answers(self.images(some)).numpy()
        of_kernel = np.moveaxis(answers, 1, 0).reshape(KERNELS, -1)
        found = [np.quantile(a, q) for a, q in zip(of_kernel, quantiles, strict=True)]
        self.thresholds = torch.tensor(np.array(found, dtype=np.float32))[:, None, None]

    def __call__(self, traces: Traces) -> Floats:
        """(N, 64): the features of each trace, shares in [0, 1]."""
        found = []
        for start in range(0, len(traces), BATCH):
            batch = self.images(traces[start : start + BATCH])
            found.append((self._answers(batch) > self.thresholds).float().mean(dim=(2, 3)))
        return torch.cat(found).double().numpy()

    def _answers(self, batch: torch.Tensor) -> torch.Tensor:
        """(N, 64, size, size)."""
        parts = [
            torch.nn.functional.conv2d(batch, w, padding=d, dilation=d)
            for w, d in zip(self.weights.chunk(len(DILATIONS)), DILATIONS, strict=True)
        ]
        return torch.cat(parts, dim=1)


def frechet_distance(x: Floats, y: Floats) -> float:
    """Squared Fréchet distance between the normal distributions that fit two sets of features.

    ``|m - n|**2 + tr(S) + tr(T) - 2 tr((S T)**(1/2))``, with means m, n and covariances S, T
    (Dowson and Landau, 1982). The last trace is the sum of the singular values of the product of
    the centred sets, or of their triangular factors (QR), which turn alike: it needs no root of a
    matrix, holds for fewer samples than features, and costs O((n + m) D**2).
    The distance of two small sets of one source is above 0: read it beside that of real from real.

    Args:
        x: (n, D), n at least 2.
        y: (m, D), m at least 2.
    """
    a, b = ((z - z.mean(axis=0)) / np.sqrt(len(z) - 1) for z in (x, y))
    r, s = (np.asarray(np.linalg.qr(z, mode="r")) for z in (a, b))
    both = np.linalg.svd(r @ s.T, compute_uv=False).sum()
    apart = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    return float(max(apart + (a**2).sum() + (b**2).sum() - 2 * both, 0.0))
