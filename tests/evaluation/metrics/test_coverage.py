from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from netdiffus.evaluation.features.embedding import Embedding, distances
from netdiffus.evaluation.metrics.coverage import Neighbourhoods
from netdiffus.evaluation.metrics.coverage import coverage as coverage_of
from netdiffus.traces.traces import Traces


def coverage(x, y, k=5):
    return coverage_of(Neighbourhoods(x, k), Neighbourhoods(y, k))


def test_equals_scikit_learns_neighbours():
    rng, k = np.random.default_rng(0), 4
    made, real = rng.normal(size=(50, 3)), rng.normal(0.3, 1.2, (70, 3))
    balls = {}
    for name, points in (("made", made), ("real", real)):
        # The nearest is the point itself.
        nearest, _ = NearestNeighbors(n_neighbors=k + 1).fit(points).kneighbors(points)
        balls[name] = nearest[:, -1]
    apart = np.linalg.norm(made[:, None] - real[None], axis=2)
    in_real, in_made = apart <= balls["real"], apart <= balls["made"][:, None]
    assert coverage(made, real, k) == pytest.approx(
        {
            "precision": in_real.any(axis=1).mean(),
            "recall": in_made.any(axis=0).mean(),
            "density": in_real.sum() / (k * 50),
            "coverage": in_real.any(axis=0).mean(),
        }
    )


def test_one_distribution_has_the_closed_form():
    # Naeem and others (2020): the density is 1, whatever the distribution is.
    rng = np.random.default_rng(1)
    found = [coverage(rng.normal(size=(200, 2)), rng.normal(size=(200, 2)), k=3) for _ in range(20)]
    density = [f["density"] for f in found]
    covered = [f["coverage"] for f in found]
    assert np.mean(density) == pytest.approx(1, abs=4 * np.std(density) / np.sqrt(20))
    # The coverage is 1 - (n-1)...(n-k) / ((2n-1)...(2n-k)): the k + 1 nearest are all real.
    n, k = 200, 3
    missed = np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])
    assert np.mean(covered) == pytest.approx(1 - missed, abs=4 * np.std(covered) / np.sqrt(20))


def test_a_dropped_mode_costs_recall_and_an_invented_one_precision():
    rng = np.random.default_rng(2)
    near, far = rng.normal(size=(100, 2)), rng.normal(40, 1, (100, 2))
    both = np.concatenate([near, far])
    dropped = coverage(rng.normal(size=(100, 2)), both)
    assert dropped["precision"] > 0.9
    assert dropped["recall"] == pytest.approx(0.5, abs=0.08)
    assert dropped["coverage"] < 0.55
    invented = coverage(both, rng.normal(size=(100, 2)))
    assert invented["precision"] == pytest.approx(0.5, abs=0.06)
    assert invented["recall"] > 0.9


def test_a_copy_is_at_the_top_and_an_outlier_counts_in_full():
    x = np.random.default_rng(3).normal(size=(40, 2))
    assert coverage(x, x)["coverage"] == coverage(x, x)["precision"] == 1
    assert set(coverage(x + 1e6, x).values()) == {0.0}


def test_few_points():
    x = np.array([[0.0], [1.0]])
    assert coverage(x, x, k=5) == {"precision": 1, "recall": 1, "density": 2, "coverage": 1}
    assert coverage(x[:1], x[:1], k=5)["coverage"] == 1


def test_embedding_is_in_standard_deviations_a_point():
    rng = np.random.default_rng(4)
    real = Traces.from_lists({"speed": rng.normal(0, 3, (50, 20))}, ["a"] * 50)
    place = Embedding(real)
    moved = Traces.from_lists({"speed": real.values[:, 0] + 6}, ["a"] * 50)
    apart = np.diag(distances(place(real), place(moved)))
    assert apart == pytest.approx(6 / real.points(0).std(), rel=1e-6)  # vectors are float32


def test_embedding_cuts_fills_up_and_bears_constants():
    real = Traces.from_lists({"speed": [[0.1] * 70, [0.1] * 3]}, ["a", "b"])
    assert Embedding(real)(real).shape == (2, 70)
    other = Traces.from_lists({"speed": [[0.1] * 5]}, ["a"])
    assert Embedding(real)(other)[0].tolist() == [np.float32(0.1)] * 5 + [0.0] * 65
    longer = Traces.from_lists({"speed": [[0.1] * 99]}, ["a"])
    assert Embedding(real)(longer)[0].tolist() == [np.float32(0.1)] * 70


def test_embedding_takes_means_of_windows_of_long_traces():
    series = np.random.default_rng(5).normal(size=(2, 600))
    real = Traces.from_lists({"speed": series}, ["a"] * 2)
    expected = series.reshape(2, 200, 3).mean(axis=2) / series.std()
    np.testing.assert_allclose(Embedding(real)(real), expected, rtol=1e-6)  # float32
