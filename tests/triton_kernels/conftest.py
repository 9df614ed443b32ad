from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from triton_offline import Offline

sys.path.append(str(Path(__file__).parents[1] / "gpu"))  # ptxemu

if "triton" in os.environ.get("NETDIFFUS_REQUIRE", "").split(",") and not find_spec("triton"):
    raise ImportError("NETDIFFUS_REQUIRE names triton, which is not installed")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Offline]:
    """Makes the launchers compile for an absent GPU; takes the arguments of `Offline`."""
    import triton_cases as cases
    from triton_offline import Offline

    def use(**options: Any) -> Offline:
        stand_in = Offline(**options)
        for module in cases.KERNELS:
            monkeypatch.setattr(getattr(cases, module), "launch", stand_in)
        return stand_in

    return use
