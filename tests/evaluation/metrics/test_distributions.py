from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.spatial.distance import jensenshannon
from scipy.stats import norm, wasserstein_distance

from netdiffus.channels import Channel
from netdiffus.errors import InputError
from netdiffus.evaluation.features.quantities import quantities, runs, scales
from netdiffus.evaluation.metrics import distances
from netdiffus.evaluation.metrics.distances import (
    autocorrelation,
    autocorrelation_distance,
    bin_edges,
    lag_count,
    mean_autocorrelation,
    quantile_edges,
    shares,
)
from netdiffus.evaluation.metrics.distributions import SetDistributions, distribution_distances
from netdiffus.traces.traces import Traces


def wasserstein(x, y):
    """Of one class."""
    classes = (np.zeros(len(side), dtype=np.int64) for side in (x, y))
    return distances.wasserstein(x, next(classes), y, next(classes))[0]


def binned_distances(x, reference):
    """Of one class."""
    edges = bin_edges(*np.unique(reference, return_counts=True))
    p, q = shares(x, edges), shares(reference, edges)
    found = distances.binned_distances(p, q, np.zeros(len(p), dtype=np.int64))
    return {name: value[0] for name, value in found.items()}


def jensen_shannon(x, reference):
    return binned_distances(x, reference)["jensen_shannon"]


def test_wasserstein_of_each_class_equals_scipys():
    rng = np.random.default_rng(20)
    x, y = rng.integers(0, 40, 300).astype(float), rng.lognormal(2, 1, 200)
    of_x, of_y = (rng.permutation(np.arange(n) % 7) for n in (300, 200))
    expected = [wasserstein_distance(x[of_x == k], y[of_y == k]) for k in range(7)]
    np.testing.assert_allclose(distances.wasserstein(x, of_x, y, of_y), expected, rtol=1e-12)


def test_classes_do_not_mix_in_binned_distances():
    rng = np.random.default_rng(21)
    pairs = [rng.dirichlet(np.ones(n), 2) for n in (3, 9, 1)]
    p, q = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    found = distances.binned_distances(p, q, np.repeat([0, 1, 2], [3, 9, 1]))
    expected = [jensenshannon(*pair, base=2) ** 2 for pair in pairs]
    np.testing.assert_allclose(found["jensen_shannon"], expected, atol=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.25, -3.0, 1e6])
def test_wasserstein_of_shifted_samples_is_the_shift(shift):
    x = np.random.default_rng(0).lognormal(size=500)
    assert wasserstein(x + shift, x) == pytest.approx(abs(shift), rel=1e-9, abs=1e-12)


def test_wasserstein_of_two_normals():
    # W1 of N(0, 1) and N(0, 2²) is the mean of |z|, sqrt(2 / pi).
    rng = np.random.default_rng(1)
    distance = wasserstein(rng.normal(0, 1, 50_000), rng.normal(0, 2, 50_000))
    assert distance == pytest.approx(np.sqrt(2 / np.pi), abs=0.02)  # standard error 0.006


@pytest.mark.parametrize("discrete", [True, False])
def test_jensen_shannon_of_equal_samples_is_0_and_of_disjoint_ones_1(discrete):
    x = np.random.default_rng(2).uniform(0, 10, 1000)
    x = np.rint(x) if discrete else x
    assert jensen_shannon(x, x) == 0
    assert jensen_shannon(x + 11, x) == pytest.approx(1, abs=1e-12)
    assert jensen_shannon(x - 11, x) == pytest.approx(1, abs=1e-12)


def test_jensen_shannon_counts_mass_outside_the_range():
    # Half of the sample at 9000 B: H(3/4, 1/4) - H(1/2, 1/2) / 2 = 0.3113 bits (0.216 nats).
    real = np.random.default_rng(3).uniform(0, 1500, 20_000)
    half = np.where(np.arange(20_000) % 2, real, 9000.0)
    expected = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25)) - 0.5
    assert jensen_shannon(half, real) == pytest.approx(expected, abs=0.002)


