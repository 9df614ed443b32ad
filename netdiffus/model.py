"""A trained generator: network, codec, diffusion and classes, and the folder they live in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from netdiffus import __version__
from netdiffus.codec import GasfCodec
from netdiffus.covariance import Covariance
from netdiffus.diffusion import Diffusion
from netdiffus.errors import InputError, whole
from netdiffus.files import refuse_existing, whole_file, write_text
from netdiffus.levels import Levels, level_of
from netdiffus.scores import Scores
from netdiffus.totals import Totals
from netdiffus.traces import Traces
from netdiffus.unet import DefaultUNet, UNetConfig, contrast
from netdiffus.variants import Table, variants_of

FORMAT = 5
SPREAD = 1024  # points that the chances of scores are counted from
TOKENS = 64  # of a trace of volumes at most; levels of packets are too many to share a token
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
Ints = npt.NDArray[np.int64]


@dataclass(eq=False)
class Model:
    """Everything that sampling needs.

    Attributes:
        unet: The network; after training its weights are the averaged (EMA) ones.
        unet_config: Its shape.
        codec: Traces to images and back.
        diffusion: The noise process.
        classes: Names of the classes.
        variants: As columns: `class` of each variant, an index, and what meta-data it has
            (`variants_of`).
        length_counts: int64 (K, 3), rows (variant, length, number of training traces).
        about: How it was made, for the model card.
    """

    unet: nn.Module
    unet_config: UNetConfig
    codec: GasfCodec
    diffusion: Diffusion
    classes: tuple[str, ...]
    variants: Table
    length_counts: Ints
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def new(
        cls,
        traces: Traces,
        codec: GasfCodec,
        diffusion: Diffusion | None = None,
        *,
        preset: str = "default",
        width: int | None = None,
        seed: int = 0,
    ) -> Model:
        """An untrained model for these traces.

        Args:
            traces: Fix the classes and their lengths; the codec is fitted to them.
            codec: Not yet fitted.
            diffusion: None takes the preset's own: for `paper` x0 taught by cross-entropy on a
                linear schedule, for `default` x0 taught by the levels of its points on a log one.
            preset: `default` or `paper`.
            width: Features at the finest level, None for the preset's own.
            seed: Of the initial weights.

        Raises:
            InputError: The preset, the codec and the diffusion do not go together.
        """
        width = None if width is None else whole("width", width)
        codec.fit(traces)
        diffusion = diffusion or _default_diffusion(preset)
        lengths = np.minimum(traces.lengths, codec.length or 0)
        variant, variants = variants_of(traces)
        rows, counts = np.unique(np.stack([variant, lengths], 1), axis=0, return_counts=True)
        _check_parts(preset, codec, diffusion)
        config = UNetConfig(
            preset=preset,
            channels=len(traces.channels),
            size=codec.image_size,
            border=codec.border,
            gamma=codec.gamma,
            steps=diffusion.num_timesteps,
            classes=len(traces.classes),
            variants=tuple(variants["class"]),
            width=(32 if preset == "paper" else 96) if width is None else width,
        )
        if preset == "default":
            config, known = _counted(traces, codec, config)
        unet = _build(config, seed)
        if isinstance(unet, DefaultUNet):
            unet.know(*known, alphas_cumprod=diffusion.alphas_cumprod)
        return cls(
            unet=unet,
            unet_config=config,
            codec=codec,
            diffusion=diffusion,
            classes=traces.classes,
            variants=variants,
            length_counts=np.column_stack([rows, counts]),
        )

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Writes the folder: `config.json`, `model.safetensors`, and a card, each whole or not."""
        path = Path(path)
        refuse_existing(path / CONFIG, force)
        write_text(path / CONFIG, json.dumps(self.config(), indent=2) + "\n")
        self.save_weights(path, self.unet.state_dict())
        write_text(path / CARD, self.card())

    def save_weights(self, path: Path, weights: Mapping[str, Tensor]) -> None:
        """Writes `model.safetensors` alone, with `weights` as the network's."""
        tensors = {f"unet.{name}": tensor.cpu().contiguous() for name, tensor in weights.items()}
        tensors |= {f"scale.{name}": table for name, table in self.codec.state()[1].items()}
        tensors["length_counts"] = torch.from_numpy(self.length_counts)
        with whole_file(path / WEIGHTS) as part:
            save_file(tensors, part, metadata={"format": str(FORMAT)})

    def config(self) -> dict[str, Any]:
        """What goes into `config.json`."""
        return {
            "format": FORMAT,
            "netdiffus": __version__,
            "classes": list(self.classes),
            "variants": self.variants,
            "unet": asdict(self.unet_config),
            "diffusion": asdict(self.diffusion),
            "codec": self.codec.state()[0],
            "about": self.about,
        }

    @classmethod
    def load(cls, path: str | Path) -> Model:
        """Reads a model folder.

        Raises:
            InputError: The folder is missing, truncated, foreign, of a newer version, or holds
                a setting that this version does not know.
        """
        path = Path(path)
        config = _read_config(path / CONFIG)
        tensors = _read_tensors(path / WEIGHTS)
        try:
            return cls._from_parts(config, tensors)
        except (KeyError, TypeError, RuntimeError, ValueError) as error:
            raise InputError(
                f"{path}: config.json and model.safetensors do not fit: {error}"
            ) from error

    @classmethod
    def _from_parts(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> Model:
        sequences = {name: tuple(config["unet"][name]) for name in ("variants", "levels")}
        unet_config = UNetConfig(**config["unet"] | sequences)
        unet = unet_config.build()
        unet.load_state_dict(_under("unet.", tensors))
        return cls(
            unet=unet.eval(),
            unet_config=unet_config,
            codec=GasfCodec.from_state(config["codec"], _under("scale.", tensors)),
            diffusion=Diffusion(**config["diffusion"]),
            classes=tuple(config["classes"]),
            variants=config["variants"],
            length_counts=tensors["length_counts"].numpy(),
            about=config["about"],
        )

    def class_counts(self) -> Ints:
        """How many training traces each class had."""
        label = np.array(self.variants["class"])[self.length_counts[:, 0]]
        counts = np.bincount(label, self.length_counts[:, 2], minlength=len(self.classes))
        return counts.astype(np.int64)

    def card(self) -> str:
        """The model card, Markdown."""
        counts = self.class_counts()
        classes = "\n".join(
            f"| {c} | {int(n)} |" for c, n in zip(self.classes, counts, strict=True)
        )
        channels = "\n".join(
            f"- {channel.title} ({channel.kind})" for channel in self.codec.channels
        )
        about = "\n".join(f"- {key}: {value}" for key, value in self.about.items())
        return _CARD.format(
            version=__version__,
            classes=classes,
            channels=channels,
            about=about or "- untrained",
            size=self.codec.image_size,
            length=self.codec.length,
            preset=self.unet_config.preset,
            parameters=sum(p.numel() for p in self.unet.parameters()),
            diffusion=self.diffusion,
        )


_CARD = """# A netdiffus model

Makes synthetic network traces of the classes below. Made by netdiffus {version}.

```python
import netdiffus
traces = netdiffus.sample(netdiffus.Model.load("THIS FOLDER"), 100, label="…")
```

| class | training traces |
| --- | --- |
{classes}

Channels, of at most {length} points, drawn as {size}x{size} GASF images:
{channels}

Network: preset `{preset}`, {parameters:,} parameters. {diffusion}

Training:
{about}

Limits: what it makes is synthetic and must be marked so; judge it with `netdiffus evaluate`
against traces it was not trained on. It holds the exact lengths and value tables of its training
traces, how likely each level was by class and place, and how points varied together; nothing here
bounds what it may reveal about them: treat it as you treat the traces.
"""


def _default_diffusion(preset: str) -> Diffusion:
    if preset == "paper":
        return Diffusion(schedule="linear", prediction="x0", loss="cross_entropy", symmetric=False)
    return Diffusion(schedule="log", prediction="x0", loss="levels")


def _check_parts(preset: str, codec: GasfCodec, diffusion: Diffusion) -> None:
    if preset == "default" and codec.resize == "area" and codec.points < (codec.length or 0):
        raise InputError("resize='area' needs preset='paper'; 'default' takes resize='bin'")
    if preset == "default" and diffusion.prediction != "x0":
        raise InputError(
            f"preset 'default' needs prediction='x0' of the diffusion, got {diffusion.prediction!r}"
        )
    if preset == "paper" and diffusion.loss == "levels":
        raise InputError(f"loss='levels' needs preset='default', got {preset!r}")


def _counted(
    traces: Traces, codec: GasfCodec, config: UNetConfig
) -> tuple[UNetConfig, list[Levels | Covariance | Totals]]:
    """What the default network starts from, and its shape with room for that."""
    series = contrast(codec.series(traces), codec.gamma)
    inside, labels = codec.inside(traces.lengths), torch.from_numpy(traces.labels)
    where = inside, labels, len(traces.classes)
    scores = [
        contrast(torch.from_numpy(scale.spread(SPREAD)).float(), codec.gamma)
        if isinstance(scale, Scores)
        else None
        for scale in codec.scales
    ]
    levels, covariance = Levels.fit(series, *where, scores), Covariance.fit(series, *where)
    known: list[Levels | Covariance | Totals] = [levels, covariance]
    scored = [isinstance(scale, Scores) for scale in codec.scales]
    if any(scored):
        found = level_of(series, levels.spans, levels.sizes)
        known.append(Totals.fit(_values(codec, levels, config), found, *where[:2], levels.sizes))
    patch = -(-config.points // TOKENS) if all(scored) else 1
    shaped = replace(config, levels=levels.sizes, groups=len(covariance.vectors))
    return replace(shaped, totals=any(scored), patch=patch), known


def _values(codec: GasfCodec, levels: Levels, config: UNetConfig) -> Tensor:
    """(classes, m, S): the value of each level in its unit, 0 in channels of one scale for all."""
    middle = contrast(levels.spans[:, 1].double(), 1 / codec.gamma)
    values = []
    for scale, x in zip(codec.scales, torch.split(middle, list(levels.sizes)), strict=True):
        value = np.zeros((config.classes * len(x), config.points))
        if isinstance(scale, Scores):
            each = np.tile(x.numpy(), config.classes)[:, None].repeat(config.points, 1)
            value = scale.decode(each, np.arange(config.classes).repeat(len(x)))
        values.append(torch.from_numpy(value).view(-1, len(x), config.points).mT)
    return torch.cat(values, 2)


def _build(config: UNetConfig, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return config.build()


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path.parent}: not a netdiffus model folder, it has no {path.name}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable JSON: {error}") from None
    if not isinstance(config, dict) or "format" not in config or "netdiffus" not in config:
        raise InputError(f"{path}: not the config of a netdiffus model (no 'format', 'netdiffus')")
    if config["format"] != FORMAT:
        raise InputError(
            f"{path}: format {config['format']} of netdiffus {config['netdiffus']}; this version "
            f"reads format {FORMAT}: train the model again, or upgrade netdiffus"
        )
    _check_keys(
        path,
        "",
        config,
        {"format", "netdiffus", "classes", "variants", "unet", "diffusion", "codec", "about"},
    )
    _check_keys(path, "unet.", config["unet"], {f.name for f in fields(UNetConfig)})
    _check_keys(path, "diffusion.", config["diffusion"], {f.name for f in fields(Diffusion)})
    _check_keys(
        path,
        "codec.",
        config["codec"],
        {"size", "length", "resize", "gamma", "border", "classes", "channels", "scales"},
    )
    return config


def _check_keys(path: Path, where: str, found: Mapping[str, Any], known: set[str]) -> None:
    for problem, names in (("unknown", set(found) - known), ("missing", known - set(found))):
        if names:
            listed = ", ".join(where + name for name in sorted(names))
            raise InputError(
                f"{path}: {problem} setting {listed}; known: {', '.join(sorted(known))}"
            )


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"{path.parent}: not a whole model folder, it has no {path.name}")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"{path}: truncated or not a safetensors file: {error}") from error
