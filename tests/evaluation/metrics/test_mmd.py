from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from sklearn.metrics.pairwise import rbf_kernel

from netdiffus.evaluation.metrics.mmd import (
    JointScale,
    KernelSample,
    bandwidth,
    column_scale,
    joint_points,
    joint_totals,
)
from netdiffus.evaluation.metrics.mmd import mmd as mmd_of
from netdiffus.traces.traces import Traces


def mmd(x, y, width, x_of=None, y_of=None):
    rows = (np.arange(len(side)) if of is None else of for side, of in ((x, x_of), (y, y_of)))
    return mmd_of(*(KernelSample(s, of, width) for s, of in zip((x, y), rows, strict=True)))


def joint(scale: JointScale, candidate: Traces, reference: Traces) -> dict[str, float]:
    """Of sets of one class."""
    ours, theirs = (scale(t).samples(np.arange(len(t))) for t in (candidate, reference))
    return {name: mmd_of(ours[name], theirs[name]) for name in ours}


def test_mmd_equals_scikit_learns_kernel_without_the_diagonal():
    rng = np.random.default_rng(0)
    x, y, width = rng.normal(size=(30, 3)), rng.normal(0.5, 1, (40, 3)), 1.7
    gamma = 1 / (2 * width**2)
    xx, yy, xy = rbf_kernel(x, x, gamma), rbf_kernel(y, y, gamma), rbf_kernel(x, y, gamma)
    off = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (xx, yy)]
    assert mmd(x, y, width) == pytest.approx(sum(off) - 2 * xy.mean(), abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, 1.0, 50.0])
def test_mmd_of_normals_has_the_closed_form(shift):
    # E k(x, y) for x - y normal of mean m and variance 2 in each of d dimensions is
    # (w² / (w² + 2))**(d / 2) exp(-|m|² / (2 (w² + 2))).
    rng, d, width = np.random.default_rng(1), 2, 1.5
    scale = (width**2 / (width**2 + 2)) ** (d / 2)
    expected = 2 * scale * (1 - np.exp(-(shift**2) / (2 * (width**2 + 2))))
    found = []
    for _ in range(60):
        x, y = rng.normal(size=(80, d)), rng.normal(size=(80, d))
        y[:, 0] += shift
        found.append(mmd(x, y, width))
    assert np.mean(found) == pytest.approx(expected, abs=4 * np.std(found) / np.sqrt(60))


def test_points_of_one_trace_are_no_pair():
    rng = np.random.default_rng(2)
    # Traces whose points are all alike: with such pairs the estimate would be far above 0.
    found = []
    for _ in range(40):
        x, y = (np.repeat(rng.normal(size=(20, 1)), 10, axis=0) for _ in range(2))
        rows = np.repeat(np.arange(20), 10)
        found.append(mmd(x, y, 1.0, rows, rows))
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(40)
    assert np.isnan(mmd(x[:10], y, 1.0, rows[:10], rows))


def test_bandwidth_is_the_median_distance_of_different_points():
    x = np.random.default_rng(3).normal(size=(200, 2))
    assert bandwidth(x) == pytest.approx(np.median(pdist(x)))
    assert bandwidth(np.repeat(x[:2], 50, axis=0)) == pytest.approx(np.linalg.norm(x[0] - x[1]))
    assert bandwidth(np.ones((9, 2))) == 1


def packets(seed: int, n: int = 60) -> Traces:
    """Big packets come down after short gaps, small ones go up after long ones."""
    rng = np.random.default_rng(seed)
    big = rng.random((n, 12)) < 0.5
    return Traces.from_lists(
        {
            "packet_length": np.where(big, 1400, 80),
            "direction": np.where(big, -1, 1),
            "iat": np.where(big, 1e-4, 1e-1) * rng.uniform(0.5, 1.5, (n, 12)),
        },
        ["a"] * n,
    )


def test_joint_sees_channels_that_do_not_belong_together():
    real, made, other = packets(4), packets(5), packets(6)
    scale = JointScale(real)
    values = made.values.copy()
    values[:, 1] = np.random.default_rng(7).permuted(values[:, 1], axis=1)  # same marginals
    assert abs(joint(scale, other, real)["points"]) < 0.02
    found = joint(scale, replace(made, values=values), real)
    assert found["points"] > 0.1
    assert (
        found["totals"] == joint(scale, made, real)["totals"]
    )  # which the direction has no part in


def test_joint_sees_totals_that_do_not_belong_together():
    rng = np.random.default_rng(9)
    lengths = np.tile([5, 50], 30)
    sizes = 5000 / lengths * rng.uniform(0.9, 1.1, 60)  # long traces have small packets

    def of(sizes):
        rows = [[size] * n for n, size in zip(lengths, sizes, strict=True)]
        return Traces.from_lists({"packet_length": rows}, ["a"] * 60)

    assert joint(JointScale(of(sizes)), of(rng.permutation(sizes)), of(sizes))["totals"] > 0.1


def test_numbers_are_of_like_size_and_constants_do_no_harm():
    real = packets(8)
    points = joint_points(real)
    assert (points / column_scale(points)).std(axis=0) == pytest.approx(np.ones(3))
    totals = joint_totals(real) / column_scale(joint_totals(real))
    assert totals.shape == (60, 3)
    assert totals[:, 0] == pytest.approx(np.log(12))  # the length never varies
    # 9,000 B is as far outside as its logarithm is, and is not cut off.
    far = replace(real, values=np.where(real.values == 1400, 9000.0, real.values))
    assert joint_points(far)[:, 0].max() > points[:, 0].max()


def test_a_long_trace_leaves_the_others_their_points():
    rng = np.random.default_rng(10)
    sets = [
        Traces.from_lists({"speed": [rng.normal(size=n) for n in (3, 5000)]}, ["a"] * 2)
        for _ in range(2)
    ]
    assert np.isfinite(joint(JointScale(sets[0]), *sets)["points"])


def test_many_traces_have_one_point_each():
    speeds = np.arange(600.0)[:, None] * np.ones(7)
    traces = Traces.from_lists({"speed": speeds}, ["a"] * 600)
    sample = JointScale(traces)(traces).samples(np.arange(600))
    points, rows = sample["points"].values, sample["points"].trace
    assert len(set(rows)) == len(rows) == 256
    np.testing.assert_allclose(points[:, 0] * speeds.std(), rows)
