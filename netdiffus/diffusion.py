"""Gaussian diffusion: schedules, the training target and the samplers' steps.

Every sampler takes the same step, `x0 = clip(a xt + b out)` then
`x_next = c xt + d x0 + e x0_prev + sigma z`; only the coefficients differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from netdiffus.errors import InputError, whole
from netdiffus.ops.denoise import Step
from netdiffus.ops.noise import PREDICTIONS, q_sample

SCHEDULES = ("cosine", "linear")
LOSSES = ("mse", "cross_entropy")


@dataclass(frozen=True)
class Diffusion:
    """The Gaussian process between images x0 in [-1, 1] (which are GASFs) and noise.

    Attributes:
        num_timesteps: T; times run from 0 (least noise) to T - 1.
        schedule: `cosine` (Nichol and Dhariwal, 2021, Eq. 17) or `linear` (Ho et al., 2020, betas
            from 1e-4 to 0.02 at T = 1000).
        prediction: What the network's output means: `eps`, `v` (Salimans and Ho, 2022) or `x0`.
        loss: `mse` on that, or `cross_entropy` of sigmoid(output) against the image in [0, 1]
            (needs `x0`; its minimiser is the same conditional mean).
        shift: Factor of the schedule's noise-to-signal ratio (Hoogeboom et al., 2023). If many
            pixels show the same number, more noise is needed to hide it.
        symmetric: Noise is symmetric, like the images. The antisymmetric part of xt carries no
            information about a symmetric image, so it is not drawn.

    Raises:
        InputError: An unknown name, or a loss that does not fit the prediction.
    """

    num_timesteps: int = 1000
    schedule: str = "cosine"
    prediction: str = "v"
    loss: str = "mse"
    shift: float = 1.0
    symmetric: bool = True

    def __post_init__(self) -> None:
        for name, known in (("schedule", SCHEDULES), ("prediction", PREDICTIONS), ("loss", LOSSES)):
            if getattr(self, name) not in known:
                raise InputError(
                    f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        object.__setattr__(self, "num_timesteps", whole("num_timesteps", self.num_timesteps, 1))
        if self.schedule == "linear" and self.num_timesteps <= 20:
            raise InputError(
                f"num_timesteps must be above 20 for schedule='linear', whose betas would reach 1, "
                f"got {self.num_timesteps}"
            )
        if not 0 < self.shift < math.inf:
            raise InputError(f"shift must be a number above 0, got {self.shift!r}")
        if self.loss != "mse" and self.prediction != "x0":
            raise InputError(f"loss={self.loss!r} needs prediction='x0'")

    @cached_property
    def alphas_cumprod(self) -> Tensor:
        """Float64 (T,): the share of signal power left at each time."""
        t = torch.arange(self.num_timesteps + 1, dtype=torch.float64) / self.num_timesteps
        if self.schedule == "cosine":
            f = torch.cos((t + 0.008) / 1.008 * math.pi / 2).square()
            betas = (1 - f[1:] / f[:-1]).clamp(max=0.999)
        else:
            scale = 1000 / self.num_timesteps
            betas = torch.linspace(
                1e-4 * scale, 0.02 * scale, self.num_timesteps, dtype=torch.float64
            )
        alphas_cumprod = torch.cumprod(1 - betas, 0)
        noise = (1 - alphas_cumprod) * self.shift**2
        return alphas_cumprod / (alphas_cumprod + noise)

    def q_sample(
        self, x0: Tensor, t: Tensor, seed: int, index: Tensor, step: int = 0
    ) -> tuple[Tensor, Tensor]:
        """(xt, target) at times t (B,), with the noise of `netdiffus.ops.normal`.

        ``xt = sqrt(ᾱ_t) x0 + sqrt(1 - ᾱ_t) eps``, and the target is what the network's output for
        it should be.
        """
        alpha = self.alphas_cumprod.to(t.device)[t]
        signal, sigma = alpha.sqrt().to(x0.dtype), (1 - alpha).sqrt().to(x0.dtype)
        return q_sample(
            x0,
            signal,
            sigma,
            seed,
            index,
            step,
            prediction=self.prediction,
            symmetric=self.symmetric,
        )

    def training_loss(self, out: Tensor, target: Tensor) -> Tensor:
        """Loss of each image, (B,)."""
        if self.loss == "cross_entropy":
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                out, 0.5 * (target + 1), reduction="none"
            )
        else:
            loss = (out - target).square()
        return loss.flatten(1).mean(1)

    def activate(self, out: Tensor) -> Tensor:
        """With the cross-entropy loss: logits to x0 in [-1, 1]; otherwise unchanged."""
        return torch.tanh(0.5 * out) if self.loss == "cross_entropy" else out

    def steps(self, sampler: str, count: int) -> list[Step]:
        """The reverse steps, noisiest first, with coefficients computed in float64.

        Args:
            sampler: `ddpm` (ancestral, small variance), `ddim` (eta 0, eps re-derived from the
                clipped x0) or `dpm++` (DPM-Solver++(2M), midpoint, first order at the end).
                Equal to diffusers' DDPMScheduler, DDIMScheduler (`use_clipped_model_output`) and
                DPMSolverMultistepScheduler at their default spacings.
            count: How many, from 1 to T.
        """
        if sampler not in _SAMPLERS:
            raise InputError(f"sampler must be one of {', '.join(_SAMPLERS)}, got {sampler!r}")
        if not 1 <= count <= self.num_timesteps:
            raise InputError(f"steps must lie in 1..{self.num_timesteps}, got {count}")
        return _SAMPLERS[sampler](self, count)

    def x0_coefficients(self, t: int) -> tuple[float, float]:
        """(a, b) with x0 = a xt + b out."""
        alpha = float(self.alphas_cumprod[t])
        signal, noise = math.sqrt(alpha), math.sqrt(1 - alpha)
        if self.prediction == "x0":
            return 0.0, 1.0
        if self.prediction == "eps":
            return 1 / signal, -noise / signal
        return signal, -noise


def _strided(diffusion: Diffusion, count: int) -> Iterator[tuple[int, float, float]]:
    """Times at equal distances, noisiest first, with the signal now and after the step."""
    stride = diffusion.num_timesteps // count
    for t in range((count - 1) * stride, -1, -stride):
        yield t, _alpha(diffusion, t), _alpha(diffusion, t - stride)


def _ddpm(diffusion: Diffusion, count: int) -> list[Step]:
    steps = []
    for t, now, after in _strided(diffusion, count):
        beta = 1 - now / after
        steps.append(
            Step(
                t,
                *diffusion.x0_coefficients(t),
                c=math.sqrt(now / after) * (1 - after) / (1 - now),
                d=math.sqrt(after) * beta / (1 - now),
                sigma=math.sqrt(max((1 - after) / (1 - now) * beta, 1e-20)) if t > 0 else 0.0,
            )
        )
    return steps


def _ddim(diffusion: Diffusion, count: int) -> list[Step]:
    steps = []
    for t, now, after in _strided(diffusion, count):
        c = math.sqrt((1 - after) / (1 - now))
        d = math.sqrt(after) - c * math.sqrt(now)
        steps.append(Step(t, *diffusion.x0_coefficients(t), c=c, d=d))
    return steps


def _dpmpp(diffusion: Diffusion, count: int) -> list[Step]:
    """Lu et al., 2022, Algorithm 2; h is the step in half log signal-to-noise ratio."""
    times = [round(float(t)) for t in np.linspace(0, diffusion.num_timesteps - 1, count + 1)]
    times = times[:0:-1]  # the noise of the second is the last that is taken off
    if len(set(times)) < count:
        raise InputError(f"dpm++ takes at most {diffusion.num_timesteps - 1} steps, got {count}")
    steps: list[Step] = []
    h_prev = 0.0
    for t, after in zip(times, [*times[1:], -1], strict=True):
        h = _half_log_snr(diffusion, after) - _half_log_snr(diffusion, t)
        alpha_now, alpha_after = _alpha(diffusion, t), _alpha(diffusion, after)
        gain = -math.sqrt(alpha_after) * math.expm1(-h)
        r = 0.0 if not steps or after < 0 else 0.5 * h / h_prev
        steps.append(
            Step(
                t,
                *diffusion.x0_coefficients(t),
                c=math.sqrt((1 - alpha_after) / (1 - alpha_now)),
                d=gain * (1 + r),
                e=-gain * r,
            )
        )
        h_prev = h
    return steps


def _alpha(diffusion: Diffusion, t: int) -> float:
    return float(diffusion.alphas_cumprod[t]) if t >= 0 else 1.0


def _half_log_snr(diffusion: Diffusion, t: int) -> float:
    alpha = _alpha(diffusion, t)
    return 0.5 * math.log(alpha / (1 - alpha)) if t >= 0 else math.inf


_SAMPLERS: dict[str, Callable[[Diffusion, int], list[Step]]] = {
    "ddpm": _ddpm,
    "ddim": _ddim,
    "dpm++": _dpmpp,
}
