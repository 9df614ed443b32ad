"""Linear maps of many rows, by whichever matrix product of torch is faster."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from netdiffus.ops import _backend

FEW = 128  # rows below which the plain product is as fast


def halved(x: Tensor, backend: str = "auto") -> Tensor:
    """``x`` as bfloat16 where that is how its products are faster while learning, else ``x``.

    Processors with such products (AVX-512 BF16, AMX) take them twice as fast or more, and add them
    up in float32. Loss curves agree to 0.1 %; what is sampled, without a gradient, stays float32.

    Args:
        x: float32, on the CPU; any other is returned.
        backend: ``"torch"`` for ``x`` itself.
    """
    wanted = torch.is_grad_enabled() and x.dtype is torch.float32 and x.device.type == "cpu"
    if backend == "torch" or not wanted or not multiplies_halves():
        return x
    return x.bfloat16()


def multiplies_halves() -> bool:
    """Whether this processor has products of bfloat16, and may use them (see `isa`)."""
    told = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)  # a name of torch's own
    return _backend.isa() == "x86-64-v4" and bool(told())


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    gelu: bool = False,
    backend: str = "auto",
) -> Tensor:
    """Returns ``x @ weight.T + bias``, as ``torch.nn.functional.linear`` does. Differentiable.

    On the CPU, float32 rows go to oneDNN: its products use the widest vectors of every processor,
    those of MKL only of some (on an AMD EPYC with AVX-512 they ran at half the speed, forward and
    backward). Where no gradient is wanted this is the op that torch's own compiler emits, which
    adds the bias and takes the GELU in the same pass. Else it is a 1 x 1 convolution, which torch
    gives to oneDNN from two threads on. Neither is a kernel of ours: ``backend`` only says whether
    to.

    Args:
        x: (..., inputs); float32 weights are narrowed to it where it is bfloat16 (see `halved`).
        weight: (outputs, inputs).
        bias: (outputs,), or None.
        gelu: Whether to return the GELU of that.
        backend: ``"torch"`` for the plain product, anything else for the faster one.

    Returns:
        (..., outputs).
    """
    rows = x.numel() // max(1, x.shape[-1])
    if x.dtype is torch.bfloat16:
        mapped = F.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))
    elif backend == "torch" or rows < FEW or x.dtype is not torch.float32 or x.device.type != "cpu":
        mapped = F.linear(x, weight, bias)
    elif (fused := _fused()) and not _needs_more(x, weight, bias):
        made: Tensor = fused(x.contiguous(), weight.contiguous(), bias, *(_GELU if gelu else _NONE))
        return made
    else:
        image = x.reshape(1, rows, 1, -1).permute(0, 3, 1, 2)  # rows as pixels, channels last
        image = F.conv2d(image, weight[:, :, None, None], bias)
        mapped = image.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)
    return F.gelu(mapped) if gelu else mapped


_NONE: tuple[Any, ...] = ("none", [], "")
_GELU: tuple[Any, ...] = ("gelu", [], "none")  # by the error function, not by tanh


def _fused() -> Any:
    """The linear map of oneDNN with what follows it, or None where torch was built without."""
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def _needs_more(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether a gradient or a graph is to be made."""
    given = (x, weight) if bias is None else (x, weight, bias)
    return _backend.wants_gradient(*given) or _backend.is_traced(x)
