"""The files of a model folder, which change together: after a crash all are old, or all are new.

`config.json` holds the identity of the weights that it belongs to, and is written last. Until then
the other files of a save are beside the old ones, with the identity in their names. Afterwards they
replace the old ones. So `current` always gives the files of the last complete save.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from netdiffus.files import refuse_existing, write_bytes, write_text

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
CHECKPOINT, LOG = "checkpoint", "log.jsonl"
STATE = f"{CHECKPOINT}/state.safetensors"
# Those that a save writes beside the config; of a model without training only two.
PARTS = (WEIGHTS, CARD, LOG, STATE)
IDENTITY = re.compile(r"[0-9a-f]{32}")
SHIPPED = {"lab": Path(__file__).parents[1] / "data" / "lab"}  # examples/lab_model.py makes it


def located(path: str | Path) -> Path:
    """The folder; or the bundled model of this name, if there is no such folder."""
    folder = Path(path)
    return folder if folder.exists() else SHIPPED.get(str(path), folder)


def refuse_model(folder: Path, force: bool) -> None:
    """Refuses a folder into which a model cannot, or may not, be written.

    Raises:
        FileExistsError: It holds a model, or other files that the model's files would replace, and
        `force` is false.
        InputError: It cannot be written to.
    """
    refuse_existing(folder / CONFIG, force)
    for name in (WEIGHTS, CARD, STATE):
        refuse_existing(folder / name, force)
    if not _is_log(folder / LOG):
        refuse_existing(folder / LOG, force)


def identity(tensors: Mapping[str, Tensor]) -> str:
    """32 hexadecimal digits that two sets of tensors share only if they are equal."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(save({"": tensor}))
    return digest.hexdigest()[:32]


def identity_of(folder: Path) -> str | None:
    """The identity of the last complete save; None without one, or if its version is older."""
    try:
        found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["id"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) and IDENTITY.fullmatch(found) else None


def current(folder: Path, name: str, one: str | None) -> Path:
    """The file `name` of the last complete save, whose identity is `one`."""
    if one is not None and _staged(folder / name, one).is_file():
        return _staged(folder / name, one)
    return folder / name


def save_together(folder: Path, one: str, config: str, parts: Mapping[str, bytes]) -> None:
    """Writes a save: after a crash at any time the folder holds the previous save or this one.

    Args:
        folder: Of the model.
        one: The identity, which `config` holds as `id`.
        config: The text of `config.json`.
        parts: Contents of those of `PARTS` that the save has.
    """
    for name, content in parts.items():
        write_bytes(_staged(folder / name, one), content)
    write_text(folder / CONFIG, config)
    settle(folder)


def settle(folder: Path) -> None:
    """Cleans up after a crash: files of the last save get their names, others are removed."""
    kept = identity_of(folder)
    for path, other in _all_staged(folder):
        if other == kept:
            path.replace(path.with_name(path.name.replace(f"-{other}", "")))
        else:
            path.unlink()


def _staged(path: Path, one: str) -> Path:
    return path.with_name(f"{path.stem}-{one}{path.suffix}")


def _all_staged(folder: Path) -> Iterator[tuple[Path, str]]:
    """Files that do not have their final names yet, and the identities of their saves."""
    for name in PARTS:
        path = folder / name
        for found in sorted(path.parent.glob(f"{path.stem}-*{path.suffix}")):
            one = found.stem.removeprefix(f"{path.stem}-")
            if IDENTITY.fullmatch(one):
                yield found, one


def _is_log(path: Path) -> bool:
    """Whether it is a training log, as a killed run leaves it, or missing."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return all("step" in json.loads(line) for line in lines[:1])
    except (ValueError, TypeError, RecursionError):
        return False
