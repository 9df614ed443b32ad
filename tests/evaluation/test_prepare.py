from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netdiffus.evaluation import prepare as module
from netdiffus.evaluation.metrics.memorization import point_keys, short_keys
from netdiffus.evaluation.prepare import prepare
from netdiffus.traces.traces import Traces


def times(seed: int, n: int) -> Traces:
    """Two classes, one of which is rare."""
    rng = np.random.default_rng(seed)
    series = np.cumsum(rng.exponential(1, (n, 6)), axis=1)
    columns = {"timestamp": series - series[:, :1], "direction": rng.choice([-1, 1], (n, 6))}
    return Traces.from_lists(columns, ["rare" if i % 10 == 0 else "usual" for i in range(n)])


def test_large_sets_are_represented_by_some_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TRACES", 60)
    monkeypatch.setattr(module, "MOST_COMPARED", 30)
    monkeypatch.setattr(module, "CHUNK", 17)
    real, made, held = times(0, 200), times(1, 100), times(2, 50)
    found = prepare(real, made, held, 0)
    classes = list(found.classes)
    assert dict(zip(classes, found.train.counts.tolist(), strict=True)) == {"rare": 20, "usual": 40}
    assert [len(side) for side in (found.synthetic, found.holdout)] == [60, 50]
    assert found.compared.sum() <= 30
    assert found.compared.min() == 5
    # What is counted over all traces, and in the same form as if nothing was cut.
    whole = found.train.whole
    assert whole.keys.tolist() == short_keys(point_keys(real.with_gaps())).tolist()
    assert whole.lengths.tolist() == real.lengths.tolist()
    assert found.notes[-1].startswith(
        "Large sets (real 200, synthetic 100, holdout 50 traces): figures use at most"
    )
    again = prepare(real, made, held, 0)
    assert again.train.traces.equals(found.train.traces)


def test_small_sets_are_taken_whole_and_in_one_form() -> None:
    real, made, held = times(0, 40), times(1, 30).with_gaps(), times(2, 30)
    made = made.select(["direction", "gap"])
    made = replace(made, labels=1 - made.labels, classes=made.classes[::-1])
    found = prepare(real, made, held, 0)
    assert found.notes == ()
    assert found.train.traces.equals(real.with_gaps())
    assert [c.name for c in found.synthetic.traces.channels] == ["gap", "direction"]
    assert found.synthetic.traces.classes == found.train.traces.classes
    assert found.synthetic.traces.label_names.tolist() == made.label_names.tolist()
