"""Evaluation of data sets: what is counted over all traces, whatever the parts and their order."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from command import run
from scipy.stats import wasserstein_distance
from small import packets

from netdiffus import Dataset, InputError, Traces
from netdiffus.errors import Note
from netdiffus.evaluation import evaluate
from netdiffus.evaluation.draws import class_counts
from netdiffus.evaluation.large import prepare_large
from netdiffus.evaluation.metrics.distances import bin_edges
from netdiffus.evaluation.metrics.distances import shares as shares_of_sample
from netdiffus.evaluation.metrics.distributions import SetDistributions, distribution_distances
from netdiffus.evaluation.metrics.histograms import (
    DIGITS,
    Histogram,
    mean_and_deviation,
    shares,
    wasserstein,
)
from netdiffus.evaluation.prepare import prepare
from netdiffus.evaluation.whole_sets import BLOCKS, WholeSet, whole_figures

NEAR = 2.0**-DIGITS
REAL, MADE, HELD = packets(400, 12, seed=1), packets(300, 12, seed=2), packets(200, 12, seed=3)


def parted(folder: Path, traces: Traces, cuts: tuple[int, ...]) -> Dataset:
    return Dataset.write(folder, (traces[a:b] for a, b in pairwise((0, *cuts, len(traces)))))


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Dataset, Dataset, Dataset]:
    return (
        parted(tmp_path / "real", REAL, (100, 101)),
        parted(tmp_path / "made", MADE, (7, 290)),
        parted(tmp_path / "held", HELD, ()),
    )


@pytest.fixture(params=["normal", "lognormal", "atoms", "few"])
def numbers(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    draw: dict[str, Callable[[int], np.ndarray]] = {
        "normal": lambda n: rng.normal(3, 10, n),
        "lognormal": lambda n: rng.lognormal(-8, 3, n),
        "atoms": lambda n: rng.choice([-1, 0, 40, 1500, 1999], n).astype(float),
        "few": lambda n: rng.normal(0, 1, min(n, 7)),
    }
    return draw[request.param](4000), draw[request.param](3000)


def counted(values: np.ndarray) -> Histogram:
    found = Histogram(1)
    found.add(values, np.zeros(len(values), np.int64))
    return found


def test_a_histogram_gives_the_figures_of_its_numbers(
    numbers: tuple[np.ndarray, np.ndarray],
) -> None:
    x, y = numbers
    ours, theirs = counted(x).of([0]), counted(y).of([0])
    most = NEAR * (np.abs(x).mean() + np.abs(y).mean())
    assert wasserstein(ours, theirs) == pytest.approx(wasserstein_distance(x, y), abs=most)
    mean, deviation = mean_and_deviation(ours)
    assert mean == pytest.approx(x.mean(), abs=NEAR * np.abs(x).mean())
    assert deviation == pytest.approx(x.std(), rel=4 * NEAR)
    # Of the rounded numbers themselves all is exact.
    rounded = [np.repeat(one.values, one.counts) for one in (ours, theirs)]
    edges = bin_edges(*theirs)
    np.testing.assert_array_equal(shares(ours, edges), shares_of_sample(rounded[0], edges))
    assert np.abs(np.sort(x) - rounded[0]).max() <= NEAR * np.abs(x).max()


def test_whole_numbers_up_to_2048_are_exact() -> None:
    values = np.arange(-2048.0, 2049.0)
    found = counted(values).of([0])
    np.testing.assert_array_equal(found.values, values)
    assert counted(np.array([0.0, -0.0])).of([0]).counts.tolist() == [2]


def test_figures_of_all_traces_are_those_of_the_sets_in_memory(
    sets: tuple[Dataset, Dataset, Dataset],
) -> None:
    comparison, found = prepare_large(*sets, seed=0)
    figures = whole_figures(found, comparison.classes)
    wanted = prepare(REAL, MADE, HELD, 0)
    made, real, held = (
        SetDistributions.of(one.traces) for one in (wanted.synthetic, wanted.train, wanted.holdout)
    )
    for name, one in (("synthetic", made), ("real", real)):
        tables = distribution_distances(one, held)
        scales = {q.name: q.values.std() or 1.0 for q in real.quantities}
        assert tables.keys() >= figures[name].keys() >= {"wasserstein", "autocorrelation"}
        for measure, of_measure in figures[name].items():
            for quantity, each in of_measure["quantities"].items():
                per_class, figure = tables[measure][quantity], each["classes"]
                ours = [figure[k]["mean"] for k in wanted.classes]
                unit = scales[quantity] if measure == "wasserstein" else 1.0
                # Bins of rounded numbers differ by the few numbers that lie at an edge.
                most = unit * (4 * NEAR if measure in ("wasserstein", "autocorrelation") else 0.02)
                np.testing.assert_allclose(ours, per_class, atol=most, err_msg=(measure, quantity))
    assert figures["moments"]["real"]["packet_length"]["mean"] == REAL.points(0).mean()


def test_a_class_that_is_in_no_block_of_a_half_has_figures() -> None:
    """The first class has two traces, so that half of the blocks have none."""
    few = [
        one[np.flatnonzero((one.labels > 0) | (np.cumsum(one.labels == 0) <= 2))]
        for one in (REAL, MADE, HELD)
    ]
    found = {}
    for name, one in zip(("real", "synthetic", "holdout"), few, strict=True):
        found[name] = WholeSet(len(one.classes))
        found[name].add(one.with_gaps(), np.arange(len(one)) % BLOCKS)
    figures = whole_figures(found, HELD.classes)["synthetic"]["wasserstein"]["quantities"]
    made, held = (one.lengths[one.labels == 0] for one in few[1:])
    first = figures["trace length"]["classes"][HELD.classes[0]]
    assert first["mean"] == pytest.approx(wasserstein_distance(made, held))
    assert first["sd"] is None


def test_parts_and_their_order_change_nothing(
    sets: tuple[Dataset, Dataset, Dataset], tmp_path: Path
) -> None:
    order = np.random.default_rng(0).permutation(len(MADE))
    other = parted(tmp_path / "other", MADE[order], (1, 50, 51, 200))
    one, two = (
        whole_figures(found, comparison.classes)
        for comparison, found in (
            prepare_large(sets[0], made, sets[2], 0) for made in (sets[1], other)
        )
    )
    assert json.dumps(one) == json.dumps(two)


def test_sums_of_halves_are_those_of_the_whole(sets: tuple[Dataset, Dataset, Dataset]) -> None:
    _, found = prepare_large(*sets, seed=0)
    left, right = (
        prepare_large(half, *sets[1:], 0)[1]["real"] for half in (REAL[:170], REAL[170:])
    )
    right.merge(left)
    classes = ("a", "b", "c")
    whole = whole_figures(found, classes)
    assert whole == whole_figures({**found, "real": right}, classes)


def test_sets_that_fit_are_judged_as_in_memory(sets: tuple[Dataset, Dataset, Dataset]) -> None:
    comparison, _ = prepare_large(*sets, seed=0)
    wanted = prepare(REAL, MADE, HELD, 0)
    for one, other in (
        (comparison.train, wanted.train),
        (comparison.synthetic, wanted.synthetic),
        (comparison.holdout, wanted.holdout),
    ):
        assert one.traces.equals(other.traces)
        assert one.whole.keys.tolist() == other.whole.keys.tolist()
        assert one.whole.sums is not None
        assert one.whole.sums["per_class"] == class_counts(other.whole.labels, 3).tolist()
        assert one.whole.sums["points"] == other.whole.lengths.sum()
        assert one.whole.sums["median_length"] == np.median(other.whole.lengths)


def test_random_traces_stand_for_a_large_set(sets: tuple[Dataset, Dataset, Dataset]) -> None:
    with (
        mock.patch("netdiffus.evaluation.large.MOST_TRACES", 60),
        mock.patch("netdiffus.evaluation.large.MOST_KEYS", 100),
    ):
        comparison, _ = prepare_large(*sets, seed=4)
        again, _ = prepare_large(REAL, *sets[1:], seed=4)
    assert len(comparison.train) == 60
    assert comparison.train.traces.equals(again.train.traces)
    known = set(comparison.train.whole.keys.tolist())
    assert 60 < len(known) < 140  # 100, but for chance
    assert comparison.train.whole.sums is not None
    assert comparison.train.whole.sums["traces"] == 400
    assert "25.0% of all traces" in comparison.notes[-1]


def test_long_traces_are_cut_in_the_sample_alone(sets: tuple[Dataset, Dataset, Dataset]) -> None:
    with mock.patch("netdiffus.evaluation.large.SAMPLE_BYTES", 8 * 3 * 5000 * 4):
        comparison, found = prepare_large(*sets, seed=0)
    assert comparison.train.traces.lengths.max() == 4
    assert comparison.train.whole.sums is not None
    assert comparison.train.whole.sums["longest"] == 12
    assert found["real"].longest.max() == 12
    assert "are cut to 4 points" in comparison.notes[-1]


def test_without_a_holdout_the_real_traces_are_halved(
    sets: tuple[Dataset, Dataset, Dataset],
) -> None:
    comparison, _ = prepare_large(sets[0], sets[1], None, 3, "trace_id", "#")
    wanted = prepare(REAL, MADE, None, 3, "trace_id", "#")
    assert comparison.train.traces.equals(wanted.train.traces)
    assert comparison.holdout.traces.equals(wanted.holdout.traces)
    assert not comparison.holdout_is_unseen
    assert comparison.notes[0] == wanted.notes[0]


def test_sets_that_cannot_be_compared_are_refused_before_they_are_read(
    sets: tuple[Dataset, Dataset, Dataset], tmp_path: Path
) -> None:
    narrow = Dataset.write(tmp_path / "narrow", [MADE.select(["direction"])])
    with pytest.raises(InputError, match="synthetic: the channels are direction"):
        prepare_large(sets[0], narrow, sets[2], 0)
    few = Dataset.write(tmp_path / "few", [MADE[:4]])
    with pytest.raises(InputError, match=r"too few traces of ssh \(1\)"):
        prepare_large(sets[0], few, sets[2], 0)


@pytest.mark.usefixtures("quick_judges")
def test_a_report_of_data_sets(tmp_path: Path) -> None:
    few = [traces[:90] for traces in (REAL, MADE, HELD)]
    sets = [parted(tmp_path / str(k), one, (40, 41)) for k, one in enumerate(few)]
    with pytest.warns(Note, match="Data sets"):
        report = evaluate(sets[0], sets[1], holdout=sets[2])
    in_memory = evaluate(few[0], few[1], holdout=few[2])
    assert report.figures["candidates"] == in_memory.figures["candidates"]
    assert report.figures["sets"] == in_memory.figures["sets"]
    assert in_memory.figures["whole"] is None
    assert "All traces" in report.to_html()


@pytest.mark.usefixtures("quick_reports")
def test_the_command_takes_folders(sets: tuple[Dataset, Dataset, Dataset], tmp_path: Path) -> None:
    made = Dataset.write(tmp_path / "few", [MADE[:30]]).folder
    out = tmp_path / "report.html"
    done = run("evaluate", sets[2].folder, made, "--holdout", sets[2].folder, "-o", out)
    assert done.code == 0, done.err
    assert json.loads(out.with_suffix(".json").read_text())["whole"] is not None


def test_a_data_set_is_split_as_in_memory(
    sets: tuple[Dataset, Dataset, Dataset], tmp_path: Path
) -> None:
    for by in (None, "trace_id"):
        rest, holdout = sets[0].split(
            tmp_path / str(by), 0.25, by=by, sep="#" if by else None, seed=3
        )
        wanted = REAL.split(0.25, by=by, sep="#" if by else None, seed=3)
        assert rest.load().equals(wanted[0])
        assert holdout.load().equals(wanted[1])
    with pytest.raises(FileExistsError):
        sets[0].split(tmp_path / "None")
    done = run("split", sets[0].folder, "-o", tmp_path / "None", "--force", "--seed", 3)
    assert done.code == 0, done.err
    assert Dataset(tmp_path / "None" / "holdout").load().equals(REAL.split(0.2, seed=3)[1])
    assert Dataset(tmp_path / "None" / "train").load().equals(REAL.split(0.2, seed=3)[0])
