"""The counts of a data set equal those in memory, for any parts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from command import run as command
from neighbours import PUBLIC, Row, Seen, run, traces_of
from test_privatise import LENGTH, real

from netdiffus import Dataset, InputError, Traces, privatise, privatise_to_parts
from netdiffus.privacy import cells
from netdiffus.privacy import privatise as module
from netdiffus.privacy.groups import Groups
from netdiffus.privacy.noise import UNIT, Noisy, NoisyMeter

pytestmark = pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")

SPLITS = {"one part": [], "three parts": [7, 40], "parts of one trace": [1, 2, 3]}


def rows(n: int = 90, seed: int = 0) -> list[Row]:
    """Traces of two classes and 12 users, of which one has most."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        points = int(rng.integers(1, 7))
        sizes, directions = rng.choice([5, 9, 44], points), rng.choice([-1, 1], points)
        gaps = rng.exponential(0.1, points)
        user = "u0" if rng.random() < 0.4 else f"u{rng.integers(1, 12)}"
        found.append(
            Row("ab"[i % 3 > 0], *map(tuple, (sizes, directions, gaps)), 6 if i % 2 else 17, user)
        )
    return found


def counts_of(traces: Traces | Dataset, **options: Any) -> Seen:
    """What is counted, with noise of 0 patched in, so that all depends on the counts alone."""

    def release(meter: NoisyMeter, name: str, sens: float, share: float, counts: Any) -> Noisy:
        seen.releases.append((name, sens * meter.most, share))
        seen.counts.append(counts)
        meter.spent.append({"mu": 0.01, "release": name})
        return Noisy(counts / UNIT, 0.5)

    seen = Seen()
    with (
        mock.patch.object(NoisyMeter, "release", release),
        mock.patch.object(module, "made", return_value=[traces_of(rows(2))]),
        mock.patch.object(module.secrets, "randbits", return_value=7),
        mock.patch.object(cells, "AT_A_TIME", 16),
    ):
        privatise(traces, 4, delta=1e-3, anyway=True, **(PUBLIC | options))
    return seen


def written(traces: Traces, folder: Path, at: list[int]) -> Dataset:
    edges = [0, *at, len(traces)]
    return Dataset.write(folder, [traces[a:b] for a, b in pairwise(edges)])


@pytest.mark.parametrize("at", SPLITS.values(), ids=SPLITS)
@pytest.mark.parametrize("options", [{}, {"by": "user", "most": 3}, {"by": "user", "most": 90}])
def test_counts_are_those_in_memory(at: list[int], options: Any, tmp_path: Path) -> None:
    traces = traces_of(rows())
    wanted, found = (
        counts_of(traces, **options),
        counts_of(written(traces, tmp_path / "set", at), **options),
    )
    assert len(wanted.releases) > 12
    assert max(found.distances(wanted)) == 0
    whole = sum(int(c) for c in wanted.counts[0]) / UNIT
    sizes = Counter(row.user for row in rows())
    most = options.get("most", 90)
    assert whole == sum(min(most, n) for n in sizes.values())


def test_counts_do_not_depend_on_the_order(tmp_path: Path) -> None:
    """Of parts and traces; of groups that are not cut, too."""
    traces = traces_of(rows())
    moved = traces[np.random.default_rng(1).permutation(90)]
    for options in ({}, {"by": "user", "most": 90}):
        found = counts_of(written(moved, tmp_path / str(len(options)), [30, 60]), **options)
        assert max(found.distances(counts_of(traces, **options))) == 0


