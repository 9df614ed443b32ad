"""Canaries, on trainings that are known to learn by heart and on some that cannot."""

from __future__ import annotations

import numpy as np
import pytest
from populations import population
from small import packets

from netdiffus.attacks.canaries import Learned, canary_audit, coins, exposure, make_canaries
from netdiffus.attacks.one_run import DELTA, SHARES, bound
from netdiffus.attacks.sides import keys
from netdiffus.errors import InputError
from netdiffus.traces.traces import Traces


def by_heart(traces: Traces) -> Learned:
    """Makes what it was given."""
    known = set(keys(traces))
    return Learned(lambda t: np.array([float(key in known) for key in keys(t)]), traces)


def learns_nothing(traces: Traces) -> Learned:
    rng = np.random.default_rng(5)
    return Learned(lambda t: rng.random(len(t)), population(200, seed=9))


def test_a_training_that_learns_by_heart() -> None:
    found = canary_audit(population(60), by_heart, 1000)
    assert found["attack"]["auc"]["mean"] == 1
    assert found["exposure"]["mean"] == found["exposure"]["most"]
    assert found["exposure"]["at_most"]["mean"] == 1
    assert found["regenerated"]["mean"] == 1
    assert found["values"]["included"]["mean"] == 1
    assert found["values"]["left_out"]["mean"] == 0
    # All of 500 guesses are right; of 1,000 some cannot be, as coins take no 500 exactly.
    told = found["epsilon"]
    assert told["guesses"] == told["right"] == 500
    assert told["epsilon"] == bound(1000, 500, 500, DELTA, 0.05 / len(SHARES)) < told["most"]


def test_a_training_that_learns_nothing() -> None:
    found = canary_audit(population(60), learns_nothing, 1000)
    auc = found["attack"]["auc"]
    assert auc["low"] - 0.02 < 0.5 < auc["high"] + 0.02
    # Of 500 canaries, whose exposure by chance has a deviation of about 1.44 bits (exponential).
    assert abs(found["exposure"]["mean"] - found["exposure"]["chance"]) < 4 * 1.5 / np.sqrt(450)
    assert found["regenerated"]["found"] == 0
    kept, left = found["values"]["included"], found["values"]["left_out"]
    assert kept["low"] < left["mean"] < kept["high"]  # some sizes come out by chance
    assert found["epsilon"]["epsilon"] < 0.5


def test_few_canaries_bound_nothing() -> None:
    found = canary_audit(population(60), by_heart, 100)
    assert found["epsilon"]["epsilon"] is None
    with pytest.raises(InputError, match="60 at least are needed, got 59"):
        canary_audit(population(60), by_heart, 59)


@pytest.mark.parametrize("make", [population, packets])
def test_canaries_are_odd_and_possible(make: object) -> None:
    traces = make(60)  # type: ignore[operator]
    found = make_canaries(traces, 300, seed=1)
    assert found.channels == traces.channels
    assert set(found.lengths.tolist()) <= set(traces.lengths.tolist())
    sizes, real = found.points(0), traces.points(0)
    assert real.min() <= sizes.min() < sizes.max() <= real.max()
    assert (sizes == np.rint(sizes)).all()
    assert len(set(sizes.tolist())) > len(set(real.tolist()))
    assert set(found.points("direction").tolist()) == {-1, 1}
    times = found.with_gaps()
    assert (times.values[:, 2, 0] == 0).all()
    assert np.array_equal(make_canaries(traces, 300, seed=1).values, found.values)
    assert 100 < coins(300, 1).sum() < 200


def test_exposure_by_hand() -> None:
    """Ranks 1, 3 and 5 among four left out: log2 5 less 0, log2 3 and log2 5."""
    found = exposure(np.array([9.0, 2.5, 0.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert found["most"] == pytest.approx(np.log2(5))
    assert found["mean"] == pytest.approx((np.log2(5) + np.log2(5 / 3) + 0) / 3)
    assert found["chance"] == pytest.approx(np.mean(np.log2(5 / np.arange(1, 6))))
    assert found["at_most"]["found"] == 1
    assert exposure(np.ones(1), np.ones(4))["mean"] == 0  # equal scores rank behind
