from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from netdiffus.codec import GasfCodec, TokenCodec
from netdiffus.codec.columns import Choice, Columns, read_asked
from netdiffus.errors import InputError, Note
from netdiffus.model.model import Model
from netdiffus.sampling import sample
from netdiffus.traces.traces import Traces
from netdiffus.training import Recipe, train


def of_ports(ports: list[object], **more: list[object]) -> Traces:
    n = len(ports)
    return Traces.from_lists(
        {"packet_length": [[9]] * n}, ["a"] * n, {"server_port": ports, **more}
    )


def fitted(traces: Traces, chosen: Choice = None, per_point: int | None = None) -> Columns:
    return Columns.fit(traces, np.arange(len(traces)), chosen, per_point)


class TestWhichAreLearned:
    def test_protocol_and_port_unless_others_are_named(self) -> None:
        traces = of_ports([443] * 8, user=["u"] * 8, os=["x"] * 8)
        assert fitted(traces).names == ("server_port",)
        assert fitted(traces, ["os", "user"]).names == ("os", "user")
        assert fitted(traces, ()).names == ()

    def test_all_leaves_out_what_names_somebody_and_says_so(self) -> None:
        n = 40
        left = {
            "user": ["u"] * n, "src_ip": ["192.0.2.1"] * n, "gateway": ["2001:db8::1"] * n,
            "flow_id": [1.5] * n, "row": list(range(n)), "nothing": [None] * n,
        }  # fmt: skip
        kept = {"os": ["a", "b"] * 20, "loss": [0.1 * (i % 9) for i in range(n)], "idle": [3] * n}
        with pytest.warns(Note) as told:
            columns = fitted(of_ports([443] * n, **left, **kept), "all")
        assert columns.names == ("server_port", *kept)
        said = " ".join(str(one.message) for one in told)
        for name in left:
            assert f"{name} (" in said

    @pytest.mark.parametrize(
        "cells",
        [
            pa.array(["-", *["192.0.2.1"] * 39]).dictionary_encode(),
            pa.array(["02:6e:64:66:00:01"] * 40, pa.large_string()),
        ],
    )
    def test_addresses_of_any_type_are_left_out_and_times_of_day_are_not(
        self, cells: pa.Array
    ) -> None:
        traces = of_ports([443] * 40)
        meta = {"gateway": cells, "hour": ["08:00:00", "09:30:00"] * 20}
        meta["count"] = pa.array([9, 3, 200, 1] * 10, pa.uint8())
        traces = replace(traces, meta=pa.table(meta))
        with pytest.warns(Note, match=r"not learned: gateway \(addresses\)$"):
            assert fitted(traces, "all").names == ("hour", "count")

    def test_those_that_all_made_traces_have_are_refused(self) -> None:
        with pytest.raises(InputError, match="'seed': synthetic traces have their own"):
            fitted(of_ports([443] * 8, seed=[1] * 8), ["seed"])

    def test_rare_values_are_said(self) -> None:
        with pytest.warns(Note, match=r"'server_port': 3 of 13 cells .* are learned as empty"):
            fitted(of_ports([443] * 10 + [1, 2, 3]))
        with pytest.warns(Note, match=r"6 of 16 cells .* are learned as any port of 0\.\.1023"):
            fitted(of_ports([443] * 10 + [1, 2, 3, 4, 5, 6]))

    def test_of_those_not_asked_for_what_cannot_be_learned_is_left_out_and_said(self) -> None:
        traces = of_ports([low + i for low in (0, 1024, 2048, 4096) for i in range(4)])
        with pytest.warns(Note, match="no value that 5 traces .* it is not learned"):
            assert fitted(traces).names == ()
        with pytest.raises(InputError, match="column 'server_port': no value that 5 traces"):
            fitted(traces, ["server_port"])

    def test_a_column_that_there_is_not_is_refused(self) -> None:
        with pytest.raises(InputError, match="'os' is not in the meta-data; there are: server_p"):
            fitted(of_ports([443] * 8), ["os"])


def test_the_length_is_a_column_of_some_networks() -> None:
    lists = [[1] * (3 if i % 2 else 9) for i in range(20)]
    traces = Traces.from_lists({"value": lists}, ["a"] * 20)
    columns = fitted(traces, per_point=1)
    assert columns.sizes == (2,)
    assert columns.lengths is not None
    found = columns.lengths.decode(columns.encode(traces)[:, -1], np.full(20, 0.5))
    assert found.tolist() == traces.lengths.tolist()
    assert fitted(traces).sizes == ()


