"""Checks of a model folder from an untrusted source, all before a network is built."""

from __future__ import annotations

import json
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from netdiffus.arrays import Floats
from netdiffus.channels import KINDS, Channel
from netdiffus.codec.column import PORT, PORT_RANGES, Column, ranges_in
from netdiffus.codec.runs import EQUAL, TIMED
from netdiffus.codec.totals import PER_SECOND, total_names
from netdiffus.codec.vocabulary import PARTS
from netdiffus.diffusion import Diffusion
from netdiffus.errors import InputError
from netdiffus.ledger import checked
from netdiffus.model.files import IDENTITY
from netdiffus.networks.build import (
    IMAGES,
    LENGTHS,
    Config,
    check_preset,
    default_diffusion,
    shape_of,
)

FORMAT = 6
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
    "ledger",
    "id",
)
# Bounds of every number, with the reason of the upper one.
Bound = tuple[float, float, str]
_POINTS = (1, 2**17, "1,000 traces of so many points are 1 GB for each channel")
_IMAGE = (1, 2**11, "an image of so many points a side is 16 MB for each channel")
BOUNDS: dict[str, Bound] = {
    "network.points": _POINTS,
    "network.sizes": (1, 2**15 - 1, "tokens have 16 bits"),
    "network.classes": (1, 2**16, "with more, a class would have few traces"),
    "network.columns": (1, 2**10, "of a column 512 values at most are learned"),
    "network.width": (1, 2**12, "one block of so many features is 0.5 GB"),
    "network.layers": (1, 64, "each is a step of every point that is made"),
    "network.heads": (1, 2**8, "each has 16 features at the greatest width"),
    "network.expansion": (1, 16, "four times the usual of transformers"),
    "network.window": (1, 2**17, "no trace has more points"),
    "network.dropout": (0, 1, "it is a share"),
    "network.hidden": (0, 1, "it is a share"),
    "network.channels": (1, 2**8, "a trace has a series for each"),
    "network.size": _IMAGE,
    "diffusion.num_timesteps": (1, 10_000, "ten times as many as usual; ddpm runs all of them"),
    "diffusion.shift": (1e-3, 1e3, "the cosine schedule has no more noise to give"),
    "codec.length": _POINTS,
    "codec.bins_per_point": _POINTS,
    "codec.runs": _POINTS,
    "codec.size": _IMAGE,
    "codec.border": (0, 2**10, "one constant point is enough"),
    "codec.gamma": (1e-3, 1e3, "beyond, all pixels are 0 or 1"),
}
MOST_CONFIG = 2**23  # bytes: 65,536 classes with their shares, and 100 bytes for each name
MOST_HEADER = 2**22  # bytes: 64 blocks of 12 tensors, and 256 channels, in 100 bytes each
DEEPEST = 8  # brackets inside brackets; a config has 4
LARGEST = 1e100  # of a value: sums of any number of them are finite
TYPES = {"F64": torch.float64, "F32": torch.float32}
COLUMNS = ("learned", "totals", "orders")
# Settings by name, and their types; None where more than the type is checked.
Types = Mapping[str, Any]
COLUMN: Types = dict.fromkeys(("values", "is_whole", "rare")) | {
    "name": str,
    "kind": str,
    "has_empty": bool,
}
TOKENS: Types = dict.fromkeys(("kind", "channels")) | {
    "length": int,
    "bins_per_point": int,
    "is_whole": list[bool],
    "runs": int,
}
PIXELS: Types = dict.fromkeys(("channels", "scales")) | {
    "size": int,
    "length": int,
    "border": int,
    "gamma": float,
    "resize": str,
}
CHANNEL: Types = {"name": str, "kind": str, "unit": str, "dtype": str, "bin_width": None}
CHANNEL_KINDS = (*dict.fromkeys(kind for kind, _ in KINDS.values()), "number")
BUDGET: Types = dict.fromkeys(("steps", "minutes", "cpu_minutes"), float)
Header = dict[str, tuple[str, tuple[int, ...]]]  # type and shape of each tensor