def test_jensen_shannon_equals_scipy_on_discrete_values():
    rng = np.random.default_rng(4)
    p, q = rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(6))
    x, y = rng.choice(6, 4000, p=p), rng.choice(6, 3000, p=q)
    shares = [np.bincount(sample, minlength=6) / len(sample) for sample in (x, y)]
    expected = jensenshannon(*shares, base=2) ** 2
    assert jensen_shannon(x.astype(float), y.astype(float)) == pytest.approx(expected, abs=1e-12)


def test_hellinger_and_total_variation_of_discrete_values():
    rng = np.random.default_rng(12)
    p, q = rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(6))
    x, y = rng.choice(6, 4000, p=p), rng.choice(6, 3000, p=q)
    p, q = (np.bincount(sample, minlength=6) / len(sample) for sample in (x, y))
    found = binned_distances(x.astype(float), y.astype(float))
    assert found["hellinger"] == pytest.approx(np.sqrt(1 - np.sqrt(p * q).sum()), abs=1e-9)
    assert found["total_variation"] == pytest.approx(largest_difference(p, q), abs=1e-12)


def largest_difference(p, q):
    """Largest difference of the chances of any event: those where p is above q."""
    return float((p - q)[p > q].sum())


def test_hellinger_and_total_variation_of_two_normals():
    # N(0, 1) and N(1, 1): H² = 1 - exp(-1/8), TV = 2 Phi(1/2) - 1.
    rng = np.random.default_rng(13)
    found = binned_distances(rng.normal(1, 1, 100_000), rng.normal(0, 1, 100_000))
    # 50 bins lose a little; chance adds less.
    assert found["hellinger"] == pytest.approx(np.sqrt(1 - np.exp(-1 / 8)), abs=0.01)
    assert found["total_variation"] == pytest.approx(2 * norm.cdf(0.5) - 1, abs=0.01)


@pytest.mark.parametrize("measure", ["jensen_shannon", "hellinger", "total_variation"])
def test_binned_distances_are_0_of_equal_and_1_of_disjoint_samples(measure):
    x = np.random.default_rng(14).lognormal(size=500)
    assert binned_distances(x, x)[measure] == 0
    for far in (x + 1e4, -x - 1, np.full(3, 1e9)):
        assert binned_distances(far, x)[measure] == pytest.approx(1, abs=1e-12)
    constant = np.full(9, 7.0)
    assert binned_distances(constant, constant)[measure] == 0
    assert binned_distances(np.full(9, 7.1), constant)[measure] == 1


def test_jensen_shannon_sees_values_between_those_of_the_reference():
    real = np.repeat([64.0, 1500.0], 200)
    assert jensen_shannon(np.full(400, 700.0), real) == pytest.approx(1, abs=1e-12)


def test_jensen_shannon_gives_a_frequent_value_its_own_bin():
    # Two thirds zeros, as in binned traffic; the sample has small values in their place.
    rest = np.random.default_rng(5).uniform(1, 1000, 1000)
    real = np.concatenate([np.zeros(2000), rest])
    sample = np.concatenate([np.full(2000, 1e-9), rest])
    # 2/3 less what the next bin, a fiftieth of the real mass at most, has in common with it.
    assert 0.6 < jensen_shannon(sample, real) <= 2 / 3


def test_jensen_shannon_of_two_normals_equals_the_integral():
    def half(p, q):
        return quad(lambda t: p.pdf(t) * np.log2(2 * p.pdf(t) / (p.pdf(t) + q.pdf(t))), -12, 12)[0]

    p, q = norm(0, 1), norm(1, 1)
    rng = np.random.default_rng(6)
    found = jensen_shannon(rng.normal(1, 1, 100_000), rng.normal(0, 1, 100_000))
    # 50 bins lose a little of the divergence; chance adds about 0.0004.
    assert found == pytest.approx((half(p, q) + half(q, p)) / 2, abs=0.004)


def test_small_samples_of_one_distribution_stay_near_each_other():
    # A bin for every value would make any two samples disjoint.
    rng = np.random.default_rng(7)
    found = [jensen_shannon(rng.normal(size=40), rng.normal(size=40)) for _ in range(50)]
    assert np.mean(found) < 0.15


