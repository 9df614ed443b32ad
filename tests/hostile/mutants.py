"""Model folders that are changed at random; each must be refused by an InputError, or work.

    python mutants.py FOLDER SEED COUNT SECONDS

FOLDER holds good model folders. The process may take 1 GB more than after its start, and 5 s for
each mutant. What went wrong is printed as JSON lines, the number of mutants last.
"""

from __future__ import annotations

import json
import math
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from netdiffus.errors import InputError
from netdiffus.model.model import Model
from netdiffus.sampling import sample

GB = 2**30
SECONDS = 5  # for each mutant
NASTY: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    0,
    1,
    2,
    3,
    7,
    10**4,
    10**9,
    2**31,
    2**63,
    10**60,
    0.5,
    -0.0,
    1e-320,
    1e308,
    -1e308,
    math.nan,
    math.inf,
    "",
    "x" * 5000,
    "\x1b[2J\n\u202e",
    "../../../etc/passwd",
    "int8",
    "float32",
    "timestamp[ns]",
    "string",
    "time",
    [],
    {},
    [[]],
    [0],
    [1e308] * 3,
    {"a": {"b": {}}},
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to each value inside a value."""
    found = [path] if path else []
    if isinstance(value, (dict, list)):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            found += places(one, (*path, key))
    return found


def changed(rng: random.Random, value: Any) -> Any:
    """Something else in the place of a value."""
    kind = rng.randrange(5)
    if kind == 0 and isinstance(value, (int, float)):
        return value * 10 ** rng.randrange(1, 12)
    if kind == 1 and isinstance(value, (int, float)):
        return value + rng.choice([-1, 1])
    if kind == 2 and isinstance(value, list) and value:
        return rng.choice([value[1:], value + value[:1], value * 1000, value[::-1]])
    if kind == 3:
        return [value]
    return rng.choice(NASTY)


def change_settings(rng: random.Random, folder: Path) -> str:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    notes = []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        way = rng.choice(places(config))
        inside = config
        for key in way[:-1]:
            inside = inside[key]
        how = rng.randrange(8)
        if how == 0:
            inside.pop(way[-1])
        elif how == 1 and isinstance(inside, dict):
            inside[rng.choice(["x", "", "\n"])] = rng.choice(NASTY)
        else:
            inside[way[-1]] = changed(rng, inside[way[-1]])
        notes.append(f"{way}: {str(inside)[:80]}")
    path.write_text(json.dumps(config))
    return "; ".join(notes)


def change_text(rng: random.Random, folder: Path) -> str:
    path = folder / "config.json"
    text = path.read_bytes()
    at = rng.randrange(len(text))
    put = rng.choice([b"9" * 6000, b"[" * 50_000, b'{"a":' * 3000, b"\xff", b"NaN", b"-", b"\0"])
    how = rng.choice(["cut", "put", "flip"])
    if how == "cut":
        text = text[:at]
    elif how == "put":
        text = text[:at] + put + text[at:]
    else:
        text = text[:at] + bytes([text[at] ^ (1 << rng.randrange(8))]) + text[at + 1 :]
    path.write_bytes(text)
    return f"config.json {how} {put[:5]!r} at {at}"


def change_header(rng: random.Random, folder: Path) -> str:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, rest = json.loads(content[8 : 8 + length]), content[8 + length :]
    name = rng.choice(list(header))
    way = rng.choice(places(header[name]))
    inside = header[name]
    for key in way[:-1]:
        inside = inside[key]
    inside[way[-1]] = rng.choice([changed(rng, inside[way[-1]]), "F64", "F16", "BF16", "I64", "U8"])
    text = json.dumps(header).encode()
    told = rng.choice([len(text)] * 6 + [0, 2**22, 2**40, 2**64 - 1])
    path.write_bytes(told.to_bytes(8, "little") + text + rest)
    return f"header of {name} {way} {told}"


def change_bytes(rng: random.Random, folder: Path) -> str:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    at = rng.randrange(len(content))
    if rng.random() < 0.2:
        path.write_bytes(content[:at])
        return f"weights cut at {at}"
    for _ in range(rng.choice([1, 1, 50])):
        content[rng.randrange(len(content))] = rng.randrange(256)
    path.write_bytes(content)
    return "bytes of weights"


def change_values(rng: random.Random, folder: Path) -> str:
    """Numbers of tensors, vocabularies and scales among them, in a file that is whole."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    tables = [name for name in tensors if not name.startswith("network.")]
    name = rng.choice(rng.choice([tables, list(tensors)]))
    tensor = tensors[name]
    how = rng.randrange(6)
    if how == 0:
        tensor = tensor.flip(0)
    elif how == 1:
        tensor = tensor * rng.choice([0.0, -1.0, 1e-30, 1e30, 1e300])
    elif how == 2:
        flat = tensor.flatten().clone()
        value = torch.tensor(rng.choice([math.nan, math.inf, -1e308, 1e18, 0.0]))
        flat[rng.randrange(len(flat))] = value.to(flat.dtype)
        tensor = flat.view_as(tensor)
    elif how == 3:
        tensor = tensor[: rng.randrange(len(tensor) + 1)] if tensor.ndim else tensor
    elif how == 4:
        tensor = torch.zeros_like(tensor)
    else:
        tensor = torch.cat([tensor] * rng.choice([2, 50])) if tensor.ndim else tensor
    save_file({**tensors, name: tensor.contiguous()}, path, metadata=about)
    return f"values of {name} {how}"


CHANGES: tuple[Callable[[random.Random, Path], str], ...] = (
    *[change_settings] * 4,
    change_text,
    change_header,
    change_bytes,
    *[change_values] * 2,
)


def outcome(folder: Path) -> str:
    """`refused`, `works`, or what went wrong."""

    def hang(number: int, frame: object) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    # Of processor time, as other work on the machine is no fault of a mutant; and of waiting.
    for timer, number, factor in (
        (signal.ITIMER_PROF, signal.SIGPROF, 1),
        (signal.ITIMER_REAL, signal.SIGALRM, 24),
    ):
        signal.signal(number, hang)
        signal.setitimer(timer, factor * SECONDS)
    try:
        model = Model.load(folder)
        made = sample(model, 3, seed=0)
        assert len(made) == 3
        assert np.isfinite(made.values).all(), "values that are not finite"
        return "works"
    except InputError as error:
        return "refused" if str(error) else "an error without words"
    except BaseException:
        return traceback.format_exc()
    finally:
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)


def main(folder: Path, seed: int, count: int, seconds: float) -> None:
    warnings.simplefilter("ignore")
    goods = sorted(folder.iterdir())
    for good in goods:
        found = outcome(good)
        assert found == "works", found
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + GB
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    ends, done, refused = time.monotonic() + seconds, 0, 0
    while done < count or time.monotonic() < ends:
        rng = random.Random(f"{seed} {done}")
        with tempfile.TemporaryDirectory() as place:
            mutant = Path(place, "m")
            shutil.copytree(rng.choice(goods), mutant)
            change = rng.choice(CHANGES)(rng, mutant)
            found = outcome(mutant)
        done += 1
        refused += found == "refused"
        if found not in ("refused", "works"):
            print(json.dumps({"mutant": done - 1, "change": change, "found": found}), flush=True)
    print(json.dumps({"mutants": done, "refused": refused}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
