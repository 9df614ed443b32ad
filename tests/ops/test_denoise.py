from __future__ import annotations

import itertools
from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pytest
import torch
from everywhere import DTYPES
from torch import Tensor

from netdiffus.ops import Step, denoise_step, normal

SEED = 2**64 - 3
PLAIN = Step(7, a=1.7, b=-1.3, c=0.6, d=0.45)
STEPS = [
    PLAIN,
    replace(PLAIN, e=-0.2),
    replace(PLAIN, sigma=0.3),
    replace(PLAIN, e=-0.2, sigma=0.3),
    Step(0, a=0.0, b=1.0, c=0.0, d=1.0),
]
SHAPES = [((5,), False), ((3, 7, 11), False), ((2, 8, 8), True), ((33, 33), True), ((1, 1), True)]
# x_next is below 8 in size and takes a few roundings of the dtype's; noise is float32.
TOLERANCE = {
    torch.float64: 3e-7,
    torch.float32: 2e-6,
    torch.float16: 4e-3,
    torch.bfloat16: 3e-2,
}


def arrays(*shape: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> list[Tensor]:
    """xt, out_net and x0_prev, with x0 beyond -1 and 1 in places."""
    drawn = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return [v.to(dtype).to(device) for v in drawn]


def by_hand(step: Step, xt: Tensor, out_net: Tensor, x0_prev: Tensor, z: Tensor) -> list[Any]:
    """In NumPy, float64."""
    noisy, out, before, noise = (v.cpu().double().numpy() for v in (xt, out_net, x0_prev, z))
    x0 = np.clip(step.a * noisy + step.b * out, -1, 1)
    return [step.c * noisy + step.d * x0 + step.e * before + step.sigma * noise, x0]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: str(astuple(step)[1:]))
@pytest.mark.parametrize(("shape", "symmetric"), SHAPES)
def test_equals_the_formula(
    backend: str, device: str, step: Step, shape: tuple[int, ...], symmetric: bool
) -> None:
    index = torch.tensor([4, 0, 2**40], device=device)
    z = normal(SEED, index, 9, shape, symmetric=symmetric, backend="torch")
    for dtype in DTYPES[backend]:
        xt, out_net, x0_prev = arrays(3, *shape, dtype=dtype, device=device)
        found = denoise_step(
            step,
            xt,
            out_net,
            x0_prev if step.e else None,
            seed=SEED,
            index=index if step.sigma else None,
            draw=9,
            symmetric=symmetric,
            backend=backend,
        )
        for one, expected in zip(found, by_hand(step, xt, out_net, x0_prev, z), strict=True):
            assert one.dtype is dtype
            difference = np.abs(one.cpu().double().numpy() - expected).max()
            assert difference <= TOLERANCE[dtype]


@pytest.mark.parametrize("shape", [(0, 3, 3), (2, 0, 0), (2, 3, 0, 0)])
def test_empty(backend: str, device: str, shape: tuple[int, ...]) -> None:
    index = torch.arange(shape[0], device=device)
    found = denoise_step(STEPS[3], *arrays(*shape, device=device), index=index, backend=backend)
    assert [v.shape for v in found] == [shape, shape]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: str(astuple(step)[1:]))
def test_in_place(backend: str, device: str, step: Step) -> None:
    xt, out_net, x0_prev = arrays(5, 2, 13, 13, device=device)
    how: dict[str, Any] = {"index": torch.arange(5, device=device), "backend": backend}
    expected = denoise_step(step, xt, out_net, x0_prev, **how)
    out = [torch.full_like(xt, torch.nan) for _ in range(2)]
    assert all(
        a is b
        for a, b in zip(denoise_step(step, xt, out_net, x0_prev, out=out, **how), out, strict=True)
    )
    assert all(map(torch.equal, out, expected))
    found = denoise_step(step, xt, out_net, x0_prev, out=(xt, x0_prev), **how)
    assert found[0] is xt
    assert found[1] is x0_prev
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("backend", ["cpp"], indirect=True)
@pytest.mark.parametrize("step", [STEPS[1], STEPS[3]], ids=["plain", "noisy"])
def test_a_batch_past_the_cache_equals_its_parts(backend: str, device: str, step: Step) -> None:
    # 48 MiB, where the kernel turns to streaming stores on most machines; in place as well.
    inputs, index = arrays(1000, 64, 64, device=device), torch.arange(1000, device=device)

    def run(part: slice, **how: Any) -> tuple[Tensor, Tensor]:
        return denoise_step(step, *(v[part] for v in inputs), index=index[part], **how)

    parts = [slice(0, 3), slice(499, 502), slice(997, 1000)]
    expected = [run(part, backend=backend) for part in parts]
    whole = [run(slice(None), backend=backend)]
    whole.append(run(slice(None), out=(inputs[0], inputs[2]), backend=backend))
    for found, (part, few) in itertools.product(whole, zip(parts, expected, strict=True)):
        assert all(torch.equal(a[part], b) for a, b in zip(found, few, strict=True))


