from __future__ import annotations

import numpy as np
import torch
from scipy import stats

from netdiffus.diffusion import Diffusion
from netdiffus.levels import CLASS_TRUST, LEVELS, PLACE_TRUST, Levels, level_of
from netdiffus.unet import DefaultUNet, UNetConfig


def known() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Levels]:
    torch.manual_seed(0)
    series = torch.randint(0, 9, (30, 2, 5)) / 8
    inside = torch.arange(5) < torch.randint(1, 6, (30, 1))
    labels = torch.arange(30) % 3
    return series, inside, labels, Levels.fit(series, inside, labels, 3)


def test_counts_and_spans_are_numpys() -> None:
    series, inside, labels, levels = known()
    for k in range(3):
        for c in range(2):
            for i in range(5):
                x = series[(labels == k) & inside[:, i], c, i].numpy()
                expected, _ = np.histogram(x, bins=LEVELS, range=(0, 1))
                np.testing.assert_array_equal(levels.counts[k, c, i].numpy(), expected)
    taken = level_of(series[:, 0][inside]).unique()
    for level in taken:
        x = series[:, 0][inside][level_of(series[:, 0][inside]) == level]
        torch.testing.assert_close(
            levels.spans[0, level], torch.stack([x.min(), x.mean(), x.max()]), atol=1e-6, rtol=0
        )


def test_usual_shares_out_as_all_classes_do() -> None:
    *_, levels = known()
    here = levels.counts.sum(0).double()
    anywhere = here.sum(1, keepdim=True) + 1e-3
    share = here + PLACE_TRUST * anywhere / anywhere.sum(-1, keepdim=True)
    torch.testing.assert_close(
        levels.usual().double(),
        CLASS_TRUST * share / share.sum(-1, keepdim=True),
        rtol=1e-5,
        atol=0,
    )
    assert (levels.usual() > 0).all()


def untaught() -> DefaultUNet:
    *_, levels = known()
    net = UNetConfig(channels=2, size=8, border=3, classes=3, width=8).build()
    assert isinstance(net, DefaultUNet)
    net.know(levels, Diffusion(schedule="log").alphas_cumprod)
    return net


def test_an_untaught_network_is_bayes_rule() -> None:
    """Its border is the mean over levels, weighed by counts and the normal density of the noise."""
    net, t, label = untaught(), torch.tensor([600]), torch.tensor([1])
    noise = float(net.noise[600])
    xt = torch.randn(1, 2, 8, 8)
    xt = (xt + xt.mT) / 2
    out = net(xt, t, label, torch.tensor([1.0]))
    *_, levels = known()
    low, middle, high = levels.spans.double().numpy().transpose(2, 0, 1)
    edge = xt[0, :, :5, 5:].double().mean(-1).numpy() * np.sqrt(1 + noise**2)
    prior = (levels.counts[1] + levels.usual()).double().numpy()
    for c in range(2):
        for i in range(5):
            # All points of a level lie on one value here, so its spread is 0.
            weight = prior[c, i] * stats.norm.pdf(edge[c, i], middle[c], noise / np.sqrt(3))
            assert np.ptp([low[c], high[c]], axis=0).max() < 1e-6
            expected = (weight * middle[c]).sum() / weight.sum()
            np.testing.assert_allclose(out[0, c, i, 5:].detach().numpy(), expected, atol=1e-4)


def test_a_trace_does_not_vouch_for_itself() -> None:
    """At the most noise an untaught network gives the level its share of the other traces."""
    net, (series, inside, labels, levels) = untaught(), known()
    row = int(torch.nonzero(inside.all(1))[0])
    own = level_of(series[row : row + 1])
    given = net._counted(labels[row : row + 1], own).exp()
    expected = (levels.counts[labels[row]] + levels.usual()).unsqueeze(0)
    expected = expected.scatter_add(-1, own.unsqueeze(-1), -torch.ones(1, 2, 5, 1))
    torch.testing.assert_close(given, expected)
    lost = net(
        torch.zeros(1, 2, 8, 8),
        torch.tensor([999]),
        labels[row : row + 1],
        torch.ones(1),
        levels=own,
    )
    assert lost.shape == (1,)
    assert lost > 0
