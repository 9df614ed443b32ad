"""Linear maps of many rows, by whichever matrix product of torch is faster."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

FEW = 128  # rows below which the plain product is as fast


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, *, backend: str = "auto") -> Tensor:
    """Returns ``x @ weight.T + bias``, as ``torch.nn.functional.linear`` does. Differentiable.

    On the CPU, float32 rows go through a 1 x 1 convolution, which torch gives to oneDNN: its
    products use the widest vectors of every processor, those of MKL only of some (on an AMD EPYC
    with AVX-512 they ran at half the speed, forward and backward). torch does so from two threads
    on; with one, both forms are as fast. It is no kernel of ours, so ``backend`` only says whether
    to do this.

    Args:
        x: (..., inputs).
        weight: (outputs, inputs).
        bias: (outputs,), or None.
        backend: ``"torch"`` for the plain product, anything else for the faster one.

    Returns:
        (..., outputs).
    """
    rows = x.numel() // max(1, x.shape[-1])
    if backend == "torch" or rows < FEW or x.dtype is not torch.float32 or x.device.type != "cpu":
        return F.linear(x, weight, bias)
    image = x.reshape(1, rows, 1, -1).permute(0, 3, 1, 2)  # rows as pixels, channels last
    mapped = F.conv2d(image, weight[:, :, None, None], bias)
    return mapped.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)
