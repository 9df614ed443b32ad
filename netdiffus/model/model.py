"""A trained generator: network, codec, columns and classes, and their folder."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor
from torch.overrides import TorchFunctionMode

from netdiffus import __version__
from netdiffus.codec import GasfCodec, TokenCodec
from netdiffus.codec.columns import Choice, Columns
from netdiffus.codec.vocabulary import K
from netdiffus.diffusion import Diffusion
from netdiffus.errors import InputError, visible, whole
from netdiffus.files import alone_in
from netdiffus.ledger import statement
from netdiffus.model import hub
from netdiffus.model.checks import (
    FORMAT,
    Weights,
    check_bound,
    check_config,
    check_shape,
    check_tables,
    check_temperature,
    check_unknown,
    check_values,
    check_weights,
    open_weights,
    read_config,
)
from netdiffus.model.files import (
    CARD,
    CONFIG,
    WEIGHTS,
    current,
    identity,
    located,
    refuse_model,
    save_together,
    settle,
)
from netdiffus.networks.build import (
    IMAGES,
    LENGTHS,
    Codec,
    Network,
    build,
    check_preset,
    configure,
    default_diffusion,
    parameters,
    shape_of,
)
from netdiffus.progress import Progress
from netdiffus.traces.traces import Floats, Ints, Traces


@dataclass(eq=False)
class Model:
    """Everything that sampling needs.

    Attributes:
        preset: The name of the kind of network.
        network: After training its weights are the averaged (EMA) ones.
        codec: Traces to tokens or images, and back.
        diffusion: The noise process; None for an autoregressive network.
        classes: Names of the classes.
        shares: (K,) relative frequency of each class; a class of fewer than 5 traces counts as 5.
        columns: The meta-data that is learned with the class.
        about: How it was made, for the model card.
        ledger: The privacy ledger of its training traces; None without a guarantee.
    """

    preset: str
    network: Network
    codec: Codec
    diffusion: Diffusion | None
    classes: tuple[str, ...]
    shares: Floats
    columns: Columns
    about: dict[str, Any] = field(default_factory=dict)
    ledger: dict[str, Any] | None = None

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
        columns: Choice = None,
        seed: int = 0,
    ) -> Model:
        """An untrained model for these traces.

        Args:
            traces: Fix the classes, the columns and the vocabularies.
            codec: Not yet fitted; it is fitted here.
            diffusion: None takes the preset's own.
            preset: `default`, `causal`, `series`, `masked`, `image` or `paper`.
            width: Features inside the network, None for the preset's own.
            owners: (N,) the owner of each trace, as a number; None: each trace has its own. Every
                number that the model keeps is made from the traces of at least 5 owners.
            columns: Names of columns of the meta-data that are learned, see `Columns.fit`.
            seed: Of the initial weights.

        Raises:
            InputError: The preset, the columns, the codec and the diffusion do not go together, or
                there are fewer than 5 owners.
        """
        check_preset(preset)
        width = None if width is None else whole("width", width, 1)
        _check_parts(preset, codec, diffusion)
        owners = np.arange(len(traces)) if owners is None else owners
        _check_sizes(codec)
        if isinstance(codec, TokenCodec) and preset in LENGTHS:
            # The number of points of a trace is drawn before its runs are known.
            if codec.runs:
                raise InputError(
                    f"preset {preset!r} takes no runs; leave runs out, or take 'causal'"
                )
            codec.runs = 0
        codec.fit(traces, owners)
        diffusion = diffusion or default_diffusion(preset)
        kept = traces.truncate(codec.length) if codec.length else traces
        per_point = codec.bins_per_point if preset in LENGTHS else None
        found = Columns.fit(kept, owners, columns, per_point)
        config = configure(preset, codec, len(traces.classes), found.sizes, width)
        check_shape(config)
        counts = np.bincount(traces.labels, minlength=len(traces.classes))
        model = cls(
            preset=preset,
            network=build(config, codec, diffusion, found.lengths, seed),
            codec=codec,
            diffusion=diffusion,
            classes=traces.classes,
            shares=shares_of(counts),
            columns=found,
            ledger=traces.ledger,
        )
        check_config(model.config() | {"id": None})  # what is saved is read again
        return model

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Writes the folder: `config.json`, `model.safetensors`, and a card.

        An existing model is replaced at once; a crash leaves the old model or the new one.

        Raises:
            FileExistsError: The folder holds a model, or files of its names, and `force` is false.
            InputError: The folder cannot be written to, or a training writes into it.
        """
        folder = Path(path)
        refuse_model(folder, force)
        with alone_in(folder):
            settle(folder)
            save_together(folder, *self.parts(self.network.state_dict()))

    def parts(self, weights: Mapping[str, Tensor]) -> tuple[str, str, dict[str, bytes]]:
        """The contents of a save, with `weights` as those of the network.

        Returns:
            The identity of the save; the text of `config.json`; the contents of the other files.
        """
        tensors = {f"network.{name}": tensor.cpu().contiguous() for name, tensor in weights.items()}
        tensors |= {f"codec.{name}": table for name, table in self.codec.state()[1].items()}
        tensors |= self.columns.tables()
        one = identity(tensors)
        config = json.dumps({**self.config(), "id": one}, indent=2) + "\n"
        content = save(tensors, metadata={"id": one})  # of several, the order would be by chance
        return one, config, {WEIGHTS: content, CARD: self.card().encode()}

    def config(self) -> dict[str, Any]:
        """The contents of `config.json`."""
        return {
            "format": FORMAT,
            "netdiffus": __version__,
            "preset": self.preset,
            "classes": list(self.classes),
            "shares": self.shares.tolist(),
            "columns": self.columns.settings(),
            "network": asdict(self.network.config),
            "diffusion": None if self.diffusion is None else asdict(self.diffusion),
            "codec": self.codec.state()[0],
            "about": self.about,
            "ledger": self.ledger,
        }

    @classmethod
    def load(cls, path: str | Path) -> Model:
        """Reads a model folder, which may come from an unknown source.

        Sizes are checked before the network is built, so that it takes no more memory than the
        files.

        Args:
            path: The folder. Without a folder of this name, `lab` is the bundled model: it makes
                the first 64 packets of sessions as in `lab_traffic`.

        Raises:
            InputError: The folder is missing, truncated, foreign, of another format, or holds
                a setting or a tensor that this version does not know or that is out of bounds.
        """
        folder, found = located(path), None
        for _ in range(TRIES):
            config = read_config(folder / CONFIG)
            file = current(folder, WEIGHTS, config["id"])
            with suppress(FileNotFoundError), open_weights(file) as weights:
                found = weights.id or "none"
                if weights.id == config["id"]:
                    return cls._checked(folder, config, weights)
        if found is None:
            raise InputError(f"{folder}: not a whole model folder, it has no {WEIGHTS}")
        raise InputError(
            f"{folder}: {CONFIG} and {WEIGHTS} are not of one save (id {config['id']} and "
            f"{found[:32]}); copy both from one folder, or train again"
        )

    def push_to_hub(
        self,
        repo_id: str,
        *,
        license: str | None = None,
        private: bool = True,
        revision: str | None = None,
        token: str | None = None,
        message: str = "A netdiffus model",
    ) -> str:
        """Puts the model into a repository of Hugging Face's hub, or of the one of `HF_ENDPOINT`.

        The three files that `save` writes are uploaded as one commit, but never the log or the
        checkpoint of a training. Without differential privacy, the weights reveal more about the
        training traces than synthetic traces do. So a new repository is private unless you say
        otherwise.

        Args:
            repo_id: `user/name`; it is made if it does not exist.
            license: Identifier for the card's front matter, such as `apache-2.0`. None says none.
            private: Whether a new repository is seen by its owner alone.
            revision: The branch; None is the main one.
            token: Of the hub; None is the one that `hf auth login` keeps.
            message: Of the commit.

        Returns:
            The address of the commit.

        Raises:
            InputError: The hub refuses it, or cannot be reached.
        """
        _, config, parts = self.parts(self.network.state_dict())
        card = hub.with_license(self.card(), license)
        files = parts | {CONFIG: config.encode(), CARD: card.encode()}
        return hub.push(
            files, repo_id, private=private, revision=revision, token=token, message=message
        )

    @classmethod
    def from_pretrained(
        cls,
        repo_id: str | Path,
        *,
        revision: str | None = None,
        token: str | None = None,
        cache_dir: str | Path | None = None,
    ) -> Model:
        """Reads a model from a repository of Hugging Face's hub, or from a folder.

        It is checked like any folder by `load`. No code in it is executed.

        Args:
            repo_id: `user/name`, or a folder.
            revision: Branch, tag or commit; None is the main branch.
            token: Of the hub; None is the one that `hf auth login` keeps.
            cache_dir: Where files from the hub are kept; None is its own cache.

        Raises:
            InputError: There is no such model, or `load` refuses it.
        """
        if Path(repo_id).is_dir():
            return cls.load(repo_id)
        folder = hub.pull(str(repo_id), revision=revision, token=token, cache_dir=cache_dir)
        try:
            return cls.load(folder)
        except InputError as error:
            raise InputError(f"{repo_id}: {error}") from error

    @classmethod
    def _checked(cls, folder: Path, config: dict[str, Any], weights: Weights) -> Model:
        try:
            return cls._from_parts(config, weights)
        except InputError as error:
            start = "" if str(folder) in str(error) else f"{folder}: "
            raise InputError(f"{start}{error}") from None
        except _MISFITS as error:
            raise InputError(f"{folder}: {CONFIG} and {WEIGHTS} do not fit: {error}") from error

    @classmethod
    def _from_parts(cls, config: dict[str, Any], weights: Weights) -> Model:
        is_image = config["preset"] in IMAGES
        tables = weights.read(check_tables(weights, config))
        check_values(weights.path, tables, config["codec"])
        kind = GasfCodec if is_image else TokenCodec
        codec = kind.from_state(config["codec"], _under("codec.", tables))
        diffusion = None if config["diffusion"] is None else Diffusion(**config["diffusion"])
        columns = Columns.from_settings(config["columns"], tables, codec.bins_per_point)
        sequences = {k: tuple(v) for k, v in config["network"].items() if isinstance(v, list)}
        shape = shape_of(config["preset"])(**config["network"] | sequences)
        with torch.device("meta"), _ShapesAlone():  # sizes without memory
            expected = build(shape, codec, diffusion, columns.lengths).state_dict()
        names = check_weights(weights, expected)
        check_unknown(weights, [*names, *tables])
        network = build(shape, codec, diffusion, columns.lengths)
        tensors = _under("network.", weights.read(names))
        check_temperature(weights.path, tensors)
        network.load_state_dict(tensors)
        return cls(
            preset=config["preset"],
            network=network.eval(),
            codec=codec,
            diffusion=diffusion,
            classes=tuple(config["classes"]),
            shares=np.array(config["shares"], dtype=np.float64),
            columns=columns,
            about=config["about"],
            ledger=config["ledger"],
        )

    def log_prob(self, traces: Traces, *, progress: Progress | None = None) -> Floats:
        """(N,): log p(trace) in nats, summed over classes; unusual traces have lower values.

        It is the log of the sum over classes of exp(`netdiffus.model.likelihood.log_joint`). Longer
        traces have lower values.

        Raises:
            InputError: A network without a likelihood, or traces of other channels or columns.
        """
        from netdiffus.model.likelihood import log_joint

        found: Floats = np.logaddexp.reduce(log_joint(self, traces, progress), axis=1)
        return found

    def predict(self, traces: Traces, *, progress: Progress | None = None) -> Floats:
        """(N, K): p(class | trace), in the order of `classes`, by Bayes' rule.

        Raises:
            InputError: A network without a likelihood, or traces of other channels or columns.
        """
        from netdiffus.model.likelihood import log_joint

        joint = log_joint(self, traces, progress)
        found: Floats = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
        return found

    def __repr__(self) -> str:
        channels = ", ".join(channel.title for channel in self.codec.channels)
        trained = f"{self.about['steps']:,} steps" if "steps" in self.about else "untrained"
        lines = [
            f"Model: preset {self.preset}, {parameters(self.network):,} parameters, {trained}",
            f"  {len(self.classes)} classes, at most {self.codec.length} points of {channels}",
            f"  columns: {', '.join(self.columns.chosen) or 'none'}",
            f"  privacy: {statement(self.ledger)}",
        ]
        return "\n".join(map(visible, lines))

    def _repr_html_(self) -> str:
        from netdiffus.model.notebook import model_html

        return model_html(self)

    def card(self) -> str:
        """The model card, Markdown."""
        classes = "\n".join(
            f"| {_markdown(name)} | {share:.1%} |"
            for name, share in zip(self.classes, self.shares, strict=True)
        )
        channels = "\n".join(
            f"- {_markdown(one.name)} [{_markdown(one.unit)}] ({one.kind})"
            if one.unit
            else f"- {_markdown(one.name)} ({one.kind})"
            for one in self.codec.channels
        )
        about = "\n".join(
            f"- {_markdown(key)}: {_markdown(value)}" for key, value in self.about.items()
        )
        return _CARD.format(
            version=__version__,
            classes=classes,
            channels=channels,
            columns=", ".join(map(_markdown, self.columns.chosen)) or "none",
            about=about or "- untrained",
            length=self.codec.length,
            preset=self.preset,
            what=_WHAT[self.preset],
            parameters=parameters(self.network),
            kept=_KEPT if self.about.get("rare") == "keep" else _SHARED,
            privacy=_privacy(self.ledger),
        )


