"""Guards: time by size. `python -m bench.scaling` has larger sizes, the bars, and `evaluate`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bench.scaling import _sample, _start

# Measured: 1.0, 0.0 and 0.7; 0.7, 0.0 and about 1. An exponent of 2 or more is what is looked for.
CASES = [
    pytest.param(_start, (1_500, 32, 10), (6_000, 32, 10), 4, 1.4, id="train-by-traces"),
    pytest.param(_start, (4_000, 16, 10), (4_000, 16, 1_000), 100, 0.3, id="train-by-classes"),
    pytest.param(_start, (2_000, 32, 10), (2_000, 128, 10), 4, 1.4, id="train-by-points"),
    pytest.param(_sample, (128, 16, 5), (512, 16, 5), 4, 1.4, id="sample-by-traces"),
    pytest.param(_sample, (256, 16, 5), (256, 16, 100), 20, 0.3, id="sample-by-classes"),
    pytest.param(_sample, (128, 16, 5), (128, 64, 5), 4, 1.4, id="sample-by-points"),
]


@pytest.mark.parametrize(("measure", "small", "large", "times", "most"), CASES)
def test_exponent(
    measure: Callable[[int, int, int], float],
    small: tuple[int, int, int],
    large: tuple[int, int, int],
    times: int,
    most: float,
) -> None:
    measure(*small)  # what is done once
    seconds = [min(measure(*shape) for _ in range(3)) for shape in (small, large)]
    assert np.log(seconds[1] / seconds[0]) / np.log(times) < most
