"""Each part of a training step does its work: without it, one of these fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import run, state_of, stops_at
from small import volumes
from torch.nn.modules.module import register_module_forward_hook
from torch.optim.optimizer import register_optimizer_step_pre_hook

from netdiffus.codec import GasfCodec, TokenCodec
from netdiffus.model.model import Model
from netdiffus.networks.causal import CausalNetwork
from netdiffus.networks.image import ImageNetwork
from netdiffus.sampling import sample
from netdiffus.traces.traces import Traces
from netdiffus.training import Recipe
from netdiffus.training.checkpoint import State

PRESETS = ["causal", "image", "paper"]


@dataclass
class Seen:
    """What the optimiser was given in each step."""

    rates: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    decays: list[dict[int, float]] = field(default_factory=list)  # by dimensions of the weights


@pytest.fixture
def seen() -> Iterator[Seen]:
    found = Seen()

    def note(optimizer: torch.optim.Optimizer, *_: object) -> None:
        weights = [p for group in optimizer.param_groups for p in group["params"]]
        found.rates += [float(optimizer.param_groups[0]["lr"])]
        squares = [p.grad.square().sum() for p in weights if p.grad is not None]
        found.norms += [float(torch.stack(squares).sum().sqrt())]
        found.decays += [{}]
        for group in optimizer.param_groups:
            found.decays[-1] |= {p.ndim: group["weight_decay"] for p in group["params"]}

    handle = register_optimizer_step_pre_hook(note)
    yield found
    handle.remove()


@pytest.mark.parametrize(
    ("preset", "kind"),
    [("causal", CausalNetwork), ("image", ImageNetwork), ("paper", ImageNetwork)],
)
def test_gradients_are_clipped_to_a_norm_of_1(
    preset: str, kind: type, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = kind.loss
    monkeypatch.setattr(kind, "loss", lambda self, batch: 1e4 * loss(self, batch))
    run(None, 5, preset=preset)
    assert seen.norms == [pytest.approx(1, rel=1e-4)] * 5


@pytest.mark.parametrize("preset", PRESETS)
def test_smaller_gradients_are_left_as_they_are(
    preset: str, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = CausalNetwork if preset == "causal" else ImageNetwork
    loss = kind.loss
    monkeypatch.setattr(kind, "loss", lambda self, batch: 1e-4 * loss(self, batch))
    run(None, 3, preset=preset)
    assert max(seen.norms) < 0.1


def test_the_rate_rises_stays_and_falls(seen: Seen) -> None:
    run(None, 120, recipe={"learning_rate": 1e-3, "batch_size": 2})
    assert seen.rates[:50] == pytest.approx([1e-3 * k / 50 for k in range(1, 51)])
    assert seen.rates[50:80] == pytest.approx([1e-3] * 30)
    assert all(a > b for a, b in zip(seen.rates[82:], seen.rates[83:], strict=False))
    assert seen.rates[-1] == pytest.approx(5e-5, rel=0.05)


@pytest.mark.parametrize(("preset", "decay"), [("causal", 0.2), ("image", 0.01), ("paper", 0.01)])
def test_matrices_decay_at_the_rate_of_the_preset(preset: str, decay: float, seen: Seen) -> None:
    """That of `paper` is the default of torch.optim.AdamW, which stands for the usual."""
    model = run(None, 1, preset=preset)
    assert model.about["weight_decay"] == decay
    assert seen.decays[0].pop(1) == 0
    assert set(seen.decays[0].values()) == {decay}
    run(None, 1, preset=preset, recipe={"weight_decay": 0.0})
    assert set(seen.decays[1].values()) == {0}


def test_without_a_gradient_weights_shrink_by_the_decay_alone() -> None:
    """AdamW: w (1 - rate decay) each step; biases and norms stay (Loshchilov and Hutter, 2019)."""
    net = Model.new(volumes(), TokenCodec(), width=16).network
    state = State.new(net, Recipe(steps=1, weight_decay=0.3))
    state.set_rate(0.1)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    state.optimizer.step()
    for name, parameter in net.named_parameters():
        factor = 1 - 0.1 * 0.3 if parameter.ndim > 1 else 1
        torch.testing.assert_close(parameter.detach(), factor * before[name])


@pytest.mark.parametrize("preset", PRESETS)
def test_a_network_learns_in_training_mode(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where dropout works; and it is measured and given back without."""
    kind, modes = (CausalNetwork if preset == "causal" else ImageNetwork), []
    loss = kind.loss

    def noted(self: torch.nn.Module, batch: object) -> torch.Tensor:
        modes.append((self.training, torch.is_grad_enabled()))
        return loss(self, batch)

    monkeypatch.setattr(kind, "loss", noted)
    monkeypatch.setattr("netdiffus.training.loop.validation_steps", lambda traces, batch: 2)
    model = run(None, 3, traces=volumes(80), preset=preset, recipe={"validation_fraction": 0.25})
    assert not model.network.training
    assert modes[:2] == [(True, True)] * 2
    assert set(modes[2:-1]) == {(False, False)}
    assert modes[-1] == (True, True)


