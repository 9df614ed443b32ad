"""A trained generator: network, codec, columns and classes, and the folder they live in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from netdiffus import __version__
from netdiffus.codec import GasfCodec, TokenCodec
from netdiffus.codec.vocabulary import K, Vocabulary
from netdiffus.columns import Columns
from netdiffus.diffusion import Diffusion
from netdiffus.errors import InputError, whole
from netdiffus.files import refuse_existing, whole_file, write_text
from netdiffus.networks.build import (
    IMAGES,
    LENGTHS,
    Codec,
    Config,
    Network,
    build,
    check_preset,
    configure,
    default_diffusion,
    parameters,
)
from netdiffus.networks.causal import CausalConfig
from netdiffus.networks.denoiser import DenoiserConfig
from netdiffus.networks.image import ImageConfig
from netdiffus.traces import Traces

FORMAT = 6
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
SETTINGS = (
    "format",
    "netdiffus",
    "preset",
    "classes",
    "shares",
    "columns",
    "network",
    "diffusion",
    "codec",
    "about",
)
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(eq=False)
class Model:
    """Everything that sampling needs.

    Attributes:
        preset: The name of the kind of network.
        network: After training its weights are the averaged (EMA) ones.
        codec: Traces to tokens or images, and back.
        diffusion: The noise process; None for an autoregressive network.
        classes: Names of the classes.
        shares: (K,) how frequent each class is, of a class of fewer than 5 traces as if it had 5.
        columns: The meta-data that is learned with the class.
        about: How it was made, for the model card.
    """

    preset: str
    network: Network
    codec: Codec
    diffusion: Diffusion | None
    classes: tuple[str, ...]
    shares: Floats
    columns: Columns
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def new(
        cls,
        traces: Traces,
        codec: Codec,
        diffusion: Diffusion | None = None,
        *,
        preset: str = "default",
        width: int | None = None,
        owners: Ints | None = None,
        seed: int = 0,
    ) -> Model:
        """An untrained model for these traces.

        Args:
            traces: Fix the classes, the columns and the vocabularies.
            codec: Not yet fitted; it is fitted here.
            diffusion: None takes the preset's own.
            preset: `default`, `causal`, `series`, `masked`, `image` or `paper`.
            width: Features inside the network, None for the preset's own.
            owners: (N,) whose each trace is; None takes each trace as an owner. Every number that
                is taken over from the traces is made from those of 5 owners at least.
            seed: Of the initial weights.

        Raises:
            InputError: The preset, the codec and the diffusion do not go together, or there are
                fewer than 5 owners.
        """
        check_preset(preset)
        width = None if width is None else whole("width", width, 1)
        _check_parts(preset, codec, diffusion)
        owners = np.arange(len(traces)) if owners is None else owners
        codec.fit(traces, owners)
        diffusion = diffusion or default_diffusion(preset)
        kept = traces.truncate(codec.length) if codec.length else traces
        per_point = codec.bins_per_point if preset in LENGTHS else None
        columns = Columns.fit(kept, owners, per_point)
        config = configure(preset, codec, len(traces.classes), columns.sizes, width)
        counts = np.maximum(np.bincount(traces.labels, minlength=len(traces.classes)), K)
        return cls(
            preset=preset,
            network=build(config, codec, diffusion, columns.lengths, seed),
            codec=codec,
            diffusion=diffusion,
            classes=traces.classes,
            shares=counts / counts.sum(),
            columns=columns,
        )

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Writes the folder: `config.json`, `model.safetensors`, and a card, each whole or not."""
        path = Path(path)
        refuse_existing(path / CONFIG, force)
        write_text(path / CONFIG, json.dumps(self.config(), indent=2) + "\n")
        self.save_weights(path, self.network.state_dict())
        write_text(path / CARD, self.card())

    def save_weights(self, path: Path, weights: Mapping[str, Tensor]) -> None:
        """Writes `model.safetensors` alone, with `weights` as the network's."""
        tensors = {f"network.{name}": tensor.cpu().contiguous() for name, tensor in weights.items()}
        tensors |= {f"codec.{name}": table for name, table in self.codec.state()[1].items()}
        if self.columns.lengths is not None:
            tensors["columns.lengths"] = torch.from_numpy(self.columns.lengths.table)
        with whole_file(path / WEIGHTS) as part:
            save_file(tensors, part, metadata={"format": str(FORMAT)})

    def config(self) -> dict[str, Any]:
        """What goes into `config.json`."""
        return {
            "format": FORMAT,
            "netdiffus": __version__,
            "preset": self.preset,
            "classes": list(self.classes),
            "shares": self.shares.tolist(),
            "columns": dict(zip(self.columns.names, self.columns.values, strict=True)),
            "network": asdict(self.network.config),
            "diffusion": None if self.diffusion is None else asdict(self.diffusion),
            "codec": self.codec.state()[0],
            "about": self.about,
        }

    @classmethod
    def load(cls, path: str | Path) -> Model:
        """Reads a model folder.

        Raises:
            InputError: The folder is missing, truncated, foreign, of another format, or holds
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
        check_preset(config["preset"])
        is_image = config["preset"] in IMAGES
        kind = GasfCodec if is_image else TokenCodec
        codec = kind.from_state(config["codec"], _under("codec.", tensors))
        has_lengths = config["preset"] in LENGTHS
        diffusion = None if config["diffusion"] is None else Diffusion(**config["diffusion"])
        lengths = Vocabulary(tensors["columns.lengths"].numpy(), True) if has_lengths else None
        settings = _network_config(config["network"], config["preset"])
        network = build(settings, codec, diffusion, lengths)
        network.load_state_dict(_under("network.", tensors))
        return cls(
            preset=config["preset"],
            network=network.eval(),
            codec=codec,
            diffusion=diffusion,
            classes=tuple(config["classes"]),
            shares=np.array(config["shares"], dtype=np.float64),
            columns=_columns(config["columns"], lengths, codec),
            about=config["about"],
        )

    def card(self) -> str:
        """The model card, Markdown."""
        classes = "\n".join(
            f"| {name} | {share:.1%} |"
            for name, share in zip(self.classes, self.shares, strict=True)
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
            length=self.codec.length,
            preset=self.preset,
            what=_WHAT["images" if self.preset in IMAGES else "tokens"],
            parameters=parameters(self.network),
            k=K,
        )


_WHAT = {
    "tokens": "an autoregressive transformer over the points of a trace",
    "images": "a diffusion U-Net on GASF images",
}

_CARD = """# A netdiffus model

