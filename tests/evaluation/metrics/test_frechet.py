from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pyts.image import GramianAngularField
from scipy.linalg import sqrtm

from netdiffus.evaluation.features.gasf_images import GasfImages
from netdiffus.evaluation.metrics.frechet import Gaussian, RandomConvolutions
from netdiffus.evaluation.metrics.frechet import frechet_distance as distance_of
from netdiffus.traces.traces import Traces


def frechet_distance(x, y):
    return distance_of(Gaussian(x), Gaussian(y))


def test_equals_the_formula_with_scipys_root():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 6)) @ rng.normal(size=(6, 6))
    y = rng.normal(0.4, 1, (80, 6)) @ rng.normal(size=(6, 6))
    s, t = np.cov(x.T), np.cov(y.T)
    apart = x.mean(axis=0) - y.mean(axis=0)
    expected = apart @ apart + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)


def test_one_feature_has_the_closed_form():
    rng = np.random.default_rng(1)
    x, y = rng.normal(0, 1, (500, 1)), rng.normal(3, 2, (300, 1))
    expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-12)


def test_fewer_samples_than_features():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(5, 64))
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(x, x + 2) == pytest.approx(4 * 64, rel=1e-12)


def test_distance_of_one_distribution_falls_with_the_number():
    # The bias that the floor of a report shows: about in proportion to 1 / n.
    rng = np.random.default_rng(3)
    mean = {
        n: np.mean([frechet_distance(*rng.normal(size=(2, n, 32))) for _ in range(10)])
        for n in (100, 400)
    }
    assert 3 < mean[100] / mean[400] < 6


def speeds(seed: int, n: int = 80, wave: float = 0.0) -> Traces:
    rng = np.random.default_rng(seed)
    series = rng.normal(size=(n, 40)) + wave * np.sin(np.arange(40) / 2)
    return Traces.from_lists({"speed": series}, ["a"] * n)


def test_images_equal_pyts_within_the_real_bounds():
    real = speeds(4)
    low, high = real.points(0).min(), real.points(0).max()
    scaled = (real.values[:5, 0] - low) / (high - low)
    expected = (GramianAngularField(sample_range=None).fit_transform(scaled) + 1) / 2
    found = GasfImages(real, size=40)(real[:5])[:, 0]
    # float32, and the slope of the angle near 1.
    torch.testing.assert_close(found.double(), torch.tensor(expected), atol=2e-6, rtol=0)


def test_images_clip_cut_and_fill_up():
    real = speeds(5)
    far = replace(real, values=real.values * 1e6)
    assert GasfImages(real)(far).min() >= 0
    assert GasfImages(real)(far).max() <= 1
    longer = Traces.from_lists({"speed": [real.values[0, 0].tolist() + [5.0] * 30]}, ["a"])
    assert torch.equal(GasfImages(real)(longer), GasfImages(real)(real[:1]))
    shorter = Traces.from_lists({"speed": [real.values[0, 0, :10].tolist()]}, ["a"])
    filled = Traces.from_lists({"speed": [[*real.values[0, 0, :10], *[0.0] * 30]]}, ["a"])
    assert torch.equal(GasfImages(real)(shorter), GasfImages(real)(filled))
    constant = Traces.from_lists({"speed": np.full((3, 8), 0.0)}, ["a"] * 3)
    assert torch.isfinite(GasfImages(constant)(constant)).all()


def test_random_convolutions_are_shares_and_the_same_every_time():
    real = speeds(6)
    features = RandomConvolutions(real)(real)
    assert features.shape == (80, 64)
    assert features.min() >= 0
    assert features.max() <= 1
    np.testing.assert_array_equal(features, RandomConvolutions(real)(real))
    np.testing.assert_array_equal(features[:7], RandomConvolutions(real)(real[:7]))


def test_distance_of_images_grows_with_what_is_wrong():
    real, held = speeds(7), speeds(8)
    place = RandomConvolutions(real)
    found = [frechet_distance(place(speeds(9, wave=wave)), place(held)) for wave in (0.0, 0.3, 1.0)]
    assert found[0] < found[1] < found[2]
