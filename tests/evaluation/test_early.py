from __future__ import annotations

from dataclasses import replace

import numpy as np

from netdiffus.evaluation.early import _cuts, early_figures
from netdiffus.evaluation.prepare import prepare
from netdiffus.traces.traces import Traces

TOLD = 5  # packets from which on the classes differ
GAP = 0.5  # seconds


def told_late(n: int = 120, seed: int = 0) -> Traces:
    """Traces of 16 packets of two classes, whose sizes differ from packet 6 on."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    sizes = rng.integers(100, 200, (n, 16))
    sizes[:, TOLD:] += 500 * labels[:, None]
    return Traces.from_lists(
        {"packet_length": sizes.tolist(), "timestamp": (GAP * np.arange(16) + 0 * sizes).tolist()},
        [f"class {k}" for k in labels],
    )


def test_accuracy_rises_where_classes_begin_to_differ() -> None:
    real, made, held = (told_late(seed=seed) for seed in range(3))
    wrong = replace(made, labels=np.random.default_rng(0).permutation(made.labels))
    found = early_figures(prepare(real, wrong, held, 0, None, None), 0)
    for unit, last in (("points", TOLD), ("seconds", GAP * TOLD - 0.01)):
        figures = found[unit]
        assert figures["at"] == sorted(figures["at"])
        assert {at <= last for at in figures["at"]} == {True, False}
        for at, one in zip(figures["at"], figures["real"], strict=True):
            # Of 120 traces by chance: 0.5 with a deviation of 0.046, four of which are far apart.
            assert (one["mean"] > 0.85) if at > last else abs(one["mean"] - 0.5) < 0.2, at
        assert all(abs(one["mean"] - 0.5) < 0.2 for one in figures["synthetic"])
    assert found["points"]["both"][-1]["mean"] > found["points"]["synthetic"][-1]["mean"]


def test_bins_of_unknown_width_have_no_seconds() -> None:
    volumes = Traces.from_lists({"value": [[1, 2], [3, 4]] * 6}, ["a", "b"] * 6)
    assert set(early_figures(prepare(volumes, volumes, volumes, 0, None, None), 0)) == {"points"}


def test_cuts_rise_up_to_what_most_traces_have() -> None:
    assert _cuts(np.full(10, 64)) == [1, 3, 8, 23, 64]
    assert _cuts(np.ones(10, dtype=np.int64)) == [1]
    assert _cuts(np.full(10, 2.0)) == [0.02, 0.063, 0.2, 0.63, 2.0]