MOST_TEMPERATURE = 10  # training gives 1.15 at most


def check_bound(name: str, value: float) -> None:
    """Refuses a number outside of its `BOUNDS`."""
    least, most, why = BOUNDS[name]
    if not least <= value <= most:
        raise InputError(f"{name} must lie in {least:g}..{most:,g} ({why}), got {_short(value)}")


def check_shape(network: Config) -> None:
    """Refuses a network whose size is out of bounds."""
    _check_dataclass("network", type(network), asdict(network))


def check_config(config: Mapping[str, Any]) -> None:
    """Refuses settings that fit no network, or a network too large for usual memory.

    Raises:
        InputError: Names the setting.
    """
    _check_keys("", config, SETTINGS)
    one = config["id"]
    if one is not None and not (isinstance(one, str) and IDENTITY.fullmatch(one)):
        raise InputError(f"id must be 32 hexadecimal digits, got {_short(one)}")
    _check_preset(config["preset"])
    _check_classes(config["classes"], config["shares"])
    _check_about(config["about"])
    checked(config["ledger"])
    is_image = config["preset"] in IMAGES
    _check_dataclass("network", shape_of(config["preset"]), config["network"])
    if default_diffusion(config["preset"]) is not None:
        _check_dataclass("diffusion", Diffusion, config["diffusion"])
    elif config["diffusion"] is not None:
        raise InputError(f"diffusion: preset {config['preset']!r} has none, null is expected")
    _check_codec(config["codec"], is_image)
    _check_network(config)
    has_lengths = config["preset"] in LENGTHS
    channels = [Channel(**one) for one in config["codec"]["channels"]]
    sizes = config["network"].get("columns", ())
    _check_columns(config["columns"], sizes, has_lengths, channels)


def read_config(path: Path) -> dict[str, Any]:
    """The settings in `config.json`, checked."""
    if not path.is_file():
        inside = " and ".join(sorted(one.parent.name for one in path.parent.glob(f"*/{path.name}")))
        raise InputError(
            f"{path.parent}: not a netdiffus model folder, it has no {path.name}"
            + (
                f", but {inside} have: of sessions or long traces `sample` makes traces, and other "
                "commands can be given these"
                if " and " in inside
                else ""
            )
        )
    with path.open("rb") as file:
        content = file.read(MOST_CONFIG + 1)
    if len(content) > MOST_CONFIG:
        raise InputError(f"{path}: longer than {MOST_CONFIG:,} bytes; no config of netdiffus is")
    try:
        config = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable JSON: {error}") from None
    if _is_deep(config, DEEPEST):
        raise InputError(f"{path}: more than {DEEPEST} brackets inside each other")
    if not isinstance(config, dict) or "format" not in config or "netdiffus" not in config:
        raise InputError(f"{path}: not the config of a netdiffus model (no 'format', 'netdiffus')")
    _check_format(path, config)
    for name in ("id", "ledger"):  # which folders of the first version of this format lack
        config.setdefault(name, None)
    try:
        check_config(config)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return config


@dataclass(frozen=True)
class Weights:
    """An open file of tensors; it stays the same if a training replaces it meanwhile.

    Attributes:
        path: Its name.
        file: Reader of its tensors.
        header: Types and shapes of the tensors.
        id: The identity of its save; None in folders of the first version of this format.
    """

    path: Path
    file: Any
    header: Header
    id: str | None

    def read(self, names: Collection[str]) -> dict[str, Tensor]:
        """Some tensors, whose numbers must be finite.

        They are copies, because tensors from safetensors change with the file.
        """
        found = {name: self.file.get_tensor(name).clone() for name in names}
        for name, tensor in found.items():
            if not torch.isfinite(tensor).all():
                raise InputError(
                    f"{self.path}: tensor {name} holds values that are not finite; train the model "
                    "again"
                )
        return found


