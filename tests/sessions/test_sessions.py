from __future__ import annotations

import json
import shutil
import warnings
from collections import Counter, defaultdict
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from unittest import mock

import dpkt
import numpy as np
import pyarrow as pa
import pytest
from command import run
from scipy.stats import ks_2samp
from session_flows import RESOLVER, SECOND, WEB, host_flows

from netdiffus.codec import TokenCodec
from netdiffus.errors import InputError, Note
from netdiffus.export.capture import write_capture
from netdiffus.model.model import Model
from netdiffus.sessions import (
    SessionModel,
    compare_sessions,
    sample_sessions,
    train_sessions,
)
from netdiffus.sessions.figures import concurrency
from netdiffus.sessions.flows import (
    Flows,
    as_sessions,
    check_sizes,
    rows_of,
    tokens_of,
    with_meta,
)
from netdiffus.sessions.peers import Addresses, peers_of
from netdiffus.traces.traces import Traces
from netdiffus.training import Recipe

QUICK = Recipe(steps=150, validation_fraction=0)
NOBODYS = [ip_network(one) for one in ("10.0.0.0/8", "198.18.0.0/15", "233.252.0.0/24")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)
        train_sessions(host_flows(), path, recipe=QUICK, columns=["protocol", "server_port", "os"])
    return path


@pytest.fixture(scope="module")
def made(folder: Path) -> Traces:
    return sample_sessions(SessionModel.load(folder), 60, seed=1)


def in_sessions(flows: Traces, name: str) -> list[list[object]]:
    found: dict[object, list[object]] = defaultdict(list)
    for session, one in zip(
        flows.meta["session"].to_pylist(), flows.meta[name].to_pylist(), strict=True
    ):
        found[session].append(one)
    return list(found.values())


class TestSessions:
    def test_are_drawn_in_the_numbers_asked_for(self, made: Traces) -> None:
        assert set(made.meta["session"].to_pylist()) == set(range(60))
        starts = made.meta["start"].to_pylist()
        assert starts == sorted(starts)

    def test_have_the_order_of_real_ones(self, made: Traces) -> None:
        """Real ones begin with a look-up of names, and have 5 or 6 flows."""
        ports = in_sessions(made, "server_port")
        assert np.mean([one[0] == 53 for one in ports]) > 0.9
        assert np.mean([len(one) in (5, 6) for one in ports]) > 0.8

    def test_class_and_columns_of_a_flow_belong_together(self, made: Traces) -> None:
        pairs = zip(made.label_names, made.meta["server_port"].to_pylist(), strict=True)
        assert (
            np.mean([(label, port) in (("dns", 53), ("web", 443)) for label, port in pairs]) > 0.9
        )

    def test_a_column_of_the_session_is_one_for_all_its_flows(self, made: Traces) -> None:
        systems = in_sessions(made, "os")
        assert all(len(set(one)) == 1 for one in systems)
        assert {one[0] for one in systems} == {"linux", "mac"}

    def test_what_is_asked_of_a_session_holds(self, folder: Path) -> None:
        found = sample_sessions(SessionModel.load(folder), 12, where={"os": "mac"}, seed=0)
        assert set(found.meta["os"].to_pylist()) == {"mac"}

    def test_the_same_seed_makes_the_same(self, folder: Path, made: Traces) -> None:
        assert sample_sessions(SessionModel.load(folder), 60, seed=1).equals(made)

    def test_gaps_are_as_real_ones(self, made: Traces) -> None:
        gaps = [Flows.of(one).gaps for one in (made, host_flows())]
        assert ks_2samp(*(one[one > 0] for one in gaps)).statistic < 0.25

    def test_new_traces_never_stand_beside_old_sessions(self, folder: Path, tmp_path: Path) -> None:
        path = shutil.copytree(folder, tmp_path / "m")
        stop = mock.patch("netdiffus.sessions.model._sessions", side_effect=KeyboardInterrupt)
        with stop, pytest.raises(KeyboardInterrupt), pytest.warns(Note):
            train_sessions(host_flows(), path, recipe=Recipe(steps=1), force=True)
        with pytest.raises(InputError, match="no model of sessions"):
            SessionModel.load(path)
        other = SessionModel.load(folder)
        SessionModel.load(folder).save(path, force=True)
        stop = mock.patch.object(other.traces, "save", side_effect=KeyboardInterrupt)
        with stop, pytest.raises(KeyboardInterrupt):
            other.save(path, force=True)
        with pytest.raises(InputError, match="no model of sessions"):
            SessionModel.load(path)

    def test_begin_over_the_time_asked_for(self, folder: Path) -> None:
        found = Flows.of(sample_sessions(SessionModel.load(folder), 40, over=3600.0, seed=0))
        begins = (found.start[found.first] - SECOND) / SECOND
        assert begins.max() < 3600
        assert np.quantile(begins, [0.25, 0.75]) == pytest.approx([900, 2700], abs=600)

    def test_of_which_hosts_live_in_one_capture(self, made: Traces, tmp_path: Path) -> None:
        path = tmp_path / "made.pcap"
        write_capture(made, path, addresses="meta", small="raise")
        flows = defaultdict(set)
        with path.open("rb") as file:
            for _, frame in dpkt.pcap.Reader(file):
                packet = dpkt.ethernet.Ethernet(frame).data
                for end in (packet.src, packet.dst):
                    assert any(ip_address(end) in one for one in NOBODYS)
                ports = packet.data.sport, packet.data.dport
                flows[min(packet.src, packet.dst), min(ports), max(ports)].add(packet.src)
        assert len(flows) == len(made)
        clients = {one for one in made.meta["client"].to_pylist() if one.startswith("10.0.")}
        assert len(clients) == 60


