"""Noise to traces."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from netdiffus.codec import Images
from netdiffus.device import usable
from netdiffus.errors import InputError
from netdiffus.model import Model
from netdiffus.ops.denoise import Step, denoise_step
from netdiffus.ops.noise import normal, uniform
from netdiffus.traces import Traces, concat

DEFAULT_STEPS = {"dpm++": 16, "ddim": 50}  # ddpm takes all T
LENGTH_DRAW, LABEL_DRAW = 2**31, 2**31 + 1  # Philox steps that no image noise uses
# Multiples of either spread evenly over [0, 1), and pairs of them over the square.
GOLDEN, SILVER = (math.sqrt(5) - 1) / 2, math.sqrt(2) - 1
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def sample(
    model: Model,
    n: int,
    *,
    label: str | Sequence[str] | None = None,
    mix: str = "balanced",
    fast: bool = True,
    sampler: str = "dpm++",
    steps: int | None = None,
    seed: int | None = None,
    start: int = 0,
    batch_size: int | None = None,
    device: str | torch.device | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Traces:
    """Makes n traces.

    Trace i depends on the model, the settings, `seed` and i alone: not on n, the batch size, the
    number of threads, `fast` or the device, but for float rounding. That moves a value by less than
    1e-4 of its range on average, and tips at most one in a thousand (a whole number to its
    neighbour, a value on a knot's edge to the next); tests hold it to this. So work can be split:
    1000 traces are 600 and, with `start=600`, another 400.

    Lengths, and the protocols and ports that go with them, come as often as in training, each
    after the other and not by chance: of eight traces of a class that had eight lengths, about
    each has one. So few traces stand for a class as well as more would that were drawn apart.

    Args:
        model: A trained model.
        n: How many, at least 1.
        label: One class, several to spread over, or None for all.
        mix: `balanced` takes the classes in turn, `real` as often as training had them, of any
            number in a row.
        fast: True runs the native kernels, False the plain torch reference: the same traces but
            for float rounding.
        sampler: `dpm++`, `ddim` or `ddpm`.
        steps: Network runs per trace; None is 16 for dpm++, 50 for ddim, T for ddpm.
        seed: None draws one; it stands in the traces' meta.
        start: Index of the first trace.
        batch_size: Traces worked on at a time; None takes 64 on the CPU and 1,024 on a GPU.
        device: Where the network runs; None takes CUDA if there is one.
        progress: Called with (traces done, a note).

    Returns:
        Traces in the units of the training traces, with meta `trace_id`, `seed`, `residual` (see
        `GasfCodec.decode`), and `protocol` and `server_port` if the training traces had them: drawn
        together with the length, and what the network makes is made for them.

    Raises:
        InputError: n, label, mix, sampler, steps, seed, batch_size or device cannot be used.
    """
    target = usable(device)
    if batch_size is None:
        batch_size = 64 if target.type == "cpu" else 1024
    _check(n, start, batch_size, mix)
    plan = model.diffusion.steps(
        sampler,
        DEFAULT_STEPS.get(sampler, model.diffusion.num_timesteps) if steps is None else steps,
    )
    seed = secrets.randbits(48) if seed is None else _checked_seed(seed)
    unet = model.unet.to(target).eval()
    backend = "auto" if fast else "torch"
    parts = []
    try:
        for first in range(start, start + n, batch_size):
            index = torch.arange(first, min(first + batch_size, start + n))
            labels, k = _labels(model, label, mix, seed, index)
            variants, lengths = _flows(model, labels, seed, k)
            pixels = _images(model, plan, seed, index.to(target), variants, lengths, backend)
            parts.append(_decode(model, pixels.cpu(), variants, lengths, seed, index, backend))
            if progress:
                progress(float(index[-1] + 1 - start), f"{n} traces")
    finally:
        unet.to("cpu")
    return concat(parts)


@torch.inference_mode()
def _images(
    model: Model,
    plan: list[Step],
    seed: int,
    index: Tensor,
    variants: Ints,
    lengths: Ints,
    backend: str,
) -> Tensor:
    """(B, C, m, m) images in [0, 1]."""
    config, diffusion, device = model.unet_config, model.diffusion, index.device
    shape = (config.channels, config.size, config.size)
    variant = torch.from_numpy(variants).to(device)
    length = torch.from_numpy(lengths / (model.codec.length or 1)).float().to(device)

    symmetric = diffusion.symmetric

    xt = normal(seed, index, 0, shape, symmetric=symmetric, backend=backend)
    x0 = torch.empty_like(xt)  # the first step reads none
    for k, step in enumerate(plan, start=1):
        t = torch.full((len(index),), step.t, device=device)
        out = diffusion.activate(model.unet(xt, t, variant, length, backend))
        denoise_step(
            step,
            xt,
            out,
            x0,
            seed=seed,
            index=index,
            draw=k,
            symmetric=symmetric,
            out=(xt, x0),
            backend=backend,
        )
    return (0.5 * (xt + 1)).clamp(0, 1)


def _decode(
    model: Model,
    pixels: Tensor,
    variants: Ints,
    lengths: Ints,
    seed: int,
    index: Tensor,
    backend: str,
) -> Traces:
    if not torch.isfinite(pixels).all():
        raise InputError("the model makes images that are not numbers; train it again")
    labels = np.array(model.variants["class"])[variants]
    names = [f"synthetic-{model.classes[k]}-{int(i)}" for k, i in zip(labels, index, strict=True)]
    meta: dict[str, Any] = {"trace_id": names, "seed": [seed] * len(names)}
    for name, column in model.variants.items():
        if name != "class":
            meta[name] = pa.array(column).take(pa.array(variants))  # empty cells keep the type
    images = Images(pixels, lengths, labels, model.classes, pa.table(meta))
    return _from_zero(model.codec.decode(images, backend=backend))


def _from_zero(traces: Traces) -> Traces:
    """Times count from the first packet and never run backwards."""
    values = traces.values.copy()
    for c, channel in enumerate(traces.channels):
        if channel.kind == "time":
            since = np.maximum.accumulate(values[:, c] - values[:, c, :1], axis=1)
            values[:, c] = np.where(traces.mask, since, 0.0)
    return replace(traces, values=values)


def _check(n: int, start: int, batch_size: int, mix: str) -> None:
    if n < 1:
        raise InputError(f"n must be at least 1, got {n}")
    if start < 0:
        raise InputError(f"start must be at least 0, got {start}")
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    if mix not in ("balanced", "real"):
        raise InputError(f"mix must be 'balanced' or 'real', got {mix!r}")


def _checked_seed(seed: int) -> int:
    if not 0 <= seed < 2**63:
        raise InputError(f"seed must lie in 0..2**63 - 1, got {seed}")
    return seed


def _labels(
    model: Model, label: str | Sequence[str] | None, mix: str, seed: int, index: Tensor
) -> tuple[Ints, Ints]:
    """The class of each trace, and a number that counts on with the traces of a class."""
    wanted = [label] if isinstance(label, str) else list(model.classes if label is None else label)
    for name in wanted:
        if name not in model.classes:
            raise InputError(
                f"label {name!r} is not a class of the model; classes: {', '.join(model.classes)}"
            )
    classes: Ints = np.array([model.classes.index(name) for name in wanted], dtype=np.int64)
    if not len(classes):
        raise InputError("label: an empty list; name at least one class, or pass None for all")
    i: Ints = index.numpy()
    if mix == "balanced":
        turn, place = i // len(classes), i % len(classes)
        own = classes[place]
        return own, _counted(classes)[place] + turn * np.bincount(classes)[own]
    counts = np.cumsum(model.class_counts()[classes])
    begin = uniform(seed, torch.zeros(1, dtype=torch.int64), LABEL_DRAW).numpy()
    return classes[_draw(counts, (begin + i * SILVER) % 1)], i


def _counted(classes: Ints) -> Ints:
    """How many of the same class stand before each."""
    order = np.argsort(classes, kind="stable")
    first = np.searchsorted(classes[order], classes[order])
    before = np.empty_like(order)
    before[order] = np.arange(len(order)) - first
    return before


def _flows(model: Model, labels: Ints, seed: int, k: Ints) -> tuple[Ints, Ints]:
    """A variant and a length for each trace, as often as its class had both together."""
    begin = uniform(seed, torch.from_numpy(labels), LENGTH_DRAW).numpy()
    u = (begin + k * GOLDEN) % 1
    of_class = np.array(model.variants["class"])[model.length_counts[:, 0]]
    drawn = np.empty((len(labels), 2), dtype=np.int64)
    for label in np.unique(labels):
        table, mine = model.length_counts[of_class == label], labels == label
        drawn[mine] = table[_draw(np.cumsum(table[:, 2]), u[mine]), :2]
    return drawn[:, 0], drawn[:, 1]


def _draw(cumulative: Ints, u: Floats) -> Ints:
    rows: Ints = np.searchsorted(cumulative, u * cumulative[-1], side="right")
    return rows
