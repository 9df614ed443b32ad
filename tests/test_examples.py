from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netdiffus.traces.traces import Traces

EXAMPLES = Path(__file__).parents[1] / "examples"


def main_of(name: str) -> Callable[..., Any]:
    main: Callable[..., Any] = runpy.run_path(str(EXAMPLES / name))["main"]
    return main


def test_quickstart(tmp_path: Path) -> None:
    out = tmp_path / "voip.parquet"
    made = main_of("quickstart.py")(label="voip", n=3, minutes=0.01, out=out)
    assert made.counts()["voip"] == 3
    times = Traces.load(out).values[:, 2]
    np.testing.assert_array_equal(times, made.values[:, 2].astype(np.float32))  # as in the file


@pytest.mark.usefixtures("quick_reports")
@pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")  # of the four longest flows
def test_own_data(tmp_path: Path) -> None:
    report = main_of("own_data.py")(minutes=0.01, out=tmp_path / "report.html")
    hosts = [set(part.meta["host"].to_pylist()) for part in (report.real, report.holdout)]
    assert not hosts[0] & hosts[1]
    assert report.figures["protocol"]["classes"] == ["call", "chat", "game"]
    assert (tmp_path / "report.html").is_file()


def test_own_data_keeps_the_packets() -> None:
    example = runpy.run_path(str(EXAMPLES / "own_data.py"))
    packets = example["toy_packets"](flows=6)
    traces = example["to_traces"](packets)
    for flow in range(6):
        one = packets[packets["flow"] == flow]
        n = traces.lengths[flow]
        assert n == len(one)
        np.testing.assert_array_equal(traces.values[flow, 0, :n], one["bytes"])
        np.testing.assert_array_equal(traces.values[flow, 1, :n] == 1, one["from_client"])
        assert traces.values[flow, 2, n - 1] == one["time"].max() - one["time"].min()
