"""The kernels as compiled for sm_80, executed instruction by instruction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("triton", reason="backend triton: triton is not installed")

import torch
from torch import Tensor
from triton_cases import (
    SEED,
    STEP,
    STEPS,
    Check,
    assert_near,
    cases,
    check_area_resize,
    check_denoise_step,
    check_gasf,
    check_gasf_decode,
    check_gasf_image,
    check_level_chances,
    check_level_loss,
    check_level_means,
    check_modulate,
    check_normal,
    check_precision,
    check_q_sample,
    covariances,
    known,
    random,
    white,
)

from netdiffus.ops.levels import level_loss_reference
from netdiffus.ops.modulate import TAPS, modulate_reference
from netdiffus.ops.precision import precision_reference
from netdiffus.ops.triton import denoise, levels, modulate, noise, precision

single, half, brain = torch.float32, torch.float16, torch.bfloat16

AWKWARD: dict[Check, list[tuple[Any, ...]]] = {
    check_gasf: [(1, 1, single), (3, 127, single), (2, 100, half), (2, 80, brain)],
    check_gasf_image: [
        (1, 1, 1, 0.25, single),
        (3, 449, 61, 0.3, single),
        (16, 448, 128, 1.0, single),
        (2, 70, 125, 2.2, single),
        (2, 500, 96, 0.5, half),
    ],
    check_area_resize: [
        (1, (1, 1), (1, 1), single),
        (2, (131, 97), (61, 13), single),
        (2, (61, 200), (127, 64), half),
        (1, (70, 33), (125, 97), brain),
    ],
    check_normal: [
        ((5, 1031), False, single),
        ((2, 3, 1024), False, brain),
        ((2, 2, 101, 101), True, single),
        ((2, 3, 44, 44), True, half),
    ],
    check_q_sample: [
        ((2, 2, 67, 67), True, "v", single),
        ((3, 2047), False, "eps", single),
        ((2, 1, 96, 96), True, "x0", brain),
    ],
    check_denoise_step: [
        ((3, 1, 37, 37), True, "all", True, single),
        ((2, 2, 100, 100), True, "ddpm", False, half),
        ((5, 1031), False, "all", True, single),
        ((3, 683), False, "dpm++", True, brain),
    ],
    check_gasf_decode: [
        (2, 1, 1.0, 0.0, single),
        (2, 8, 1.0, 0.5, single),
        (3, 61, 0.3, 0.1, single),
        (2, 128, 0.25, 0.02, single),
        (1, 150, 1.0, 0.1, half),
    ],
    check_modulate: [
        (2, 1, 5, True, single),
        (3, 34, 37, True, single),
        (2, 9, 200, True, single),
        (2, 20, 72, False, half),
        (1, 33, 96, True, brain),
    ],
    check_level_chances: [
        (1, 1, (1,), single),
        (3, 7, (100, 37, 2), single),
        (2, 5, (33, 1), half),
        (2, 5, (5, 70), brain),
    ],
    check_level_means: [(3, 7, (100, 37, 2), 0.3, single), (2, 5, (33, 1), 1.0, half)],
    check_level_loss: [(3, 7, (100, 37, 2), single), (2, 5, (33, 1), brain)],
    check_precision: [
        (1, 1, 1, single),
        (3, 37, 2, single),
        (2, 130, 1, half),
        (2, 80, 3, brain),
    ],
}


@pytest.mark.parametrize(("check", "arguments"), cases(AWKWARD))
def test_results(offline: Callable[..., Any], check: Check, arguments: tuple[Any, ...]) -> None:
    used = offline()
    check(*arguments)
    assert used.launched


def last_of(tensor: Tensor) -> Tensor:
    """70,000 traces of which only the last is there."""
    return tensor.expand(70_000, *tensor.shape[1:])


@pytest.mark.parametrize("symmetric", [True, False])
def test_more_elements_than_32_bits_count(offline: Callable[..., Any], symmetric: bool) -> None:
    """The last programs of 4.6 billion elements write where they should."""
    m, index, noisy = 256, torch.tensor([9]), STEPS["all"]
    made = [torch.full((1, 1, m, m), torch.nan) for _ in range(4)]
    xt, net, before = (random(1, 1, m, m) - k for k in range(3))
    tensors = [last_of(tensor) for tensor in (xt, net, before)]
    noise_out, x_next, x0, plain = (last_of(tensor) for tensor in made)
    used = offline(last=36 if symmetric else 64)  # the programs of one trace
    noise.normal(SEED, last_of(index), STEP, symmetric, noise_out)
    denoise.denoise_step(noisy, *tensors, SEED, last_of(index), STEP, symmetric, x_next, x0)
    used.last = 64
    denoise.denoise_step(STEPS["ddim"], *tensors, SEED, None, STEP, symmetric, plain, x0)
    z = white(index, (1, m, m), symmetric)
    clean = net.double().clamp(-1, 1)
    assert_near(made[0], z, 1e-6)
    assert_near(made[1], noisy[2] * xt + noisy[3] * clean + noisy[4] * before + noisy[5] * z, 1e-6)
    a, b, c, d, *_ = STEPS["ddim"]
    assert_near(made[3], c * xt + d * (a * xt + b * net).double().clamp(-1, 1), 1e-6)


def test_rows_of_more_elements_than_32_bits_count(offline: Callable[..., Any]) -> None:
    m, made = 256, torch.full((1, 256, 256), torch.nan)
    s, line, taps = random(1, m, m), random(1, m), random(TAPS, m)
    offline(last=32)  # measures 256 rows, makes 64
    modulate.modulate(
        last_of(s), last_of(line), last_of(line), taps, taps[0].clone(), last_of(made)
    )
    expected = modulate_reference(s, line, line, taps, taps[0]).double()
    assert made[:, :192].isnan().all()
    assert_near(made[:, 192:], expected[:, 192:], 5e-6)


def test_more_levels_than_32_bits_count(offline: Callable[..., Any]) -> None:
    """The last programs of 70,000 traces with 40,960 levels each."""
    m, sizes = 128, (317, 3)
    given = known(1, m, sizes, single)
    held = [last_of(v) for v in (given.chances, given.told, given.own)]
    lost, gradient = torch.full((1, m, 2), torch.nan), torch.full((1, m, 320), torch.nan)
    offline(last=m // levels.ROWS.value)
    levels.level_loss(held, sizes, last_of(lost))
    levels.level_loss_backward((*held, last_of(given.edge)), sizes, last_of(gradient))
    told = given.told.double().requires_grad_()
    expected = level_loss_reference(given.chances.double(), told, given.own, sizes)
    expected.backward(given.edge.double())
    assert_near(lost, expected.detach(), 1e-5)
    assert told.grad is not None
    assert_near(gradient, told.grad, 1e-6)


def test_level_of_another_channel_gives_nan(offline: Callable[..., Any]) -> None:
    offline()
    chances, g = torch.zeros(1, 3, 8), torch.ones(1, 3, 2)
    held = chances, chances, torch.tensor([[[0, 7], [5, 4], [-1, 2**40]]])
    lost, gradient = torch.empty_like(g), torch.empty_like(chances)
    levels.level_loss(held, (5, 3), lost)
    levels.level_loss_backward((*held, g), (5, 3), gradient)
    for found in (lost, gradient):
        assert not found[0, 0].isnan().any()
        assert found[0, 1:].isnan().all()


def test_group_that_is_none_gives_nan(offline: Callable[..., Any]) -> None:
    offline()
    given = covariances(4, 37, 2, single)
    given[2] = torch.tensor([1, 2, -1, 2**40])
    found = torch.empty(4, 4, 37)
    precision.precision(given, found)
    assert not found[:, 0].isnan().any()
    assert found[:, 1:].isnan().all()


def test_more_eigenvectors_than_32_bits_count(offline: Callable[..., Any]) -> None:
    """The last of 70,000 groups, each of 65,536 numbers."""
    given, found = covariances(1, 256, 1, single), torch.empty(4, 1, 256)
    apart, noisy, group, *last = given
    offline()
    precision.precision([apart, noisy, group + 69_999, *map(last_of, last)], found)
    expected = precision_reference(*given).double()
    assert_near(found, expected, 1e-6 * float(expected.max()))


def test_large_batches_of_precisions(offline: Callable[..., Any]) -> None:
    given, found = covariances(70_000, 1, 3, single), torch.full((4, 70_000, 1), torch.nan)
    offline(last=5)
    precision.precision(given, found)
    expected = precision_reference(*given).double()
    assert found[:, :-5].isnan().all()
    assert_near(found[:, -5:], expected[:, -5:], 1e-6 * float(expected.max()))


ELEMENTWISE: dict[Check, list[tuple[Any, ...]]] = {
    check_gasf: [(2, 64, dtype) for dtype in (single, half)],
    check_normal: [((2, 1, 64, 64), symmetric, single) for symmetric in (True, False)],
    check_q_sample: [((2, 1, 64, 64), symmetric, "v", single) for symmetric in (True, False)],
    check_denoise_step: [
        ((2, 1, 64, 64), True, "all", False, single),
        ((2, 1, 64, 64), True, "all", False, half),
        ((2, 1, 64, 64), False, "all", False, single),
        ((2, 1, 64, 64), False, "dpm++", True, brain),
    ],
    check_modulate: [(2, 32, 64, True, dtype) for dtype in (single, half)],
    check_precision: [(2, 64, 2, single)],
}


@pytest.mark.parametrize(("check", "arguments"), cases(ELEMENTWISE))
def test_memory_traffic(
    offline: Callable[..., Any], check: Check, arguments: tuple[Any, ...]
) -> None:
    """No sector is moved that is not asked for, and no bank is waited for."""
    used = offline()
    check(*arguments)
    assert any(kind == "st" for _, kind, _ in used.traffic)
    for (line, kind, width), (requests, units, asked) in used.traffic.items():
        if kind in ("ld", "st"):
            assert 32 * units <= asked, f"PTX line {line}: {units} sectors for {asked} bytes"
        else:
            passes = max(1, width // 4) * requests
            assert units <= passes, f"PTX line {line}: {units} passes, {passes} needed"


OF_LEVELS: dict[Check, list[tuple[Any, ...]]] = {
    check_level_chances: [(2, 12, (64, 32), dtype) for dtype in (single, half)],
    check_level_means: [(2, 12, (64, 32), 1.0, single)],
    check_level_loss: [(2, 12, (64, 32), single)],
}


@pytest.mark.parametrize(("check", "arguments"), cases(OF_LEVELS))
def test_lanes_take_levels_side_by_side(
    offline: Callable[..., Any], check: Check, arguments: tuple[Any, ...]
) -> None:
    """Rows of features start anywhere: a request spans two, each of a sector more.

    Spans come three to a level: a request reads each third number of a table that stays in cache.
    """
    used = offline()
    check(*arguments)
    for (line, kind, width), (requests, units, asked) in used.traffic.items():
        if kind in ("lds", "sts"):
            assert units <= max(1, width // 4) * requests, f"bank conflicts at PTX line {line}"
        elif asked > 8 * width * requests:  # else it is what a point has once
            sectors = asked + 64 * requests
            if kind == "ld" and check is not check_level_loss:
                sectors = max(sectors, 3 * asked)
            assert 32 * units <= sectors, f"PTX line {line}: {units} sectors for {asked} bytes"


def test_shared_memory_is_seen(offline: Callable[..., Any]) -> None:
    """The check of the banks has something to check: transposes go through shared memory."""
    used = offline()
    check_normal((1, 64, 64), True, single)
    assert any(kind == "sts" and units for (_, kind, _), (_, units, _) in used.traffic.items())
