"""`series` and `masked`: what they learn, what matters to them, what they draw."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from nets import asked, made, tiny, with_ports
from scipy import stats
from scipy.special import ndtri
from torch import Tensor

from netdiffus.codec import TokenCodec
from netdiffus.model.model import Model
from netdiffus.networks.batch import Batch
from netdiffus.networks.denoiser import first_points
from netdiffus.networks.masked import MaskedNetwork
from netdiffus.networks.series import SeriesNetwork, coordinates
from netdiffus.traces.traces import Traces

PRESETS = ["series", "masked"]


def varied() -> Traces:
    return with_ports(fixed=False)


def model_of(traces: Traces, preset: str, noise: float = 0.2) -> Model:
    """With weights as after training: some start at 0."""
    made = Model.new(traces, TokenCodec(), preset=preset, width=16)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.network.parameters():
            parameter.add_(noise * torch.randn(parameter.shape, generator=generator))
    made.network.eval()
    return made


def batch_of(model: Model, traces: Traces, draws: Tensor | None = None) -> Batch:
    draws = torch.arange(len(traces)) if draws is None else draws
    columns = torch.from_numpy(model.columns.encode(traces))
    tokens = model.codec.encode(traces).long()  # type: ignore[union-attr]
    return Batch(tokens, torch.from_numpy(traces.labels), columns, draws)


@pytest.fixture(scope="module", params=PRESETS)
def model(request: pytest.FixtureRequest) -> Model:
    return model_of(varied(), request.param)


def plan_of(model: Model, steps: int) -> object:
    return steps if model.diffusion is None else model.diffusion.steps("dpm++", steps)


def test_no_weight_is_dead(model: Model) -> None:
    net = copy.deepcopy(model.network).train()
    torch.manual_seed(0)
    for _ in range(2):  # of `series`, in half of all steps alone the last answer is given
        net.loss(batch_of(model, varied())).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_times_and_what_is_hidden_depend_on_the_draws_alone(model: Model) -> None:
    losses = []
    for seed, draws in ((0, None), (1, None), (0, torch.arange(60) + 99)):
        torch.manual_seed(seed)
        with torch.no_grad():
            losses.append(float(model.network.loss(batch_of(model, varied(), draws))))
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("preset", PRESETS)
def test_the_loss_of_a_network_that_knows_nothing(preset: str) -> None:
    """Even logits: log S of each token. Of `masked` it is the mean over what is hidden."""
    traces = varied()
    model = Model.new(traces, TokenCodec(), preset=preset, width=16)
    net, repeats = model.network.eval(), 60
    for logits in net.conditions.logits:
        for parameter in logits.parameters():
            torch.nn.init.zeros_(parameter)
    batch = batch_of(model, traces)
    points = int(traces.lengths.clip(max=model.codec.length).sum())
    sizes = (
        model.codec.sizes
        if preset == "masked"
        else (model.codec.sizes[0] - 1, *model.codec.sizes[1:])
    )
    expected = sum(np.log(sizes)) + len(traces) / points * sum(np.log((3, *model.columns.sizes)))
    with torch.no_grad():
        draws = (batch._replace(draws=batch.draws + 60 * k) for k in range(repeats))
        found = np.array([float(net.loss(one)) for one in draws])
    error = found.std() / np.sqrt(repeats)
    assert abs(found.mean() - expected) < max(4 * error, 1e-4)


class TestWhatMatters:
    def test_to_masked_every_point_that_is_seen_and_no_other(self) -> None:
        traces = varied()
        model = model_of(traces, "masked")
        net, batch = model.network, batch_of(model, traces)
        assert isinstance(net, MaskedNetwork)
        inside = torch.ones(60, model.codec.points).bool()
        hidden = torch.zeros_like(inside)
        hidden[:, 2:4] = True
        condition, share = net.conditions(batch.label, batch.columns), torch.full((60,), 0.5)
        base = net._answer(batch.data, hidden, inside, condition, share)
        for t, f in itertools.product(range(6), range(batch.data.shape[2])):
            other = batch.data.clone()
            other[:, t, f] = (other[:, t, f] + 1) % (model.codec.sizes[f] - (f == 0))
            changed = (net._answer(other, hidden, inside, condition, share) - base).abs().amax(2)
            assert ((changed > 1e-6).all() and t not in (2, 3)) or not changed.any()
            assert bool(changed.any()) == (t not in (2, 3))

    def test_to_series_every_coordinate_and_its_own_last_answer(self) -> None:
        traces = varied()
        model = model_of(traces, "series")
        net, n = model.network, 3
        assert isinstance(net, SeriesNetwork)
        shape = n, len(model.codec.sizes), model.codec.points, 1
        generator = torch.Generator().manual_seed(0)
        xt, last = (torch.randn(shape, generator=generator) for _ in range(2))
        t, inside = torch.full((n,), 400), torch.ones(n, shape[2]).bool()
        condition = net.conditions(torch.arange(n), torch.zeros(n, 3).long())
        base = net._answer(xt, last, t, condition, inside)
        for place in itertools.product(range(shape[1]), range(shape[2])):
            for which in range(2):
                given = [xt.clone(), last.clone()]
                given[which][:, place[0], place[1]] += 0.5
                changed = net._answer(*given, t, condition, inside) - base
                assert (changed.abs().amax(2) > 1e-6).all()
        assert (net._answer(xt, last, t - 300, condition, inside) - base).abs().max() > 1e-3

    def test_class_and_columns(self, model: Model) -> None:
        index = torch.arange(40)
        found = [
            made(model.network, asked(torch.full((40,), k), 3, index), plan_of(model, 4), "torch")
            for k in range(2)
        ]
        assert (found[0][0] != found[1][0]).flatten(1).any(1).float().mean() > 0.5

    def test_points_behind_the_end_do_not(self, model: Model) -> None:
        traces = varied()
        batch = batch_of(model, traces)
        ended = batch.data.clone()
        ended[:, 3:, 0] = model.network.end
        other = ended.clone()
        other[:, 3:, 1:] = 1
        with torch.no_grad():
            losses = [
                float(model.network.loss(batch._replace(data=data))) for data in (ended, other)
            ]
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)


class TestGenerate:
    @pytest.mark.parametrize("backend", ["torch", "auto"])
    def test_a_trace_does_not_depend_on_the_others(self, model: Model, backend: str) -> None:
        """But for rounding, which changes a token where a uniform number lies at a limit."""
        net, plan, index = model.network, plan_of(model, 5), torch.arange(40)
        whole, columns = made(net, asked(index % 2, 3, index), plan, backend)
        parts = [made(net, asked(i % 2, 3, i), plan, backend) for i in index.split(7)]
        apart = torch.cat([part[0] for part in parts])
        assert (apart == whole).flatten(1).all(1).sum() >= 39
        assert torch.equal(torch.cat([part[1] for part in parts]), columns)
        assert len({tuple(one.flatten().tolist()) for one in whole}) > 20

    def test_lengths_are_those_of_the_column(self, model: Model) -> None:
        draws = asked(torch.zeros(100).long(), 3, torch.arange(100))
        tokens, columns = made(model.network, draws, plan_of(model, 3))
        lengths = (tokens[:, :, 0] != model.network.end).sum(1)
        asked_for = model.columns.lengths.decode(columns[:, -1].numpy(), np.full(100, 0.5))
        assert np.array_equal(lengths, asked_for.round())
        assert torch.equal(tokens[:, :, 0] != model.network.end, first_points(lengths, 9))

    def test_masked_draws_one_point_after_another_by_the_networks_own_probabilities(self) -> None:
        """Of two points: the mean over both orders of p(first) p(second | first)."""
        model, n = model_of(tiny(), "masked", noise=0.3), 20_000
        net = model.network
        assert isinstance(net, MaskedNetwork)
        label = torch.zeros(n).long()
        tokens, columns = made(net, asked(label, 5, torch.arange(n)), 2, "torch")
        two = (columns == torch.tensor([1, 1])).all(1)  # of a protocol, and of two points
        assert two.sum() > 500
        assert (tokens[two, :, 0] != net.end).all()
        values = list(itertools.product(range(3), range(2)))
        every = torch.tensor(list(itertools.product(values, values)))
        p = 0.5 * sum(_in_order(net, every, order) for order in ((0, 1), (1, 0)))
        assert float(p.sum()) == pytest.approx(1, abs=1e-4)
        rows = tokens[two].flatten(1).tolist()
        counts = [rows.count(one.flatten().tolist()) for one in every]
        expected = (p.double() / p.double().sum() * len(rows)).numpy()
        wide = expected >= 5
        cells = [np.append(v[wide], v[~wide].sum()) for v in map(np.asarray, (counts, expected))]
        assert stats.chisquare(*cells).pvalue > 1e-3


def _in_order(net: MaskedNetwork, tokens: Tensor, order: tuple[int, int]) -> Tensor:
    """P(tokens) (n,) of class 0, where the points are drawn in this order; no point is an end."""
    n = len(tokens)
    inside, hidden = torch.ones(n, 2).bool(), torch.ones(n, 2).bool()
    condition = net.conditions(torch.zeros(n).long(), torch.ones(n, 2).long())
    p = torch.ones(n)
    with torch.no_grad():
        for t in order:
            share = hidden.sum(1) / 2
            x = net._answer(tokens, hidden, inside, condition, share)[:, t]
            first, second = net.logits.losses(x, tokens[:, t])
            end = torch.full_like(tokens[:, t], 0)
            end[:, 0] = net.end
            no_end = 1 - net.logits.losses(x, end)[0].neg().exp()
            p = p * (-first - second).exp() / no_end
            hidden[:, t] = False
    return p


def test_coordinates_are_normal_quantiles_from_minus_1_to_1() -> None:
    z = coordinates(7).numpy()
    q = ndtri((np.arange(7) + 0.5) / 7)
    np.testing.assert_allclose(z, q / q[-1], rtol=1e-6)
    assert coordinates(1).tolist() == [0]
