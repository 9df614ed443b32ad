"""The fast inner loops: each op is one public function with a torch reference beside it."""

from __future__ import annotations

from netdiffus.ops._backend import backends
from netdiffus.ops.area_resize import area_matrix, area_resize
from netdiffus.ops.gasf import gasf_image
from netdiffus.ops.noise import normal, philox4x32, uniform

__all__ = [
    "area_matrix",
    "area_resize",
    "backends",
    "gasf_image",
    "normal",
    "philox4x32",
    "uniform",
]