Makes synthetic network traces of the classes below. Made by netdiffus {version}.

```python
import netdiffus
traces = netdiffus.sample(netdiffus.Model.load("THIS FOLDER"), 100, label="…")
```

| class | share of the training traces |
| --- | --- |
{classes}

Channels, of at most {length} points:
{channels}

Network: preset `{preset}`, {what}, {parameters:,} parameters.

Training:
{about}

Privacy: every value, range, length and port in this folder is made from at least {k} training
traces (or groups of traces). The weights of the network give no such guarantee: an attacker can
tell from them, better than by chance, whether a given trace was learned from. There is no
guarantee of differential privacy.

Limits: what it makes is synthetic and must be marked so; judge it with `netdiffus evaluate`
against traces it was not trained on.
"""


def _check_parts(preset: str, codec: Codec, diffusion: Diffusion | None) -> None:
    wanted = GasfCodec if preset in IMAGES else TokenCodec
    if not isinstance(codec, wanted):
        raise InputError(
            f"preset {preset!r} needs codec={wanted.__name__}(…), got {type(codec).__name__}"
        )
    if diffusion is not None and default_diffusion(preset) is None:
        raise InputError(
            f"preset {preset!r} has no diffusion; leave diffusion out, or take preset='paper'"
        )


def _network_config(settings: dict[str, Any], preset: str) -> Config:
    sequences = {k: tuple(v) for k, v in settings.items() if isinstance(v, list)}
    if preset in IMAGES:
        return ImageConfig(**settings | sequences)
    return (DenoiserConfig if preset in LENGTHS else CausalConfig)(**settings | sequences)


def _columns(values: dict[str, Any], lengths: Vocabulary | None, codec: Codec) -> Columns:
    cells = tuple(map(tuple, values.values()))
    return Columns(tuple(values), cells, lengths, codec.bins_per_point)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path.parent}: not a netdiffus model folder, it has no {path.name}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not readable JSON: {error}") from None
    if not isinstance(config, dict) or "format" not in config or "netdiffus" not in config:
        raise InputError(f"{path}: not the config of a netdiffus model (no 'format', 'netdiffus')")
    _check_format(path, config)
    _check_keys(path, config, set(SETTINGS))
    return config


def _check_format(path: Path, config: dict[str, Any]) -> None:
    found, version = config["format"], config["netdiffus"]
    if found == FORMAT:
        return
    if isinstance(found, int) and found < FORMAT:
        raise InputError(
            f"{path}: format {found} of netdiffus {version} holds counts that give its training "
            f"traces away, and is no longer read; train again for format {FORMAT}, and keep this "
            "folder as private as the traces"
        )
    raise InputError(
        f"{path}: format {found} of netdiffus {version}; this version reads format {FORMAT}: "
        "upgrade netdiffus"
    )


def _check_keys(path: Path, found: Mapping[str, Any], known: set[str]) -> None:
    for problem, names in (("unknown", set(found) - known), ("missing", known - set(found))):
        if names:
            listed = ", ".join(sorted(names))
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
