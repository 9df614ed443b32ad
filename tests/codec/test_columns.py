from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdiffus.codec import GasfCodec, TokenCodec
from netdiffus.codec.columns import MOST_VALUES, Columns
from netdiffus.errors import InputError
from netdiffus.model.model import Model
from netdiffus.sampling import sample
from netdiffus.traces.traces import Traces
from netdiffus.training import Recipe, train


def of_ports(ports: list[object], **more: list[object]) -> Traces:
    n = len(ports)
    return Traces.from_lists(
        {"packet_length": [[9]] * n}, ["a"] * n, {"server_port": ports, **more}
    )


def fitted(traces: Traces, owners: np.ndarray | None = None, **more: bool) -> Columns:
    return Columns.fit(traces, np.arange(len(traces)) if owners is None else owners, **more)


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 4)), min_size=1, max_size=60))
def test_values_are_those_of_five_owners(rows: list[tuple[int, int]]) -> None:
    """Counted one by one; the most shared first."""
    owners, ports = zip(*rows, strict=True)
    having = {port: {o for o, p in rows if p == port} for port in ports}
    columns = fitted(of_ports(list(ports)), np.array(owners))
    shared = [len(having[port]) for port in columns.values[0]]
    assert set(columns.values[0]) == {p for p, who in having.items() if len(who) >= 5}
    assert shared == sorted(shared, reverse=True)


def test_tokens_come_back_as_cells_and_what_is_unknown_as_empty() -> None:
    ports: list[object] = [443] * 6 + [22] * 5 + [7000, 7001, None]
    protocol = ["tcp"] * 8 + ["udp"] * 6
    traces = of_ports(ports, protocol=protocol)
    columns = fitted(traces)
    assert (columns.names, columns.sizes) == (("protocol", "server_port"), (3, 3))
    back = columns.decode(columns.encode(traces))
    assert back["server_port"].to_pylist() == [443] * 6 + [22] * 5 + [None] * 3
    assert back["protocol"].to_pylist() == protocol
    assert back["server_port"].type == pa.int64()


@pytest.mark.parametrize("empty", [None, float("nan")])
def test_an_empty_cell_of_any_kind_is_token_0(empty: float | None) -> None:
    ports = [443.0] * 6 + [empty] * 6
    columns = fitted(of_ports(ports))
    assert columns.values == ((443.0,),)
    assert columns.encode(of_ports(ports))[:, 0].tolist() == [1] * 6 + [0] * 6


def test_a_column_without_a_shared_value_is_always_empty() -> None:
    traces = of_ports(list(range(5000, 5040)))
    columns = fitted(traces)
    assert columns.sizes == (1,)
    assert columns.decode(columns.encode(traces))["server_port"].to_pylist() == [None] * 40


def test_other_columns_are_not_learned() -> None:
    traces = of_ports([443] * 8, user=["u"] * 8)
    assert fitted(traces).names == ("server_port",)


def test_at_most_so_many_values_are_kept() -> None:
    ports = [1000 + i // 5 for i in range(5 * (MOST_VALUES + 8))]
    columns = fitted(of_ports([*ports, 1001, 1001]))
    assert len(columns.values[0]) == MOST_VALUES
    assert columns.values[0][0] == 1001


def test_the_length_is_a_column_of_images_alone() -> None:
    lists = [[1] * (3 if i % 2 else 9) for i in range(20)]
    traces = Traces.from_lists({"value": lists}, ["a"] * 20)
    columns = fitted(traces, bins_per_point=1)
    assert columns.sizes == (2,)
    assert columns.lengths is not None
    found = columns.lengths.decode(columns.encode(traces)[:, -1], np.full(20, 0.5))
    assert found.tolist() == traces.lengths.tolist()
    assert fitted(traces).sizes == ()


def traffic(n: int = 120) -> Traces:
    """Class a is tcp to 443, long, or udp to 443, short; b is tcp to 22 or to a port of its own."""
    kinds = [("a", "tcp", 443, 8), ("b", "tcp", 22, 6), ("a", "udp", 443, 3), ("b", "tcp", None, 4)]
    rows = [kinds[i % 4] for i in range(n)]
    port = [5000 + i if one[2] is None else one[2] for i, one in enumerate(rows)]
    meta = {"protocol": [one[1] for one in rows], "server_port": port}
    values = [[1500 if one[1] == "tcp" else 1200] * one[3] for one in rows]
    return Traces.from_lists({"packet_length": values}, [one[0] for one in rows], meta)


@pytest.mark.parametrize("preset", ["causal", "paper"])
def test_meta_is_the_same_however_the_work_is_split(preset: str) -> None:
    """Of a batch that has no port at all, too."""
    codec = TokenCodec() if preset == "causal" else GasfCodec(8)
    model = Model.new(traffic(), codec, preset=preset, width=8)
    names = ["trace_id", "protocol", "server_port"]
    steps = None if preset == "causal" else 1
    whole = sample(model, 24, seed=1, steps=steps).meta.select(names)
    assert None in whole["server_port"].to_pylist()
    single = sample(model, 24, seed=1, steps=steps, batch_size=1).meta.select(names)
    assert whole.equals(single)


def test_meta_and_points_are_drawn_together() -> None:
    """Four kinds of traces, of which each has its own class, protocol, port, size and length."""
    recipe = Recipe(steps=150, batch_size=24, learning_rate=5e-3)
    made = sample(train(traffic(), recipe=recipe, width=16), 400, seed=1)
    columns = [made.meta[name].to_pylist() for name in ("protocol", "server_port")]
    sizes = made.values[:, 0, 0].astype(int).tolist()
    rows = zip(made.label_names.tolist(), *columns, made.lengths.tolist(), sizes, strict=True)
    found = Counter(rows)
    kinds = {
        ("a", "tcp", 443, 8, 1500), ("a", "udp", 443, 3, 1200), ("b", "tcp", 22, 6, 1500),
        ("b", "tcp", None, 4, 1500),
    }  # fmt: skip
    # So few steps leave some noise; where nothing went with anything, 3 % would be right.
    assert sum(found[kind] for kind in kinds) > 0.8 * 400
    assert all(50 <= found[kind] <= 150 for kind in kinds)


def test_a_run_with_other_columns_is_not_resumed(tmp_path: object) -> None:
    recipe = Recipe(steps=2, batch_size=8)
    train(traffic(), tmp_path, recipe=recipe, width=8)  # type: ignore[arg-type]
    traces = traffic()
    plain = Traces(traces.values, traces.lengths, traces.channels, traces.labels, traces.classes)
    with pytest.raises(InputError, match="resume: columns was"):
        train(plain, tmp_path, recipe=recipe, width=8, resume=True)  # type: ignore[arg-type]
