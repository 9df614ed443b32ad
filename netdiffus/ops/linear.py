"""Linear maps of many rows, by whichever matrix product of torch is faster."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from netdiffus.ops import _backend

FEW = 128  # rows below which the plain product is as fast


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    gelu: bool = False,
    backend: str = "auto",
) -> Tensor:
    """Returns ``x @ weight.T + bias``, as ``torch.nn.functional.linear`` does. Differentiable.

    On processors with AVX-512, float32 rows without a gradient go to oneDNN by the op that torch's
    own compiler emits, which adds the bias and takes the GELU in the same pass: on an AMD EPYC with
    AVX-512 the plain product, which is MKL's, ran at half the speed. With AVX2 alone the plain
    product is the faster one. Neither is a kernel of ours: ``backend`` only says whether to.

    Args:
        x: (..., inputs).
        weight: (outputs, inputs).
        bias: (outputs,), or None.
        gelu: Whether to return the GELU of that.
        backend: ``"torch"`` for the plain product, anything else for the faster one.

    Returns:
        (..., outputs).
    """
    rows = x.numel() // max(1, x.shape[-1])
    is_plain = backend == "torch" or rows < FEW or x.dtype is not torch.float32
    fused = None if is_plain or x.device.type != "cpu" else _fused()
    if fused is None or _needs_more(x, weight, bias):
        mapped = F.linear(x, weight, bias)
        return F.gelu(mapped) if gelu else mapped
    made: Tensor = fused(x.contiguous(), weight.contiguous(), bias, *(_GELU if gelu else _NONE))
    return made


_NONE: tuple[Any, ...] = ("none", [], "")
_GELU: tuple[Any, ...] = ("gelu", [], "none")  # by the error function, not by tanh


def _fused() -> Any:
    """The linear map of oneDNN with what follows it; None where the plain product is faster."""
    if _backend.isa() != "x86-64-v4":
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def _needs_more(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether a gradient or a graph is to be made."""
    given = (x, weight) if bias is None else (x, weight, bias)
    return _backend.wants_gradient(*given) or _backend.is_traced(x)
