"""Powers: of pixels, for the contrast of an image, and of e."""

from __future__ import annotations

import triton
import triton.language as tl

from netdiffus.ops.triton.noise import log_parts

_SHAPES = {0.25: "root4", 0.5: "root2", 1.0: "1", 2.0: "2", 4.0: "4"}


def shape_of_power(gamma: float) -> str:
    """How :func:`power` computes v^gamma: by roots and products where they suffice."""
    return _SHAPES.get(gamma, "any")


@triton.jit
def power(v, gamma, SHAPE: tl.constexpr):
    """v^gamma for v in [0, 1] and gamma > 0. NaN stays NaN."""
    if SHAPE == "1":
        result = v
    elif SHAPE == "root4":
        result = tl.sqrt_rn(tl.sqrt_rn(v))
    elif SHAPE == "root2":
        result = tl.sqrt_rn(v)
    elif SHAPE == "2":
        result = v * v
    elif SHAPE == "4":
        result = (v * v) * (v * v)
    else:
        result = _any_power(v, gamma)
    return result


@triton.jit
def _any_power(v, gamma):
    """Relative error about 1e-7 (1 + |log2 v^gamma|); what is below 2^-126 is 0."""
    exponent, artanh = log_parts(v * 2.0**24)  # scaled, as the parts hold for normal numbers only
    y = gamma * ((exponent - 24) + 2.88539008 * artanh)  # 2 / ln 2
    return tl.where(v == v, tl.where(v > 0, _exp2_below(y), 0.0), v)


@triton.jit
def exponential(v):
    """e^v for v <= 0, 0 where that is below 2^-126. NaN stays NaN."""
    return tl.where(v == v, _exp2_below(1.44269504 * v), v)


@triton.jit
def _exp2_below(y):
    """2^y for y <= 0; below 2^-126 it is 0. Relative error about 1e-7."""
    bounded = tl.maximum(y, -126.0)
    whole = (bounded - 0.5).to(tl.int32)  # to the nearest, as y <= 0
    a = 0.693147181 * (bounded - whole.to(tl.float32))
    series = 1 / 24 + a * (1 / 120 + a * (1 / 720 + a * (1 / 5040)))
    exp_a = 1 + a * (1 + a * (1 / 2 + a * (1 / 6 + a * series)))
    result = exp_a * ((whole + 127) << 23).to(tl.float32, bitcast=True)
    return tl.where(y > -126, result, 0.0)
