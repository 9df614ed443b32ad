"""The likelihood of traces under a model, and the posterior of their classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from netdiffus.arrays import Floats
from netdiffus.codec import TokenCodec
from netdiffus.errors import InputError
from netdiffus.networks.causal import CausalNetwork
from netdiffus.progress import Progress, given_or_bar

if TYPE_CHECKING:
    from netdiffus.model.model import Model
    from netdiffus.traces.traces import Traces

AT_ONCE = 256  # traces


def log_joint(model: Model, traces: Traces, progress: Progress | None = None) -> Floats:
    """(N, K): log p(points, columns, class k) in nats, for each trace and class.

    log p(class) + log p(columns | class) + sum over points of log p(point | points before, class,
    columns). Points are tokens: numbers of one bin are equally likely. Cells of columns that are
    not learned are left out. O(N K T) runs of a block.

    Args:
        model: Of an autoregressive network.
        traces: With the model's channels and columns; only as many points as the model learned.
        progress: Called with (traces done, a note). None shows a bar, as `train` does.

    Raises:
        InputError: A network without a likelihood, traces of other channels or columns, or weights
            whose sums overflow.
    """
    network, codec = model.network, model.codec
    if not isinstance(network, CausalNetwork) or not isinstance(codec, TokenCodec):
        raise InputError(
            f"preset {model.preset!r} has no likelihood of a trace; train with preset='default'"
        )
    for name in model.columns.names:
        if name not in traces.meta.column_names:
            raise InputError(f"the traces have no column {name!r}, which the model learned")
    tokens = codec.encode(traces)
    columns = torch.from_numpy(model.columns.encode(traces))
    device = next(network.parameters()).device
    found, network = [], network.eval()
    with given_or_bar(progress, "log_prob", float(len(traces))) as shown, torch.inference_mode():
        for first in range(0, len(tokens), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            found.append(_of_classes(model, network, tokens[part].to(device), columns[part]))
            shown(float(min(first + AT_ONCE, len(tokens))), f"{len(traces)} traces")
    each: Floats = np.concatenate(found) + np.log(np.maximum(model.shares, 1e-300))
    if np.isnan(each).any():
        raise InputError("the model gives probabilities that are not numbers; train it again")
    return each


def _of_classes(model: Model, network: CausalNetwork, tokens: Tensor, columns: Tensor) -> Floats:
    """(B, K): log p(points, columns | class k)."""
    tokens, columns = tokens.long(), columns.to(tokens.device)
    found = []
    for k in range(len(model.classes)):
        label = torch.full((len(tokens),), k, device=tokens.device)
        points, _ = network.log_loss(tokens, label, columns)
        lost = points.double().sum(1) + network.conditions.log_loss(label, columns).double()
        found.append(-lost.cpu())
    each: Floats = torch.stack(found, 1).numpy()
    return each
