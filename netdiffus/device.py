"""The device on which networks run."""

from __future__ import annotations

import torch

from netdiffus.errors import InputError


def usable(device: str | torch.device | None) -> torch.device:
    """The given device; without one, CUDA if available, else the CPU.

    Raises:
        InputError: There is no such device here.
    """
    try:
        target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=target)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {device!r} cannot be used: {reason}; try 'cpu'") from error
    return target
