from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import sem
from small import packets

from bench.duel import bars, figures, posterior, runs, worker
from bench.duel.__main__ import main
from bench.duel.membership import membership
from bench.duel.rule import decide
from bench.duel.runs import flat
from bench.duel.summary import COPYING, Summary, error, over_sets
from bench.fidelity.sets import FidelitySet
from netdiffus import Recipe, train

TINY = ("--tiny", "--presets", "causal")


@pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")  # of small classes
def test_tiny_duel_gives_every_figure_and_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs the parts in this process; the next test starts a new process for one."""
    monkeypatch.setattr("netdiffus.evaluation.metrics.cnn.STEPS", 5)
    monkeypatch.setattr(
        runs, "_start", lambda part: worker.main(json.dumps(asdict(part), default=str))
    )
    command = [*TINY, "--out", str(tmp_path)]
    assert main(command) == 0
    printed = capfd.readouterr().out
    assert printed.index("This rule decides") < printed.index("1 of 2") < printed.index("### Cost")
    records = json.loads((tmp_path / "results.json").read_text())
    assert [one["from"] for one in records] == ["real", "bootstrap", "markov", "jitter", "causal"]
    found = records[-1]["figures"]
    shares = ("accuracy", "cnn", "auc", "five_times", "with_real", "membership auc")
    shares += ("five_times_cnn", "with_real_cnn", "auc_cnn")
    for name in (*shares, "membership tpr", *(f"copies {kind}" for kind in COPYING)):
        assert 0 <= found[name] <= 1, name
    for name in ("steps", "parameters", "ms_per_trace", "training_peak_mb", "membership others"):
        assert found[name] > 0, name
    assert found["peak_mb"] >= found["training_peak_mb"]
    assert np.isfinite([found["wasserstein"], found["autocorrelation"]]).all()
    assert "| lab | causal |" in (tmp_path / "table.md").read_text()

    run = next(tmp_path.glob("lab/seed0/causal-*"))
    written = (run / "training.json").stat().st_mtime_ns
    before = {name: found[name] for name in (*shares, "copies exact")}
    (run / "figures.json").unlink()
    assert main(command) == 0
    assert (run / "training.json").stat().st_mtime_ns == written
    again = json.loads((tmp_path / "results.json").read_text())[-1]["figures"]
    assert {name: again[name] for name in before} == before

    assert posterior.main(["--out", str(tmp_path), "--models", run.name]) == 0
    _, seeds, accuracy, _ = capfd.readouterr().out.splitlines()[-1].strip("| ").split(" | ")
    assert (seeds, 0 <= float(accuracy) <= 100) == ("1", True)

    assert main([*command, "--data", "nowhere"]) == 0  # nothing is left to do
    (tmp_path / "judges.json").write_text('{"trees": 7}')
    assert main(command) == 2
    assert "take another --out" in capfd.readouterr().err


def test_a_set_that_is_not_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--sets", "web_doh"]
    assert main(command) == 2
    assert "web_doh.parquet: no such file" in capfd.readouterr().err


def test_membership_of_a_network_that_learned_nothing() -> None:
    traces = packets(n=120).truncate(5)
    found = membership(train(traces[:60], recipe=Recipe(steps=1)), traces[:60], traces[60:])
    assert set(found) == {"auc", "tpr", "others"}
    assert found["others"] == 60
    assert 0.3 < found["auc"] < 0.7  # four standard errors, of 60 and 60


def test_figures_of_copies() -> None:
    """Traces that are the held-out ones differ in nothing from them."""
    traces = packets(n=60)
    fs = FidelitySet("x", traces[:30], traces[30:], 9)
    assert figures.autocorrelation(fs, fs.holdout) == 0
    assert figures.autocorrelation(fs, fs.train) > 0
    assert len(figures.of_generator(fs, "jitter", 5, 0)) == 150
    assert set(figures.copies_of_half(fs, 0)) == set(COPYING)


def test_flat_figures() -> None:
    found = {"auc": {"mean": 0.5, "low": 0.4}, "copies": {"exact": 0.1}, "n": 3, "commit": "x"}
    assert flat(found) == {"auc": 0.5, "copies exact": 0.1, "n": 3}


def test_errors_over_seeds_and_sets() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random(3), rng.random(5)
    assert error(one) == pytest.approx(sem(one))
    assert math.isnan(error(one[:1]))
    mean, deviation = over_sets([one, other])
    assert mean == pytest.approx((one.mean() + other.mean()) / 2)
    assert deviation == pytest.approx(np.sqrt(sem(one) ** 2 + sem(other) ** 2) / 2)


def records(
    preset: str,
    accuracy: Sequence[float],
    auc: Sequence[float],
    copied: Sequence[float] = (0.1, 0.1, 0.1),
    name: str = "a",
    **more: float,
) -> list[dict[str, Any]]:
    """One record per seed of a preset on a set."""
    return [
        {
            "set": name,
            "seed": seed,
            "from": preset,
            "minutes": 10.0,
            "figures": {
                "accuracy": accuracy[seed],
                "auc": auc[seed],
                **{f"copies {kind}": copied[seed] for kind in COPYING},
                **more,
            },
        }
        for seed in range(len(accuracy))
    ]


def real(seeds: int = 3, holdout: float = 0.1, half: float = 0.0, **more: float) -> list[Any]:
    floors = {f"holdout {kind}": holdout for kind in COPYING}
    floors |= {f"half {kind}": half for kind in COPYING}
    return [
        {"set": "a", "seed": seed, "from": "real", "minutes": 0.0, "figures": floors | more}
        for seed in range(seeds)
    ]


CAUSAL = records("causal", (0.80, 0.82, 0.84), (0.52, 0.54, 0.56))


def winner(*others: list[dict[str, Any]], floors: list[Any] | None = None) -> str | None:
    given = [*CAUSAL, *(one for other in others for one in other), *(floors or real())]
    names = list(dict.fromkeys(one["from"] for one in given if one["from"] != "real"))
    return decide(Summary(given), ["a"], names, 10.0).winner


def test_the_best_preset_wins() -> None:
    assert winner(records("image", (0.70, 0.71, 0.72), (0.60, 0.61, 0.62))) == "causal"
    assert winner(records("image", (0.90, 0.91, 0.92), (0.50, 0.51, 0.52))) == "image"


def test_diffusion_wins_within_the_error_of_the_difference() -> None:
    """Differences .01, -.01 and .02: mean .0067, error .0088; and .01 each: no error at all."""
    auc = (0.52, 0.54, 0.56)
    near = records("image", (0.79, 0.83, 0.82), auc)
    assert winner(near) == "image"
    assert winner(records("image", (0.79, 0.81, 0.83), auc)) == "causal"
    worse = records("masked", (0.79, 0.83, 0.81), auc)
    assert winner(worse, near) == "image"  # both are within the error, and image ranks higher
    assert winner(records("image", (0.79, 0.83, 0.82), (0.58, 0.60, 0.62))) == "causal"


def test_who_copies_is_not_admitted() -> None:
    better = (0.90, 0.91, 0.92), (0.50, 0.51, 0.52)
    assert winner(records("image", *better, copied=(0.12, 0.14, 0.16))) == "causal"
    assert winner(records("image", *better, copied=(0.05, 0.10, 0.18))) == "image"  # mean + .01
    high = real(half=0.2)
    assert winner(records("image", *better, copied=(0.12, 0.14, 0.16)), floors=high) == "image"
    assert winner(floors=real(holdout=0.05)) is None


def test_one_seed_decides_nothing() -> None:
    given = [*records("causal", (0.8,), (0.5,)), *real(seeds=1)]
    decision = decide(Summary(given), ["a"], ["causal"], 10.0)
    assert decision.winner is None
    assert "one seed" in decision.reason


def test_bars_missed_are_named() -> None:
    good = {"five_times": 0.9, "membership auc": 0.6, "membership tpr": 0.01}
    given = records("causal", (0.76, 0.78, 0.80), (0.5, 0.5, 0.5), name="web_doh", **good)
    given += [one | {"set": "web_doh"} for one in real(five_times=0.85)]
    for name in ("bootstrap", "markov"):
        given += [
            one | {"minutes": 0.0}
            for one in records(name, (0.6, 0.6, 0.6), (0.8, 0.8, 0.8), name="web_doh")
        ]
    found, key = Summary(given), ("web_doh", "causal", 10.0)
    assert len(bars.bars(found, key)) == 10
    assert all(bar.passed for bar in bars.bars(found, key))
    for one in given:
        if one["from"] == "causal":
            one["figures"] |= {"auc": 0.9, "five_times": 0.8}
    missed = [bar.name for bar in bars.bars(Summary(given), key) if not bar.passed]
    assert missed == [
        "two-sample AUC",
        "5x accuracy",
        "5x accuracy, repeated real traces'",
        "two-sample AUC, bootstrap's",
        "two-sample AUC, markov's",
    ]
