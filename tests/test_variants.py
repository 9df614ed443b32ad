from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from netdiffus.codec import GasfCodec
from netdiffus.errors import InputError
from netdiffus.model import Model
from netdiffus.recipe import Recipe
from netdiffus.sampling import sample
from netdiffus.traces import Traces
from netdiffus.training import train
from netdiffus.variants import MOST, variants_of


def traffic(n: int = 120, ports: bool = True) -> Traces:
    """Class a is tcp to 443, long, or udp to 443, short; b is tcp to 22 or to a port of its own."""
    kinds = [("a", "tcp", 443, 8), ("b", "tcp", 22, 6), ("a", "udp", 443, 3), ("b", "tcp", None, 4)]
    rows = [kinds[i % 4] for i in range(n)]
    port = [5000 + i if one[2] is None else one[2] for i, one in enumerate(rows)]
    meta = {"protocol": [one[1] for one in rows]} | ({"server_port": port} if ports else {})
    values = [[1500 if one[1] == "tcp" else 1200] * one[3] for one in rows]
    return Traces.from_lists({"packet_length": values}, [one[0] for one in rows], meta)


def test_what_traces_of_a_class_have_different_are_its_variants() -> None:
    which, table = variants_of(traffic())
    rows = list(zip(*(table[name] for name in ("class", "protocol", "server_port")), strict=True))
    assert rows == [(0, "tcp", 443), (0, "udp", 443), (1, "tcp", 22), (1, "tcp", None)]
    assert which[:4].tolist() == [0, 2, 1, 3]


def test_classes_without_meta_are_their_own_variants() -> None:
    which, table = variants_of(Traces.from_lists({"packet_length": [[1], [2]]}, ["a", "b"]))
    assert (which.tolist(), table) == ([0, 1], {"class": [0, 1]})
    assert variants_of(traffic(ports=False))[1] == {
        "class": [0, 0, 1],
        "protocol": ["tcp", "udp", "tcp"],
    }


def test_at_most_so_many_ports_of_a_class_are_kept() -> None:
    n = 3 * (MOST + 8)
    ports = [1000 + i // 3 for i in range(n)]
    traces = Traces.from_lists({"packet_length": [[9]] * n}, ["a"] * n, {"server_port": ports})
    which, table = variants_of(traces)
    assert len([port for port in table["server_port"] if port is not None]) == MOST
    assert table["server_port"][int(which[-1])] is None


def test_cells_of_one_trace_alone_are_left_empty() -> None:
    """A port, and a protocol; text of all kinds makes no variant for each trace."""
    meta = {"protocol": ["tcp", "tcp", "x1", "x2"], "server_port": [443, 444, 445, 446]}
    traces = Traces.from_lists({"packet_length": [[9]] * 4}, ["a"] * 4, meta)
    expected = {"class": [0, 0], "protocol": [None, "tcp"], "server_port": [None, None]}
    assert variants_of(traces)[1] == expected


def test_empty_cells_of_every_kind_are_one_variant() -> None:
    ports = [443.0, float("nan"), 443.0, float("nan")]
    traces = Traces.from_lists({"packet_length": [[9]] * 4}, ["a"] * 4, {"server_port": ports})
    assert variants_of(traces)[1] == {"class": [0, 0], "server_port": [443.0, None]}


def test_meta_is_drawn_with_the_length() -> None:
    model = Model.new(traffic(), GasfCodec(8, border=1), width=8)
    made = sample(model, 400, seed=1, steps=1)
    columns = [made.meta[name].to_pylist() for name in ("protocol", "server_port")]
    found = Counter(zip(made.label_names.tolist(), *columns, made.lengths.tolist(), strict=True))
    assert set(found) == {
        ("a", "tcp", 443, 8), ("a", "udp", 443, 3), ("b", "tcp", 22, 6), ("b", "tcp", None, 4),
    }  # fmt: skip
    assert all(70 <= count <= 130 for count in found.values())


def test_meta_is_the_same_however_the_work_is_split() -> None:
    """Of a batch that has no port at all, too."""
    model = Model.new(traffic(), GasfCodec(8, border=1), width=8)
    whole = sample(model, 24, seed=1, steps=1).meta.drop_columns(["residual"])
    assert None in whole["server_port"].to_pylist()
    single = sample(model, 24, seed=1, steps=1, batch_size=1).meta.drop_columns(["residual"])
    assert whole.equals(single)


def test_the_network_learns_what_goes_with_the_meta(tmp_path: Path) -> None:
    """Lengths alike: only the variant says which of the two sizes the trace has."""
    rng = np.random.default_rng(0)
    tcp = rng.random(160) < 0.5
    values = [[1500 if one else 200] * 4 for one in tcp]
    meta = {"protocol": ["tcp" if one else "udp" for one in tcp]}
    traces = Traces.from_lists({"packet_length": values}, ["a"] * 160, meta)
    recipe = Recipe(steps=150, batch_size=16)
    train(traces, tmp_path, recipe=recipe, codec=GasfCodec(4, border=1), width=16)
    made = sample(Model.load(tmp_path), 200, seed=0)
    is_tcp = np.array(made.meta["protocol"].to_pylist()) == "tcp"
    right = (made.values[:, 0] == 1500).mean(1) == is_tcp
    assert 0.3 < is_tcp.mean() < 0.7
    assert right.mean() > 0.95
    other = Traces.from_lists({"packet_length": values}, ["a"] * 160)
    codec = GasfCodec(4, border=1)
    with pytest.raises(InputError, match="resume: fingerprint was"):
        train(other, tmp_path, recipe=recipe, codec=codec, width=16, resume=True)


def test_a_network_of_variants_counts_by_class() -> None:
    model = Model.new(traffic(), GasfCodec(8, border=1), width=8)
    assert model.unet_config.variants == (0, 0, 1, 1)
    assert len(model.unet.chances) == 2  # type: ignore[arg-type]
    xt, t, length = torch.randn(1, 1, 9, 9), torch.tensor([500]), torch.ones(1)
    first, second = (model.unet(xt, t, torch.tensor([k]), length) for k in (0, 1))
    assert torch.equal(first, second)
    assert model.class_counts().tolist() == [60, 60]