def flows(n: int = 90) -> Traces:
    """Columns that follow from the points, and two that are in order."""
    rng = np.random.default_rng(0)
    sizes = [rng.integers(40, 1500, k).tolist() for k in rng.integers(1, 9, n)]
    ways = [rng.choice([-1, 1], len(one)).tolist() for one in sizes]
    times = [np.cumsum([0.0, *rng.random(len(one) - 1)]).tolist() for one in sizes]
    begin = rng.random(n)
    meta = {
        "packets": list(map(len, sizes)),
        "octets": list(map(sum, sizes)),
        "sent": [float(np.dot(s, np.array(w) > 0)) for s, w in zip(sizes, ways, strict=True)],
        "received_packets": [w.count(-1) for w in ways],
        "seconds": [t[-1] - t[0] for t in times],
        "took": [timedelta(microseconds=round(1e6 * (t[-1] - t[0]))) for t in times],
        "mean_size": [float(np.mean(one)) for one in sizes],
        "largest_down": [
            max([s for s, w in zip(*both, strict=True) if w < 0], default=0)
            for both in zip(sizes, ways, strict=True)
        ],
        "begin": begin.tolist(),
        "finish": (begin + 0.2 * rng.random(n)).tolist(),
    }
    lists = {"packet_length": sizes, "direction": ways, "timestamp": times}
    return Traces.from_lists(lists, ["a", "b"] * (n // 2), meta)


class TestWhatHoldsInAllTraces:
    def test_totals_are_found(self) -> None:
        traces = flows()
        columns = fitted(traces, "all")
        assert columns.names == ("begin", "finish")
        assert {name: of for name, (of, _) in columns.totals.items()} == {
            "packets": "number of points",
            "octets": "sum of packet_length",
            "sent": "sum from the client of packet_length",
            "received_packets": "points to the client",
            "seconds": "last timestamp",
            "took": "last timestamp",
            "mean_size": "mean of packet_length",
            "largest_down": "largest to the client of packet_length",
        }
        assert not np.any(columns.exceptions(traces))
        for name, cells in columns.of_points(traces).items():
            assert cells.type == traces.meta[name].type
            made, known = (one.to_numpy().astype(float) for one in (cells, traces.meta[name]))
            np.testing.assert_allclose(made, known, rtol=1e-6)

    def test_a_total_with_one_exception_is_learned_as_it_is(self) -> None:
        traces = flows()
        packets = traces.meta["packets"].to_pylist()
        one = {"packets": [packets[0] + 1, *packets[1:]]}
        changed = Traces.from_lists(
            {"x": [[1.0] * k for k in packets]}, traces.label_names.tolist(), one
        )
        assert fitted(changed, ["packets"]).names == ("packets",)

    def test_orders_are_found_and_kept(self) -> None:
        columns = fitted(flows(), "all")
        assert columns.orders == (("begin", "finish"),)
        rng = np.random.default_rng(1)
        tokens = np.stack([rng.integers(0, size, 500) for size in columns.sizes], 1)
        made = columns.decode(tokens, rng.random(tokens.shape))
        assert (np.asarray(made["begin"]) <= np.asarray(made["finish"])).all()
        asked = read_asked(columns, {"begin": (0.8, None)})
        made = columns.decode(tokens, rng.random(tokens.shape), asked)
        assert (np.asarray(made["begin"]) >= 0.8).all()
        assert (np.asarray(made["begin"]) <= np.asarray(made["finish"])).all()

    def test_empty_cells_stay_empty_and_both_ranges_hold(self) -> None:
        rng = np.random.default_rng(0)
        begin = rng.random(90)
        meta = {
            "begin": [None if i % 3 == 0 else b for i, b in enumerate(begin)],
            "finish": (begin + 0.2 * rng.random(90)).tolist(),
        }
        traces = Traces.from_lists({"x": [[1.0]] * 90}, ["a"] * 90, meta)
        columns = fitted(traces, ["begin", "finish"])
        assert columns.orders == (("begin", "finish"),)
        tokens = np.stack([rng.integers(0, size, 500) for size in columns.sizes], 1)
        is_empty = tokens[:, 0] == columns.learned[0].known
        assert is_empty.any()
        made = columns.decode(tokens, rng.random(tokens.shape))
        assert made["begin"].is_null().to_pylist() == is_empty.tolist()
        asked = read_asked(columns, {"begin": (None, 0.6), "finish": (None, 0.3)})
        made = columns.decode(tokens[~is_empty], rng.random(tokens[~is_empty].shape), asked)
        first, second = (made[name].to_numpy() for name in ("begin", "finish"))
        assert (first <= second).all()
        assert second.max() <= 0.3
        with pytest.raises(InputError, match="begin is never greater than finish"):
            read_asked(columns, {"begin": (0.8, None), "finish": (None, 0.3)})

    def test_what_is_known_is_not_moved(self) -> None:
        columns, rng = fitted(flows(), "all"), np.random.default_rng(1)
        tokens = np.stack([rng.integers(0, size, 200) for size in columns.sizes], 1)
        begin = rng.random(200)
        made = columns.decode(tokens, rng.random(tokens.shape), given=pa.table({"begin": begin}))
        assert (made["begin"].to_numpy() == begin).all()
        assert (made["finish"].to_numpy() >= begin).all()

    def test_a_constant_or_a_code_is_no_total(self) -> None:
        lists = {"x": [[1.0] * 8] * 20}
        eight = Traces.from_lists(lists, ["a"] * 20, {"protocol": [8] * 20, "floor": [8] * 20})
        columns = fitted(eight, ["protocol", "floor"])
        assert columns.names == ("protocol", "floor")

    def test_a_total_beyond_its_type_is_made_wider(self) -> None:
        sizes = [[i, 255 - i] for i in range(20)]
        octets = pa.array([255] * 19 + [200], pa.uint8())
        traces = Traces.from_lists({"packet_length": [*sizes[:19], [100, 100]]}, ["a"] * 20)
        traces = replace(traces, meta=pa.table({"octets": octets}))
        columns = fitted(traces, ["octets"])
        more = Traces.from_lists({"packet_length": [[255, 255]]}, ["a"])
        assert columns.of_points(traces)["octets"].equals(octets)
        assert columns.of_points(more)["octets"].to_pylist() == [510]

    def test_what_is_made_keeps_them(self, tmp_path: Path) -> None:
        Model.new(flows(), TokenCodec(), width=8, columns="all").save(tmp_path / "model")
        model = Model.load(tmp_path / "model")
        made = sample(model, 60, seed=0)
        assert (made.meta["packets"].to_numpy() == made.lengths).all()
        sums = made.values[:, 0].sum(1)
        np.testing.assert_allclose(made.meta["octets"].to_numpy(), sums)
        np.testing.assert_allclose(made.meta["mean_size"].to_numpy(), sums / made.lengths)
        took = made.meta["took"].cast(pa.int64()).to_numpy()
        np.testing.assert_allclose(took / 1e6, made.values[:, 2].max(1), atol=1e-6)
        assert (made.meta["begin"].to_numpy() <= made.meta["finish"].to_numpy()).all()


class TestWhatIsAskedFor:
    def test_unknown_columns_and_totals_are_refused(self) -> None:
        columns = fitted(flows(), "all")
        with pytest.raises(InputError, match=r"'os' is not a column .* label, begin, finish"):
            read_asked(columns, {"os": "x"})
        with pytest.raises(InputError, match="where: packets is the number of points of a trace"):
            read_asked(columns, {"packets": 9})


def traffic(n: int = 120) -> Traces:
    """Class a is tcp to 443, long, or udp to 443, short; b is tcp to 22 or to a port of its own."""
    kinds = [("a", "tcp", 443, 8), ("b", "tcp", 22, 6), ("a", "udp", 443, 3), ("b", "tcp", None, 4)]
    rows = [kinds[i % 4] for i in range(n)]
    port = [5000 + i if one[2] is None else one[2] for i, one in enumerate(rows)]
    meta = {"protocol": [one[1] for one in rows], "server_port": port}
    values = [[1500 if one[1] == "tcp" else 1200] * one[3] for one in rows]
    return Traces.from_lists({"packet_length": values}, [one[0] for one in rows], meta)


@pytest.fixture(scope="module")
def learned() -> Model:
    recipe = Recipe(steps=200, batch_size=24, learning_rate=5e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)  # ports of one trace each
        return train(traffic(), recipe=recipe, width=16)


@pytest.mark.parametrize("preset", ["causal", "paper"])
@pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")  # ports of one trace each
def test_meta_is_the_same_however_the_work_is_split(preset: str) -> None:
    """Of a batch that has no frequent port at all, too."""
    codec = TokenCodec() if preset == "causal" else GasfCodec(8)
    model = Model.new(traffic(), codec, preset=preset, width=8)
    names = ["trace_id", "protocol", "server_port"]
    steps = None if preset == "causal" else 1
    whole = sample(model, 24, seed=1, steps=steps).meta.select(names)
    assert set(whole["server_port"].to_pylist()) - {443, 22}
    single = sample(model, 24, seed=1, steps=steps, batch_size=1).meta.select(names)
    assert whole.equals(single)


def test_meta_and_points_are_drawn_together(learned: Model) -> None:
    """Four kinds of traces, of which each has its own class, protocol, port, size and length."""
    made = sample(learned, 400, seed=1)
    columns = [made.meta[name].to_pylist() for name in ("protocol", "server_port")]
    columns[1] = ["rare" if 4096 <= port <= 8191 else port for port in columns[1]]
    sizes = made.values[:, 0, 0].astype(int).tolist()
    rows = zip(made.label_names.tolist(), *columns, made.lengths.tolist(), sizes, strict=True)
    found = Counter(rows)
    kinds = {
        ("a", "tcp", 443, 8, 1500), ("a", "udp", 443, 3, 1200), ("b", "tcp", 22, 6, 1500),
        ("b", "tcp", "rare", 4, 1500),
    }  # fmt: skip
    # So few steps leave some noise; where nothing went with anything, 3 % would be right.
    assert sum(found[kind] for kind in kinds) > 0.8 * 400
    assert all(50 <= found[kind] <= 150 for kind in kinds)


@pytest.mark.parametrize(
    ("where", "label", "length"),
    [
        ({"protocol": "udp"}, "a", 3),
        ({"server_port": 22}, "b", 6),
        ({"label": "a", "protocol": "tcp"}, "a", 8),
        ({"server_port": [22, 80]}, None, None),
    ],
)
def test_what_is_given_is_kept_and_the_rest_follows(
    learned: Model, where: dict[str, object], label: str | None, length: int | None
) -> None:
    if label is None:
        with pytest.raises(InputError, match="server_port=80 is not among the values"):
            sample(learned, 9, where=where)
        return
    made = sample(learned, 100, seed=1, where=where)
    for name, value in where.items():
        cells = made.label_names.tolist() if name == "label" else made.meta[name].to_pylist()
        assert set(cells) == {value}
    assert (made.label_names == label).mean() > 0.8
    assert (made.lengths == length).mean() > 0.8
    again = sample(learned, 100, seed=1, where=where, fast=False, batch_size=9)
    assert made.equals(again)


def test_a_class_is_given_in_turn_where_that_is_asked(learned: Model) -> None:
    made = sample(learned, 40, seed=1, where={"protocol": "tcp"}, mix="balanced")
    assert made.counts() == {"a": 20, "b": 20}
    drawn = sample(learned, 400, seed=1, where={"protocol": "tcp"}).counts()
    assert 2 / 3 - 0.15 < drawn["b"] / 400 < 2 / 3 + 0.15  # as in training
    counts = sample(learned, label={"b": 7}, seed=1, where={"protocol": "tcp"}).counts()
    assert counts["b"] == 7
    with pytest.raises(InputError, match="a label stands in where and in label"):
        sample(learned, 4, label="a", where={"label": "b"})


@pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")
def test_a_run_with_other_columns_is_not_resumed(tmp_path: Path) -> None:
    recipe = Recipe(steps=2, batch_size=8)
    train(traffic(), tmp_path, recipe=recipe, width=8)
    traces = traffic()
    plain = Traces(traces.values, traces.lengths, traces.channels, traces.labels, traces.classes)
    with pytest.raises(InputError, match="column 'protocol' is not in the meta-data"):
        train(plain, tmp_path, recipe=recipe, width=8, resume=True)
    with pytest.raises(InputError, match="resume: columns was"):
        train(traces, tmp_path, recipe=recipe, width=8, resume=True, columns=["protocol"])


@pytest.mark.parametrize(
    "name",
    ["srcip", "dstip", "sip", "SrcAddr", "dstaddr", "srcmac", "src_ip", "Flow ID", "flowId", "src"],
)
def test_identifiers_are_recognised_by_name_alone(name: str) -> None:
    """NetShare writes the addresses of UGR'16 as numbers; a flow ID of CICFlowMeter holds two."""
    traces = of_ports([443] * 9, **{name: [719036359] * 9})
    with pytest.warns(Note, match=rf"{name} \(its name is that of an identifier\)"):
        assert fitted(traces, "all").names == ("server_port",)


def test_source_ports_and_the_bytes_of_an_end_are_no_identifiers() -> None:
    names = "src_port", "Src Port", "id.orig_p", "dst_bytes", "idle", "Idle Mean"
    traces = of_ports([443] * 9, **{name: [7] * 9 for name in names})
    assert fitted(traces, "all").names == ("server_port", *names)