@contextmanager
def open_weights(path: Path) -> Iterator[Weights]:
    """Opens a file of tensors and reads only its header."""
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise InputError(f"{path}: no regular file but a device, pipe or socket; copy it again")
    with path.open("rb") as start:
        length = int.from_bytes(start.read(8), "little")
    if length > MOST_HEADER:
        raise InputError(
            f"{path}: truncated or not a safetensors file: its header has {length:,} bytes; at "
            f"most {MOST_HEADER:,} are read"
        )
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            header = {
                name: (str(one.get_dtype()), tuple(one.get_shape())) for name, one in slices.items()
            }
            yield Weights(path, file, header, (file.metadata() or {}).get("id"))
    except SafetensorError as error:
        raise InputError(f"{path}: truncated or not a safetensors file: {error}") from error


def check_tables(weights: Weights, config: Mapping[str, Any]) -> list[str]:
    """Refuses tables of codec and columns of the wrong shape; returns their names."""
    codec, network = config["codec"], config["network"]
    wanted: dict[str, tuple[int | None, int]]
    if config["preset"] in IMAGES:
        wanted = {f"codec.{one['name']}": (None, 3) for one in codec["channels"]}
    else:
        sizes = enumerate(network["sizes"])
        wanted = {f"codec.vocabulary.{f}": (size - (f == 0), PARTS + 1) for f, size in sizes}
    for j, one in enumerate(config["columns"].get("learned", ())):
        if one["values"] is None:
            wanted[f"columns.{j}"] = (network["columns"][j] - one["has_empty"], PARTS + 1)
    if config["preset"] in LENGTHS:
        wanted["columns.lengths"] = (network["columns"][-1], PARTS + 1)
    for name, (rows, columns) in wanted.items():
        kind, shape = weights.header.get(name, ("", ()))
        rows = rows or (shape[0] if shape else 1)
        if (kind, shape) != ("F64", (rows, columns)) or not rows:
            raise _misfit(weights, name, f"({rows}, {columns}) F64")
    return list(wanted)


def check_weights(weights: Weights, expected: Mapping[str, Tensor]) -> list[str]:
    """Refuses a file with other tensors than those of the network; returns their names."""
    wanted = {f"network.{name}": tensor for name, tensor in expected.items()}
    for name, tensor in wanted.items():
        kind, shape = weights.header.get(name, ("", ()))
        if shape != tuple(tensor.shape) or TYPES.get(kind) != tensor.dtype:
            raise _misfit(weights, name, f"{tuple(tensor.shape)} {tensor.dtype}")
    return list(wanted)


def check_unknown(weights: Weights, known: Collection[str]) -> None:
    """Refuses tensors that no part of the model uses."""
    for name in sorted(set(weights.header) - set(known)):
        raise InputError(
            f"{weights.path}: config.json and it do not fit: tensor {_short(name)} is unknown"
        )


def check_values(path: Path, tables: Mapping[str, Tensor], codec: Mapping[str, Any]) -> None:
    """Refuses tables that are not those of a vocabulary or a scale."""
    names = [channel["name"] for channel in codec["channels"]]
    scales = dict(zip(names, codec.get("scales", ()), strict=False))
    for name, tensor in tables.items():
        table = tensor.numpy()
        scale = None if name.startswith("columns.") else scales.get(name.removeprefix("codec."))
        is_right = (np.diff(table, axis=1) >= 0).all() if scale is None else _is_scale(scale, table)
        if not is_right or np.abs(table).max() > LARGEST:
            raise InputError(
                f"{path}: tensor {name} is no table of a {scale or 'vocabulary'}: its numbers "
                "must rise and be those of traces"
            )


def check_temperature(path: Path, network: Mapping[str, Tensor]) -> None:
    """Refuses a temperature that would change the sign of logits, or make them 0."""
    found = network.get("logits.temperature")
    if found is not None and not 1 <= float(found) <= MOST_TEMPERATURE:
        raise InputError(
            f"{path}: tensor network.logits.temperature must lie in 1..{MOST_TEMPERATURE}, "
            f"found {float(found):.4g}"
        )


