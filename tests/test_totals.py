from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.stats import zscore
from small import packets, volumes

from netdiffus.codec import GasfCodec
from netdiffus.model import Model
from netdiffus.totals import Totals
from netdiffus.traces import Traces
from netdiffus.unet import DefaultUNet

SIZES = (2, 3)


def network(traces: Traces) -> tuple[GasfCodec, DefaultUNet]:
    model = Model.new(traces, GasfCodec(16, border=1))
    assert isinstance(model.unet, DefaultUNet)
    return model.codec, model.unet


def few_values(n: int = 60) -> Traces:
    """Volumes that have a level each, so that no level stands for several."""
    rng = np.random.default_rng(0)
    traces = volumes(n)
    values = rng.choice([0.0, 100.0, 700.0], traces.values.shape, p=[0.5, 0.3, 0.2])
    values[traces.labels == 1] *= 1000
    lengths = rng.integers(8, 17, n)
    values[np.broadcast_to(np.arange(16), values.shape) >= lengths[:, None, None]] = 0
    return replace(traces, values=values, lengths=lengths)


def test_certain_points_come_to_what_the_trace_does() -> None:
    """In SciPy's standard deviations of a class, of the sums as they are on disk."""
    traces = few_values()
    codec, net = network(traces)
    labels, inside = torch.from_numpy(traces.labels), codec.inside(traces.lengths)
    levels, sizes = net.level_of(codec.series(traces)), net.config.levels
    certain = torch.zeros(len(traces), 16, sum(sizes)).scatter_(2, levels, 1.0)
    told = Totals(net.worth, net.usual, net.spread).expected(certain, inside, labels, sizes)
    for k in range(2):
        mine = traces.labels == k
        total = traces.values[mine].sum(2)
        wanted = zscore(np.arcsinh(10 * total / total.mean(0)))
        np.testing.assert_allclose(told[mine], wanted, atol=1e-4)


def totals() -> Totals:
    values = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    level = torch.arange(12 * 4).view(12, 4) % 2
    both = torch.stack([level, 2 + (level + 1) % 3], 2)
    return Totals.fit(values, both, torch.ones(12, 4) > 0, torch.arange(12) % 3, SIZES)


def test_uncertain_points_count_by_their_chances() -> None:
    known, label = totals(), torch.tensor([2, 0])
    inside = torch.tensor([[True] * 4, [True, True, False, False]])
    chances = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(1))
    told = known.expected(chances, inside, label, SIZES)
    for b in range(2):
        for c, levels in enumerate((slice(0, 2), slice(2, 5))):
            k = int(label[b])
            each = (chances[b] * known.worth[k])[inside[b], levels].numpy()
            wanted = (np.arcsinh(10 * each.sum()) - float(known.usual[k, c])) / known.spread[k, c]
            np.testing.assert_allclose(told[b, c], wanted, rtol=1e-5)


def test_a_class_of_equal_totals_has_a_spread() -> None:
    level = torch.zeros(4, 2, 1, dtype=torch.int64)
    known = Totals.fit(
        torch.zeros(1, 2, 3), level, torch.ones(4, 2) > 0, torch.zeros(4).long(), (3,)
    )
    assert torch.isfinite(known.worth).all()
    assert (known.spread > 0).all()


def test_told_of_volumes_and_gaps_alone() -> None:
    assert network(volumes())[1].config.totals
    codec, net = network(packets())
    assert net.config.totals
    kinds = [channel.kind for channel in codec.channels]
    by_channel = torch.split(net.worth, list(net.config.levels), 2)
    assert [kind == "time" for kind in kinds] == [bool(one.any()) for one in by_channel]
    assert not network(packets().select(["packet_length", "direction"]))[1].config.totals


def test_the_network_hears_of_totals() -> None:
    """Of what the trace comes to its answer is a function, once it has learned to listen."""
    traces = few_values()
    codec, net = network(traces)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        xt = 2 * codec.draw(codec.series(traces[:4]).float()) - 1
        given = xt, torch.full((4,), 500), torch.from_numpy(traces.labels[:4]), torch.ones(4)
        before = net(*given)
        net.worth *= 2
        assert not torch.allclose(before, net(*given))
