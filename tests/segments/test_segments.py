from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from command import run

from netdiffus.channels import Channel
from netdiffus.errors import InputError, Note
from netdiffus.model.model import Model
from netdiffus.sampling import sample
from netdiffus.segments import SegmentModel, sample_segments, train_segments
from netdiffus.segments.cutting import (
    OVERLAP,
    as_coarse,
    as_segments,
    coarse_channels,
    points_for,
)
from netdiffus.segments.model import COARSE, SEGMENTS
from netdiffus.traces.traces import Traces
from netdiffus.training import Recipe

PACKETS = tuple(Channel.named(name, kind) for name, kind in (
    ("packet_length", "int64"), ("direction", "int64"), ("timestamp", "double")))  # fmt: skip
POINTS = 16
QUICK = Recipe(steps=250, validation_fraction=0)


def long_traces(n: int = 60, seed: int = 0) -> Traces:
    """Of 40 to 120 packets; `bulk` goes down in full packets, `chat` to and fro in small ones."""
    rng = np.random.default_rng(seed)
    lengths = rng.choice([40, 72, 104, 120], n)
    values = np.zeros((n, 3, 120))
    labels = np.arange(n) % 2
    for i, length in enumerate(lengths):
        down = rng.random(length) < (0.9 if labels[i] else 0.5)
        sizes = np.where(down, 1400, 60) if labels[i] else rng.choice([100, 140, 180], length)
        values[i, 0, :length] = sizes
        values[i, 1, :length] = np.where(down, -1, 1)
        values[i, 2, 1:length] = np.cumsum(rng.choice([0.01, 0.02], length - 1))
    meta = pa.table({"user": np.arange(n) // 2, "server_port": np.where(labels, 443, 5222)})
    return Traces(values, lengths, PACKETS, labels, ("chat", "bulk"), meta)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)
        train_segments(long_traces(), path, points=POINTS, recipe=QUICK)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> SegmentModel:
    return SegmentModel.load(folder)


class TestCutting:
    def test_sums_are_those_of_pandas(self) -> None:
        traces = long_traces()
        coarse = as_coarse(traces, POINTS)
        assert [one.name for one in coarse.channels] == [
            "packet_length up", "packet_length down", "points up", "timestamp sum",
        ]  # fmt: skip
        for i in range(len(traces)):
            size, way, time = traces.values[i, :, : traces.lengths[i]]
            frame = pd.DataFrame({"up": size * (way > 0), "down": size * (way < 0), "n": way > 0})
            frame["gap"] = np.diff(time, prepend=0.0)
            sums = frame.groupby(frame.index // POINTS).sum()
            assert coarse.lengths[i] == len(sums)
            found = coarse.values[i, :, : len(sums)].T
            np.testing.assert_allclose(found, sums.to_numpy(dtype=float), atol=1e-12)

    def test_segments_behind_each_other_are_the_traces(self) -> None:
        traces = long_traces()
        segments, row = as_segments(traces, as_coarse(traces, POINTS), POINTS)
        number = np.asarray(segments.meta["number of segment"])
        for i in range(len(traces)):
            parts, time = [], 0.0
            for s in np.flatnonzero(row == i):
                one = segments.values[s, :, : segments.lengths[s]].copy()
                known = OVERLAP if number[s] else 0
                if known:  # what is known ends where the segment before ends
                    np.testing.assert_array_equal(one[:2, :known], parts[-1][:2, -known:])
                    one[2] += time - one[2, known - 1]
                parts.append(one[:, known:])
                time = parts[-1][2, -1]
            np.testing.assert_allclose(
                np.concatenate(parts, 1), traces.values[i, :, : traces.lengths[i]], atol=1e-9
            )

    def test_columns_say_sums_and_place(self) -> None:
        traces = long_traces()[np.array([0, 1])]
        coarse = as_coarse(traces, POINTS)
        segments, row = as_segments(traces, coarse, POINTS)
        places = np.asarray(segments.meta["place in trace"])
        for i in range(2):
            mine = places[row == i].tolist()
            assert mine == ["first", *["inner"] * (len(mine) - 2), "last"]
            down = np.asarray(segments.meta["packet_length down"])[row == i]
            np.testing.assert_array_equal(down, coarse.values[i, 1, : coarse.lengths[i]])

    def test_kinds_of_channels(self) -> None:
        volume, number = Channel("value_up", "volume", "B"), Channel("rssi", "number", "dBm")
        found = coarse_channels((volume, number))
        assert [(one.name, one.kind, one.unit) for one in found] == [
            ("value_up sum", "volume", "B"), ("rssi sum", "number", "dBm"),
        ]  # fmt: skip

    @pytest.mark.parametrize(("longest", "points"), [(100, 16), (8192, 16), (8193, 32)])
    def test_points_of_a_segment(self, longest: int, points: int) -> None:
        assert points_for(longest) == points


class TestSampling:
    def test_traces_are_whole_and_in_the_numbers_asked_for(self, model: SegmentModel) -> None:
        made = sample_segments(model, label={"chat": 30, "bulk": 30}, seed=0)
        assert made.counts() == {"chat": 30, "bulk": 30}
        assert made.channels == PACKETS
        # Three of four real traces are longer than 64 points, half of them longer than 100.
        assert 0.55 < np.mean(made.lengths > 64) < 0.95
        assert set(np.unique(made.points("direction"))) == {-1.0, 1.0}
        assert (np.diff(made.values[:, 2], axis=1)[made.mask[:, 1:]] >= 0).all()

    def test_classes_are_unlike_as_real_ones_are(self, model: SegmentModel) -> None:
        made = sample_segments(model, label={"chat": 30, "bulk": 30}, seed=0)
        chat, bulk = (made.of_class(name) for name in ("chat", "bulk"))
        assert np.mean(bulk.points("direction") < 0) > 0.8
        assert abs(np.mean(chat.points("direction") < 0) - 0.5) < 0.1
        assert np.mean(np.isin(chat.points("packet_length"), [100, 140, 180])) > 0.95

    def test_totals_are_those_of_the_sums(self, model: SegmentModel) -> None:
        """Each segment makes up for the one before, so that errors do not add up."""
        made = sample_segments(model, 60, seed=3)
        coarse = sample(model.coarse, 60, seed=3)
        packets = coarse.values[:, 0].sum(1) + coarse.values[:, 1].sum(1)
        found = made.values[:, 0].sum(1)
        one_segment = packets / coarse.lengths
        assert np.median(np.abs(found - packets) / one_segment) < 0.5

    def test_work_can_be_split(self, model: SegmentModel) -> None:
        whole = sample_segments(model, 12, seed=5)
        last = sample_segments(model, 5, seed=5, start=7)
        for i in range(5):
            n = int(last.lengths[i])
            assert n == whole.lengths[7 + i]
            np.testing.assert_allclose(last.values[i, :, :n], whole.values[7 + i, :, :n])

    def test_fast_and_plain_are_equal_but_for_rounding(self, model: SegmentModel) -> None:
        fast, plain = (sample_segments(model, 20, seed=6, fast=fast) for fast in (True, False))
        same = [
            fast.lengths[i] == plain.lengths[i] and np.array_equal(fast.values[i, 0], one)
            for i, one in enumerate(plain.values[:, 0, : fast.values.shape[2]])
        ]
        assert np.mean(same) > 0.9  # one token in 100,000 differs, and the rest of its trace

    def test_columns_can_be_fixed(self, model: SegmentModel) -> None:
        made = sample_segments(model, 20, where={"server_port": 443}, seed=0)
        assert set(made.meta["server_port"].to_pylist()) == {443}
        assert "owner of the trace" not in made.meta.column_names

    def test_no_seams_are_seen(self, model: SegmentModel) -> None:
        """Steps of time at a seam have the law of other steps."""
        made = sample_segments(model, 60, label="chat", seed=2)
        gaps = np.diff(made.values[:, 2], axis=1)
        seam = np.arange(1, made.values.shape[2]) % POINTS == 0
        inside = made.mask[:, 1:]
        at, off = (gaps[inside & one] for one in (seam, ~seam))
        # Gaps are 10 or 20 ms, evenly; at seams there are some 200 of them.
        assert abs(np.mean(at > 0.015) - np.mean(off > 0.015)) < 0.15
        assert (at > 0.005).mean() > 0.95


class TestModel:
    def test_nothing_that_fewer_than_five_owners_have_is_kept(self, tmp_path: Path) -> None:
        """A size that all points of one trace have, and a sum that no other trace has."""
        traces = long_traces()
        traces.values[0, 0, : traces.lengths[0]] = 777.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Note)
            model = train_segments(traces, points=POINTS, recipe=replace(QUICK, steps=2))
        tables = [
            table.numpy()
            for one in (model.coarse, model.segments)
            for table in one.codec.state()[1].values()
        ]
        assert not any((table == 778.0).any() or (table == -778.0).any() for table in tables)
        assert not any((table == 777.0 * POINTS).any() for table in tables)
        made = sample_segments(model, 50, seed=0)
        assert not (made.points("packet_length") == 777).any()

    def test_groups_count_as_owners(self) -> None:
        """30 users have two traces each; with 4 users there are too few owners."""
        train_segments(long_traces(), points=POINTS, recipe=replace(QUICK, steps=1), by="user")
        few = long_traces()
        few = replace(few, meta=pa.table({"user": np.arange(len(few)) % 4}))
        with pytest.raises(InputError, match="5"):
            train_segments(few, points=POINTS, recipe=replace(QUICK, steps=1), by="user")

    def test_folder(self, folder: Path, model: SegmentModel, tmp_path: Path) -> None:
        model.save(tmp_path / "again")
        again = SegmentModel.load(tmp_path / "again")
        assert sample_segments(again, 4, seed=0).equals(sample_segments(model, 4, seed=0))
        with pytest.raises(FileExistsError):
            model.save(tmp_path / "again")

    def test_models_that_do_not_go_together(self, model: SegmentModel) -> None:
        with pytest.raises(InputError, match="train both again"):
            SegmentModel(model.segments, model.segments)
        with pytest.raises(InputError, match="train both again"):
            SegmentModel(model.coarse, model.coarse)

    def test_is_not_taken_for_a_model_of_traces(self, folder: Path) -> None:
        with pytest.raises(InputError, match="coarse and segments have: of sessions or long"):
            Model.load(folder)

    def test_no_model_of_long_traces(self, folder: Path) -> None:
        with pytest.raises(InputError, match="--segments makes them"):
            SegmentModel.load(folder / COARSE)

    def test_traces_that_are_no_longer_than_a_segment(self) -> None:
        with pytest.raises(InputError, match="without segments"):
            train_segments(long_traces().truncate(20), points=32, recipe=QUICK)
        with pytest.raises(InputError, match="points"):
            train_segments(long_traces(), points=OVERLAP, recipe=QUICK)

    def test_minutes_that_the_sums_leave_are_the_segments(self) -> None:
        """Three steps take less than the minute that the sums may take."""
        model = train_segments(
            long_traces(), points=POINTS, recipe=Recipe(minutes=2, steps=3, seed=0)
        )
        spent = model.coarse.about["seconds"] / 60
        assert spent < 1  # three steps end before half of the minutes
        assert model.segments.about["budget"]["minutes"] == pytest.approx(2 - spent)

    def test_interrupted_between_both_and_resumed(self, tmp_path: Path) -> None:
        """The same weights as of a run that was not interrupted."""
        few = replace(QUICK, steps=3)

        def stop(share: float, note: str) -> None:
            if "segments" in note:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train_segments(long_traces(), tmp_path, points=POINTS, recipe=few, progress=stop)
        found = train_segments(long_traces(), tmp_path, points=POINTS, recipe=few, resume=True)
        wanted = train_segments(long_traces(), points=POINTS, recipe=few)
        for one, two in ((found.coarse, wanted.coarse), (found.segments, wanted.segments)):
            mine, theirs = one.network.state_dict(), two.network.state_dict()
            assert all((mine[name] == theirs[name]).all() for name in theirs)


class TestCommands:
    def test_train_and_sample(self, tmp_path: Path) -> None:
        data, out = tmp_path / "long.parquet", tmp_path / "model"
        long_traces().save(data)
        said = run("train", data, "-o", out, "--segments", POINTS, "--steps", 20, "--json")
        assert json.loads(said.out)["segments"]["steps"] == 20
        assert {COARSE, SEGMENTS} <= {one.name for one in out.iterdir()}
        made = tmp_path / "made.parquet"
        run("sample", out, "-n", 6, "--seed", 0, "-o", made)
        wanted = sample_segments(SegmentModel.load(out), 6, seed=0)
        assert Traces.load(made).values.shape == wanted.values.shape
        run("sample", out, "--label", "bulk=3", "-o", tmp_path / "made.pcap")
        assert (tmp_path / "made.pcap").stat().st_size > 24

    @pytest.mark.parametrize("option", [("--steps", 3), ("--batch-size", 3), ("--over", 3)])
    def test_options_without_effect_are_refused(
        self, folder: Path, tmp_path: Path, option: tuple[str, int]
    ) -> None:
        said = run("sample", folder, "-o", tmp_path / "x.parquet", *option)
        assert said.code
        assert "no use for" in said.err

    def test_sessions_and_segments_at_once(self, tmp_path: Path) -> None:
        data = tmp_path / "long.parquet"
        long_traces().save(data)
        said = run("train", data, "-o", tmp_path / "m", "--sessions", "--segments", 0)
        assert said.code
        assert "give one" in said.err