def _misfit(weights: Weights, name: str, wanted: str) -> InputError:
    kind, shape = weights.header.get(name, ("", ()))
    found = f"{shape} {kind}" if kind else "none"
    return InputError(
        f"{weights.path}: config.json and it do not fit: tensor {_short(name)} must be {wanted}, "
        f"found {found}"
    )


def _is_scale(kind: str, table: Floats) -> bool:
    if kind == "quantile":
        value, start, end = table.T
        places = np.stack([start, end], 1).reshape(-1)
        inside = places.min() >= 0 and places.max() <= 1
        return bool((np.diff(value) > 0).all() and (np.diff(places) >= 0).all() and inside)
    lo, hi, unit = table[0]
    is_log = kind == "log"
    return (
        len(table) == 1 and lo <= hi and (not is_log or (unit > 0 and (hi - lo) / unit < LARGEST))
    )


def _is_deep(value: Any, left: int) -> bool:
    inside = value.values() if isinstance(value, dict) else value
    if not isinstance(value, (dict, list)):
        return False
    return left == 0 or any(_is_deep(one, left - 1) for one in inside)


def _check_format(path: Path, config: dict[str, Any]) -> None:
    found, version = config["format"], _brief(str(config["netdiffus"]))
    if found == FORMAT:
        return
    if isinstance(found, int) and found < FORMAT:
        raise InputError(
            f"{path}: format {found} of netdiffus {version} holds counts that give its training "
            f"traces away, and is no longer read; train again for format {FORMAT}, and keep this "
            "folder as private as the traces"
        )
    raise InputError(
        f"{path}: format {_brief(str(found))} of netdiffus {version}; this version reads format "
        f"{FORMAT}: upgrade netdiffus"
    )


def _check_keys(
    where: str, found: Any, known: Collection[str], optional: Collection[str] = ()
) -> None:
    start = f"{where}: " if where else ""
    if not isinstance(found, Mapping):
        raise InputError(f"{start}must be settings in {{}}, got {_short(found)}")
    problems = {"unknown": set(found) - set(known), "missing": set(known) - set(found)}
    problems["missing"] -= set(optional)
    for problem, names in problems.items():
        if names:
            listed = _brief(", ".join(sorted(names)))
            raise InputError(
                f"{start}{problem} setting {listed}; known: {', '.join(sorted(known))}"
            )


def _check_preset(preset: Any) -> None:
    if not isinstance(preset, str):
        raise InputError(f"preset must be text, got {_short(preset)}")
    check_preset(preset)


def _check_classes(classes: Any, shares: Any) -> None:
    if not _is_list_of(classes, str) or not classes or len(set(classes)) < len(classes):
        raise InputError("classes must be a list of different names")
    if not _is_list_of(shares, float) or len(shares) != len(classes):
        raise InputError("shares must be a list of one number for each class")
    if min(shares) < 0 or not 0.99 < sum(shares) < 1.01:
        raise InputError("shares must be numbers of 0 or more with a sum of 1")


def _check_about(about: Any) -> None:
    if not isinstance(about, Mapping):
        raise InputError(f"about must be settings in {{}}, got {_short(about)}")
    if "budget" in about:
        _check_settings("about.budget", about["budget"], BUDGET, BUDGET)


def _check_dataclass(where: str, kind: Any, found: Any) -> None:
    """Refuses settings that are not those of a dataclass: by name, type and bound."""
    optional = [one.name for one in fields(kind) if one.default is not MISSING]
    _check_settings(where, found, typing.get_type_hints(kind), optional)


def _check_settings(where: str, found: Any, types: Types, optional: Collection[str] = ()) -> None:
    """Refuses settings of other names or types, or out of their bounds."""
    _check_keys(where, found, types, optional)
    for name, value in found.items():
        if types[name] is not None:
            _check_type(f"{where}.{name}", value, types[name])


