"""Black box attacks, on generators that are known to leak, and on the same fitted elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from populations import counted, jittered, population, thirds

from netdiffus.attacks.extraction import rare_values, whole_traces
from netdiffus.attacks.rates import told_apart
from netdiffus.attacks.sample_attacks import cell_ratio, cells, density_ratio, nearest
from netdiffus.attacks.singling_out import singled_out
from netdiffus.traces.traces import Traces

ATTACKS = {"nearest": nearest, "density": density_ratio, "cells": cell_ratio}
# What each attack must find: an AUC that surely lies above this.
LEAKS: dict[str, tuple[Callable[[Traces], Traces], dict[str, float]]] = {
    "jitter": (jittered, {"nearest": 0.95, "density": 0.9, "cells": 0.5}),
    "counts": (lambda t: counted(t, 3 * len(t)), {"cells": 0.9}),
}


@pytest.fixture(scope="module")
def sets() -> tuple[Traces, Traces, Traces]:
    return thirds()


@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_who_was_learned_from(attack: str, leak: str, sets: tuple[Traces, Traces, Traces]) -> None:
    members, others, unrelated = sets
    make, least = LEAKS[leak]
    found = told_apart(*ATTACKS[attack](members, others, make(members)))["auc"]
    assert found["low"] > least.get(attack, 0.0)
    clean = told_apart(*ATTACKS[attack](members, others, make(unrelated)))["auc"]
    assert abs(clean["mean"] - 0.5) < 4 * clean["sd"]


@pytest.mark.parametrize("attack", ["density", "cells"])
def test_both_sides_are_treated_alike(attack: str) -> None:
    """The others are the attacker's own traces: that alone must not tell them from members."""
    shares = []
    for seed in range(8):
        members, others, unrelated = thirds(60, seed + 1)
        shares.append(told_apart(*ATTACKS[attack](members, others, unrelated))["auc"]["mean"])
    error = np.sqrt((1 / 60 + 1 / 60) / 12 / 8)
    assert abs(np.mean(shares) - 0.5) < 4 * error


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_class_that_was_not_made(attack: str, sets: tuple[Traces, Traces, Traces]) -> None:
    members, others, _ = sets
    made = jittered(members[members.labels != 0])
    ours, theirs = ATTACKS[attack](members, others, made)
    assert np.isfinite(ours).all()
    assert ours[members.labels == 0].max() < theirs[others.labels != 0].min()


def test_cells() -> None:
    """Class, channel, place and value, and nothing else, make a cell."""
    lists = {"value": [[5, 5], [5], [7, 5], [5, 5]], "x": [[0.123456, 1], [0.1234], [2, 3], [2, 3]]}
    one = Traces.from_lists(lists, ["a", "a", "a", "b"])
    (found,) = cells([one])
    assert found[0, 0] == found[1, 0] != found[2, 0]
    assert found[0, 1] == found[2, 1] != found[0, 0]
    assert found[1, 1] == found[1, 3] == -1
    assert found[0, 2] == found[1, 2]  # 0.123 both
    assert not set(found[3].tolist()) & set(found[:3].ravel().tolist())
    assert set(found.ravel().tolist()) == set(range(-1, int(found.max()) + 1))


def test_extraction(sets: tuple[Traces, Traces, Traces]) -> None:
    members, others, unrelated = sets
    whole = whole_traces(members, others, members[:60])
    assert (whole["train"]["found"], whole["holdout"]["found"]) == (60, 0)
    nothing = whole_traces(members, others, jittered(members))
    assert nothing["train"]["found"] == 0

    leak = rare_values(members, others, counted(members, 720))["iat"]
    assert leak["train"]["low"] > 0.8
    assert leak["holdout"]["found"] == 0
    clean = rare_values(members, others, counted(unrelated, 720))["iat"]
    assert clean["train"]["found"] == 0


def test_what_both_sides_have_is_not_extracted() -> None:
    """A trace of training and holdout alike counts on neither side."""
    traces = population(60)
    whole = whole_traces(traces[:40], traces[20:], traces)
    assert (whole["train"]["of"], whole["holdout"]["of"]) == (20, 20)


def test_singling_out(sets: tuple[Traces, Traces, Traces]) -> None:
    members, others, unrelated = sets
    leak = singled_out(members, others, counted(members, 720))
    clean = singled_out(members, others, counted(unrelated, 720))
    assert leak["places"]["1"]["train"]["low"] > leak["places"]["1"]["holdout"]["high"]
    assert leak["places"]["1"]["risk"] > 0.15
    for one in clean["places"].values():
        assert one["train"]["low"] < one["holdout"]["high"]
        assert one["holdout"]["low"] < one["train"]["high"]
    assert leak["alone"]["mean"] == 1  # gaps with fractions: each trace has one of its own
