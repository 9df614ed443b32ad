from __future__ import annotations

import math

import diffusers
import pytest
import torch

from netdiffus.diffusion import Diffusion
from netdiffus.errors import InputError
from netdiffus.ops import denoise_step, normal

SCHEDULES = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
PREDICTIONS = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}


def theirs(kind: type, schedule: str, prediction: str, **more: object) -> diffusers.SchedulerMixin:
    """The diffusers scheduler of the same process, in float64."""
    made = kind(
        num_train_timesteps=1000,
        beta_schedule=SCHEDULES[schedule],
        beta_start=1e-4,
        beta_end=0.02,
        prediction_type=PREDICTIONS[prediction],
        **more,
    )
    ours = Diffusion(schedule=schedule, prediction=prediction).alphas_cumprod
    # Theirs are float32 products; the same numbers in float64, so that steps compare to 1e-5.
    torch.testing.assert_close(made.alphas_cumprod.double(), ours, atol=2e-6, rtol=2e-3)
    made.alphas_cumprod = ours
    made.betas = 1 - ours / torch.cat([torch.ones(1).double(), ours[:-1]])
    if hasattr(made, "alpha_t"):
        made.alpha_t, made.sigma_t = ours.sqrt(), (1 - ours).sqrt()
        made.lambda_t = made.alpha_t.log() - made.sigma_t.log()
        made.sigmas = ((1 - ours) / ours).sqrt()
    return made


def network(xt: torch.Tensor, t: int, diffusion: Diffusion) -> torch.Tensor:
    """A smooth stand-in whose x0 stays inside [-1, 1], turned into the prediction asked for."""
    x0 = torch.tanh(xt.roll(1, -1) * math.cos(t / 300) + 0.3)
    a, b = diffusion.x0_coefficients(t)
    return (x0 - a * xt) / b


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in diffusers
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("count", [1, 2, 7, 20, 50])
@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++"])
def test_each_step_equals_diffusers(
    sampler: str, count: int, prediction: str, schedule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    diffusion = Diffusion(schedule=schedule, prediction=prediction)
    generator = torch.Generator().manual_seed(0)
    xt = torch.randn(3, 2, 8, 8, generator=generator, dtype=torch.float64)
    index = torch.arange(3)
    z = normal(0, index, 0, (2, 8, 8), symmetric=True, dtype=torch.float64)
    kind, more, extra = {
        "ddpm": (diffusers.DDPMScheduler, {"clip_sample": True}, {}),
        "ddim": (
            diffusers.DDIMScheduler,
            {"clip_sample": True},
            {"use_clipped_model_output": True},
        ),
        "dpm++": (diffusers.DPMSolverMultistepScheduler, {}, {}),
    }[sampler]
    scheduler = theirs(kind, schedule, prediction, **more)
    scheduler.set_timesteps(count)
    if sampler == "ddpm":
        monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *_, **__: z)
    if sampler == "dpm++":
        _in_float64(scheduler, diffusion)
    steps = diffusion.steps(sampler, count)
    assert [step.t for step in steps] == scheduler.timesteps.tolist()
    x0, other = None, xt
    for step in steps:
        other = scheduler.step(
            network(other, step.t, diffusion), step.t, other, **extra
        ).prev_sample
        xt, x0 = denoise_step(step, xt, network(xt, step.t, diffusion), x0, index=index)
        torch.testing.assert_close(xt, other, atol=1e-5, rtol=0)


def _in_float64(scheduler: diffusers.SchedulerMixin, diffusion: Diffusion) -> None:
    """Replaces the float32 sigmas that set_timesteps made by the same numbers in float64."""
    alpha = diffusion.alphas_cumprod[scheduler.timesteps.long()]
    exact = torch.cat([((1 - alpha) / alpha).sqrt(), torch.zeros(1).double()])
    torch.testing.assert_close(scheduler.sigmas.double(), exact, rtol=2e-3, atol=1e-6)
    scheduler.sigmas = exact


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_forward_process_equals_diffusers(schedule: str) -> None:
    diffusion = Diffusion(schedule=schedule)
    scheduler = theirs(diffusers.DDPMScheduler, schedule, "v")
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randn(4, 1, 5, 5, generator=generator, dtype=torch.float64)
    t, index = torch.tensor([0, 10, 500, 999]), torch.arange(4)
    eps = normal(7, index, 3, (1, 5, 5), symmetric=True, dtype=torch.float64)
    xt, target = diffusion.q_sample(x0, t, 7, index, 3)
    torch.testing.assert_close(xt, scheduler.add_noise(x0, eps, t))
    torch.testing.assert_close(target, scheduler.get_velocity(x0, eps, t))


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_perfect_output_gives_x0_back(prediction: str) -> None:
    diffusion = Diffusion(prediction=prediction)
    generator = torch.Generator().manual_seed(0)
    x0 = torch.rand(3, 1, 4, 4, generator=generator, dtype=torch.float64)
    for t in (0, 300, 950):
        times = torch.full((3,), t)
        a, b = diffusion.x0_coefficients(t)
        xt, out = diffusion.q_sample(x0, times, 0, torch.arange(3))
        torch.testing.assert_close(a * xt + b * out, x0, atol=1e-9, rtol=0)


def test_cross_entropy_is_least_at_the_mean() -> None:
    diffusion = Diffusion(prediction="x0", loss="cross_entropy")
    x0 = torch.tensor([-0.8, 0.1, 0.4]).reshape(3, 1, 1, 1)
    logit = torch.zeros(1, 1, 1, 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([logit], max_iter=50)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = diffusion.training_loss(logit.expand(3, 1, 1, 1), x0).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert diffusion.activate(logit).item() == pytest.approx(x0.mean().item(), abs=1e-4)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_shift_multiplies_noise_over_signal(schedule: str) -> None:
    plain, shifted = (Diffusion(schedule=schedule, shift=s).alphas_cumprod for s in (1.0, 4.0))
    ratios = [((1 - alpha) / alpha).sqrt() for alpha in (plain, shifted)]
    torch.testing.assert_close(ratios[1], 4 * ratios[0], rtol=1e-9, atol=0)


@pytest.mark.parametrize("symmetric", [True, False])
def test_noise_is_as_symmetric_as_asked(symmetric: bool) -> None:
    x0 = torch.zeros(2, 1, 8, 8)
    xt, _ = Diffusion(symmetric=symmetric).q_sample(x0, torch.tensor([9, 500]), 0, torch.arange(2))
    assert torch.equal(xt, xt.mT) == symmetric


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"schedule": "sine"}, "schedule must be one of cosine, linear, got 'sine'"),
        ({"prediction": "y"}, "prediction must be one of"),
        ({"loss": "l1"}, "loss must be one of"),
        ({"loss": "cross_entropy"}, "needs prediction='x0'"),
        ({"num_timesteps": 0}, "num_timesteps must be at least 1"),
        ({"num_timesteps": 20, "schedule": "linear"}, "above 20 for schedule='linear'"),
        ({"shift": 0.0}, "shift must be a number above 0, got 0.0"),
        ({"schedule": "log"}, "schedule must be one of cosine, linear, got 'log'"),
    ],
)
def test_bad_settings(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Diffusion(**arguments)  # type: ignore[arg-type]


def test_bad_steps() -> None:
    with pytest.raises(InputError, match="sampler must be one of ddpm, ddim, dpm"):
        Diffusion().steps("euler", 5)
    with pytest.raises(InputError, match=r"steps must lie in 1\.\.1000, got 1001"):
        Diffusion().steps("ddim", 1001)
