from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from netdiffus.codec.scaling import COMMON, KNOTS, Scale
from netdiffus.errors import InputError

whole = arrays(np.float64, st.integers(1, 400), elements=st.integers(0, 1500).map(float))
real = arrays(np.float64, st.integers(1, 400), elements=st.floats(0, 1e6, width=32))


@given(points=whole, kind=st.sampled_from(["minmax", "log", "quantile"]))
def test_whole_numbers_come_back(points: np.ndarray, kind: str) -> None:
    scale = Scale.fit(kind, points)
    x = scale.encode(points)
    assert x.min() >= 0
    assert x.max() <= 1
    np.testing.assert_array_equal(np.rint(scale.decode(x)), points)


@given(points=real, kind=st.sampled_from(["minmax", "log", "quantile"]))
def test_floats_come_back(points: np.ndarray, kind: str) -> None:
    scale = Scale.fit(kind, points)
    error = np.abs(scale.decode(scale.encode(points)) - points).max()
    assert error <= 1e-9 * np.ptp(points)


@pytest.mark.parametrize("kind", ["minmax", "log", "quantile"])
def test_larger_values_are_scaled_higher_and_the_unseen_is_clipped(kind: str) -> None:
    points = np.random.default_rng(0).lognormal(5, 2, 5000)
    scale = Scale.fit(kind, points)
    seen = np.sort(points)
    assert np.all(np.diff(scale.encode(seen)) >= 0)
    ends = scale.decode(scale.encode(np.array([-1.0, 1e9])))
    np.testing.assert_allclose(ends, [seen[0], seen[-1]])


def test_a_common_value_owns_a_stretch() -> None:
    points = np.array([0.0] * 900 + [1500.0] * 90 + list(range(700, 710)))
    scale = Scale.fit("quantile", points)
    _, start, end = scale.table[0]
    assert end - start > 0.2
    np.testing.assert_array_equal(scale.decode(np.linspace(start, end, 50)), 0.0)


def test_minmax_is_the_closed_form() -> None:
    scale = Scale.fit("minmax", np.array([2.0, 3.0]), bounds=(1.0, 5.0))
    np.testing.assert_allclose(scale.encode(np.array([1.0, 2.0, 5.0])), [0, 0.25, 1])


def test_the_table_stays_small() -> None:
    scale = Scale.fit("quantile", np.random.default_rng(0).normal(size=100_000) ** 2)
    assert len(scale.table) <= KNOTS + COMMON + 2


def test_bad_choices_are_named() -> None:
    with pytest.raises(InputError, match="scale of size: 'sqrt' is unknown; use minmax, log"):
        Scale.fit("sqrt", np.ones(3), name="size")
    with pytest.raises(
        InputError, match="reach from 1 to 1514, outside the given bounds 0 to 1500"
    ):
        Scale.fit("minmax", np.array([1.0, 1514.0]), bounds=(0.0, 1500.0))
