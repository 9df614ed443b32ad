"""Registers an op with torch: for autograd, ``torch.compile`` and ``torch.export``.

A public function takes the direct path for plain tensors, as a registered op costs microseconds,
and calls what :func:`register` returned where :func:`_backend.is_traced` or, for an op with a
gradient, :func:`_backend.wants_gradient` says so::

    _gasf = register("gasf(Tensor x, str backend) -> Tensor", _make, fake=_shape, save=..., ...)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_library = torch.library.Library("netdiffus", "DEF")  # type: ignore[no-untyped-call]


def register(
    schema: str,
    run: Callable[..., Any],
    *,
    fake: Callable[..., Any],
    save: Callable[[Any, Any, Any], None] | None = None,
    backward: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """Registers the op ``netdiffus::<schema>``.

    Args:
        schema: Name, arguments and results as torch writes them; functional, so no argument is
            written to and no result shares memory with one.
        run: The implementation, for real tensors of any device.
        fake: Makes empty results of the right shape, dtype and device.
        save: ``(ctx, inputs, output)``: keeps on ``ctx`` what ``backward`` needs.
        backward: ``(ctx, *gradients)`` to a gradient, or None, for each input.

    Returns:
        The op, to call with positional arguments.
    """
    name = schema.split("(")[0]
    _library.define(schema)  # type: ignore[no-untyped-call]
    torch.library.impl(f"netdiffus::{name}", "CompositeExplicitAutograd", run, lib=_library)
    torch.library.register_fake(f"netdiffus::{name}", fake, lib=_library)
    if backward is not None:
        torch.library.register_autograd(
            f"netdiffus::{name}", backward, setup_context=save, lib=_library
        )
    op: Callable[..., Any] = getattr(torch.ops.netdiffus, name).default
    return op
