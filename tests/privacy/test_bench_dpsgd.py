"""DP-SGD of the bench: gradients of single traces, their clipping, and the noise."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from small import packets
from torch import Tensor

from bench.privacy import dpsgd
from netdiffus import Model, TokenCodec
from netdiffus.networks.causal import CausalNetwork
from netdiffus.privacy.accounting import mu_of


@pytest.fixture
def net_and_batch() -> tuple[CausalNetwork, Tensor, Tensor]:
    traces = packets()
    model = Model.new(traces, TokenCodec(length=8), width=16, columns=())
    net = model.network.eval()
    assert isinstance(net, CausalNetwork)
    with torch.no_grad():  # the logits start at 0, where most gradients are 0
        for parameter in net.parameters():
            parameter.normal_(std=0.1)
    return net, model.codec.encode(traces).long()[:9], torch.from_numpy(traces.labels)[:9]


def clipped(net: CausalNetwork, tokens: Tensor, labels: Tensor) -> dict[str, Tensor]:
    weights = dict(net.named_parameters())
    return dpsgd.clipped_sum(dpsgd.gradient_of_each(net), weights, tokens, labels)


def test_unclipped_gradients_add_up_to_that_of_the_network_s_own_loss(
    net_and_batch: tuple[CausalNetwork, Tensor, Tensor],
) -> None:
    net, tokens, labels = net_and_batch
    with mock.patch.object(dpsgd, "MOST_GRADIENT", 1e6), mock.patch.object(dpsgd, "AT_ONCE", 4):
        found = clipped(net, tokens, labels)
    points, _ = net.log_loss(tokens, labels, labels.new_zeros(len(labels), 0))
    (points.sum() / tokens.shape[1]).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_one_trace_changes_the_sum_by_the_clipping_norm_at_most(
    net_and_batch: tuple[CausalNetwork, Tensor, Tensor],
) -> None:
    net, tokens, labels = net_and_batch
    with mock.patch.object(dpsgd, "MOST_GRADIENT", 0.01):
        every, fewer = clipped(net, tokens, labels), clipped(net, tokens[1:], labels[1:])
    change = torch.cat([(every[name] - fewer[name]).flatten() for name in every]).norm()
    assert 0.0099 < change < 0.0101


def test_one_step_with_all_traces_needs_the_noise_of_the_closed_form() -> None:
    assert dpsgd.noise_for(4.0, 1e-5, 1.0, 1) == pytest.approx(1 / mu_of(4.0, 1e-5), rel=0.01)


def test_more_steps_and_more_traces_a_step_need_more_noise() -> None:
    few = dpsgd.noise_for(4.0, 1e-5, 0.05, 2)
    assert few < dpsgd.noise_for(4.0, 1e-5, 0.05, 8) < dpsgd.noise_for(4.0, 1e-5, 0.2, 8)
