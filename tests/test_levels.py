from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from netdiffus import levels as levels_module
from netdiffus.covariance import Covariance
from netdiffus.diffusion import Diffusion
from netdiffus.levels import Levels, _chance, _guess, cosines, level_of
from netdiffus.unet import DefaultUNet, UNetConfig

CLASSES = 3


def traffic() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    series = torch.randint(0, 9, (30, 2, 5)) / 8
    inside = torch.arange(5) < torch.randint(1, 6, (30, 1))
    return series, inside, torch.arange(30) % CLASSES


def counts_of(series: torch.Tensor, inside: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    """(classes, m, K) of a channel of `traffic`, whose levels are its nine values."""
    counts = np.zeros((CLASSES, 5, 9))
    for n, i in np.ndindex(30, 5):
        if inside[n, i]:
            counts[labels[n], i, int(8 * series[n, 0, i])] += 1
    return counts


def guess(counts: np.ndarray, k: int, i: int, j: int, less: float) -> float:
    """By class times by place over by neither, for one level, with a trust of 3."""
    own, here, every = counts[k].sum(0), counts[:, i].sum(0), counts.sum((0, 1))
    usual = (max(every[j] - less, 0) + 0.5 * (every[j] > 0)) / every.sum()
    beside = np.pad(own, 1)
    near = 0.25 * beside[j] + 0.5 * own[j] + 0.25 * beside[j + 2]
    near = max(near - 0.5 * less, 0) / own.sum()
    by_class = max(own[j] - less, 0) + 3 * (near + usual)
    return float(by_class * (max(here[j] - less, 0) + 3 * usual) / usual)


@pytest.mark.parametrize("less", [0.0, 1.0])
def test_chances_are_the_formulas(less: float) -> None:
    counts = counts_of(*traffic())
    known = torch.from_numpy(counts).float()
    given = (known - less).clamp(min=0), known.sum(-1, keepdim=True)
    made = _chance(*given, 2.0, _guess(known, 3.0, less)).exp()
    for place in ((0, 0, 3), (1, 4, 8), (2, 2, 0), (1, 1, 5)):
        *where, level = place
        mine = counts[tuple(where)]
        share = guess(counts, *place, less) / sum(guess(counts, *where, j, 0.0) for j in range(9))
        expected = (max(mine[level] - less, 0) + 2 * share) / (mine.sum() + 2)
        np.testing.assert_allclose(made[place], expected, rtol=1e-5)
    if not less:
        torch.testing.assert_close(made.sum(-1), torch.ones(CLASSES, 5))


def test_places_that_say_nothing_are_leant_on_less() -> None:
    """Where place matters, a level of another place is unlikely; where not, it is as any other."""
    torch.manual_seed(0)
    labels, inside = torch.arange(60) % 2, torch.ones(60, 6) > 0
    anywhere = torch.randint(0, 6, (60, 1, 6)) / 5
    by_place = (torch.arange(6) / 5).expand(60, 1, 6) + 0.01 * torch.randint(0, 3, (60, 1, 6))
    loose, tight = (Levels.fit(s, inside, labels, 2) for s in (anywhere, by_place / 1.1))
    assert loose.chances.exp().amax(-1).median() < 0.3
    other = tight.chances[0, 0][tight.spans[:, 0] > 0.1].exp().sum()
    assert other < 0.01


def test_cosines_are_orthonormal_over_the_levels_of_a_channel() -> None:
    waves = cosines((40, 30))
    assert waves.shape == (70, 16)
    for part in (waves[:40], waves[40:]):
        torch.testing.assert_close(part.T @ part / len(part), torch.eye(16), atol=1e-5, rtol=0)


@pytest.mark.parametrize("most", [16, 32, 512])
def test_common_values_keep_a_level_to_themselves(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levels_module, "MORE_LEVELS", most)
    rng = np.random.default_rng(most)
    x = np.concatenate([rng.random(3000), np.repeat([0.0, 0.25, 0.7], 1000)]).astype(np.float32)
    series = torch.from_numpy(x).view(-1, 1, 1)
    inside, labels = torch.ones(len(x), 1) > 0, torch.zeros(len(x), dtype=torch.int64)
    levels = Levels.fit(series, inside, labels, 1)
    low, middle, high = levels.spans.unbind(-1)
    assert most / 4 < len(low) <= most
    taken = level_of(series, levels.spans, levels.sizes).flatten()
    for k in range(len(low)):
        mine = x[taken.numpy() == k]
        np.testing.assert_array_equal([low[k], high[k]], [mine.min(), mine.max()])
        np.testing.assert_allclose(middle[k], mine.mean(dtype=np.float64), rtol=1e-6)
        common = bool(np.isin(mine, np.float32([0.0, 0.25, 0.7])).any())
        assert (mine.min() == mine.max()) if common else len(mine) < 2 * 3000 / (most - 7) + 2


@pytest.mark.parametrize(("points", "most"), [(511, 256), (512, 512)])
def test_more_levels_where_a_class_has_as_many_points(points: int, most: int) -> None:
    series = torch.from_numpy(np.random.default_rng(0).random((4 * points, 1, 1)))
    inside, labels = torch.ones(len(series), 1) > 0, torch.arange(len(series)) % 4
    (found,) = Levels.fit(series, inside, labels, 4).sizes
    assert most / 2 < found <= most


def test_channels_have_levels_of_their_own() -> None:
    series, inside, labels = traffic()
    whole = Levels.fit(series, inside, labels, CLASSES)
    series[:, 1] = (series[:, 1] > 0.5).float()
    levels = Levels.fit(series, inside, labels, CLASSES)
    assert (whole.sizes, levels.sizes) == ((9, 9), (9, 2))
    assert torch.equal(levels.chances[..., :9], whole.chances[..., :9])
    torch.testing.assert_close(levels.chances[..., 9:].exp().sum(-1), torch.ones(CLASSES, 5))
    level = level_of(series, levels.spans, levels.sizes)
    assert torch.equal(level[..., 0], (8 * series[:, 0]).long())
    assert torch.equal(level[..., 1], 9 + series[:, 1].long())


def untaught() -> DefaultUNet:
    given = traffic()
    config = UNetConfig(
        channels=2, size=8, border=3, classes=CLASSES, width=8, levels=(9, 9), groups=CLASSES
    )
    net = config.build()
    assert isinstance(net, DefaultUNet)
    known = Levels.fit(*given, CLASSES), Covariance.fit(*given, CLASSES)
    net.know(*known, alphas_cumprod=Diffusion(schedule="log").alphas_cumprod)
    return net


def test_an_untaught_network_is_bayes_rule() -> None:
    """Its border is the mean over levels, weighed by all that is known of each."""
    net, t, label, given = untaught(), torch.tensor([500]), torch.tensor([1]), traffic()
    noise = float(net.noise[500])
    xt = torch.randn(1, 2, 8, 8)
    xt = (xt + xt.mT) / 2
    out = net(xt, t, label, torch.tensor([1.0])).detach().numpy()
    edge = xt[:, :, :5, 5:].mean(-1) * np.sqrt(1 + noise**2)
    known, x = Covariance.fit(*given, CLASSES), np.arange(9) / 8
    whole = torch.ones(1, 5) > 0
    mean, variance, before = known.others(edge, torch.tensor([noise**2 / 3]), label, whole)
    prior = Levels.fit(*given, CLASSES).chances.exp().numpy()[1]
    for c, i in np.ndindex(2, 5):
        weight = prior[i, 9 * c : 9 * c + 9] * stats.norm.pdf(
            float(edge[0, c, i]), x, noise / np.sqrt(3)
        )
        weight *= stats.norm.pdf(x, float(mean[0, c, i]), float(variance[0, c, i]) ** 0.5)
        weight /= stats.norm.pdf(x, float(known.mean[1, 5 * c + i]), float(before[0, c, i]) ** 0.5)
        np.testing.assert_allclose(out[0, c, i, 5:], (weight @ x) / weight.sum(), atol=1e-4)


def test_what_is_counted_does_not_tell_which_trace_is_asked_about() -> None:
    """With nothing to be seen, the features are the same whichever levels are the right ones."""
    net, (series, _, labels) = untaught(), traffic()
    seen = []
    net._told = lambda features, *_: seen.append(features) or torch.zeros(1, 5, 18)  # type: ignore
    own = net.level_of(series[[0, CLASSES]])
    assert labels[0] == labels[CLASSES]
    assert not torch.equal(own[0], own[1])
    for one in own:
        lost = net(
            torch.zeros(1, 2, 8, 8),
            torch.tensor([999]),
            labels[:1],
            torch.ones(1),
            levels=one[None],
        )
        assert lost.shape == (1,)
        assert lost > 0
    torch.testing.assert_close(*seen, rtol=0, atol=1e-6)


def test_chances_of_scores_are_those_of_the_points_to_be_expected() -> None:
    series, inside, labels = traffic()
    plain = Levels.fit(series, inside, labels, CLASSES)
    points = torch.rand(CLASSES, series.shape[2], 500).square()
    known = Levels.fit(series, inside, labels, CLASSES, [None, points])
    assert torch.equal(known.chances[..., :9], plain.chances[..., :9])
    edges = [*known.spans[10:, 0].tolist(), np.inf]
    for k, place in np.ndindex(*points.shape[:2]):
        below = (points[k, place].numpy()[:, None] < edges).mean(0)
        found = known.chances[k, place, 9:].exp().numpy().cumsum()
        np.testing.assert_allclose(found, below, atol=1 / 500)
