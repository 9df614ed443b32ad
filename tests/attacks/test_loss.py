"""White box: the loss of a trace, on a network that learned by heart and on one that did not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from populations import population, thirds
from scipy.special import ndtr
from small import packets

from netdiffus.attacks.loss_attacks import (
    FIRST_DRAW,
    LEVELS,
    calibrated,
    halves,
    level_names,
    lira,
    losses,
)
from netdiffus.attacks.rates import told_apart
from netdiffus.attacks.refits import refit_losses, trained_alike
from netdiffus.model.model import Model
from netdiffus.networks.batch import Batch
from netdiffus.networks.build import PRESETS, Config, configure
from netdiffus.networks.causal import CausalConfig
from netdiffus.networks.denoiser import DenoiserConfig
from netdiffus.traces.traces import Traces
from netdiffus.training import Recipe, train
from netdiffus.training.batches import Batches

pytestmark = pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")  # of small classes


def auc(model: Model, members: Traces, others: Traces) -> dict[str, float]:
    """Of the mean loss."""
    scores = (-losses(model, traces).mean(axis=1) for traces in (members, others))
    return dict(told_apart(*scores)["auc"])


def without_chance(*given: Any) -> Config:
    """The shape of a network that nothing keeps from learning by heart."""
    shape = configure(*given)
    if isinstance(shape, CausalConfig):
        return replace(shape, dropout=0.0, hidden=0.0, jittered=(False,) * len(shape.sizes))
    assert isinstance(shape, DenoiserConfig)
    return replace(shape, dropout=0.0)


def test_loss_of_a_trace_is_the_networks_own() -> None:
    """That of one batch: nats a point, over all points and ends."""
    traces = packets(n=60).truncate(5)
    model = train(traces, recipe=Recipe(steps=3))
    found = losses(model, traces)[:, 0]
    coded = Batches(model, traces, len(traces), 0.0, 0)
    batch = Batch(coded.data.long(), coded.labels, coded.columns, torch.arange(len(traces)))
    ends = np.minimum(traces.lengths + 1, model.codec.points)
    with torch.no_grad():
        # Sums of 60 float32 losses in another order.
        mean = float(model.network.loss(batch))
    assert (found * ends).sum() / ends.sum() == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("preset", [p for p in PRESETS if p not in ("default", "causal", "image")])
def test_noise_is_the_same_for_every_trace(preset: str) -> None:
    traces = packets(n=30).truncate(5)
    model = train(traces, recipe=Recipe(steps=2, batch_size=8), preset=preset, width=16)
    found = losses(model, traces[:6])
    assert found.shape == (6, LEVELS) == (6, len(set(level_names(model))))
    np.testing.assert_array_equal(losses(model, traces[5::-1]), found[::-1])
    np.testing.assert_array_equal(losses(model, traces[2:3]), found[2:3])
    # The draws are none that training takes.
    assert FIRST_DRAW > 2**60


def test_more_noise_hides_more() -> None:
    """Of a network of images: the clearer the image the less there is to be lost."""
    traces = packets(n=30).truncate(5)
    model = train(traces, recipe=Recipe(steps=2, batch_size=8), preset="paper", width=16)
    noises = [float(name.split()[-1]) for name in level_names(model)]
    assert noises == sorted(noises)
    assert noises[0] < 0.5 < 5 < noises[-1]


@pytest.fixture(scope="module")
def sets() -> tuple[Traces, Traces, Traces]:
    return thirds(45)


class TestNetworks:
    """A network without what keeps it from overfitting, and one of other traces."""

    @staticmethod
    def by_heart(traces: Traces, preset: str = "causal") -> Model:
        recipe = Recipe(steps=120, batch_size=45, learning_rate=5e-3, validation_fraction=0.0)
        with mock.patch("netdiffus.model.model.configure", without_chance):
            return train(traces, recipe=recipe, width=32, preset=preset)

    def test_of_tokens(self, sets: tuple[Traces, Traces, Traces]) -> None:
        members, others, unrelated = sets
        assert auc(self.by_heart(members), members, others)["low"] > 0.6
        clean = auc(self.by_heart(unrelated), members, others)
        assert abs(clean["mean"] - 0.5) < 4 * clean["sd"]

    def test_with_noise(self, sets: tuple[Traces, Traces, Traces]) -> None:
        members, others, _ = sets
        assert auc(self.by_heart(members, "series"), members, others)["low"] > 0.55


def simulated(rng: np.random.Generator, learned: float, spread: float, refits: int) -> tuple:
    """Losses of 2,000 traces, half of them members, as their difficulty plus noise of variance 1.

    Being learned from lowers a loss by `learned`; traces differ in difficulty by `spread`.
    """
    hard = rng.normal(0, spread, 2000)
    is_member = np.arange(2000) < 1000
    inside = halves(np.zeros(2000, dtype=np.int64), refits, 0)
    target = hard - learned * is_member + rng.normal(0, 1, 2000)
    others = hard - learned * inside + rng.normal(0, 1, (refits, 2000))
    return target[:, None], others[..., None], inside


def test_reference_and_lira_by_closed_forms() -> None:
    """With many refits both are Neyman and Pearson's test: an AUC of Phi(d / sqrt 2).

    The loss itself, of traces that differ 3 times as much as training varies, has Phi(d / sqrt 20).
    """
    rng = np.random.default_rng(0)
    target, refits, inside = simulated(rng, 1.0, 3.0, 64)
    best, plain = ndtr(1 / np.sqrt(2)), ndtr(1 / np.sqrt(20))
    for scores, truth in (
        (-target[:, 0], plain),
        (calibrated(target, refits, inside), best),
        (lira(target, refits, inside), best),
    ):
        found = told_apart(scores[:1000], scores[1000:])["auc"]
        # 64 refits know a mean of a trace to 1 / sqrt 32 of the noise, which costs 0.005.
        assert abs(found["mean"] - truth) < 3 * found["sd"] + 0.01


def test_lira_of_what_was_not_learned_is_a_guess() -> None:
    target, refits, inside = simulated(np.random.default_rng(1), 0.0, 3.0, 8)
    for attack in (calibrated, lira):
        scores = attack(target, refits, inside)
        found = told_apart(scores[:1000], scores[1000:])["auc"]
        assert abs(found["mean"] - 0.5) < 4 * found["sd"]


def test_lira_takes_levels_that_vary_together() -> None:
    """Twice the same level tells as much as once."""
    target, refits, inside = simulated(np.random.default_rng(2), 1.0, 3.0, 8)
    twice = lira(*(np.repeat(x, 2, axis=-1) for x in (target, refits)), inside)
    np.testing.assert_allclose(twice, lira(target, refits, inside), rtol=1e-6, atol=1e-9)


def test_halves_hold_half_of_each_class_and_all_traces() -> None:
    labels = np.repeat([0, 1, 2], [10, 7, 2])
    inside = halves(labels, 6, 3)
    for one, other in zip(inside[::2], inside[1::2], strict=True):
        assert (one ^ other).all()
    for label, n in enumerate((10, 7, 2)):
        per_class = inside[:, labels == label].sum(axis=1)
        assert set(per_class.tolist()) <= {n // 2, -(-n // 2)}
    assert len({row.tobytes() for row in inside}) == 6


@pytest.mark.parametrize("preset", ["causal", "paper"])
def test_refits_are_trained_as_the_model_was(preset: str) -> None:
    traces = population(40)
    recipe = Recipe(steps=2, batch_size=8, validation_fraction=0.0)
    model = train(traces, recipe=recipe, preset=preset, width=16)
    again = trained_alike(model, traces, recipe)
    for name, tensor in model.network.state_dict().items():
        torch.testing.assert_close(again.network.state_dict()[name], tensor, rtol=0, atol=0)
    found, inside = refit_losses(model, traces, 1)
    assert found.shape == (2, 40, 1 if preset == "causal" else LEVELS)
    assert inside.shape == (2, 40)
