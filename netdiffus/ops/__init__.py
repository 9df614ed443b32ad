"""The fast inner loops: each op is one public function with a torch reference beside it."""

from __future__ import annotations

from netdiffus.ops._backend import backends, isa
from netdiffus.ops.area_resize import area_matrix
from netdiffus.ops.decode import gasf_decode, gasf_decode_area
from netdiffus.ops.denoise import Step, denoise_step
from netdiffus.ops.gasf import gasf, gasf_image
from netdiffus.ops.noise import normal, philox4x32, q_sample, uniform

__all__ = [
    "Step",
    "area_matrix",
    "backends",
    "denoise_step",
    "gasf",
    "gasf_decode",
    "gasf_decode_area",
    "gasf_image",
    "isa",
    "normal",
    "philox4x32",
    "q_sample",
    "uniform",
]
