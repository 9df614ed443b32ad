from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats.contingency import association

from netdiffus.evaluation.columns import _cramer, column_figures
from netdiffus.evaluation.prepare import prepare
from netdiffus.traces.traces import Traces

pytestmark = pytest.mark.usefixtures("small_forests")
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


@pytest.fixture
def small_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netdiffus.evaluation.columns.TREES", 20)


def traces(n: int, seed: int) -> Traces:
    """Columns of five types that follow from each other, and one that stands alone."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    loss = labels + 0.3 * rng.normal(size=n)
    rows: dict[str, Any] = {
        "os": [("linux", "mac", "win")[k] for k in (labels + rng.integers(0, 2, n))],
        "loss": loss.tolist(),
        "lossy": (loss > 0.5).tolist(),
        "packets": (10 * loss + 50).astype(int).tolist(),
        "begin": [NOON + timedelta(hours=float(h)) for h in 24 * rng.random(n)],
        "trace_id": [f"{seed}-{i}" for i in range(n)],
        "link": ["a"] * n,
    }
    x = rng.integers(0, 5, (n, 3)).astype(float).tolist()
    return Traces.from_lists({"x": x}, [("a", "b")[k] for k in labels], rows)


def figures(synthetic: Traces, by: str | None = "link") -> dict[str, Any] | None:
    real, holdout = traces(400, 0), traces(400, 1)
    return column_figures(prepare(real, synthetic, holdout, 0, None, None), by, 0)


def mean(found: dict[str, Any], name: str, side: str = "synthetic") -> float:
    return float(found[name][side]["mean"])


def shuffled(one: Traces) -> Traces:
    """Each column by itself as it was, and none with any other."""
    rng = np.random.default_rng(2)
    columns = {
        name: one.meta[name].take(pa.array(rng.permutation(len(one))))
        for name in one.meta.column_names
    }
    return replace(one, meta=pa.table(columns))


def test_others_of_the_same_kind_are_at_the_floor() -> None:
    found = figures(traces(400, 3))
    assert found is not None
    assert found["names"] == ["os", "loss", "lossy", "packets", "begin"]
    assert mean(found, "association") < 2 * mean(found, "association", "real") < 0.15
    assert mean(found, "two_sample_auc") < 0.57
    for tv in found["total_variation"].values():
        assert tv["synthetic"]["mean"] < 0.15


def test_columns_that_do_not_go_together_are_found_by_pairs_and_by_the_forest() -> None:
    found = figures(shuffled(traces(400, 3)))
    assert found is not None
    assert mean(found, "association") > 0.2 > 3 * mean(found, "association", "real")
    assert mean(found, "two_sample_auc") > 0.9
    for tv in found["total_variation"].values():
        assert tv["synthetic"]["mean"] < 0.15


def raised_where_lossy(seed: int, is_lossy: bool) -> Traces:
    one = traces(400, seed)
    raised = np.array(one.meta["lossy"].to_pylist()) == is_lossy
    return replace(one, values=one.values + 10 * raised[:, None, None])


@pytest.mark.parametrize(("as_real", "low", "high"), [(True, 0.4, 0.57), (False, 0.9, 1.0)])
def test_traces_that_do_not_go_with_their_columns_are_found_beside_them(
    as_real: bool, low: float, high: float
) -> None:
    real, holdout = (raised_where_lossy(seed, True) for seed in (0, 1))
    made = raised_where_lossy(3, as_real)
    found = column_figures(prepare(real, made, holdout, 0, None, None), "link", 0)
    assert found is not None
    assert mean(found, "two_sample_auc") < 0.57
    assert low <= mean(found, "two_sample_auc_with_traces") <= high
    assert mean(found, "two_sample_auc_with_traces", "real") < 0.57


@pytest.mark.parametrize(("name", "value"), [("os", "bsd"), ("loss", 99.0), ("packets", 10**6)])
def test_a_column_of_other_values_is_found(name: str, value: Any) -> None:
    made = traces(400, 3)
    column = made.meta.column_names.index(name)
    cells = pa.array([value] * 400)
    found = figures(replace(made, meta=made.meta.set_column(column, name, cells)))
    assert found is not None
    assert found["total_variation"][name]["synthetic"]["mean"] > 0.8


def test_columns_that_not_all_sets_have_are_left_out() -> None:
    made = traces(400, 3)
    found = figures(replace(made, meta=made.meta.select(["trace_id", "os", "link"])))
    assert found is not None
    assert found["names"] == ["os"]
    assert figures(replace(made, meta=made.meta.select(["trace_id", "link"]))) is None
    mixed = made.meta.select(["trace_id"]).append_column("loss", pa.array(["much"] * 400))
    assert figures(replace(made, meta=mixed)) is None


def test_association_is_that_of_scipy_but_for_its_correction() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 4, 20_000)
    pair = np.stack([x, (x + rng.integers(0, 3, 20_000)) % 5], 1)
    counts = np.zeros((4, 5), dtype=int)
    np.add.at(counts, tuple(pair.T), 1)
    assert _cramer(pair) == pytest.approx(association(counts, method="cramer"), abs=2e-3)
    apart = np.stack([x, rng.integers(0, 5, 20_000)], 1)
    assert _cramer(apart) < 0.02
    assert _cramer(np.zeros((9, 2), dtype=np.int64)) == 0


def test_columns_of_other_units_are_compared_and_those_of_other_types_left_out() -> None:
    made = traces(400, 3)
    meta = made.meta.set_column(
        made.meta.column_names.index("begin"),
        "begin",
        made.meta["begin"].cast(pa.timestamp("ms", "UTC"), safe=False),
    )
    meta = meta.append_column("id", pa.array([2**60 + i for i in range(400)]))
    found = figures(replace(made, meta=meta))
    assert found is not None
    assert found["total_variation"]["begin"]["synthetic"]["mean"] < 0.15
