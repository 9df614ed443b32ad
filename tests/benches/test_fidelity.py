from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from small import packets

from bench.fidelity import sets
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


def test_sets_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="set 'doh' is not known"):
        load("doh")
    with pytest.raises(InputError, match=r"web_doh\.parquet: no such file"):
        load("web_doh", tmp_path)


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
    assert found == pytest.approx(sets.SETS[name][1], abs=2.5 / len(fs.holdout))


def test_copies_are_counted_alike_of_one_channel_and_of_two() -> None:
    fs = sets.load("lab")
    for made in (fs.train, fs.holdout[::2]):
        assert copies(fs, signed(made)) == copies(fs, made)
