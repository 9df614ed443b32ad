"""Calibration: the temperature of the logits, by traces that were not learned from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from runs import mean_loss, run, stops_at
from small import packets, volumes

from netdiffus.codec import TokenCodec
from netdiffus.errors import InputError
from netdiffus.model.model import Model
from netdiffus.networks.causal import CausalNetwork
from netdiffus.networks.masked import MaskedNetwork
from netdiffus.sampling import sample
from netdiffus.training import validation
from netdiffus.training.batches import Batches
from netdiffus.training.checkpoint import State
from netdiffus.training.validation import calibrate

OVERFITTED = {"learning_rate": 5e-3, "validation_fraction": 0.25}


TRACES = packets(96, fixed=True)


@pytest.fixture(scope="module")
def model() -> Model:
    """Knows 72 traces by heart in part."""
    return run(None, 300, TRACES, recipe=OVERFITTED)


@pytest.fixture(scope="module")
def masked() -> Model:
    """The same, trained by masks, up to where its validation traces would be learned from."""
    settings = {"preset": "masked", "recipe": OVERFITTED}
    return run(None, 600, TRACES, **settings, progress=stops_at(395))


@pytest.mark.parametrize("name", ["model", "masked"])
def test_it_is_that_of_the_least_loss(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Model = request.getfixturevalue(name)
    monkeypatch.setattr(validation, "HIGHEST", 2.0)
    data = Batches(model, TRACES, 4, 0.25, 0)
    averaged = [p.detach() for p in model.network.parameters()]
    state = State(model.network, None, averaged)  # type: ignore[arg-type]
    alone = SimpleNamespace(process_index=0, num_processes=1)
    calibrate(SimpleNamespace(state=state, data=data, accelerator=alone))  # type: ignore[arg-type]
    model.network.eval()
    grid = np.linspace(0.5, 1, 101)
    losses = [mean_loss(model, data.validation(), 1 / one) for one in grid]
    least = 1 / grid[int(np.argmin(losses))]
    assert 1.05 < least < 2
    assert state.schedule.temperature == pytest.approx(least, rel=0.01)


@pytest.mark.parametrize("preset", ["causal", "masked"])
def test_it_has_a_bound(preset: str) -> None:
    about = run(None, 300, TRACES, preset=preset, recipe=OVERFITTED).about
    assert 1.01 < about["temperature"] <= validation.HIGHEST


def test_it_is_found_before_its_traces_are_learned_from(model: Model) -> None:
    """The fall begins after 200 of 300 steps; what is learned later does not change it."""
    stopped = run(None, 300, TRACES, recipe=OVERFITTED, progress=stops_at(202)).about
    assert stopped["steps"] == 202
    assert stopped["temperature"] == model.about["temperature"] > 1.01


def test_a_network_that_is_not_too_sure_keeps_its_logits() -> None:
    """After one step all tokens are about as likely; sharper would be better, but copies more."""
    model = run(None, 1, packets(96), recipe={"validation_fraction": 0.25})
    assert model.about["temperature"] == pytest.approx(1.0, abs=0.01)


def test_without_validation_traces_it_is_1() -> None:
    model = run(None, 20, packets(96), recipe={"validation_fraction": 0.0})
    assert model.about["temperature"] == 1.0


def test_it_is_in_the_folder(tmp_path: Path, model: Model) -> None:
    model.save(tmp_path / "model")
    again = Model.load(tmp_path / "model")
    assert torch.equal(again.network.logits.temperature, model.network.logits.temperature)
    one, two = (sample(m, 20, seed=3, progress=lambda *_: None) for m in (model, again))
    assert np.array_equal(one.values, two.values)


@pytest.mark.parametrize("value", [0.0, -1.0, 100.0])
def test_a_folder_with_an_impossible_one_is_refused(
    tmp_path: Path, model: Model, value: float
) -> None:
    own = model.network.logits.temperature
    before = float(own)
    own.fill_(value)
    model.save(tmp_path / "model")
    own.fill_(before)
    with pytest.raises(InputError, match=r"logits\.temperature must lie in 1\.\.10, found"):
        Model.load(tmp_path / "model")


@torch.no_grad()
def test_logits_are_divided_by_it() -> None:
    """By hand, for the loss and for what is drawn."""
    model = Model.new(packets(40, fixed=True), TokenCodec(), width=8)
    network = model.network
    assert isinstance(network, CausalNetwork)
    last = network.logits.last[0]
    torch.nn.init.normal_(last.free.weight)
    x, tokens = torch.randn(5, 8), torch.zeros(5, len(network.config.sizes), dtype=torch.long)
    network.logits.temperature.fill_(2.0)
    half = last(x) / 2
    expected = half.logsumexp(1) - half[:, 0]
    torch.testing.assert_close(network.logits.losses(x, tokens)[0], expected)
    share = half.softmax(1).double().cumsum(1)
    draw = network.logits.draws("torch")
    for u in (0.1, 0.5, 0.9):
        uniforms = [torch.full((5,), u, dtype=torch.float64)] * len(network.config.sizes)
        wanted = (share <= u).sum(1)
        assert torch.equal(draw(x, uniforms, None)[:, 0], wanted)


@torch.no_grad()
@pytest.mark.parametrize("preset", ["causal", "masked"])
def test_amounts_have_none(preset: str) -> None:
    """Gaps, the second feature of packets, keep their logits, for the loss and for the draws."""
    network = Model.new(packets(40), TokenCodec(), preset=preset, width=8).network
    assert isinstance(network, CausalNetwork | MaskedNetwork)
    sizes = network.config.sizes
    assert network.logits.amounts == (False, True)
    torch.nn.init.normal_(network.logits.last[0].free.weight)
    torch.nn.init.normal_(network.logits.last[1].free.weight)
    x = torch.randn(200, 8)
    tokens = torch.stack([torch.randint(size, (200,)) for size in sizes], 1)
    uniforms = [torch.rand(200, dtype=torch.float64) for _ in sizes]
    before = network.logits.losses(x, tokens)
    drawn = network.logits.draws("torch")(x, uniforms, None)
    network.logits.temperature.fill_(3.0)
    after = network.logits.losses(x, tokens)
    assert torch.equal(after[1], before[1])
    assert not torch.equal(after[0], before[0])
    again = network.logits.draws("torch")(x, uniforms, None)
    same = again[:, 0] == drawn[:, 0]  # a gap depends on the size before it
    assert 0 < same.sum() < 200
    assert torch.equal(again[same, 1], drawn[same, 1])


@pytest.mark.parametrize("preset", ["causal", "masked"])
def test_volumes_alone_have_none(preset: str) -> None:
    model = run(None, 300, volumes(96), preset=preset, recipe=OVERFITTED)
    assert model.about["temperature"] == 1.0
