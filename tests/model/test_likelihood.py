from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from small import packets

from netdiffus.codec import TokenCodec
from netdiffus.errors import InputError
from netdiffus.model.likelihood import log_joint
from netdiffus.model.model import Model
from netdiffus.traces.traces import Traces
from netdiffus.training import Recipe, train


def pairs(first: list[int], second: list[int | None], labels: list[str]) -> Traces:
    """Traces of one or two points, each 0 or 1."""
    lists = [[a] if b is None else [a, b] for a, b in zip(first, second, strict=True)]
    return Traces.from_lists({"x": lists}, labels, {"protocol": ["tcp", "udp"] * (len(first) // 2)})


@pytest.fixture(scope="module")
def model() -> Model:
    """Untrained, of random weights; every trace that it can make has one or two points."""
    n = 60
    traces = pairs(
        [i % 2 for i in range(n)], [[0, 1, None][i % 3] for i in range(n)], ["a", "b"] * 30
    )
    made = Model.new(traces, TokenCodec(), width=16)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return made


def every() -> Traces:
    """All traces of one or two points, with both protocols."""
    rows = [(a, b) for a in (0, 1) for b in (None, 0, 1)]
    both = [row for row in rows for _ in range(2)]
    return pairs([a for a, _ in both], [b for _, b in both], ["a", "b"] * 6)


def test_the_probabilities_of_all_traces_sum_to_that_of_one_point_at_least(model: Model) -> None:
    joint = log_joint(model, every())
    empty = []
    for k in range(2):
        tokens = torch.full((1, 2, 1), model.network.end)  # type: ignore[arg-type]
        with torch.no_grad():
            lost, _ = model.network.log_loss(tokens, torch.tensor([k]), torch.tensor([[0]]))  # type: ignore[union-attr, operator]
            other, _ = model.network.log_loss(tokens, torch.tensor([k]), torch.tensor([[1]]))  # type: ignore[union-attr, operator]
            of_columns = model.network.conditions.log_loss(
                torch.tensor([k, k]), torch.tensor([[0], [1]])
            )
        p = torch.exp(-of_columns - torch.stack([lost[0, 0], other[0, 0]]))
        empty.append(float(p.sum()) * model.shares[k])
    assert np.exp(joint).sum() + sum(empty) == pytest.approx(1, abs=1e-5)  # of float32


def test_both_follow_from_the_joint_probability(model: Model) -> None:
    traces = every()
    joint = log_joint(model, traces)
    np.testing.assert_allclose(model.log_prob(traces), logsumexp(joint, axis=1))
    found = model.predict(traces)
    np.testing.assert_allclose(found.sum(1), 1)
    ratio = joint[:, 0] - joint[:, 1]
    np.testing.assert_allclose(np.log(found[:, 0] / found[:, 1]), ratio, atol=1e-9)


def test_the_label_that_a_trace_has_does_not_matter(model: Model) -> None:
    traces = every()
    other = replace(traces, labels=1 - traces.labels)
    assert np.array_equal(model.log_prob(traces), model.log_prob(other))


def test_a_trained_model_knows_classes_and_what_is_unusual() -> None:
    n = 120
    rng = np.random.default_rng(0)
    lists = [
        [1500 - int(rng.integers(5)) if i % 2 else 60 + int(rng.integers(5))] * 4 for i in range(n)
    ]
    traces = Traces.from_lists({"packet_length": lists}, ["small", "large"] * (n // 2))
    model = train(traces, recipe=Recipe(steps=120, batch_size=16, learning_rate=5e-3), width=16)
    right = model.predict(traces).argmax(1) == [model.classes.index(c) for c in traces.label_names]
    assert right.mean() > 0.95
    mixed = Traces.from_lists({"packet_length": [[1500, 60, 1500, 60]] * 9}, ["small"] * 9)
    assert model.log_prob(mixed).max() < np.quantile(model.log_prob(traces), 0.05)


def test_others_have_no_likelihood_and_columns_must_be_there(model: Model) -> None:
    traces = packets(30)
    for preset in ("masked", "series"):
        with pytest.raises(InputError, match=f"'{preset}' has no likelihood of a trace"):
            Model.new(traces, TokenCodec(), preset=preset, width=16).predict(traces)
    without = every()
    without = replace(without, meta=without.meta.drop_columns(["protocol"]))
    with pytest.raises(InputError, match="the traces have no column 'protocol'"):
        model.log_prob(without)
    with pytest.raises(InputError, match="channels"):
        Model.new(packets(30), TokenCodec(), width=16).log_prob(every())