def test_bin_edges_enclose_and_ascend():
    x = np.random.default_rng(8).lognormal(size=777)
    edges = bin_edges(*np.unique(x, return_counts=True))
    assert (np.diff(edges) > 0).all()
    assert edges[0] == x.min()
    assert edges[-1] == np.nextafter(x.max(), np.inf)


@pytest.mark.parametrize("bins", [1, 8, 27, 50])
def test_quantile_edges_are_numpys_quantiles(bins):
    rng = np.random.default_rng(9)
    for n in (1, 40, 777):
        for x in (rng.lognormal(size=n), rng.integers(0, 30, n) / 7):
            found = quantile_edges(*np.unique(x, return_counts=True), bins)
            wanted = np.quantile(x, np.linspace(0, 1, bins + 1), method="inverted_cdf")
            assert set(wanted) <= set(found) <= set(wanted) | set(np.nextafter(wanted, np.inf))


def test_autocorrelation_of_ar1_is_a_power_of_rho():
    rng = np.random.default_rng(9)
    rho, n, length = 0.7, 200, 2000
    series = np.zeros((n, length))
    noise = rng.normal(size=(n, length))
    series[:, 0] = noise[:, 0] / np.sqrt(1 - rho**2)
    for t in range(1, length):
        series[:, t] = rho * series[:, t - 1] + noise[:, t]
    found = autocorrelation(series, np.full(n, length), 8).mean(axis=0)
    # Bias of the estimate is about (1 + rho) / (1 - rho) / length = 0.003, standard error 0.003.
    np.testing.assert_allclose(found, rho ** np.arange(1, 9), atol=0.012)


