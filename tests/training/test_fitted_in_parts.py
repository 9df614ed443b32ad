"""What is fitted on a sample of a data set does not depend on the parts and their order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
import torch
from runs import run
from small import packets, volumes

from netdiffus import Dataset, Traces
from netdiffus.errors import Note

pytestmark = pytest.mark.filterwarnings("ignore:columns that are not learned")


def columned() -> Traces:
    """With a total and an order that single traces break, a counter and a name of groups."""
    traces = packets(300, longest=8, seed=5)
    rng = np.random.default_rng(5)
    octets = traces.values[:, 0].sum(axis=1)
    first = rng.integers(0, 50, 300)
    last = first + rng.integers(0, 20, 300)
    octets[[17, 150]] += 1, 2
    last[[17, 211]] = -1, -2
    table = {
        "user": [f"u{i % 40}" for i in range(300)],
        "octets": octets.astype(np.int64),
        "first": first,
        "last": last,
        "system": rng.choice(["a", "b", "c"], 300).tolist(),
        "count": np.arange(300),
    }
    return replace(traces, meta=pa.table(table))


def without_counter(traces: Traces) -> Traces:
    """In another order it would be a number as others are."""
    return replace(traces, meta=traces.meta.drop_columns(["count"]))


def fitted(dataset: Dataset, most: int = 200, **options: Any) -> dict[str, Any]:
    """All that a model keeps of a sample, and the weights it begins with."""
    with (
        mock.patch("netdiffus.training.encoded.sample_size", return_value=(most, 8)),
        mock.patch("netdiffus.training.trainer.fits", return_value=False),
        mock.patch("netdiffus.training.trainer._train", side_effect=lambda model, *_: model),
        pytest.warns(Note, match=f"fitted on {most:,} random"),
    ):
        model = run(None, 1, traces=dataset, **options)
    _, tables = model.codec.state()
    weights = {f"network.{k}": v for k, v in model.network.state_dict().items()}
    return {"config": model.config(), **tables, **model.columns.tables(), **weights}


@pytest.mark.parametrize(
    "options",
    [
        {"columns": ["octets", "first", "last", "system"], "by": "user"},
        {"columns": "all", "by": "user"},
        {"preset": "image"},
    ],
)
def test_what_is_fitted_is_the_same_to_the_bit(options: dict[str, Any], tmp_path: Path) -> None:
    traces = without_counter(columned()) if "columns" in options else volumes(300)
    order = np.random.default_rng(0).permutation(300)
    one = Dataset.write(tmp_path / "one", [traces])
    other = Dataset.write(
        tmp_path / "other", [traces[order[:20]], traces[order[20:33]], traces[order[33:]]]
    )
    found, again = fitted(one, **options), fitted(other, **options)
    assert found.keys() == again.keys()
    for name, table in found.items():
        same = torch.equal(table, again[name]) if name != "config" else table == again[name]
        assert same, name


def test_a_rule_that_is_broken_once_is_none_whatever_the_sample(tmp_path: Path) -> None:
    traces = columned()
    dataset = Dataset.write(tmp_path / "set", [traces[:100], traces[100:]])
    columns = fitted(dataset, 60, columns=["octets", "first", "last"])["config"]["columns"]
    assert columns["totals"] == {}
    assert ["first", "last"] not in columns["orders"]


def test_a_counter_is_not_learned_where_all_columns_are(tmp_path: Path) -> None:
    dataset = Dataset.write(tmp_path / "set", [columned()])
    with pytest.warns(Note, match=r"not learned: count \(they count the rows\)"):
        columns = fitted(dataset, columns="all")["config"]["columns"]
    assert "count" not in [one["name"] for one in columns["learned"]]
    asked = fitted(dataset, columns=["count"])["config"]["columns"]
    assert [one["name"] for one in asked["learned"]] == ["count"]