def _check_type(name: str, value: Any, kind: Any) -> None:
    """Refuses a setting of another type, or out of its bounds."""
    several = typing.get_origin(kind) in (tuple, list)
    inner = typing.get_args(kind)[0] if several else kind
    if not _is_list_of(value if several else [value], inner):
        what = {int: "whole number", float: "finite number", bool: "true or false", str: "text"}
        raise InputError(
            f"{name} must be {'a list of ' if several else 'a ' * (inner in (int, float))}"
            f"{what[inner]}{'s' * several}, got {_short(value)}"
        )
    for one in value if several else [value]:
        if name in BOUNDS:
            check_bound(name, one)


def _is_list_of(values: Any, kind: type) -> bool:
    if not isinstance(values, (list, tuple)):
        return False
    if kind is float:
        numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
        return numbers and all(abs(v) < LARGEST for v in values)  # which NaN is not
    return all(isinstance(v, kind) and (kind is bool or not isinstance(v, bool)) for v in values)


def _check_codec(codec: Any, is_image: bool) -> None:
    _check_settings("codec", codec, PIXELS if is_image else TOKENS, ("runs",))
    _check_channels(codec["channels"])
    if not is_image:
        _check_runs(codec)
        return
    kinds = codec["scales"]
    if not _is_list_of(kinds, str) or set(kinds) - {"minmax", "log", "quantile"}:
        raise InputError(f"codec.scales must be minmax, log or quantile, got {_short(kinds)}")
    if len(kinds) != len(codec["channels"]):
        raise InputError("codec.scales must be one for each channel")


def _check_runs(codec: Mapping[str, Any]) -> None:
    if "runs" not in codec:
        return
    kinds = {channel["kind"] for channel in codec["channels"]}
    if not kinds & set(EQUAL) or not kinds <= {*EQUAL, *TIMED} or codec["bins_per_point"] != 1:
        raise InputError("codec.runs is for packets with a size or a direction")


def _check_channels(channels: Any) -> None:
    if not isinstance(channels, list) or not channels:
        raise InputError(f"codec.channels must be a list of channels, got {_short(channels)}")
    for k, channel in enumerate(channels):
        where = f"codec.channels[{k}]"
        _check_settings(where, channel, CHANNEL, ("bin_width",))
        if channel["kind"] not in CHANNEL_KINDS:
            raise InputError(f"{where}.kind must be one of {', '.join(CHANNEL_KINDS)}")
        if not _is_numeric(channel["dtype"]):
            raise InputError(f"{where}.dtype must be a type of numbers, got {channel['dtype']!r}")
        width = channel.get("bin_width")
        if width is not None and not (_is_list_of([width], float) and width > 0):
            raise InputError(f"{where}.bin_width must be a number above 0, got {_short(width)}")
    if len({one["name"] for one in channels}) < len(channels):
        raise InputError("codec.channels must have different names")


def _is_numeric(alias: str) -> bool:
    try:
        kind = pa.type_for_alias(alias)
    except ValueError:
        return False
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or kind == pa.bool_())


