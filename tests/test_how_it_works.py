"""`docs/how_it_works.md`: its numbers are those of the code, and its formulas give its results."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pages import read
from scipy.special import erf, log_softmax, ndtri

from netdiffus import lab_traffic
from netdiffus.codec import default_size
from netdiffus.diffusion import Diffusion
from netdiffus.model.model import Model
from netdiffus.networks.build import default_codec, default_diffusion, parameters
from netdiffus.networks.causal import CausalNetwork
from netdiffus.networks.series import coordinates

PAGE = read("docs/how_it_works.md")
PRESETS = ("causal", "series", "masked", "image", "paper")
Floats = npt.NDArray[np.float64]


def row(name: str) -> dict[str, str]:
    """A row of the table of settings: preset to cell."""
    line = next(line for line in PAGE.splitlines() if line.startswith(f"| {name} |"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    return dict(zip(PRESETS, cells[1:], strict=True))


@pytest.mark.parametrize("preset", PRESETS)
def test_the_numbers_are_those_of_the_code(preset: str) -> None:
    traces = lab_traffic()
    network = Model.new(traces, default_codec(preset, default_size(traces)), preset=preset).network
    config = network.config
    assert int(row("features inside, w")[preset]) == config.width
    assert int(row("numbers learned, lab volumes")[preset].replace(",", "")) == parameters(network)
    for name, field in {"blocks": "layers", "heads": "heads", "dropout": "dropout"}.items():
        if hasattr(config, field):
            assert float(row(name)[preset]) == getattr(config, field)


def gelu(x: Floats) -> Floats:
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def norm(x: Floats, weight: Floats, bias: Floats) -> Floats:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * weight + bias


def waves(size: int) -> Floats:
    rank = (np.arange(size) + 0.5) / size
    return np.cos(np.pi * rank[:, None] * np.arange(1, 17))


class Written:
    """The causal network as the page writes it down: NumPy, one trace, its weights by name."""

    def __init__(self, network: CausalNetwork) -> None:
        self.p = {name: p.detach().double().numpy() for name, p in network.named_parameters()}
        self.config = network.config

    def table(self, name: str) -> Floats:
        free = self.p[f"{name}.free.weight"]
        return free + waves(len(free)) @ self.p[f"{name}.smooth.weight"].T

    def linear(self, name: str, x: Floats) -> Floats:
        return x @ self.p[f"{name}.weight"].T + self.p[f"{name}.bias"]

    def norm(self, name: str, x: Floats) -> Floats:
        return norm(x, self.p[f"{name}.weight"], self.p[f"{name}.bias"])

    def log_p(self, f: int, x: Floats) -> Floats:
        name = f"logits.last.{f}"
        free = self.p[f"{name}.free.weight"]
        weight = free + waves(len(free)) @ self.p[f"{name}.smooth.weight"]
        return log_softmax(x @ weight.T + self.p[f"{name}.free.bias"], axis=-1)

    def amounts(self, tokens: npt.NDArray[np.int64], middles: list[Floats]) -> Floats:
        """(T, F): the middle of each token over the mean of them all; the end is 0."""
        found = [np.abs(m) / np.abs(m).mean() for m in middles]
        return np.stack([np.append(a, 0.0)[tokens[:, f]] for f, a in enumerate(found)], 1)

    def attention(self, name: str, x: Floats) -> Floats:
        t, w = x.shape
        heads = self.config.heads
        q, k, v = (
            self.linear(f"{name}.qkv", x).reshape(t, 3, heads, w // heads).transpose(1, 2, 0, 3)
        )
        score = q @ k.transpose(0, 2, 1) / np.sqrt(w // heads)
        score = np.where(np.tril(np.ones((t, t))), score, -np.inf)
        found = np.exp(log_softmax(score, axis=-1)) @ v
        return self.linear(f"{name}.join", found.transpose(1, 0, 2).reshape(t, w))

    def loss(
        self, tokens: npt.NDArray[np.int64], label: int, column: int, middles: list[Floats]
    ) -> Floats:
        """-log p of each point, (T,)."""
        c = self.p["conditions.label.weight"][label]
        c = c + self.table("conditions.columns.0")[column]
        a = self.amounts(tokens, middles)
        count = np.arange(1, len(a) + 1)[:, None]
        so_far = np.concatenate([a, a.cumsum(0), a.cumsum(0) / count], 1)
        b = np.log1p(so_far) @ self.p["totals.project.weight"].T
        for f in range(2):
            b = b + self.table(f"tokens.{f}")[tokens[:, f]]
        h = np.concatenate([self.p["start"][None], b[:-1]]) + self.p["place.weight"] + c
        for k in range(self.config.layers):
            name = f"blocks.{k}"
            h = h + self.attention(name, self.norm(f"{name}.attention_norm", h))
            hidden = gelu(self.linear(f"{name}.expand", self.norm(f"{name}.network_norm", h)))
            h = h + self.linear(f"{name}.contract", hidden)
        z = self.norm("norm", h)
        rows = np.arange(len(z))
        first = -self.log_p(0, z)[rows, tokens[:, 0]]
        u = z + self.table("logits.before.0")[tokens[:, 0]]
        second = -self.log_p(1, gelu(self.linear("logits.mix.0", u)))[rows, tokens[:, 1]]
        is_end = tokens[:, 0] == self.config.sizes[0] - 1
        return first + np.where(is_end, 0.0, second)


def test_the_distribution_of_cells_can_be_written_down() -> None:
    """Of the port, given the class; and of the class, given the port."""
    traces = lab_traffic("packets").truncate(12)[::6]
    ports = [443 if name.startswith("web") else 53 for name in traces.label_names]
    traces = replace(traces, meta=traces.meta.append_column("server_port", [ports]))
    network = Model.new(traces, default_codec("causal", 12), preset="causal").network
    assert isinstance(network, CausalNetwork)
    generator = torch.Generator().manual_seed(0)
    for p in network.parameters():
        p.data = torch.randn(p.shape, generator=generator, dtype=p.dtype) / p.shape[-1] ** 0.5
    w = Written(network)
    label, column = w.p["conditions.label.weight"], w.table("conditions.columns.0")
    unknown = w.p["conditions.unknown"]
    given = {1: label + unknown[1], 0: column + unknown[0]}
    for j, x in given.items():
        for k in range(2):
            name = f"conditions.blocks.{k}"
            hidden = gelu(w.linear(f"{name}.1", w.norm(f"{name}.0", x)))
            x = x + w.linear(f"{name}.3", hidden)
        name = f"conditions.logits.{j}"
        free = w.p[f"{name}.free.weight"]
        weight = free + waves(len(free)) @ w.p[f"{name}.smooth.weight"]
        found = w.norm("conditions.norm", x) @ weight.T + w.p[f"{name}.free.bias"]
        cells = torch.full((len(x), 2), -1)
        cells[:, 1 - j] = torch.arange(len(x))
        with torch.no_grad():
            logits = network.conditions.logits[j](network.conditions._features(cells))
        np.testing.assert_allclose(logits.numpy(), found, rtol=1e-4, atol=1e-4)  # float32


def test_the_causal_network_can_be_written_down() -> None:
    traces = lab_traffic("packets").truncate(12)[::6]
    ports = [443 if name.startswith("web") else 53 for name in traces.label_names]
    traces = replace(traces, meta=traces.meta.append_column("server_port", [ports]))
    model = Model.new(traces, default_codec("causal", 12), preset="causal")
    network = model.network.eval()
    assert isinstance(network, CausalNetwork)
    generator = torch.Generator().manual_seed(0)
    for p in network.parameters():  # as made many are 0, and would hide what is wrong
        p.data = torch.randn(p.shape, generator=generator, dtype=p.dtype) / p.shape[-1] ** 0.5
    tokens = model.codec.encode(traces).long()
    label, columns = torch.from_numpy(traces.labels), torch.from_numpy(model.columns.encode(traces))
    lost, inside = network.log_loss(tokens, label, columns)
    written = Written(network)
    middles = [v.middles for v in model.codec.vocabularies]
    for i in (0, 40, 80, 149):
        found = written.loss(tokens[i].numpy(), int(label[i]), int(columns[i, 0]), middles)
        n = int(inside[i].sum())
        # The network is float32: 6e-8 a product, of 96 or 192 of them a sum, through three blocks.
        np.testing.assert_allclose(lost[i, :n].detach().numpy(), found[:n], rtol=1e-5)


def cosine(kappa: float) -> Floats:
    """The schedule as the page gives it, (1000,)."""
    g = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
    alpha = np.cumprod(1 - np.minimum(0.999, 1 - g[1:] / g[:-1]))
    return alpha / (alpha + kappa**2 * (1 - alpha))


@pytest.mark.parametrize(("preset", "sign"), [("series", "κ = 0.36"), ("image", "κ = 4")])
def test_the_schedules_are_those_of_the_page(preset: str, sign: str) -> None:
    stated = float(sign.split("= ")[1])
    assert sign.replace("κ", r"\kappa") in PAGE or sign in PAGE
    diffusion = default_diffusion(preset)
    assert isinstance(diffusion, Diffusion)
    np.testing.assert_allclose(diffusion.alphas_cumprod.numpy(), cosine(stated), rtol=1e-9)


def test_coordinates_are_those_of_the_page() -> None:
    size = 256
    z = ndtri((np.arange(size) + 0.5) / size) / ndtri(1 - 1 / (2 * size))
    np.testing.assert_allclose(coordinates(size).numpy(), z, atol=1e-7)  # float32


def test_all_presets_are_there() -> None:
    assert set(re.findall(r"^\| `(\w+)`", PAGE, flags=re.MULTILINE)) == set(PRESETS)
