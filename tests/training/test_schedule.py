from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

from netdiffus.training.schedule import LEAST_RATE, TOLERANCE, WARM_UP, Schedule


def run(steps: int, losses: dict[int, float], resume_at: int = -1) -> list[float]:
    """Rates of a run of so many steps at most, with validation losses after some of them."""
    schedule, rates = Schedule(), []
    for step in range(10 * steps):
        share = step / steps
        if schedule.is_over(step, share):
            break
        if schedule.decay_step is None and schedule.wants_decay(share):
            schedule.begin_decay(step, share)
        rates.append(schedule.rate(step, share))
        if step + 1 in losses and schedule.decay_step is None:
            schedule.measure(losses[step + 1])
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


def test_the_fall_begins_when_the_validation_loss_has_risen_and_takes_half_as_long() -> None:
    falling = {40: 3.0, 80: 2.0, 120: 2.0 * TOLERANCE - 1e-9, 160: 2.03}
    rates = run(10_000, falling)
    assert rates[159] == 1.0
    assert rates[161] < 1.0  # the first step of the fall still has the whole rate
    assert len(rates) == 160 + 80
    assert rates[-1] < 1.01 * LEAST_RATE


def test_a_loss_that_rises_no_more_than_is_tolerated_changes_nothing() -> None:
    losses = {step: 2.0 * (1.0099 if step > 40 else 1) for step in range(40, 600, 40)}
    assert run(600, losses) == run(600, {})


def test_a_rise_is_measured_from_the_least_loss_not_from_the_last() -> None:
    creeping = {40 * k: 1.0 + 0.006 * (k - 1) for k in range(1, 4)}  # 1.2 % in two small steps
    assert len(run(10_000, creeping)) == 120 + 60
    schedule = Schedule()
    for loss in (5.0, 1.0, 3.0, 0.5):
        schedule.measure(loss)
    assert not schedule.is_overfitting  # it fell again
    assert (schedule.validation_loss, schedule.least_loss) == (0.5, 0.5)


def test_what_is_over_stays_over() -> None:
    schedule = Schedule()
    assert not schedule.is_over(0, 0.0)
    assert not schedule.is_over(99, 0.99)
    assert schedule.is_over(100, 1.0)
    schedule.measure(1.0)
    schedule.measure(2.0)
    schedule.begin_decay(100, 0.1)
    assert [schedule.is_over(step, 0.1) for step in (149, 150, 151)] == [False, True, True]


@pytest.mark.parametrize("resume_at", [0, 30, 100, 161, 200])
@pytest.mark.parametrize("losses", [{}, {40: 1.0, 80: 2.0}, {40: 1.0, 160: 1.2}])
def test_a_resumed_schedule_is_the_same(losses: dict[int, float], resume_at: int) -> None:
    assert run(300, losses, resume_at) == run(300, losses)


def test_a_fall_near_the_end_ends_with_the_budget() -> None:
    assert len(run(300, {40: 1.0, 160: 1.2})) == 160 + 80
    assert len(run(230, {40: 1.0, 120: 1.2})) == 120 + 60
    assert len(run(170, {40: 1.0, 80: 0.9, 113: 1.2})) == 170
