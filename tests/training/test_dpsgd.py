"""DP-SGD: gradients of single traces, what a trace can change, and the noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from small import users
from torch import Tensor

from netdiffus import Model, TokenCodec
from netdiffus.networks.causal import CausalNetwork
from netdiffus.training import dpsgd
from netdiffus.training.dpsgd import Private, clipped_sum, gradient_of_each, learn_privately

HOW = Private(steps=1, share=1.0, traces=9.0, noise=2.0, most=1, rate=1e-3)


@pytest.fixture
def net_and_data() -> tuple[CausalNetwork, list[Tensor]]:
    traces = users(60)
    model = Model.new(traces, TokenCodec(length=8), width=16)
    assert model.columns.names == ("protocol", "server_port")
    net = model.network.eval()
    assert isinstance(net, CausalNetwork)
    with torch.no_grad():  # the logits start at 0, where most gradients are 0
        for parameter in net.parameters():
            parameter.normal_(std=0.1)
    some = traces[np.arange(9)]
    columns = torch.from_numpy(model.columns.encode(some))
    return net, [model.codec.encode(some).long(), torch.from_numpy(some.labels), columns]


def summed(net: CausalNetwork, data: list[Tensor], most: float) -> dict[str, Tensor]:
    return clipped_sum(gradient_of_each(net), net, data, most)


def test_unclipped_gradients_add_up_to_that_of_the_network_s_own_loss(
    net_and_data: tuple[CausalNetwork, list[Tensor]],
) -> None:
    net, data = net_and_data
    with mock.patch.object(dpsgd, "AT_ONCE", 4):
        found = summed(net, data, 1e6)
    points, _ = net.log_loss(*data)
    cells = net.conditions.log_loss(data[1], data[2])
    ((points.sum() + cells.sum()) / data[0].shape[1]).backward()
    for name, parameter in net.named_parameters():
        wanted = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(found[name], wanted, rtol=1e-4, atol=1e-6)


def test_one_trace_changes_the_sum_by_the_clipping_norm_at_most(
    net_and_data: tuple[CausalNetwork, list[Tensor]],
) -> None:
    net, data = net_and_data
    every, fewer = summed(net, data, 0.01), summed(net, [one[1:] for one in data], 0.01)
    change = torch.cat([(every[name] - fewer[name]).flatten() for name in every]).norm()
    assert 0.0099 < change < 0.0101


def test_a_step_may_draw_no_trace(net_and_data: tuple[CausalNetwork, list[Tensor]]) -> None:
    net, data = net_and_data
    found = summed(net, [one[:0] for one in data], 1.0)
    assert not any(one.any() for one in found.values())


def test_a_gradient_that_is_not_finite_is_left_out(
    net_and_data: tuple[CausalNetwork, list[Tensor]],
) -> None:
    net, data = net_and_data
    of_each = gradient_of_each(net)

    def damaged(weights: dict[str, Tensor], *parts: Tensor) -> dict[str, Tensor]:
        found = of_each(weights, *parts)
        next(iter(found.values()))[0].view(-1)[0] = torch.inf
        return found

    found = clipped_sum(damaged, net, data, 1.0)
    wanted = clipped_sum(of_each, net, [one[1:] for one in data], 1.0)
    for name, one in found.items():
        torch.testing.assert_close(one, wanted[name])


class Seen(torch.optim.SGD):
    """An optimiser that notes the gradients that it is given."""

    gradients: list[Tensor]

    def __init__(self, parameters: Any, *_: Any, **__: Any) -> None:
        super().__init__(parameters, lr=0.0)

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        parameters = self.param_groups[0]["params"]
        Seen.gradients = [one.grad.clone() for one in parameters]


def gradients(net: CausalNetwork, data: list[Tensor], units: list[int], how: Private) -> Tensor:
    tokens, labels, columns = data
    with mock.patch.object(torch.optim, "AdamW", Seen):
        numbers = np.array(units)
        learn_privately(net, (tokens, labels, columns), numbers, how, lambda step: False)
    return torch.cat([one.flatten() for one in Seen.gradients])


def test_what_the_optimiser_sees_has_the_noise_that_is_promised(
    net_and_data: tuple[CausalNetwork, list[Tensor]],
) -> None:
    net, data = net_and_data
    with mock.patch.object(dpsgd, "clipped_sum", lambda of, net, data, most: zeros(net)):
        found = gradients(net, data, list(range(9)), HOW)
    assert kstest(found.numpy() / (2.0 / 9.0), "norm").pvalue > 1e-4
    again = gradients(net, data, list(range(9)), replace(HOW, noise=2.0))
    assert not torch.equal(found, again)


def zeros(net: CausalNetwork) -> dict[str, Tensor]:
    return {name: torch.zeros_like(one) for name, one in net.named_parameters()}


def test_a_unit_of_several_traces_changes_the_sum_by_the_norm_at_most(
    net_and_data: tuple[CausalNetwork, list[Tensor]],
) -> None:
    net, data = net_and_data
    how = replace(HOW, noise=0.0, most=3, traces=1.0)
    every = gradients(net, data, [0, 0, 0, 1, 1, 1, 2, 2, 2], how)
    fewer = gradients(net, [one[3:] for one in data], [0, 0, 0, 1, 1, 1], how)
    assert 0.3 < (every - fewer).norm() <= 1.0001


def test_units_are_drawn_whole_and_at_random(
    net_and_data: tuple[CausalNetwork, list[Tensor]],
) -> None:
    net, data = net_and_data
    drawn: list[int] = []

    def count(of: Any, net: CausalNetwork, data: list[Tensor], most: float) -> dict[str, Tensor]:
        drawn.append(len(data[0]))
        return zeros(net)

    with mock.patch.object(dpsgd, "clipped_sum", count):
        how = replace(HOW, steps=200, share=0.5)
        gradients(net, data, [0, 0, 0, 1, 1, 1, 2, 2, 2], how)
    assert set(drawn) == {0, 3, 6, 9}
    # Binomial (600, 1/2) has a deviation of 12.2: five of them fail once in two million runs.
    assert abs(sum(drawn) / 3 - 300) < 62


def test_normal_numbers_are_normal_and_new() -> None:
    found = dpsgd.normal(torch.Size([40, 500]))
    assert kstest(found.flatten().double().numpy(), "norm").pvalue > 1e-4
    assert not torch.equal(found, dpsgd.normal(torch.Size([40, 500])))


def test_it_can_be_ended_after_a_step(net_and_data: tuple[CausalNetwork, list[Tensor]]) -> None:
    net, (tokens, labels, columns) = net_and_data
    before = {name: one.clone() for name, one in net.state_dict().items()}
    how = replace(HOW, steps=50)
    done = learn_privately(
        net, (tokens, labels, columns), np.arange(9), how, lambda step: step == 2
    )
    assert done == 2
    assert any(not torch.equal(before[name], one) for name, one in net.state_dict().items())