def _check_network(config: Mapping[str, Any]) -> None:
    """Refuses a network that does not fit codec and classes."""
    network, codec = config["network"], config["codec"]
    channels = len(codec["channels"])
    wanted = {"classes": len(config["classes"])}
    if config["preset"] in IMAGES:
        side = min(codec["size"], codec["length"]) + codec["border"]
        wanted |= {"channels": channels, "size": side}
    else:
        wanted["points"] = codec.get("runs") or -(-codec["length"] // codec["bins_per_point"])
        if "runs" in codec:  # a count, and for times how they pass inside a run
            channels += 1 + sum(one["kind"] in TIMED for one in codec["channels"])
        features = len(network["sizes"])
        counts = {"codec.is_whole": len(codec["is_whole"])}
        if config["preset"] not in LENGTHS:
            counts["network.jittered"] = len(network.get("jittered", ()))
        for name, count in counts.items():
            if count != features:
                raise InputError(f"{name} must have {features} values, as network.sizes, "
                                 f"got {count}")  # fmt: skip
        if min(network["sizes"][:1], default=0) < 2 or features > channels:
            raise InputError(f"network.sizes must suit {channels} channels, got "
                             f"{_short(network['sizes'])}")  # fmt: skip
    for name, value in wanted.items():
        if network[name] != value:
            raise InputError(
                f"network.{name} must be {value}, as classes and codec are, got {network[name]}"
            )


def _check_columns(
    columns: Any, sizes: Any, has_lengths: bool, channels: Sequence[Channel]
) -> None:
    _check_keys("columns", columns, COLUMNS, COLUMNS)
    learned = columns.get("learned", [])
    if not isinstance(learned, list):
        raise InputError(f"columns.learned must be a list of columns, got {_short(learned)}")
    if len(sizes) != len(learned) + has_lengths:
        raise InputError(
            f"network.columns must have {len(learned) + has_lengths} values, one for each column"
            f"{' and one for the length' * has_lengths}, got {_short(sizes)}"
        )
    for j, one in enumerate(learned):
        _check_column(f"columns.learned[{j}]", one, sizes[j])
    names = [one["name"] for one in learned]
    numbers = [one["name"] for one in learned if one["values"] is None]
    _check_orders(columns.get("orders", []), numbers)
    _check_totals(columns.get("totals", {}), names, channels)


def _check_column(where: str, one: Any, size: int) -> None:
    """Refuses invalid settings of a column, or another number of tokens."""
    _check_settings(where, one, COLUMN, ("rare",))
    values, rare = one["values"], one.get("rare", [])
    is_number = values is None
    if not _is_list_of(rare, str) or rare != [name for name in PORT_RANGES if name in rare]:
        raise InputError(f"{where}.rare must be of {', '.join(PORT_RANGES)}, in this order")
    if rare and (one["name"] != PORT or is_number):
        raise InputError(f"{where}.rare must be empty: only {PORT} has ranges")
    count = size - one["has_empty"] - len(rare)
    if is_number:
        _check_type(f"{where}.is_whole", one["is_whole"], bool)
    elif not isinstance(values, list) or len(values) != count:
        raise InputError(f"{where}.values must be a list of {count} values")
    try:
        column = Column.from_settings(one, np.zeros((1, PARTS + 1)) if is_number else None)
        if is_number and not (pa.types.is_temporal(column.type) or _is_numeric(one["kind"])):
            raise InputError(f"{where}.kind must be a type of numbers or times, got {one['kind']}")
        if not is_number:
            pa.array(values, column.type)
        if not set(rare) <= set(ranges_in(column.type)):
            raise InputError(f"{where}.rare: cells of type {one['kind']} do not hold such ports")
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{where}: {error}") from None


def _check_orders(orders: Any, numbers: list[str]) -> None:
    """Refuses orders of missing columns."""
    pairs = isinstance(orders, list) and all(
        _is_list_of(pair, str) and len(pair) == 2 and set(pair) <= set(numbers) for pair in orders
    )
    if not pairs:
        raise InputError("columns.orders must be pairs of columns of numbers")


def _check_totals(totals: Any, names: list[str], channels: Sequence[Channel]) -> None:
    """Refuses totals that traces of these channels do not have."""
    if not isinstance(totals, Mapping):
        raise InputError(f"columns.totals must be settings in {{}}, got {_short(totals)}")
    if len({*names, *totals}) < len(names) + len(totals):
        raise InputError("columns must have different names")
    known = total_names(channels)
    for name, found in totals.items():
        is_right = _is_list_of(found, str) and len(found) == 2 and _is_total(found[1])
        if not is_right or found[0] not in known:
            raise InputError(
                f"columns.totals: {_short(name)} must be a total of the channels and a type of "
                f"numbers, got {_short(found)}"
            )


def _is_total(alias: str) -> bool:
    return _is_numeric(alias) or alias in {f"duration[{unit}]" for unit in PER_SECOND}


def _short(value: Any) -> str:
    """The beginning of an untrusted value, for a message."""
    if isinstance(value, int) and abs(value) > LARGEST:
        return "a number of more than 100 digits"
    return _brief(repr(value))


def _brief(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"
