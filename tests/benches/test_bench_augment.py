from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pytest

from bench.augment import main, table


def record(draw: int, choice: str | None, **scores: float) -> dict:
    test = {"real": 0.5, "repeated 1x": 0.5, "jittered 1x": 0.5, "made 1x": 0.5}
    test |= {name.replace("_", " "): score for name, score in scores.items()}
    both = {"forest": test, "cnn": test}
    return {
        "set": "lab",
        "originals": 5,
        "draw": draw,
        "test": both,
        "choice": dict.fromkeys(both, choice),
    }


def test_gains_are_over_the_control_that_is_best_on_average() -> None:
    records = [
        record(0, "1x", jittered_1x=0.6, repeated_1x=0.52, made_1x=0.65),
        record(1, None, jittered_1x=0.54, repeated_1x=0.6, made_1x=0.4),
    ]
    row = table(records, [1]).splitlines()[-1]
    # Jitter is best: 57 on average, repetition 56. The rule gains 5 points in the first draw and
    # none in the second, where it makes no traces, and real traces alone are 4 below jitter.
    assert row == "| lab | cnn | 2 | -4.5 ± 9.5 | +2.5 ± 2.5 | +0.5 ± 4.5 |"


@pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")  # of small classes
@pytest.mark.usefixtures("quick_judges")
def test_tiny_bench_prints_its_tables_and_does_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--tiny", "--out", str(tmp_path)]
    with mock.patch("netdiffus.evaluation.metrics.cnn.STEPS", 2):
        assert main(command) == 0
    records = json.loads((tmp_path / "results.json").read_text())
    assert [one["draw"] for one in records] == [0, 1]
    for one in records:
        assert set(one["test"]["cnn"]) == {"real", "repeated 1x", "jittered 1x", "made 1x"}
        assert all(0 <= share <= 1 for share in one["test"]["forest"].values())
        assert one["steps"] == 2
    printed = capsys.readouterr().out
    assert (tmp_path / "table.md").read_text() in printed
    with mock.patch("bench.augment._run", side_effect=AssertionError):
        assert main(command) == 0


def test_a_set_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--sets", "web_doh", "--data", "nowhere", "--out", str(tmp_path)]
    assert main(command) == 2
    assert "nowhere/web_doh.parquet: no such file" in capsys.readouterr().err
