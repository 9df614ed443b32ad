"""The one place where kernels start."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def launch(
    kernel: Any, programs: int, out: Tensor, *args: Any, warps: int = 8, **constants: Any
) -> None:
    """Runs ``programs`` programs of ``kernel(out, *args)`` on the device of ``out``.

    Grids have one axis alone, as the others end at 65,535. Fused multiply-add is off: it would
    round once where the other backends round twice.
    """
    if programs == 0:
        return
    with torch.cuda.device_of(out):
        kernel[(programs,)](out, *args, num_warps=warps, enable_fp_fusion=False, **constants)
