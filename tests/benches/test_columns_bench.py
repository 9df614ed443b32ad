from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.columns import OF_A_TRACE, _read, main, table
from netdiffus.traces.traces import Traces


@pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")  # of small classes
@pytest.mark.usefixtures("quick_judges")
def test_a_short_bench_prints_every_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.columns.TIMED", 8)
    monkeypatch.setattr("netdiffus.evaluation.columns.TREES", 20)
    command = ["lab", "--steps", "2", "--traces", "90", "--out", str(tmp_path)]
    assert main(command) == 0
    figures = json.loads((tmp_path / "lab.json").read_text())
    floors = {name: figures[name]["real"] for name in figures if name.startswith("two_sample")}
    assert all(0.2 < floor < 0.8 for floor in floors.values())
    assert len(floors) == 2
    assert figures["steps"] == {"with": 2, "without": 2}
    assert table("lab", figures) in capsys.readouterr().out


def test_columns_that_are_counted_from_traces(tmp_path: Path) -> None:
    n = 40
    sizes = [[100 + i, 1500, 60] for i in range(n)]  # equal traces would stand on one side
    channels = {"packet_length": sizes, "direction": [[1, -1, 1]] * n, "iat": [[0, 0.5, 0.25]] * n}
    Traces.from_lists(channels, ["a", "b"] * (n // 2)).save(tmp_path / "mirage_appx.parquet")
    real, held, names = _read("mirage_appx", None, tmp_path, 0)
    assert len(real) + len(held) == n
    assert names == OF_A_TRACE
    row = held.meta.select(list(names)).slice(0, 1).to_pylist()[0]
    first = int(held.values[0, 0, 0])
    assert row.pop("duration").total_seconds() == 0.75
    assert row.pop("mean_size") == pytest.approx((first + 1560) / 3)
    assert row == {"packets": 3, "bytes_up": first + 60, "answered": True, "largest": "full"}


def test_sets_that_are_missing_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []

    def measure(real: Traces, *_: object) -> dict[str, dict[str, float]]:
        measured.append(len(real))
        return {"steps": {"with": 1.0, "without": 1.0}}

    monkeypatch.setattr("bench.columns.measured", measure)
    command = ["--traces", "90", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    assert len(measured) == 1
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["lab.json", "lab.md"]
    said = capsys.readouterr().err
    assert "flows left out: name its table with --flows" in said
    assert "mirage_appx left out" in said
    assert main(["flows", *command]) == 2
    assert "no set was measured; left out: flows" in capsys.readouterr().err
