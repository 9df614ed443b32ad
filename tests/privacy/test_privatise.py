"""Private traces and their ledger, from the call to the report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from command import run
from small import users as real

import netdiffus
from netdiffus.channels import Channel
from netdiffus.codec import TokenCodec
from netdiffus.errors import InputError, Note
from netdiffus.evaluation.report.summary import CAVEAT
from netdiffus.ledger import SETTINGS, checked, statement
from netdiffus.model.model import Model
from netdiffus.privacy import privatise as module
from netdiffus.privacy.privatise import privatise
from netdiffus.sampling import sample
from netdiffus.traces.traces import Traces, concat

LENGTH = 6

# Each call says what it takes as public; the tests of notes look for theirs among them.
pytestmark = pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")


@pytest.fixture(scope="module")
def private() -> Traces:
    with pytest.warns(Note, match="taken as public, as not given: the names of 2 classes, packet"):
        return privatise(real(), 8, length=LENGTH)


class TestTraces:
    def test_are_like_the_real_ones(self, private: Traces) -> None:
        whole = real()
        assert private.channels == whole.channels
        assert private.classes == whole.classes
        for name, count in private.counts().items():
            assert abs(count - 450) < 60, name  # sigma is 6
        for name in private.classes:
            one, other = private.of_class(name), whole.of_class(name)
            assert abs(one.lengths.mean() - other.lengths.mean()) < 0.2
            for channel in ("packet_length", "direction"):
                found, wanted = one.points(channel), set(other.points(channel))
                assert np.mean([value in wanted for value in found]) > 0.9
            gaps = [np.median(t.with_gaps().points("gap")) for t in (one, other)]
            assert 0.5 < gaps[0] / gaps[1] < 2  # a cell is a factor of 1.33 wide

    def test_have_times_that_rise_from_zero(self, private: Traces) -> None:
        times = private.values[:, 2]
        assert (times[:, 0] == 0).all()
        assert (np.diff(times, axis=1)[private.mask[:, 1:]] >= 0).all()

    def test_have_protocol_and_port(self, private: Traces) -> None:
        rows = private.of_class("video").meta.to_pylist()
        assert np.mean([row["protocol"] == "tcp" for row in rows]) > 0.9
        assert np.mean([row["server_port"] == 443 for row in rows]) > 0.9
        assert set(private.meta.column_names) == {"trace_id", "protocol", "server_port"}

    def test_are_new_each_time(self) -> None:
        with pytest.warns(Note):
            one, other = (privatise(real(90), 90, delta=1e-3, length=2, anyway=True)
                          for _ in range(2))  # fmt: skip
        assert not one.equals(other)

    def test_volumes(self) -> None:
        rng = np.random.default_rng(0)
        volumes = [rng.choice([0, 1000, 50_000], 8).tolist() for _ in range(400)]
        traces = Traces.from_lists({"value": volumes, "value_up": volumes}, ["a"] * 400)
        with pytest.warns(Note):
            made = privatise(traces, 20, length=8)
        down, up = made.points("value"), made.points("value_up")
        for low, high in ((0, 0), (900, 1200), (43_000, 58_000)):
            share = np.mean((down >= low) & (down <= high))
            assert abs(share - 1 / 3) < 0.1
        assert np.corrcoef(np.log1p(down), np.log1p(up))[0, 1] > 0.7


def test_what_is_made_fits_the_type_of_its_channel() -> None:
    """The default range of volumes is wider than int16; beyond it a number would wrap around."""
    volumes = replace(Channel.named("value", "int16"), unit="B")
    values = np.full((300, 1, 4), 32_000.0)
    traces = Traces(values, np.full(300, 4), (volumes,), np.zeros(300, dtype=np.int64), ("a",))
    made = privatise(traces, 2, delta=1e-3, length=4, anyway=True)
    assert made.points("value").min() >= 0
    assert made.points("value").max() == 32_767


class TestLedger:
    def test_says_what_was_spent(self, private: Traces) -> None:
        ledger = private.ledger
        assert ledger is not None
        assert set(ledger) == set(SETTINGS)
        assert ledger["unit"] == "one trace"
        spent = sum(one["mu"] ** 2 for one in ledger["releases"])
        assert spent <= ledger["mu"] ** 2 * (1 + 1e-9)
        for one in ledger["releases"]:
            assert one["sensitivity"] / one["sigma"] == pytest.approx(one["mu"])
        assert ledger["accounting"]["dp_accounting"] <= 8
        assert ledger["accounting"]["closed_form"] == pytest.approx(8, rel=0.01)
        assert ledger["public"]["length"] == LENGTH
        assert ledger["public"]["given"] == ["length"]
        assert ledger["public"]["channels"]["packet_length"] == real(2).channels[0].dtype
        assert "epsilon 8, delta 1e-05 for one trace added or removed" in statement(ledger)

    @pytest.mark.parametrize("suffix", [".parquet", ".npz"])
    def test_survives_files(self, private: Traces, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"p{suffix}"
        private = replace(
            private, meta=private.meta.select(["trace_id"])
        )  # .npz has no empty cells
        private.save(path)
        again = Traces.load(path)
        assert again.ledger == private.ledger
        assert again.equals(private)

    def test_survives_work_on_traces(self, private: Traces) -> None:
        parts = [*private.split(0.5), private[:3], private.truncate(2), private.with_gaps()]
        assert all(part.ledger == private.ledger for part in parts)
        assert concat([private[:3], private[3:9]]).ledger == private.ledger
        with pytest.warns(Note, match="the result has none"):
            assert concat([private, replace(private, ledger=None)]).ledger is None

    def test_csv_says_that_it_is_lost(self, private: Traces, tmp_path: Path) -> None:
        with pytest.warns(Note, match="no place for the privacy ledger"):
            private.save(tmp_path / "p.csv")

    def test_a_damaged_one_is_refused(self, private: Traces, tmp_path: Path) -> None:
        replace(private, ledger={"epsilon": -1}).save(tmp_path / "p.parquet")
        with pytest.raises(InputError, match="the privacy ledger in the metadata"):
            Traces.load(tmp_path / "p.parquet")
        assert private.ledger is not None
        with pytest.raises(InputError, match=r"ledger\.epsilon is damaged"):
            checked(private.ledger | {"epsilon": float("nan")})

    def test_travels_into_model_card_and_samples(self, private: Traces, tmp_path: Path) -> None:
        model = Model.new(private, TokenCodec(), width=8)
        model.save(tmp_path / "m")
        again = Model.load(tmp_path / "m")
        assert again.ledger == private.ledger
        card = (tmp_path / "m" / "README.md").read_text()
        assert "Differential privacy: epsilon 8, delta 1e-05 for one trace" in card
        made = sample(again, 4, seed=0)
        made.save(tmp_path / "s.parquet")
        assert Traces.load(tmp_path / "s.parquet").ledger == private.ledger

    def test_without_one_all_say_none(self, tmp_path: Path) -> None:
        model = Model.new(real(60), TokenCodec(), width=8)
        model.save(tmp_path / "m")
        assert Model.load(tmp_path / "m").ledger is None
        assert "Differential privacy: none." in (tmp_path / "m" / "README.md").read_text()
        assert sample(model, 2, seed=0).ledger is None
        assert statement(None) == "none"

    def test_a_damaged_one_in_a_model_is_refused(self, private: Traces, tmp_path: Path) -> None:
        Model.new(private, TokenCodec(), width=8).save(tmp_path / "m")
        path = tmp_path / "m" / "config.json"
        config = json.loads(path.read_text())
        config["ledger"]["delta"] = "small"
        path.write_text(json.dumps(config))
        with pytest.raises(InputError, match=r"ledger\.delta is damaged"):
            Model.load(tmp_path / "m")

    @pytest.mark.usefixtures("quick_judges")
    def test_stands_in_the_report(self, private: Traces) -> None:
        whole = real()
        report = netdiffus.evaluate(whole[:120], private[:80], holdout=whole[120:200])
        assert report.figures["ledger"] == private.ledger
        from netdiffus.evaluation.report.summary import answers

        text = answers(report.figures)[1].text
        assert "Differential privacy: epsilon 8, delta 1e-05 for one trace" in text
        assert "The guarantee does not cover this report" in text
        assert CAVEAT not in text


class TestLedgerFile:
    def test_adds_up_releases(self, tmp_path: Path) -> None:
        path = tmp_path / "ledger.json"
        with pytest.warns(Note):
            totals = [
                privatise(real(60), 2, delta=1e-3, length=2, anyway=True, ledger=path).ledger
                for _ in range(2)
            ]
        first, second = (one["total"] for one in totals if one is not None)
        assert first["releases"] == 1
        assert second["releases"] == 2
        assert second["mu"] == pytest.approx(first["mu"] * np.sqrt(2))
        assert second["epsilon"] > first["epsilon"]
        assert "with all 2 releases of its ledger file" in statement(totals[1])

    def test_says_more_than_was_spent_after_a_crash(self, tmp_path: Path) -> None:
        path = tmp_path / "ledger.json"
        with (
            mock.patch.object(module, "measure", side_effect=KeyboardInterrupt),
            pytest.raises(KeyboardInterrupt),
            pytest.warns(Note),
        ):
            privatise(real(60), 2, delta=1e-3, length=2, anyway=True, ledger=path)
        (entry,) = json.loads(path.read_text())["releases"]
        assert entry["epsilon"] == 2

    def test_a_refusal_costs_the_class_sizes(self, tmp_path: Path) -> None:
        path = tmp_path / "ledger.json"
        with pytest.raises(InputError, match="few"), pytest.warns(Note):
            privatise(real(60), 2, delta=1e-3, length=2, ledger=path)
        (entry,) = json.loads(path.read_text())["releases"]
        assert "refused" in entry["note"]
        assert entry["mu"] < 0.1

    def test_other_files_and_other_units_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "ledger.json"
        form = {"form": "netdiffus privacy ledger 1"}
        others = [{}, form | {"releases": []}, form | {"unit": "x", "releases": [{"mu": "1"}]}]
        for damaged in ("[" * 10**5, *map(json.dumps, others)):
            path.write_text(damaged)
            with pytest.raises(InputError, match="not a privacy ledger"), pytest.warns(Note):
                privatise(real(60), 2, delta=1e-3, length=2, ledger=path)
        text = form | {"unit": "one user", "releases": []}
        path.write_text(json.dumps(text))
        with pytest.raises(InputError, match="counts for one user, this"), pytest.warns(Note):
            privatise(real(60), 2, delta=1e-3, length=2, ledger=path)


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"epsilon": 0}, "epsilon must lie above 0"),
            ({"delta": 1 / 60}, "must be below 1/60"),
            ({"by": "nobody"}, "'nobody'"),
            ({"by": "one"}, "column 'one' has one group alone"),
            ({"by": "user", "most": 0}, "most must be at least 1"),
            ({"by": "user", "delta": 0.01, "most": 3, "epsilon": 0.0}, "epsilon"),
            ({"classes": ["chat"]}, r"1 class\(es\) of the traces are not among.*'video'"),
            ({"classes": []}, "not among the public ones"),
            ({"length": 0}, "length must be at least 1"),
            ({"ranges": {"speed": (0, 1)}}, "no channel 'speed'"),
            ({"ranges": {"packet_length": (9, 1)}}, "two finite numbers"),
            ({"ranges": {"direction": (0, 1)}}, "a direction is -1 or 1"),
        ],
    )
    def test_is_refused(self, options: dict[str, object], message: str) -> None:
        traces = real(60)
        one = traces.meta.append_column("one", [["x"] * 60])
        settings = {"epsilon": 4, "delta": 1e-3} | options
        with pytest.raises(InputError, match=message):
            privatise(replace(traces, meta=one), **settings)  # type: ignore[arg-type]

    def test_a_number_without_a_range_is_refused(self) -> None:
        traces = Traces.from_lists({"speed": [[1, 2]] * 9}, ["a"] * 9)
        with pytest.raises(InputError, match="channel 'speed' is a plain number"):
            privatise(traces, 4)

    def test_private_traces_are_refused(self, private: Traces) -> None:
        with pytest.raises(InputError, match="private already"):
            privatise(private, 4)

    def test_classes_of_too_few_traces_are_named(self) -> None:
        message = r"'chat' \(about \d+\), 'video' \(about \d+\).*--anyway"
        with pytest.raises(InputError, match=message), pytest.warns(Note):
            privatise(real(60), 4, delta=1e-3, length=2)

    def test_anyway_goes_on_and_says_so(self, tmp_path: Path) -> None:
        with pytest.warns(Note, match="too few traces to be of use in 2 class"):
            made = privatise(real(60), 4, delta=1e-3, length=2, anyway=True)
        assert made.ledger is not None
        assert set(made.ledger["few"]) == {"chat", "video"}
        model = Model.new(made, TokenCodec(), width=8)
        assert "too few traces to be of use in 2 class" in model.card()

    def test_large_groups_are_cut_and_it_is_said(self) -> None:
        traces = real(90)
        with pytest.warns(Note, match="have more than 2 traces: of each 2 are kept, drawn"):
            made = privatise(traces, 50, delta=1e-3, length=2, by="user", most=2, anyway=True)
        assert made.ledger is not None
        assert made.ledger["unit"] == "one group of 'user' with at most 2 traces"
        assert made.ledger["kept"] == {"by": "user", "most": 2, "which": "at random"}
        assert made.ledger["releases"][0]["sensitivity"] == 2.0
        assert len(made) < 80  # of 60 that are kept, sigma is below 5


class TestCommand:
    def test_writes_private_traces(self, tmp_path: Path) -> None:
        real(600).save(tmp_path / "t.parquet")
        out = tmp_path / "p.parquet"
        done = run("privatise", str(tmp_path / "t.parquet"), "--epsilon", "20", "--length", "3",
                   "-o", str(out), "--range", "packet_length=0:1460",
                   "--ledger", str(tmp_path / "l.json"), "--json")  # fmt: skip
        assert done.code == 0, done.err
        ledger = Traces.load(out).ledger
        assert ledger is not None
        assert json.loads(done.out)["ledger"] == ledger
        assert ledger["public"]["ranges"]["packet_length"] == [0, 1460]
        assert ledger["total"]["releases"] == 1

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["-o", "p.csv"], "private traces go into a .parquet file"),
            (["-o", "p.parquet", "--most", "3"], "--most without --by"),
            (["-o", "p.parquet", "--range", "x"], "--range x: give a channel and two numbers"),
        ],
    )
    def test_refuses(self, options: list[str], message: str, tmp_path: Path) -> None:
        real(20).save(tmp_path / "t.parquet")
        name = str(tmp_path / "t.parquet")
        done = run("privatise", name, "--epsilon", "4", *options)
        assert done.code == 2
        assert message in done.err