def test_autocorrelation_equals_numpy_series_by_series_whatever_the_padding():
    rng = np.random.default_rng(10)
    lengths = np.array([20, 9, 2])
    series = rng.normal(size=(3, 20))
    expected = np.full((3, 10), np.nan)
    for i, n in enumerate(lengths):
        centred = series[i, :n] - series[i, :n].mean()
        full = np.correlate(centred, centred, "full")[n - 1 :]
        expected[i, : n // 2] = (full / full[0])[1 : n // 2 + 1]
    found = autocorrelation(series, lengths, 10)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    label = np.array([1, 0, 0])
    means = mean_autocorrelation(found, label, 2)
    np.testing.assert_allclose(means[1], expected[0], atol=1e-12)
    np.testing.assert_allclose(means[0, 0], expected[1:, 0].mean(), atol=1e-12)
    np.testing.assert_allclose(means[0, 1:4], expected[1, 1:4], atol=1e-12)
    assert np.isnan(means[0, 4:]).all()


def test_autocorrelation_of_constant_and_of_short_series():
    constant = np.full((1, 8), 0.1)
    np.testing.assert_array_equal(autocorrelation(constant, np.array([8]), 4)[0], np.ones(4))
    assert np.isnan(autocorrelation(constant, np.array([1]), 4)).all()
    assert lag_count(1) == 0
    assert lag_count(1000) == 32


def test_autocorrelation_distance():
    reference = np.array([0.5, 0.25, np.nan])
    assert autocorrelation_distance(reference, reference) == 0
    assert autocorrelation_distance(np.array([0.4, np.nan, 0.9]), reference) == pytest.approx(0.175)
    assert autocorrelation_distance(reference, np.full(3, np.nan)) == 0


def packets() -> Traces:
    return Traces.from_lists(
        {
            "packet_length": [[100, 200, 300], [60, 60], [1500]],
            "direction": [[1, -1, 1], [1, 1], [-1]],
            "timestamp": [[0.0, 0.5, 2.0], [0.0, 1.0], [0.0]],
        },
        labels=["a", "a", "b"],
    ).with_gaps()


def test_quantities_of_packets():
    found = {q.name: q for q in quantities(packets())}
    assert list(found) == [
        "packet_length",
        "direction",
        "gap",
        "log gap",
        "burst length",
        "trace length",
        "total packet_length",
        "trace duration",
    ]
    assert found["gap"].values.tolist() == [0, 0.5, 1.5, 0, 1, 0]
    assert found["trace length"].values.tolist() == [3, 2, 1]
    assert found["total packet_length"].values.tolist() == [600, 120, 1500]
    assert found["trace duration"].values.tolist() == [2, 1, 0]
    assert found["trace duration"].unit == "s"


def volumes(shift: float) -> Traces:
    rng = np.random.default_rng(11)
    series = rng.uniform(0, 100, (60, 16))
    series[30:] += shift
    return Traces.from_lists({"value": series}, ["a"] * 30 + ["b"] * 30)


def test_distances_are_per_class_and_in_the_channels_unit():
    found = distribution_distances(
        SetDistributions.of(volumes(7.0)), SetDistributions.of(volumes(0.0))
    )
    np.testing.assert_allclose(found["wasserstein"]["value"], [0, 7], atol=1e-9)
    np.testing.assert_allclose(found["wasserstein"]["total value"], [0, 7 * 16], atol=1e-9)
    assert found["wasserstein"]["trace length"].tolist() == [0, 0]
    assert found["jensen_shannon"]["value"][0] == 0
    assert found["jensen_shannon"]["value"][1] > 0
    # A shift does not change the autocorrelation.
    np.testing.assert_allclose(found["autocorrelation"]["value"], [0, 0], atol=1e-9)


def test_a_part_is_what_its_traces_are():
    traces, rows = volumes(7.0), np.array([3, 40, 5, 59])
    reference = SetDistributions.of(volumes(0.0))
    part = SetDistributions.of(traces).part(rows)
    found, expected = (
        distribution_distances(side, reference)
        for side in (part, SetDistributions.of(traces[rows]))
    )
    for measure, table in expected.items():
        for name, values in table.items():
            np.testing.assert_array_equal(found[measure][name], values)


def test_runs_equal_itertools():
    rng = np.random.default_rng(15)
    lengths = np.array([30, 1, 7, 30])
    state = rng.integers(0, 2, (4, 30)).astype(float)
    expected = [
        (len(list(group)), value, row)
        for row, n in enumerate(lengths)
        for value, group in groupby(state[row, :n])
    ]
    found = runs(state, lengths)
    assert list(zip(*(x.tolist() for x in found), strict=True)) == expected


def test_bursts_of_directions_of_volumes_and_of_neither():
    def bursts(traces):
        return [q.values.tolist() for q in quantities(traces) if q.name == "burst length"]

    assert bursts(packets()) == [[1, 1, 1, 2, 1]]
    busy = Traces.from_lists({"value": [[0, 5, 5, 0, 5], [0, 0, 0, 0, 0]]}, ["a", "b"])
    assert bursts(busy) == [[2, 1, 0]]
    assert bursts(Traces.from_lists({"speed": [[1.0, 2.0]]}, ["a"])) == []


def test_log_gaps_are_told_apart_down_to_a_microsecond():
    found = {q.name: q for q in quantities(packets())}["log gap"]
    assert found.values == pytest.approx([-6, np.log10(0.5), np.log10(1.5), -6, 0, -6])


def test_scales_are_standard_deviations():
    assert scales(packets())["packet_length"] == np.std([100, 200, 300, 60, 60, 1500])


def test_what_never_varies_has_the_scale_0():
    traces = Traces.from_lists({"speed": [[0.1] * 7] * 9}, ["a"] * 9)
    assert set(scales(traces).values()) == {0.0}


def test_two_channels_of_gaps_have_sums_of_their_own():
    channels = (Channel.named("timestamp", "double"), Channel.named("iat", "double"))
    values = np.array([[[0.0, 2.0], [0.0, 3.0]]])
    both = Traces(values, np.array([2]), channels, np.array([0]), ("a",))
    found = quantities(both.with_gaps())
    sums = {q.name: q.values.tolist() for q in found if q.kind == "duration"}
    assert sums == {"trace duration": [2.0], "total iat": [3.0]}


@pytest.mark.parametrize("name", ["trace length", "log gap", "burst length", "total packet_length"])
def test_a_channel_may_not_have_the_name_of_what_is_computed(name):
    columns = {key: [[1.0, 1.0]] for key in (name, "gap", "direction", "packet_length")}
    with pytest.raises(InputError, match=f"channel '{name}' has the name of a quantity"):
        quantities(Traces.from_lists(columns, ["a"]))
