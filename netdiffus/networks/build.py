"""Presets by name: which network, which codec, which diffusion."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from netdiffus.codec import GasfCodec, TokenCodec
from netdiffus.codec.vocabulary import Vocabulary
from netdiffus.diffusion import Diffusion
from netdiffus.errors import InputError
from netdiffus.networks.causal import CausalConfig, CausalNetwork
from netdiffus.networks.denoiser import DenoiserConfig
from netdiffus.networks.image import ImageConfig, ImageNetwork
from netdiffus.networks.layers.image_unet import GROUPS
from netdiffus.networks.layers.tokens import PointLogits
from netdiffus.networks.masked import MaskedNetwork
from netdiffus.networks.series import SPREAD, SeriesNetwork

PRESETS = ("default", "causal", "series", "masked", "image", "paper")
IMAGES = ("image", "paper")  # presets that learn images; the others learn tokens
LENGTHS = ("series", "masked", *IMAGES)  # presets that are given the length as a column
BORDER = 1  # constant points on the images of `image`, where the series itself is seen
PAPER_WIDTH = 32
IMAGE_SHIFT = 4.0  # a series is seen in every row of its image, so that less noise hides little
Codec = TokenCodec | GasfCodec
Config = CausalConfig | DenoiserConfig | ImageConfig
Network = CausalNetwork | SeriesNetwork | MaskedNetwork | ImageNetwork


def default_codec(preset: str, size: int) -> Codec:
    """The codec of a preset, not yet fitted; `size` is the size of its images, if it has any."""
    if preset not in IMAGES:
        return TokenCodec()
    return GasfCodec(size, border=BORDER if preset == "image" else 0)


def default_diffusion(preset: str) -> Diffusion | None:
    """The noise process of a preset; None for `causal` and `masked`, which have no noise."""
    if preset == "series":
        return Diffusion(prediction="x0", shift=SPREAD, symmetric=False)
    if preset not in IMAGES:
        return None
    if preset == "image":
        return Diffusion(schedule="cosine", prediction="v", shift=IMAGE_SHIFT)
    return Diffusion(schedule="linear", prediction="x0", loss="cross_entropy", symmetric=False)


def shape_of(preset: str) -> type[Config]:
    """The class of the shape of a preset's network."""
    if preset in IMAGES:
        return ImageConfig
    return DenoiserConfig if preset in LENGTHS else CausalConfig


def configure(
    preset: str, codec: Codec, classes: int, columns: tuple[int, ...], width: int | None = None
) -> Config:
    """The shape of the network that suits a fitted codec."""
    found: Config
    if isinstance(codec, TokenCodec) and preset in LENGTHS:
        found = DenoiserConfig(codec.points, codec.sizes, classes, columns)
    elif isinstance(codec, TokenCodec):
        jittered = codec.are_amounts
        found = CausalConfig(codec.points, codec.sizes, classes, columns, jittered=jittered)
    else:
        found = ImageConfig(len(codec.channels), codec.image_size, classes, columns)
        if preset == "paper":
            found = replace(found, width=PAPER_WIDTH, plain=True)
    return found if width is None else replace(found, width=width)


def build(
    config: Config,
    codec: Codec,
    diffusion: Diffusion | None,
    lengths: Vocabulary | None = None,
    seed: int = 0,
) -> Network:
    """The network, with initial weights that depend on the seed alone.

    Raises:
        InputError: A width that the network cannot have.
    """
    _check_width(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(config, CausalConfig):
            assert isinstance(codec, TokenCodec)
            return CausalNetwork(config, codec.vocabularies)
        if isinstance(config, DenoiserConfig):
            assert lengths is not None
            assert isinstance(codec, TokenCodec)
            if diffusion is None:
                return MaskedNetwork(config, lengths, codec.are_amounts)
            return SeriesNetwork(config, diffusion, lengths)
        assert isinstance(codec, GasfCodec)
        assert diffusion is not None
        return ImageNetwork(config, diffusion, codec.draw)


def _check_width(config: Config) -> None:
    """Refuses a width that is no multiple of the heads or groups of features."""
    parts = 1
    if isinstance(config, CausalConfig | DenoiserConfig):
        parts = config.heads
    elif not config.plain:
        parts = GROUPS
    if config.width % parts:
        raise InputError(f"width must be a multiple of {parts}, got {config.width}")


def check_preset(preset: str) -> None:
    """Refuses an unknown preset."""
    if preset not in PRESETS:
        raise InputError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")


def logits_of(network: nn.Module) -> PointLogits | None:
    """The logits that have a temperature, if the network has any."""
    return network.logits if isinstance(network, CausalNetwork | MaskedNetwork) else None


def parameters(network: nn.Module) -> int:
    """The number of parameters of a network."""
    return sum(p.numel() for p in network.parameters())
