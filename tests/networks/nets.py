"""Small networks with random weights, whose every part matters."""

from __future__ import annotations

from dataclasses import replace

import torch
from small import packets
from torch import Tensor

from netdiffus.codec import TokenCodec
from netdiffus.model.model import Model
from netdiffus.networks.build import Network, build
from netdiffus.networks.causal import CausalNetwork
from netdiffus.networks.draws import Draws
from netdiffus.traces.traces import Traces


def tiny() -> Traces:
    """Traces of one or two points, of two plain numbers; two classes, two protocols."""
    n = 36
    lengths = [1 + i % 2 for i in range(n)]
    return Traces.from_lists(
        {
            "x": [[(i // 2) % 3, (i // 6) % 3][:k] for i, k in enumerate(lengths)],
            "y": [[i % 2, (i // 3) % 2][:k] for i, k in enumerate(lengths)],
        },
        ["a", "b"] * (n // 2),
        {"protocol": [("tcp", "udp")[(i // 4) % 2] for i in range(n)]},
    )


def with_ports(n: int = 60, fixed: bool = True) -> Traces:
    """Packets with two columns of the meta; `fixed`: all traces are of one length."""
    traces = packets(n, fixed=fixed)
    meta = {"protocol": ["tcp", "udp"] * (n // 2), "server_port": [22, 53, 443] * (n // 3)}
    lists = {
        channel.name: [
            one[c, :k].tolist() for one, k in zip(traces.values, traces.lengths, strict=True)
        ]
        for c, channel in enumerate(traces.channels)
    }
    return Traces.from_lists(lists, traces.label_names.tolist(), meta)


def network(traces: Traces, seed: int = 0, **shape: object) -> CausalNetwork:
    """A network for these traces, as it could be after training."""
    model = Model.new(traces, TokenCodec(), width=16)
    config = replace(model.network.config, layers=2, **shape)  # type: ignore[arg-type]
    net = build(config, model.codec, None)
    assert isinstance(net, CausalNetwork)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            scale = 0.06 if name.startswith("conditions.") else 0.2  # no cell is all but certain
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return net.eval()


def coded(traces: Traces) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, labels and columns of traces, as `network` takes them."""
    model = Model.new(traces, TokenCodec(), width=16)
    columns = torch.from_numpy(model.columns.encode(traces))
    return model.codec.encode(traces).long(), torch.from_numpy(traces.labels), columns


def made(net: Network, draws: Draws, *how: object) -> tuple[Tensor, Tensor]:
    """Points and columns of traces, both drawn; the last of `how` may be a backend."""
    backend = how[-1] if how and isinstance(how[-1], str) else "auto"
    with torch.inference_mode():
        _, columns = net.conditions.draw(draws.label, draws, backend=backend)
    return net.generate(draws, columns, *how), columns  # type: ignore[arg-type]


def asked(label: Tensor, seed: int, index: Tensor) -> Draws:
    """Draws that are independent: no two traces lie among 4,096 that are spread evenly."""
    return Draws(seed, index, label, index << 12)
