from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from triton_offline import Offline

if "triton" in os.environ.get("NETDIFFUS_REQUIRE", "").split(",") and not find_spec("triton"):
    raise ImportError("NETDIFFUS_REQUIRE names triton, which is not installed")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Offline]:
    """Makes the launchers compile for an absent GPU, of sm_80 or another capability."""
    from triton_offline import Offline

    def use(capability: int = 80) -> Offline:
        stand_in = Offline(capability)
        for module in ("cached_attention", "decode", "denoise", "draw_tokens", "gasf", "noise"):
            monkeypatch.setattr(f"netdiffus.ops.triton.{module}.launch", stand_in)
        return stand_in

    return use
