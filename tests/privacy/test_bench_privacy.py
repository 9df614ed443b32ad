"""The bench of privatised traces, on little traffic."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pytest

from bench.fidelity.forests import Protocol
from bench.privacy import curve as module
from bench.privacy.__main__ import main
from netdiffus.traces.lab import lab_traffic


def small() -> module.Judged:
    # Of fewer packets all traces of a class are alike, and stand on one side of a split.
    sizes = lab_traffic("packets").select(["packet_length", "direction"]).truncate(12)
    return module.Judged(*sizes.split(0.5), 12, {})


def test_the_table_has_real_and_private_traces(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r.json"
    with mock.patch.dict(module.SETS, {"lab_packets": small}):
        assert main(["--sets", "lab_packets", "--epsilons", "8", "--runs", "1", "--trees", "10",
                     "--out", str(out)]) == 0  # fmt: skip
    real, private = json.loads(out.read_text())
    # Real traces are the ceiling; of nine classes chance is right in a ninth.
    assert 1 / 9 < private["accuracy"] < real["accuracy"]
    assert real["auc"] < private["auc"] <= 1
    assert "| lab_packets | 8.0 |" in capsys.readouterr().out


def test_a_missing_set_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NETDIFFUS_DATA", str(tmp_path))
    assert main(["--sets", "mirage_appx"]) == 2
    assert "mirage_appx.parquet: no such file; set NETDIFFUS_DATA" in capsys.readouterr().err


def test_equal_traces_are_not_told_apart() -> None:
    judged = small()
    found = module.figures(judged, judged.holdout, Protocol(trees=10, repeats=1, resamples=2))
    assert found["accuracy"] > 0.9  # it has seen them
    assert found["auc"] < 0.6


@pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")
def test_canaries_in_private_traces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of nine traces a class some classes get no private trace: their canaries have no score."""
    assert main(["canaries", "lab", "--trained", "epsilon-1", "--canaries", "60",
                 "--minutes", "0.02", "--out", str(tmp_path)]) == 0  # fmt: skip
    found = json.loads((tmp_path / "lab" / "canaries-epsilon-1.json").read_text())
    assert found["attack"]["auc"]["low"] < 0.7  # 4 sigma above the bound of epsilon 1
    assert found["epsilon"]["epsilon"] is None  # so few canaries show nothing
    assert "| lab | epsilon-1 |" in capsys.readouterr().out
