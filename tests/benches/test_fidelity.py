from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from small import packets

from bench.fidelity import peers, sets
from bench.fidelity.__main__ import main
from bench.fidelity.bars import bars, steps_needed
from bench.fidelity.forests import Protocol, area, mean_figure
from bench.fidelity.judging import copies, frechet, hellinger, wasserstein
from bench.fidelity.sets import FidelitySet, load, signed, unsigned, view
from netdiffus.errors import InputError
from netdiffus.traces.traces import Traces

DATA = Path(__file__).parents[3] / "shared/data"


def of_sizes(sizes: dict[str, list[list[int]]]) -> Traces:
    return Traces.from_lists(
        {"packet_length": [one for lists in sizes.values() for one in lists]},
        labels=[name for name, lists in sizes.items() for _ in lists],
    )


def public(name: str) -> FidelitySet:
    if not (DATA / f"{name}.parquet").is_file():
        pytest.skip(f"{DATA / name}.parquet is not here")
    return load(name, DATA)


@pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")  # the tiny set has few of a class
def test_tiny_bench_gives_every_figure_and_goes_on(tmp_path: Path) -> None:
    command = ["--tiny", "--preset", "paper", "--out", str(tmp_path)]
    assert main(command) == 0
    written = (tmp_path / "results.json").read_text()
    (result,) = json.loads(written)
    candidates = [result["real"], *result["baselines"].values(), result["runs"][0]["ours"]]
    for figures in [*candidates, *result["runs"][0]["steps"]]:
        for name in ("accuracy", "accuracy_distinct", "auc"):
            assert 0 <= figures[name]["low"] <= figures[name]["high"] <= 1
        assert all(np.isfinite(figures[name]) for name in ("wasserstein", "hellinger", "frechet"))
        # An exact copy may be of a trace of another class, which no near copy is.
        assert all(0 <= figures["copies"][name] <= 1 for name in ("exact", "near"))
        assert 0 <= figures["copies"]["closer"] <= 1
    assert result["real"]["copies"]["exact"] == 1
    assert [run["minutes"] for run in result["runs"]] == [0.02, 0.01]
    assert [one["steps"] for one in result["runs"][0]["steps"]] == [2, 4]
    assert {"more", "with_real", "ms_per_trace", "membership"} <= set(result["runs"][0]["ours"])
    assert result["runs"][0]["training"]["preset"] == "paper"
    assert len(result["checks"]) == len(bars(result)) > 0
    assert "| lab |" in (tmp_path / "table.md").read_text()

    trained = (tmp_path / "lab/seed0-0.02min/training.json").stat().st_mtime_ns
    (tmp_path / "lab/bootstrap.json").unlink()
    assert main(command) == 0
    assert (tmp_path / "results.json").read_text() == written
    assert (tmp_path / "lab/seed0-0.02min/training.json").stat().st_mtime_ns == trained


def test_area_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    score, positive = rng.integers(0, 5, 40) / 4, rng.random(40) < 0.4  # many ties
    weights = rng.integers(0, 4, (6, 40)).astype(float)
    expected = [roc_auc_score(positive, score, sample_weight=w) for w in weights]
    np.testing.assert_allclose(area(score, positive, weights), expected, rtol=1e-12)


def test_interval_of_a_mean() -> None:
    """n independent units: mean ± 1.96 s / sqrt(n); doubled units say nothing new."""
    values = np.repeat([0.0, 1.0], [300, 100])
    protocol = Protocol(resamples=4000)
    half = 1.96 * np.sqrt(0.25 * 0.75 / 400)
    for copies_of_each in (1, 2):
        figure = mean_figure(
            np.repeat(values, copies_of_each), np.repeat(np.arange(400), copies_of_each), protocol
        )
        assert figure["mean"] == 0.25
        # The ends are quantiles of 4000 draws: their error is below a tenth of the half width.
        assert figure["low"] == pytest.approx(0.25 - half, abs=half / 10)
        assert figure["high"] == pytest.approx(0.25 + half, abs=half / 10)


def test_signed_sizes_and_back() -> None:
    traces = packets().select(["packet_length", "direction"])
    one = signed(traces)
    assert unsigned(one).equals(replace(traces, channels=unsigned(one).channels))
    np.testing.assert_array_equal(view(one, 5), view(traces, 5))
    np.testing.assert_array_equal(
        view(traces, 5), (traces.values[:, 0] * traces.values[:, 1])[:, :5]
    )
    assert view(traces, 12).shape == (len(traces), 12)


def test_hellinger_by_hand() -> None:
    """Ten bins over 100..200; the real sizes lie half in the first, half in the last."""
    real = of_sizes({"a": [[100, 200], [109, 195]], "b": [[100], [200]]})
    fs = FidelitySet("x", real, real, 2)
    assert hellinger(fs, real) == pytest.approx(0)
    made = of_sizes({"a": [[100, 100]], "b": [[150]]})  # half of the mass; none
    assert hellinger(fs, made) == pytest.approx((np.sqrt(1 - np.sqrt(0.5)) + 1) / 2)
    outside = of_sizes({"a": [[99, 200]], "b": [[100, 201]]})  # half of the mass lies outside
    assert hellinger(fs, outside) == pytest.approx(np.sqrt(1 - 0.5))