_CAUSAL = "an autoregressive transformer over the points of a trace"
_WHAT = {
    "default": _CAUSAL,
    "causal": _CAUSAL,
    "series": "Gaussian diffusion of the points of a series by a transformer",
    "masked": "absorbing diffusion of the points of a trace by a transformer",
    "image": "diffusion on GASF images by a U-Net on patches",
    "paper": "diffusion on GASF images by the U-Net of the NetDiffus paper",
}

_SHARED = f"""\
Every value, range, length and port in this folder is made from at least {K} training
traces (or groups of traces)."""
_KEPT = """**Rare values are kept (`--rare keep`): this folder and its synthetic traces contain
values, lengths and cells of single training traces. Do not share them.**"""

_CARD = """---
library_name: netdiffus
tags:
- network-traffic
- synthetic-data
- time-series
- {preset}
---

# A netdiffus model

This model makes synthetic network traces of the classes below. It was made by netdiffus {version}.

```python
import netdiffus

model = netdiffus.Model.from_pretrained("THIS FOLDER, OR user/name ON THE HUB")
traces = netdiffus.sample(model, 100, label="…")
```

| class | share of the training traces |
| --- | --- |
{classes}

Channels, of at most {length} points:
{channels}

Columns of the meta-data: {columns}

Network: preset `{preset}`, {what}, {parameters:,} parameters.

Training:
{about}

Differential privacy: {privacy}
{kept}

Limits: mark its traces as synthetic. Compare them with real traces that were not used in training
(`netdiffus evaluate`).
"""