class TestGroups:
    def test_keep_as_many_as_may_be_and_all_of_small_ones(self) -> None:
        traces = traces_of(rows())
        groups = Groups([traces[:50], traces[50:]], "user", 3, b"key")
        kept = [one for part in groups.of([traces[:9], traces[9:]]) for one in users(part)]
        sizes = Counter(users(traces))
        assert Counter(kept) == {name: min(3, n) for name, n in sizes.items()}
        assert groups.kept == len(kept)
        assert groups.is_cut
        assert not Groups([traces], "user", 90, b"key").is_cut

    def test_are_kept_whatever_other_groups_there_are(self) -> None:
        """Else a group more would move what others add by more than is stated."""
        traces = traces_of(rows())
        without = traces[np.array(users(traces)) != "u0"]
        both = [Groups([one], "user", 2, b"key").of([one]) for one in (traces, without)]
        kept, others = ([r for part in one for r in part.to_arrow().to_pylist()] for one in both)
        assert [row for row in kept if row["user"] != "u0"] == others

    def test_every_trace_of_a_group_is_as_likely(self) -> None:
        traces = Traces.from_lists({"x": [[i] for i in range(30)]}, ["a"] * 30)
        traces = replace(traces, meta=traces_of(rows(30)).meta.select(["user"]))
        traces = replace(traces, meta=traces.meta.set_column(0, "user", [["one"] * 30]))
        chosen = np.zeros(30)
        for key in range(600):
            (part,) = Groups([traces], "user", 6, bytes([key % 256, key // 256])).of([traces])
            chosen[part.values[:, 0, 0].astype(int)] += 1
        # 600 draws of 6 of 30: 120 each, with a standard deviation of 9.8.
        assert abs(chosen - 120).max() < 4 * 9.8


def users(traces: Traces) -> list[str]:
    return [str(one) for one in traces.meta["user"].to_pylist()]


def test_a_large_group_moves_no_release_by_more_than_its_traces_that_are_kept() -> None:
    others = [replace(row, user=f"o{i % 4}") for i, row in enumerate(rows(40, seed=1))]
    group = [replace(row, user="new") for row in rows(30, seed=2)]
    before, after = (run(some, by="user", most=3) for some in (others, others + group))
    for (name, sensitivity, _), distance in zip(
        after.releases, after.distances(before), strict=True
    ):
        assert distance <= 3 * sensitivity * UNIT + 1e-6, name


def test_private_traces_of_a_data_set_are_like_the_real_ones(tmp_path: Path) -> None:
    traces = real()
    dataset = written(traces, tmp_path / "real", [400])
    options = {"length": LENGTH, "ledger": tmp_path / "l.json"}
    made = privatise_to_parts(dataset, tmp_path / "private", 8, **options)
    assert made.ledger is not None
    assert made.ledger["total"]["releases"] == 1
    found = made.load()
    assert found.ledger == made.ledger
    assert found.classes == traces.classes
    assert len(set(found.meta["trace_id"].to_pylist())) == len(found)
    for name, count in found.counts().items():
        assert abs(count - 450) < 60, name
        wanted = set(traces.of_class(name).points("packet_length"))
        one = found.of_class(name).points("packet_length")
        assert np.mean([value in wanted for value in one]) > 0.9
    with pytest.raises(FileExistsError, match="exists"):
        privatise_to_parts(dataset, tmp_path / "private", 8, **options)
    again = privatise_to_parts(dataset, tmp_path / "private", 8, force=True, **options)
    assert again.ledger is not None
    assert again.ledger["total"]["releases"] == 2  # none was spent by the refusal
    with pytest.raises(InputError, match="private already"):
        privatise(again, 4)


def test_the_command_takes_and_makes_data_sets(tmp_path: Path) -> None:
    written(real(600), tmp_path / "real", [100, 200])
    for out in ("p.parquet", "p"):
        rules = ["--epsilon", 20, "--length", 3, "--by", "user", "--most", 2]
        done = command("privatise", tmp_path / "real", "-o", tmp_path / out, *rules)
        assert done.code == 0, done.err
        assert "of each 2 are kept, drawn at random" in done.err
        ledger = Traces.load(tmp_path / out).ledger
        assert ledger is not None
        assert ledger["kept"] == {"by": "user", "most": 2, "which": "at random"}
    done = command("privatise", tmp_path / "real", "-o", tmp_path / "p", *rules)
    assert done.code == 2
    assert "exists" in done.err