class TestAFolder:
    def test_of_one_model_only_is_refused(self, folder: Path) -> None:
        with pytest.raises(InputError, match="no model of sessions"):
            SessionModel.load(folder / "traces")

    def test_of_two_that_do_not_belong_together_is_refused(self, folder: Path) -> None:
        model = SessionModel.load(folder)
        with pytest.raises(InputError, match="not of one model of sessions"):
            SessionModel(model.traces, model.traces)

    def test_that_holds_a_model_is_kept(self, folder: Path) -> None:
        with pytest.raises(FileExistsError):
            train_sessions(host_flows(), folder, recipe=QUICK)

    def test_is_what_the_command_line_samples_from(self, folder: Path, tmp_path: Path) -> None:
        out = tmp_path / "x.pcap"
        done = run("sample", folder, "--sessions", 7, "--seed", 0, "--small", "raise", "-o", out)
        assert done.code == 0, done.err
        assert out.exists()
        assert run("sample", folder, "-o", tmp_path / "y.parquet").code == 2
        done = run("sample", folder, "--sessions", 7, "-n", 3, "-o", tmp_path / "y.parquet")
        assert "no use for -" in done.err


@pytest.mark.usefixtures("quick_judges")
def test_a_report_has_figures_of_sessions(tmp_path: Path) -> None:
    for seed, name in enumerate(("real", "made", "held")):
        host_flows(12, seed).save(tmp_path / f"{name}.parquet")
    sets = [tmp_path / f"{name}.parquet" for name in ("real", "made", "held")]
    out = tmp_path / "r.html"
    done = run("evaluate", *sets[:2], "--holdout", sets[2], "--sessions", "-o", out)
    assert done.code == 0, done.err
    assert json.loads(out.with_suffix(".json").read_text())["sessions"]["sessions"] == 12
    assert "<h2>Sessions</h2>" in out.read_text()
    assert "needs --holdout" in run("evaluate", *sets[:2], "--sessions", "-o", out).err


class TestBadFlows:
    @pytest.mark.parametrize("name", ["session", "start"])
    def test_without_a_column_name_it(self, name: str) -> None:
        flows = host_flows(6)
        with pytest.raises(InputError, match=name):
            Flows.of(replace(flows, meta=flows.meta.drop_columns([name])))

    def test_with_an_empty_cell_are_refused(self) -> None:
        flows = host_flows(6)
        cells = pa.array([None, *flows.meta["session"].to_pylist()[1:]])
        with pytest.raises(InputError, match="1 cells are empty"):
            Flows.of(with_meta(flows, session=cells))

    def test_of_fewer_than_five_sessions_are_refused(self) -> None:
        with pytest.raises(InputError, match="5"):
            train_sessions(host_flows(4), recipe=Recipe(steps=1))


