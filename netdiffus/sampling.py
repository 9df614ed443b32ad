"""Noise to traces."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from netdiffus.codec import Images
from netdiffus.device import usable
from netdiffus.errors import InputError, checked_seed, whole
from netdiffus.model import Model
from netdiffus.ops.denoise import Step, denoise_step
from netdiffus.ops.noise import GOLDEN, normal, uniform
from netdiffus.traces import Traces, concat

DEFAULT_STEPS = {"dpm++": 16, "ddim": 50}  # ddpm takes all T
LENGTH_DRAW, LABEL_DRAW = 2**31, 2**31 + 1  # Philox steps that no image noise uses
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

    Lengths, and the protocols and ports that go with them, are dealt out, not drawn apart: of as
    many traces of a class as training had, each has those of another training trace, and fewer are
    spread evenly over them. A few traces then stand for a class as well as more drawn by chance.

    Args:
        model: A trained model.
        n: How many, at least 1.
        label: One class, several to spread over, or None for all.
        mix: `balanced` takes the classes in turn, `real` as often as training had them.
        fast: True runs the native kernels, False the plain torch reference: the same traces but
            for float rounding.
        sampler: `dpm++`, `ddim` or `ddpm`.
        steps: Network runs per trace; None is 16 for dpm++, 50 for ddim, T for ddpm (or fewer,
            where T is small).
        seed: None draws one; it stands in the traces' meta.
        start: Index of the first trace.
        batch_size: Traces worked on at a time; None takes 64 on the CPU and 1,024 on a GPU, or as
            many large images as have 2**22 or 2**26 pixels.
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
    n, start = whole("n", n, 1), whole("start", start, 0)
    if start + n > 2**63 - 1:
        raise InputError(f"start and n must add up to at most 2**63 - 1, got {start} and {n}")
    batch_size = _usual_batch(model, target) if batch_size is None else batch_size
    batch_size = whole("batch_size", batch_size, 1)
    if mix not in ("balanced", "real"):
        raise InputError(f"mix must be 'balanced' or 'real', got {mix!r}")
    classes = _wanted(model, label)
    steps = default_steps(model, sampler) if steps is None else whole("steps", steps)
    plan = model.diffusion.steps(sampler, steps)
    seed = secrets.randbits(48) if seed is None else checked_seed(seed)
    unet = model.unet.to(target).eval()
    backend = "auto" if fast else "torch"
    parts = []
    try:
        for first in range(start, start + n, batch_size):
            index = torch.arange(first, min(first + batch_size, start + n))
            variants, lengths = _flows(model, classes, mix, seed, index)
            pixels = _images(model, plan, seed, index.to(target), variants, lengths, backend)
            parts.append(_decode(model, pixels.cpu(), variants, lengths, seed, index, backend))
            if progress:
                progress(float(index[-1] + 1 - start), f"{n} traces")
    finally:
        unet.to("cpu")
    return concat(parts)


def _usual_batch(model: Model, device: torch.device) -> int:
    most, pixels = (64, 2**22) if device.type == "cpu" else (1024, 2**26)
    return min(most, max(1, pixels // (model.unet_config.channels * model.unet_config.size**2)))


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


def default_steps(model: Model, sampler: str) -> int:
    """Steps where none are asked for, of a short process as many as it has."""
    most = model.diffusion.num_timesteps
    return min(DEFAULT_STEPS.get(sampler, most), max(1, most - 1) if sampler == "dpm++" else most)


def _wanted(model: Model, label: str | Sequence[str] | None) -> Ints:
    wanted = [label] if isinstance(label, str) else list(model.classes if label is None else label)
    for name in wanted:
        if name not in model.classes:
            raise InputError(
                f"label {name!r} is not a class of the model; classes: {', '.join(model.classes)}"
            )
    if not wanted:
        raise InputError("label: an empty list; name at least one class, or pass None for all")
    return np.array([model.classes.index(name) for name in wanted], dtype=np.int64)


def _flows(model: Model, classes: Ints, mix: str, seed: int, index: Tensor) -> tuple[Ints, Ints]:
    """A variant, of one of the classes, and a length for each trace, as training had them."""
    known = model.length_counts
    of_class = np.array(model.variants["class"])[known[:, 0]]
    if mix == "real":
        begin = uniform(seed, torch.zeros_like(index), LABEL_DRAW).numpy()
        dealt = _dealt(known[np.isin(of_class, classes)], index.numpy(), begin)
    else:
        label, k = _in_turn(classes, index.numpy())
        begin = uniform(seed, torch.from_numpy(label), LENGTH_DRAW).numpy()
        dealt = np.empty((len(label), 2), dtype=np.int64)
        for one in np.unique(label):
            mine = label == one
            dealt[mine] = _dealt(known[of_class == one], k[mine], begin[mine])
    return dealt[:, 0], dealt[:, 1]


def _in_turn(classes: Ints, i: Ints) -> tuple[Ints, Ints]:
    """The class of traces i, where these come round and round, and how many of it came before."""
    order = np.argsort(classes, kind="stable")
    before = np.empty_like(order)  # of the same class, in one round
    before[order] = np.arange(len(order)) - np.searchsorted(classes[order], classes[order])
    place, label = i % len(classes), classes[i % len(classes)]
    return label, i // len(classes) * np.bincount(classes)[label] + before[place]


def _dealt(known: Ints, k: Ints, begin: Floats) -> Ints:
    """Variant and length (B, 2) from rows of variant, length and count, as one deals out cards.

    All are dealt before any comes again; k counts the deals, and the first is the share `begin`
    of the way through the rows.
    """
    ends = np.cumsum(known[:, 2])
    first: Ints = np.floor(begin * ends[-1]).astype(np.int64)
    card = (_spread(int(ends[-1]))[k % ends[-1]] + first) % ends[-1]
    return known[np.searchsorted(ends, card, side="right"), :2]


@lru_cache(maxsize=1024)
def _spread(n: int) -> Ints:
    """0 to n - 1, in an order in which those in a row are far from each other."""
    return np.argsort(np.argsort(np.arange(n) * GOLDEN % 1))