def test_nan_stays_where_it_is(backend: str, device: str) -> None:
    for place in range(3):
        inputs = arrays(2, 20, 20, device=device)
        inputs[place][1, 2, 3] = torch.nan
        x_next, x0 = denoise_step(
            STEPS[3], *inputs, index=torch.arange(2, device=device), backend=backend
        )
        assert torch.equal(x_next.isnan(), inputs[place].isnan())
        assert torch.equal(x0.isnan(), inputs[place].isnan() & (place < 2))


def test_what_a_zero_leaves_out_is_not_read(backend: str, device: str) -> None:
    xt, out_net, _ = arrays(2, 5, 5, device=device)
    nan = torch.full_like(xt, torch.nan)
    found = denoise_step(PLAIN, xt, out_net, nan, backend=backend)
    assert all(map(torch.equal, found, denoise_step(PLAIN, xt, out_net, None, backend=backend)))


def test_takes_torch_for_a_gradient() -> None:
    inputs = [v.requires_grad_() for v in arrays(2, 3, 3, dtype=torch.float64)]
    index = torch.arange(2)
    assert torch.autograd.gradcheck(lambda *v: denoise_step(STEPS[3], *v, index=index), inputs)


def test_registered_op_keeps_torchs_rules() -> None:
    factors = list(astuple(STEPS[3])[1:])
    inputs, index = arrays(2, 1, 6, 6), torch.arange(2)
    torch.library.opcheck(
        torch.ops.netdiffus.denoise_step, (factors, *inputs, -5, index, 1, True, "auto")
    )


XT = torch.zeros(2, 3, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"xt": XT.int()}, "xt: expected float32"),
        ({"xt": XT[:, :2], "out_net": XT[:, :2]}, "xt: symmetric noise needs square last axes"),
        ({"out_net": XT.double()}, r"out_net: expected \(2, 3, 3\) torch.float32"),
        ({"out_net": XT[:1]}, r"out_net: .* found \(1, 3, 3\)"),
        ({"x0_prev": XT.mT[:, :2]}, "x0_prev: expected"),
        ({"x0_prev": torch.zeros(2, 3, 3, device="meta")}, "x0_prev: .* on meta"),
        ({"x0_prev": None}, r"x0_prev: expected the x0 of the step before, as e=-0\.2"),
        ({"index": None}, r"index: expected trace numbers, as sigma=0\.3"),
        ({"index": torch.arange(3)}, r"index: expected \(2,\)"),
        ({"index": torch.arange(2.0)}, r"index: expected \(B,\) int64"),
        ({"seed": 2**64}, "seed: expected"),
        ({"draw": -1}, "draw: .* found -1"),
        ({"out": [XT + 1]}, "out: .* found 1 tensors"),
        ({"out": [XT + 1, torch.zeros(2, 3, 4)]}, r"out\[1\]: expected \(2, 3, 3\)"),
        ({"out": [XT + 1, torch.zeros(2, 3, 3).mT]}, r"out\[1\]: expected a contiguous"),
        ({"out": [torch.zeros(2, 3, 3)] * 2}, r"out: shares memory with out\[1\]"),
    ],
)
def test_bad_input(backend: str, arguments: dict[str, Any], message: str) -> None:
    plain = {"xt": XT, "out_net": XT, "x0_prev": XT, "index": torch.arange(2), "backend": backend}
    with pytest.raises(ValueError, match=message):
        denoise_step(STEPS[3], **{**plain, **arguments})


@pytest.mark.parametrize(
    ("x_next", "x0", "shared"),
    [(1, 6, "out_net"), (2, 6, "x0_prev"), (6, 0, "xt"), (6, 1, "out_net"), (0.5, 6, "xt")],
)
def test_overlap_other_than_in_place(
    backend: str, device: str, x_next: float, x0: float, shared: str
) -> None:
    memory = torch.zeros(8, 18, device=device).flatten()

    def at(place: float) -> Tensor:
        return memory[int(18 * place) :][:18].view(2, 3, 3)

    with pytest.raises(ValueError, match=f"out: shares memory with {shared}"):
        denoise_step(PLAIN, at(0), at(1), at(2), out=(at(x_next), at(x0)), backend=backend)