def test_copies_and_wasserstein_of_known_traces() -> None:
    train = of_sizes({"a": [[10, 20], [30, 40]], "b": [[50, 60], [70, 80]]})
    holdout = of_sizes({"a": [[10, 21], [31, 40]], "b": [[50, 61], [71, 80]]})
    fs = FidelitySet("x", train, holdout, 2)
    assert copies(fs, train) == {"exact": 1, "near": 1, "closer": 1}
    assert copies(fs, holdout)["exact"] == 0
    assert frechet(fs, holdout, 1) == pytest.approx(0, abs=1e-9)  # of the rounding of 64 features
    assert frechet(fs, holdout.of_class("a"), 1) == pytest.approx(0, abs=1e-9)  # whatever the mix
    assert wasserstein(fs, holdout, 1) == 0
    assert wasserstein(fs, train, 1) > 0


def test_a_bar_missed_is_named() -> None:
    figures: dict[str, Any] = {
        "accuracy": {"mean": 0.8, "low": 0.7, "high": 0.9},
        "auc": {"mean": 0.6, "low": 0.5, "high": 0.7},
        "more": {"mean": 0.9},
        "with_real": {"mean": 0.9},
        "wasserstein": 1.0,
        "hellinger": 0.1,
        "frechet": 1.0,
        "copies": {"exact": 0.0, "near": 0.0, "closer": 0.5},
    }
    worse = {**figures, "accuracy": {"mean": 0.5}, "auc": {"mean": 0.9}, "frechet": 3.0}
    steps = [
        {**figures, "steps": 4, "accuracy": {"mean": 0.6}},
        {**figures, "steps": 8},
        {**figures, "steps": 1000},
    ]
    result: dict[str, Any] = {
        "bars": {"synthetic": 0.8, "auc": 0.6, "hellinger": None},
        "real": {**figures, "copies_floor": {"exact": 0.0, "near": 0.05, "closer": 0.5}},
        "baselines": {"bootstrap": worse, "jitter": figures},
        "runs": [{"ours": figures, "peers": {"gan": worse}, "steps": steps}],
    }
    assert all(bar.passed for bar in bars(result))
    assert steps_needed(result) == 8
    figures |= {"auc": {"mean": 0.61}, "copies": {"exact": 0.0, "near": 0.11, "closer": 0.5}}
    assert [bar.name for bar in bars(result) if not bar.passed] == [
        "two-sample AUC",
        "copies, near",
    ]


def test_what_a_peer_makes_becomes_traces() -> None:
    train = packets(n=6).select(["packet_length", "direction"])
    values = np.array([[[99.6, 9e9], [0.2, -3.0]]] * 5)
    made = peers.as_traces(values, np.array([2, 1, 2, 2, 2]), np.array([0, 0, 0, 1, 1]), train)
    np.testing.assert_array_equal(made.values[0], [[100, 1500], [1, -1]])
    np.testing.assert_array_equal(made.values[1], [[100, 0], [1, 0]])
    kept = peers.in_classes(made, train)
    assert list(kept.counts().values()) == [2, 2, 0]
    assert list(train.counts().values()) == [2, 2, 2]


def test_sets_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="set 'doh' is not known"):
        load("doh")
    assert main(["--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "web_doh.parquet: no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "shape", "counts"),
    [
        ("web_doh", (2400, 32), (600, 50)),
        ("video_platforms", (960, 50), (240, 4)),
        ("alexa_voice", (800, 64), (200, 100)),
        ("mirage_appx", (1392, 10), (3267, 14)),  # the size of the published holdout
    ],
)
def test_public_set(name: str, shape: tuple[int, int], counts: tuple[int, int]) -> None:
    fs = public(name)
    assert fs.view(fs.train).shape == shape
    assert (len(fs.holdout), len(fs.holdout.classes)) == counts
    assert set(fs.train.label_names) == set(fs.holdout.label_names)


def test_no_file_stands_on_both_sides() -> None:
    fs = public("cell5g_apps")
    sides = [
        {name.split("#")[0] for name in part.meta["trace_id"].to_pylist()}
        for part in (fs.train, fs.holdout)
    ]
    assert not sides[0] & sides[1]
    assert len(np.unique(fs.files)) == len(sides[1]) == 16  # a fifth of 83
    whole = Traces.load(DATA / "cell5g_apps.parquet")
    assert fs.train.values.sum() + fs.holdout.values.sum() == whole.values[:, 0].sum()


@pytest.mark.parametrize("name", ["video_platforms", "alexa_voice"])
def test_real_to_real_is_that_of_the_table(name: str) -> None:
    """200 trees, split and forest of seed 0: the accuracies that the bars are set beside."""
    fs = public(name)
    forest = RandomForestClassifier(200, random_state=0).fit(fs.view(fs.train), fs.train.labels)
    found = forest.score(fs.view(fs.holdout), fs.holdout.labels)
    # Two traces more or less, for other versions of scikit-learn.
    assert found == pytest.approx(sets.SETS[name][1].real, abs=2.5 / len(fs.holdout))


def test_copies_are_counted_alike_of_one_channel_and_of_two() -> None:
    fs = sets.load("lab")
    for made in (fs.train, fs.holdout[::2]):
        assert copies(fs, signed(made)) == copies(fs, made)