def test_dropout_changes_what_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """And so do hidden points, each drawn anew in each step."""
    notes: list[str] = []
    for shape in (
        {"dropout": 0.0, "hidden": 0.0},
        {"dropout": 0.2, "hidden": 0.0},
        {"dropout": 0.0},
    ):
        _shaped(monkeypatch, **shape)
        run(None, 4, numbers(), progress=lambda _, note: notes.append(note))
    first, second, third = notes[3], notes[7], notes[11]
    assert len({first, second, third}) == 3


@pytest.mark.parametrize("preset", ["causal", "series", "masked"])
def test_training_sets_a_fifth_of_the_features_to_0(preset: str) -> None:
    """What goes into the blocks, and both things that each of them adds."""
    dropped: list[float] = []

    def note(layer: torch.nn.Module, given: tuple[torch.Tensor], out: torch.Tensor) -> None:
        if isinstance(layer, torch.nn.Dropout) and layer.training:
            was_there = given[0] != 0
            dropped.append(float((out[was_there] == 0).float().mean()))

    handle = register_module_forward_hook(note)
    model = run(None, 1, numbers(), preset=preset, recipe={"batch_size": 16})
    handle.remove()
    passes, rest = divmod(len(dropped), 1 + 2 * model.network.config.layers)
    assert passes in (1, 2)  # the second, of `series`, for its last answer
    assert rest == 0
    # Of 16 x 6 points x 16 features: 0.2 with a deviation of 0.01.
    assert dropped == [pytest.approx(0.2, abs=0.05)] * len(dropped)


def _shaped(monkeypatch: pytest.MonkeyPatch, **shape: float) -> None:
    from dataclasses import replace

    from netdiffus.networks.build import configure

    monkeypatch.setattr(
        "netdiffus.model.model.configure", lambda *given: replace(configure(*given), **shape)
    )


def numbers() -> Traces:
    rng = np.random.default_rng(0)
    return Traces.from_lists({"x": rng.integers(0, 5, (24, 6)).tolist()}, ["a", "b"] * 12)


@pytest.mark.parametrize("preset", PRESETS)
def test_averaged_weights_are_the_power_function_average(preset: str, tmp_path: Path) -> None:
    """After two steps: w1 / 2**10 + w2 (1 - 1 / 2**10), as width 0.1 means power 10."""
    states = []
    for steps in (1, 2):
        # Rates depend on the step alone, as it is long before they fall.
        run(tmp_path / str(steps), 1000, preset=preset, progress=stops_at(steps))
        states.append(state_of(tmp_path / str(steps)))
    moved = 0.0
    for name in [name for name in states[0] if name.startswith("net.")]:
        expected = torch.lerp(states[0][name], states[1][name], 1 - 2.0**-10)
        torch.testing.assert_close(
            states[1]["ema." + name.removeprefix("net.")], expected, atol=1e-7, rtol=1e-6
        )
        moved += float((expected - states[1][name]).abs().sum())
    assert moved > 0


@pytest.mark.parametrize("preset", PRESETS)
def test_the_model_has_the_averaged_weights(preset: str, tmp_path: Path) -> None:
    model = run(tmp_path, 5, preset=preset)
    state, differing = state_of(tmp_path), 0
    for one in (model, Model.load(tmp_path)):
        for name, parameter in one.network.named_parameters():
            assert torch.equal(parameter, state[f"ema.{name}"])
            differing += not torch.equal(parameter, state[f"net.{name}"])
    assert differing > 10


def told_by_class_and_column(n: int = 120) -> Traces:
    """The class says how long a trace is, its protocol what it sends; a third is udp."""
    udp = [i % 3 == 0 for i in range(n)]
    return Traces.from_lists(
        {"packet_length": [[60 if one else 1500] * (2 + i % 2 * 2) for i, one in enumerate(udp)]},
        ["short", "long"] * (n // 2),
        {"protocol": ["udp" if one else "tcp" for one in udp]},
    )


@pytest.mark.parametrize("preset", [*PRESETS, "series", "masked"])
def test_class_and_columns_say_what_is_made(preset: str) -> None:
    """And columns are as frequent as they were."""
    is_image = preset in ("image", "paper")
    codec = GasfCodec(4, border=int(preset == "image")) if is_image else TokenCodec()
    recipe = {"batch_size": 16, "learning_rate": 5e-3}
    traces = told_by_class_and_column()
    steps = 120 if preset == "causal" else 80  # by tokens a column is learned last
    model = run(None, steps, traces, preset=preset, codec=codec, width=16, recipe=recipe)
    made = sample(model, 200, seed=0)
    # With no word of the class, half of each would be of the other.
    assert (made.of_class("long").lengths == 4).mean() > 0.9
    assert (made.of_class("short").lengths == 2).mean() > 0.9
    counts = Counter(made.meta["protocol"].to_pylist())
    assert counts["tcp"] + counts["udp"] == 200  # there is no token for an empty cell
    is_udp = np.array(made.meta["protocol"].to_pylist()) == "udp"
    assert 0.2 < is_udp.mean() < 0.47  # a third: four standard deviations of 200 draws
    assert ((made.values[:, 0, :2].mean(1) < 780) == is_udp).mean() > 0.9
