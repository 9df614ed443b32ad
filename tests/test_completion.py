from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command import run
from nets import tiny, with_ports
from scipy import stats

from netdiffus.codec import TokenCodec
from netdiffus.completion import complete
from netdiffus.errors import InputError
from netdiffus.model.model import Model
from netdiffus.networks.causal import CausalNetwork
from netdiffus.traces.traces import Traces


def made(traces: Traces, preset: str = "causal", noise: float = 0.2, seed: int = 0) -> Model:
    """An untrained model of random weights."""
    model = Model.new(traces, TokenCodec(), preset=preset, width=16)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(noise * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture(scope="module")
def model() -> Model:
    return made(with_ports(fixed=False))


class TestTracesAreContinued:
    def test_what_is_known_comes_back_and_more_follows(self, model: Model) -> None:
        partial = with_ports(fixed=False).truncate(3)[:12]
        found = complete(model, partial, 5, seed=1)
        rows = np.repeat(np.arange(12), 5)
        assert found.meta["completes"].to_pylist() == rows.tolist()
        assert (found.lengths >= partial.lengths[rows]).all()
        assert (found.lengths > partial.lengths[rows]).mean() > 0.5
        for i, row in enumerate(rows):
            k = int(partial.lengths[row])
            assert np.array_equal(found.values[i, :, :k], partial.values[row, :, :k])
        assert found.label_names.tolist() == partial.label_names[rows].tolist()
        for name in ("protocol", "server_port"):
            cells = partial.meta[name].to_pylist()
            assert found.meta[name].to_pylist() == [cells[row] for row in rows]
        assert len({tuple(one.ravel()) for one in found.values[:5]}) == 5

    def test_the_rest_is_as_frequent_as_it_is_likely(self) -> None:
        """The second point of traces of two plain numbers, given the first."""
        model = made(tiny())
        network, n = model.network, 20_000
        assert isinstance(network, CausalNetwork)
        partial = Traces.from_lists({"x": [[1]], "y": [[0]]}, ["a"], {"protocol": ["udp"]})
        found = complete(model, partial, n, seed=3)
        ended = int((found.lengths == 1).sum())
        second = Counter(map(tuple, found.values[found.lengths == 2, :, 1].astype(int).tolist()))
        every = [(x, y) for x in range(3) for y in range(2)]
        traces = Traces.from_lists(
            {"x": [[1, x] for x, _ in every], "y": [[0, y] for _, y in every]},
            ["a"] * 6,
            {"protocol": ["udp"] * 6},
        )
        columns = torch.from_numpy(model.columns.encode(traces))
        with torch.no_grad():
            lost, _ = network.log_loss(
                model.codec.encode(traces).long(), torch.zeros(6).long(), columns
            )
        p = lost[:, 1].double().neg().exp().numpy()
        expected = n * np.append(p, 1 - p.sum())
        counts = np.array([*(second[one] for one in every), ended])
        wide = expected >= 5
        assert wide.sum() > 3
        assert (
            stats.chisquare(
                counts[wide], expected[wide] * counts[wide].sum() / expected[wide].sum()
            ).pvalue
            > 1e-3
        )

    def test_fast_or_not_and_whatever_the_batch(
        self, model: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        partial = with_ports(fixed=False).truncate(2)[:9]
        whole = complete(model, partial, 3, seed=1)
        assert complete(model, partial, 3, seed=1, fast=False).equals(whole)
        assert not complete(model, partial, 3, seed=2).equals(whole)
        monkeypatch.setattr("netdiffus.completion.AT_ONCE", 4)
        assert complete(model, partial, 3, seed=1).equals(whole)

    def test_a_column_that_is_not_there_is_drawn(self, model: Model) -> None:
        partial = with_ports(fixed=False).truncate(2)[:9]
        less = replace(partial, meta=partial.meta.drop_columns(["server_port"]))
        found = complete(model, less, 30, seed=1)
        assert set(found.meta["server_port"].to_pylist()) == {22, 53, 443}
        protocols = partial.meta["protocol"].to_pylist()
        assert found.meta["protocol"].to_pylist() == [one for one in protocols for _ in range(30)]


class TestTracesAreFilledIn:
    def test_what_is_known_comes_back_and_the_rest_varies(self) -> None:
        traces = with_ports(fixed=False)
        traces = traces[traces.lengths >= 4]
        model = made(traces, "masked")
        known = np.random.default_rng(0).random(traces.mask.shape) < 0.5
        found = complete(model, traces, 4, known=known, seed=1)
        rows = np.repeat(np.arange(len(traces)), 4)
        assert (found.lengths == traces.lengths[rows]).all()
        kept = (known & traces.mask)[rows][:, : found.values.shape[2]]
        sizes, old = found.values[:, 0], traces.values[rows][:, 0, : found.values.shape[2]]
        assert np.array_equal(sizes[kept], old[kept])
        hidden = found.mask & ~kept
        assert (sizes[hidden] != old[hidden]).mean() > 0.5
        assert found.meta["known_points"].to_pylist() == kept.sum(1).tolist()

    def test_what_is_known_matters_to_the_rest(self) -> None:
        """And is given to the network: another first point changes the probabilities of others."""
        traces = with_ports()
        model = made(traces, "masked", noise=0.4)
        known = np.zeros(traces.mask.shape, dtype=bool)
        known[:, 0] = True
        other = traces.values.copy()
        other[:, 0, 0] = 1500 - other[:, 0, 0]
        found = [
            complete(model, replace(traces, values=values), known=known, seed=1).values[:, 0, 1:]
            for values in (traces.values, other)
        ]
        assert (found[0] != found[1]).any(1).mean() > 0.1  # none, were it not given


def test_what_does_not_fit_is_refused(model: Model) -> None:
    traces = with_ports(fixed=False)
    for bad, message in (
        ({"partial": replace(traces, classes=("a", "x", "z"))}, "class '.' is not a class of"),
        ({"partial": Traces.from_lists({"value": [[1.0]]}, ["ssh"])}, "channels"),
        ({"n": 0}, "n must be at least 1"),
        ({"known": np.ones((2, 2), dtype=bool)}, "known must be bool"),
        (
            {"known": ~traces.mask | (np.arange(traces.mask.shape[1]) > 0)},
            "of trace 0 other points",
        ),
    ):
        with pytest.raises(InputError, match=message):
            complete(model, **({"partial": traces} | bad))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'series' cannot complete traces"):
        complete(made(traces, "series"), traces)
    with pytest.raises(InputError, match="all points are known"):
        complete(made(traces, "masked"), traces)
    longer = Traces.from_lists({"x": [[0] * 9], "y": [[0] * 9]}, ["a"], {"protocol": ["tcp"]})
    with pytest.raises(InputError, match=r"trace 0 has 9 points, .* knows 2; cut it"):
        complete(made(tiny()), longer)


def test_the_command_continues_the_first_points(tmp_path: Path, model: Model) -> None:
    model.save(tmp_path / "m")
    with_ports(fixed=False)[:6].save(tmp_path / "t.parquet")
    out = tmp_path / "o.parquet"
    done = run(
        "complete",
        tmp_path / "m",
        tmp_path / "t.parquet",
        "-o",
        out,
        "-n",
        2,
        "--first",
        2,
        "--seed",
        1,
    )
    assert done.code == 0, done.err
    found = Traces.load(out)
    assert len(found) == 12
    assert set(found.meta["known_points"].to_pylist()) <= {1, 2}


def test_completions_for_spreadsheets_hold_no_formula(tmp_path: Path) -> None:
    traces = with_ports(fixed=False)
    risky = replace(traces, classes=("=cmd|x", *traces.classes[1:]))
    Model.new(risky, TokenCodec()).save(tmp_path / "m")
    risky[:6].save(tmp_path / "t.parquet")
    command = ("complete", tmp_path / "m", tmp_path / "t.parquet", "--first", 2, "--seed", 1)
    done = run(*command, "--for-spreadsheets", "-o", tmp_path / "o.csv")
    assert done.code == 0, done.err
    text = (tmp_path / "o.csv").read_text()
    assert "'=cmd|x" in text
    assert text.count("=cmd|x") == text.count("'=cmd|x")
    done = run(*command, "--for-spreadsheets", "-o", tmp_path / "o.npz")
    assert "for_spreadsheets is for .csv" in done.err
