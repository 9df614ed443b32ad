"""Tokens drawn from the softmax of logits, each by one uniform number."""

from __future__ import annotations

import torch
from torch import Tensor

from netdiffus.ops import _backend


def draw_tokens(logits: Tensor, uniforms: Tensor, *, backend: str = "auto") -> Tensor:
    """Draws a token for each row by the inverse of its cumulative distribution.

    With ``p = softmax(logits)``, it is the smallest token v with ``p_0 + ... + p_v > uniform``. The
    sums are float64; the kernels round each ``p`` so that the sums are exact, in whatever order
    they add. The same numbers thus give the same tokens everywhere, unless one falls within the
    rounding of the softmax, 1e-6, of a limit between two tokens. A token of probability 0 is never
    drawn; the kernels count one as 0 that is less than V 2^-54 times as likely as the likeliest.

    Args:
        logits: (B, V), floats; -inf for a token that must not be drawn.
        uniforms: float64 (B,), in [0, 1).
        backend: ``"auto"``, ``"torch"``, ``"cpp"``, ``"cuda"`` or ``"triton"``.

    Returns:
        int64 (B,). On a GPU -1 for a row for which the CPU raises an error: to look at the rows
        before they are needed would wait for the device.

    Raises:
        ValueError: A wrong shape or dtype, a backend that cannot take ``logits``, a row without a
            softmax (NaN, +inf, or -inf alone), or a number outside [0, 1).
        RuntimeError: The asked backend cannot run here.
    """
    _check(logits, uniforms)
    chosen = _backend.choose(backend, logits, _backend.KERNELS)
    if chosen == "torch" or _backend.is_traced(logits, uniforms):
        tokens = draw_tokens_reference(logits, uniforms)
    else:
        tokens = _run(chosen, logits.detach().contiguous(), uniforms.contiguous())
    if logits.device.type == "cpu" and not _backend.is_traced(tokens):
        _refuse_none(tokens, logits, uniforms)
    return tokens


def draw_tokens_reference(logits: Tensor, uniforms: Tensor) -> Tensor:
    """The formula of :func:`draw_tokens` in torch; -1 where it says so."""
    p = logits.detach().double().softmax(1)
    each = uniforms.unsqueeze(1).contiguous()
    token = torch.searchsorted(p.cumsum(1), each, right=True).squeeze(1)
    # Rounding may leave the last sum below 1, and a uniform number above it.
    last = p.shape[1] - 1 - (p > 0).flip(1).int().argmax(1)
    known = (uniforms >= 0) & (uniforms < 1) & ~p.isnan().any(1)
    return token.minimum(last).where(known, -1)


def _run(backend: str, logits: Tensor, uniforms: Tensor) -> Tensor:
    tokens = torch.empty(len(logits), dtype=torch.int64, device=logits.device)
    if backend == "triton":
        from netdiffus.ops.triton import draw_tokens as kernel

        kernel.draw_tokens(logits, uniforms, tokens)
    else:
        addresses = logits.data_ptr(), uniforms.data_ptr()
        shape = logits.shape
        _backend.native(backend, "draw_tokens", logits, *addresses, *shape, tokens.data_ptr())
    return tokens


def _check(logits: Tensor, uniforms: Tensor) -> None:
    if logits.ndim != 2 or not logits.shape[1] or not logits.is_floating_point():
        raise ValueError(
            f"logits: expected floats (B, V), V above 0, found {tuple(logits.shape)} {logits.dtype}"
        )
    _backend.check_size("logits", tuple(logits.shape))
    rows = logits.shape[:1]
    _backend.check_tensor("uniforms", uniforms, rows, torch.float64, logits.device)


def _refuse_none(tokens: Tensor, logits: Tensor, uniforms: Tensor) -> None:
    """Refuses the first row for which there is no token."""
    if not len(tokens) or int(tokens.min()) >= 0:
        return
    row = int(tokens.argmin())
    if not 0 <= (uniform := float(uniforms[row])) < 1:
        raise ValueError(f"uniforms: row {row}: expected a number in [0, 1), found {uniform}")
    most = float(logits[row].max())
    raise ValueError(
        f"logits: row {row} has no softmax: its largest logit is {most}; expected one finite at "
        "least, and none NaN or inf"
    )
