"""Results that neither the instruction set nor the number of threads may change."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from netdiffus.ops import _backend, backends

HALF = (torch.float16, torch.bfloat16)
DTYPES = {
    "torch": (torch.float32, torch.float64, *HALF),
    "cpp": (torch.float32, torch.float64),
    "cuda": (torch.float32, *HALF),
    "triton": (torch.float32, *HALF),
}


def assert_same_everywhere(run: Callable[[], Sequence[Tensor]]) -> None:
    """Runs on every instruction set and with 1 and 3 threads: the same bits, NaN included."""
    threads, expected = torch.get_num_threads(), None
    levels = _backend._C.isas() if backends()["cpp"] == "ok" else ["none"]
    try:
        for level in levels:
            if level != "none":
                _backend._C.set_isa(level)
            for count in (1, 3):
                torch.set_num_threads(count)
                found = [tensor.clone() for tensor in run()]
                expected = expected or found
                for one, other in zip(found, expected, strict=True):
                    torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    finally:
        torch.set_num_threads(threads)
        if levels != ["none"]:
            _backend._C.set_isa(levels[-1])