_NO_LEDGER = """none. From the weights of the network, an attacker can guess better than by chance
whether a trace was in the training set. `netdiffus train --epsilon` gives a guarantee."""


def _privacy(ledger: Mapping[str, Any] | None) -> str:
    """The card's text on the guarantee: one sentence, then the ledger."""
    if ledger is None:
        return _NO_LEDGER
    settings = "\n".join(
        f"- {_markdown(name)}: {_markdown(value)}" for name, value in ledger.items() if value
    )
    return f"""{_markdown(statement(ledger))}.
Sampling keeps the guarantee, and so does sharing the model. The ledger:

{settings}
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


def _check_sizes(codec: Codec) -> None:
    """Refuses sizes that need too much memory, before traces are encoded."""
    for name in ("length", "runs", "size", "border", "gamma"):
        value = getattr(codec, name, None)
        if value is not None and (name, value) != ("runs", 0):
            check_bound(f"codec.{name}", value)


class _ShapesAlone(TorchFunctionMode):
    """Skips what is slow on the meta device, where it would import half of torch for two seconds.

    These are initial weights, which are not needed, and `arange`, which the CPU can do.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return kwargs.get("tensor", *args[:1])
        return func(*args, **kwargs | ({"device": "cpu"} if func is torch.arange else {}))


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


# Errors that contradictory parts of an untrusted folder may still raise.
_MISFITS = (
    ArithmeticError,
    AttributeError,
    IndexError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
)
TRIES = 3  # to read a folder that a training writes into


def _markdown(value: object) -> str:
    """Text in one line, escaped for Markdown and HTML."""
    text = html.escape(visible(str(value)), quote=False)
    return re.sub(r"([\\`*\[\]#|!])", r"\\\1", text)


def shares_of(counts: Ints) -> Floats:
    """(K,), relative frequency of each class; a class of fewer than `K` traces counts as `K`."""
    at_least: Floats = np.maximum(counts, K).astype(np.float64)
    shares: Floats = at_least / at_least.sum()
    return shares
