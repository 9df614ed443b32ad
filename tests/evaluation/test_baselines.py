from __future__ import annotations

import numpy as np
import pytest

from netdiffus.errors import InputError
from netdiffus.evaluation import bootstrap, copy, jitter, markov
from netdiffus.traces.traces import Traces

BASELINES = [copy, jitter, bootstrap, markov]


def packets(n: int = 60) -> Traces:
    """Class a: short, all up, sizes equal to 100 + position. Class b: long, sizes fixed a trace."""
    rng = np.random.default_rng(0)
    lengths = [int(rng.integers(3, 8)) if i % 3 else 12 for i in range(n)]
    b = [i % 3 == 0 for i in range(n)]
    sizes = [
        [int(rng.integers(40, 1500))] * k if long else list(range(100, 100 + k))
        for k, long in zip(lengths, b, strict=True)
    ]
    directions = [[-1] * k if long else [1] * k for k, long in zip(lengths, b, strict=True)]
    times = [np.cumsum([0.0, *rng.exponential(0.1, k - 1)]).tolist() for k in lengths]
    return Traces.from_lists(
        {"packet_length": sizes, "direction": directions, "timestamp": times},
        ["b" if long else "a" for long in b],
        {"trace_id": [str(i) for i in range(n)]},
    )


def keys(traces: Traces) -> list[bytes]:
    return [v[:, :n].tobytes() for v, n in zip(traces.values, traces.lengths, strict=True)]


@pytest.mark.parametrize("baseline", BASELINES)
def test_contract(baseline):
    train = packets()
    made = baseline(train, 31, seed=5)
    assert len(made) == 31
    assert made.counts() == {"b": 10, "a": 21}  # 1 to 2, by largest remainder
    assert [c.name for c in made.channels] == ["packet_length", "direction", "gap"]
    assert made.meta.num_columns == 0
    sizes, directions, gaps = (made.points(c) for c in range(3))
    assert np.array_equal(sizes, np.rint(sizes))
    assert sizes.min() >= 40
    assert sizes.max() <= 1500
    assert set(np.unique(directions)) == {-1.0, 1.0}
    assert gaps.min() >= 0
    assert (made.values[~np.broadcast_to(made.mask[:, None], made.values.shape)] == 0).all()


@pytest.mark.parametrize("baseline", BASELINES)
def test_same_seed_same_traces(baseline):
    train = packets()
    assert baseline(train, 40, seed=1).equals(baseline(train, 40, seed=1))
    assert not baseline(train, 40, seed=1).equals(baseline(train, 40, seed=2))


@pytest.mark.parametrize("baseline", BASELINES)
def test_lengths_are_those_of_the_class(baseline):
    made = baseline(packets(), 60, seed=3)
    assert set(made.of_class("b").lengths) == {12}
    assert set(made.of_class("a").lengths) <= set(range(3, 8))


@pytest.mark.parametrize("baseline", BASELINES)
def test_no_traces_asked(baseline):
    with pytest.raises(InputError, match="n must be at least 1, got 0"):
        baseline(packets(), 0)


def test_copy_takes_every_trace_once_before_any_twice():
    train = packets()
    assert sorted(keys(copy(train, 60, seed=9))) == sorted(keys(train.with_gaps()))
    twice = keys(copy(train, 120, seed=9))
    assert sorted(twice) == sorted(keys(train.with_gaps()) * 2)


def test_jitter_keeps_the_order_of_time_and_changes_the_numbers():
    series = np.tile(np.arange(1.0, 65.0), (200, 1))
    train = Traces.from_lists({"speed": series}, ["a"] * 200)
    made = jitter(train, 200, seed=4)
    assert set(keys(made)).isdisjoint(keys(train))
    ratio = made.values[:, 0] / series
    # 10 % noise, and a warp that keeps the ends and strays in the middle.
    assert np.std(np.log(ratio[:, -1])) < 0.15
    assert np.median(np.abs(np.log(ratio[:, 32]))) > 0.03
    steps = np.diff(made.values[:, 0].mean(axis=0))
    assert (steps > 0).mean() > 0.9


def test_bootstrap_keeps_marginals_of_class_and_position():
    train = packets(3000)
    made = bootstrap(train, 3000, seed=6)
    a = made.of_class("a")
    expected = np.where(a.mask, 100 + np.arange(a.values.shape[2]), 0)
    assert np.array_equal(a.values[:, 0], expected)
    real, ours = (t.with_gaps().of_class("b").values[:, 0, 5] for t in (train, made))
    assert ours.mean() == pytest.approx(real.mean(), rel=0.06)  # standard error 2 %
    assert set(ours) <= set(real)


def test_bootstrap_breaks_joints():
    train = packets(3000)
    sizes = bootstrap(train, 3000, seed=6).of_class("b").values[:, 0]
    assert np.corrcoef(train.of_class("b").values[:, 0, 4:6].T)[0, 1] == pytest.approx(1)
    assert abs(np.corrcoef(sizes[:, 4:6].T)[0, 1]) < 0.1  # standard error 0.03


def test_markov_has_the_transitions_of_a_class_and_not_more():
    # Two states: a point stays with chance 0.9 in class a, changes with 0.9 in class b.
    rng = np.random.default_rng(5)
    stays = np.repeat([0.9, 0.1], 60)
    moves = np.where(rng.random((120, 50)) < stays[:, None], 1, -1)
    directions = np.cumprod(moves, axis=1)
    train = Traces.from_lists({"direction": directions}, ["a"] * 60 + ["b"] * 60)
    made = markov(train, 400, seed=1)
    for name, stay in (("a", 0.9), ("b", 0.1)):
        series = made.of_class(name).values[:, 0]
        same = (series[:, 1:] == series[:, :-1]).mean()
        # Standard error 0.005 of the training set's share and 0.003 of ours.
        assert same == pytest.approx(stay, abs=0.025)
        twice = (series[:, 2:] == series[:, :-2]).mean()
        assert twice == pytest.approx(stay**2 + (1 - stay) ** 2, abs=0.03)


def test_markov_keeps_channels_together_and_values_exact():
    rng = np.random.default_rng(6)
    sizes = rng.choice([52, 517, 1448], (50, 20), p=[0.5, 0.2, 0.3])
    directions = np.where(sizes == 1448, -1, 1)
    train = Traces.from_lists({"packet_length": sizes, "direction": directions}, ["a"] * 50)
    made = markov(train, 100, seed=2)
    assert set(made.points("packet_length")) == {52.0, 517.0, 1448.0}
    np.testing.assert_array_equal(
        made.points("direction"), np.where(made.points("packet_length") == 1448, -1, 1)
    )


def test_markov_of_single_points_and_of_states_that_nothing_follows():
    short = Traces.from_lists({"speed": [[1.0], [2.0], [3.0]]}, ["a"] * 3)
    assert set(markov(short, 9, seed=0).points("speed")) == {1.0, 2.0, 3.0}
    # 9 stands only at the end of a trace, so what follows it may be any point that follows one.
    ends = Traces.from_lists({"speed": [[1.0, 9.0], [9.0], [1.0, 2.0, 3.0]]}, ["a"] * 3)
    assert set(markov(ends, 300, seed=0).points("speed")) <= {1.0, 2.0, 3.0, 9.0}


def test_jitter_keeps_inside_the_range_of_all_training_traces():
    train = Traces.from_lists({"speed": np.repeat([[1.0], [5.0], [9.0]], 50, axis=1)}, ["a"] * 3)
    (made,) = jitter(train, 1, seed=0).values[:, 0]
    assert len(set(made.tolist())) > 10  # one trace alone has no range
