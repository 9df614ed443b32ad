"""Keeps each part of a bench as JSON, so that what is done is not done again."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from netdiffus.files import write_text

Result = dict[str, Any]


def kept(path: Path, make: Callable[[], Result]) -> Result:
    """What the file holds; if there is none, what `make` gives, which is then written there."""
    if path.exists():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    print(f"  {path}", flush=True)
    made = make() | {"commit": _commit()}
    write_text(path, json.dumps(made, indent=1) + "\n")
    return made


def _commit() -> str:
    """Of the code that gave a figure; a + stands for changes since."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+"]
    found = subprocess.run(git, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
