from __future__ import annotations

from dataclasses import asdict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netdiffus.training.schedule import LEAST_RATE, WARM_UP, Schedule


def run(
    steps: int, losses: dict[int, float], resume_at: int = -1, learned: float = 0.0
) -> list[float]:
    """Rates of a run of so many steps at most, with validation losses after some of them.

    `learned` is the loss of traces that are learned from, by default far below.
    """
    schedule, rates = Schedule(learned_loss=learned), []
    for step in range(10 * steps):
        share = step / steps
        if schedule.is_over(step, share):
            break
        if schedule.decay_step is None and schedule.wants_decay(share):
            schedule.begin_decay(step, share)
        rates.append(schedule.rate(step, share))
        if step + 1 in losses and schedule.decay_step is None:
            schedule.losses.append(losses[step + 1])
        if step == resume_at:
            schedule = Schedule(**asdict(schedule))
    return rates


def test_the_rate_rises_in_equal_steps_to_its_highest() -> None:
    rates = run(600, {})
    assert rates[:50] == pytest.approx([k / 50 for k in range(1, 51)])
    assert WARM_UP == 50


def test_it_stays_until_the_last_third() -> None:
    assert set(run(700, {})[49:467]) == {1.0}


def test_it_then_falls_by_half_a_cosine_as_torch_has_it() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 233, eta_min=LEAST_RATE)
    expected = []
    for _ in range(233):
        expected.append(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    rates = run(700, {})
    assert rates[467:] == pytest.approx(expected, rel=1e-6)
    assert len(rates) == 700
    assert rates[-1] < 1.01 * LEAST_RATE


FLAT = [9.0, 8.0, 6.0, 4.0, 5.0, 4.0, 4.0, 3.9]  # by less than 3 % lower in the last quarter
FALLING = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 4.0, 3.87]


def each_40(losses: list[float]) -> dict[int, float]:
    """Losses after 40 steps, after 80 and so on."""
    return {40 * k: loss for k, loss in enumerate(losses, start=1)}


def test_the_fall_begins_at_a_plateau_and_takes_half_as_long() -> None:
    rates = run(10_000, each_40(FLAT))
    assert set(rates[49:321]) == {1.0}  # the first step of the fall still has the whole rate
    assert rates[321] < 1.0
    assert len(rates) == 320 + 160
    assert rates[-1] < 1.01 * LEAST_RATE


def test_a_plateau_without_a_gap_to_learned_traces_is_no_overfitting() -> None:
    """Where both losses are near each other there is more to learn, however slowly."""
    assert run(600, each_40(FLAT), learned=0.87 * FLAT[-1]) == run(600, {})
    assert len(run(10_000, each_40(FLAT), learned=0.85 * FLAT[-1])) == 320 + 160


def test_a_loss_that_still_falls_changes_nothing() -> None:
    assert run(600, each_40(FALLING)) == run(600, {})
    steady = [2.0 * 0.98**k for k in range(40)]
    assert len(run(2000, each_40(steady))) == 2000


def test_few_losses_are_no_plateau() -> None:
    assert run(600, each_40([2.0] * 7)) == run(600, {})
    assert len(run(10_000, each_40([2.0] * 8))) == 320 + 160


def test_a_rise_is_a_plateau_too() -> None:
    assert len(run(10_000, each_40([5.0, 4.0, 3.0, 2.0, 2.5, 3.0, 4.0, 5.0]))) == 320 + 160


@given(st.lists(st.floats(0.9, 1.1), min_size=1, max_size=24))
def test_a_plateau_is_a_last_quarter_that_is_no_lower(losses: list[float]) -> None:
    last = len(losses) // 4
    before, recent = losses[: len(losses) - last], losses[len(losses) - last :]
    expected = len(losses) >= 8 and min(recent) > 0.97 * min(before)
    assert Schedule(losses).is_plateau == expected
    assert Schedule(losses).least_loss == min(losses)


def test_what_is_over_stays_over() -> None:
    schedule = Schedule(learned_loss=0.0)
    assert not schedule.is_over(0, 0.0)
    assert not schedule.is_over(99, 0.99)
    assert schedule.is_over(100, 1.0)
    schedule.losses += [1.0] * 8
    schedule.begin_decay(100, 0.1)
    assert [schedule.is_over(step, 0.1) for step in (149, 150, 151)] == [False, True, True]


@pytest.mark.parametrize("resume_at", [0, 30, 100, 321, 400])
@pytest.mark.parametrize("losses", [[], FLAT, FALLING])
def test_a_resumed_schedule_is_the_same(losses: list[float], resume_at: int) -> None:
    assert run(600, each_40(losses), resume_at) == run(600, each_40(losses))


def test_a_fall_near_the_end_ends_with_the_budget() -> None:
    assert len(run(1000, each_40(FLAT))) == 480
    assert len(run(500, each_40(FLAT))) == 480
    assert len(run(482, each_40(FLAT))) == 480
    assert len(run(400, each_40(FLAT))) == 400