class TestPeers:
    def test_hold_no_address(self) -> None:
        flows = Flows.of(host_flows(12))
        told = peers_of(flows, flows.session)
        assert told is not None
        found = Counter(told)
        shared = [one for one in found if one[0].isdigit()]
        assert all(any(ip_address(one) in net for net in NOBODYS) for one in shared)
        assert sorted(found[one] for one in shared) == [12, 30]  # the resolver's, and the server's
        assert found["new public"] == found["again 1"] == 12

    def test_of_one_network_stay_in_one(self) -> None:
        flows = host_flows(12)
        servers = [
            {RESOLVER: "9.9.9.9", WEB: "9.9.9.10"}.get(one, one)
            for one in flows.meta["server"].to_pylist()
        ]
        some = Flows.of(with_meta(flows, server=pa.array(servers)))
        shared = {one for one in peers_of(some, some.session) or () if one[0].isdigit()}
        assert len(shared) == 2
        assert len({one.rpartition(".")[0] for one in shared}) == 1

    def test_that_few_share_are_told_by_no_address(self) -> None:
        flows = Flows.of(host_flows(12))
        told = peers_of(flows, np.minimum(flows.session, 3))  # four owners
        assert told is not None
        assert not any(one[0].isdigit() for one in told)

    def test_come_back_as_addresses_of_the_same_shape(self) -> None:
        """Which addresses of a session are equal, and which lie in one network, is kept."""
        rng = np.random.default_rng(0)
        servers = [f"{a}.{b}.1.{c}" for a, b, c in rng.integers(1, 4, (60, 3))]
        flows = host_flows(12)
        some = Flows.of(with_meta(flows, server=pa.array((servers * 2)[: len(flows)])))
        told = peers_of(some, np.zeros(len(flows), dtype=np.int64))
        assert told is not None
        made = Addresses()
        for s, first in enumerate(some.first.tolist()):
            rows = slice(first, first + int(some.counts[s]))
            real = some.traces.meta["server"].to_pylist()[rows]
            found = [server for _, server in made.of_session(s, told[rows])]
            for shape in (lambda one: one, lambda one: one.rpartition(".")[0]):
                a, b = ([list(map(shape, x)).index(shape(one)) for one in x] for x in (real, found))
                assert a == b


class TestRows:
    def test_are_numbers_and_come_back(self) -> None:
        rng = np.random.default_rng(0)
        sizes = [3, 1, 7]
        tokens = np.stack([rng.integers(0, size, 50) for size in sizes], 1)
        assert np.array_equal(tokens_of(rows_of(tokens, sizes), sizes), tokens)
        assert (tokens_of(np.array([-5, 10**6]), sizes) < sizes).all()

    def test_of_too_many_kinds_are_refused(self) -> None:
        with pytest.raises(InputError, match="learn fewer columns"):
            check_sizes([256] * 7)

    def test_that_few_share_become_the_most_frequent_like_them(self) -> None:
        flows = host_flows(12)
        port = flows.meta["server_port"].to_pylist()
        port[1] = 53  # of one web flow
        port[2] = 12345
        some = with_meta(flows, server_port=pa.array(port))
        ordered = Flows.of(some)
        with pytest.warns(Note, match="1 of 66 cells"):
            model = Model.new(
                some, TokenCodec(), owners=ordered.session, columns=["server_port", "protocol"]
            )
        with pytest.warns(Note, match="2 of 66 flows have a class with columns"):
            sessions = as_sessions(ordered, model.columns, ordered.session)
        assert [one.name for one in sessions.channels] == ["row with class", "gap"]
        assert len(np.unique(sessions.points("row with class"))) == 2

    def test_that_nobody_shares_are_refused(self) -> None:
        flows = Flows.of(host_flows(12))
        columns = Model.new(flows.traces, TokenCodec(), columns=["protocol"]).columns
        with pytest.raises(InputError, match="learn fewer columns"):
            as_sessions(flows, columns, np.minimum(flows.session, 3))


class TestFigures:
    def test_of_real_sessions_are_small_and_of_others_large(self) -> None:
        real, holdout = host_flows(60, 0), host_flows(60, 1)
        start = np.asarray(real.meta["start"])
        other = with_meta(real, start=pa.array(start - start % (100 * SECOND)))
        found = compare_sessions(other, real, holdout)
        assert found["floor"]["order"] == 0
        assert found["floor"]["c2st"] < 0.65
        assert found["made"]["gaps"] > 0.9
        assert found["made"]["c2st"] > 0.9
        assert found["made"]["concurrency"] > 0.9

    def test_concurrency_counts_flows_at_one_time(self) -> None:
        flows = Traces.from_lists(
            {"value": [[1.0]] * 4, "timestamp": [[0.0], [0.0], [0.0], [0.0]]},
            ["a"] * 4,
            {"session": [0, 0, 0, 1], "start": [0, 0, SECOND, 5]},
        )
        assert concurrency(Flows.of(flows)).tolist() == [2, 1]
