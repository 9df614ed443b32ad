from __future__ import annotations

from pathlib import Path

import pytest
from session_flows import host_flows

from bench.sessions import main


@pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")  # of small classes
def test_tiny_bench_prints_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host_flows(24).save(tmp_path / "flows.parquet")
    out = tmp_path / "out"
    assert main([str(tmp_path / "flows.parquet"), "--steps", "2", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert (out / "sessions.md").read_text() in printed
    names = [line.split("|")[1].strip() for line in printed.strip().splitlines()[2:]]
    assert names == ["flows", "gaps", "concurrency", "order", "c2st"]
