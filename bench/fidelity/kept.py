"""Benches that may be stopped: each part is kept as JSON, and what is done is not done again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from netdiffus.errors import InputError
from netdiffus.files import write_text

Result = dict[str, Any]
Command = Callable[[Sequence[str] | None], int]


def kept(path: Path, make: Callable[[], Result]) -> Result:
    """What the file holds; if there is none, what `make` gives, which is then written there."""
    if path.exists():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    print(f"  {path}", flush=True)
    made = make() | {"commit": _commit()}
    write_text(path, json.dumps(made, indent=1) + "\n")
    return made


def ending_well(command: Command) -> Command:
    """A command that says in a line what input is at fault, and that it may be stopped."""

    @wraps(command)
    def main(arguments: Sequence[str] | None = None) -> int:
        try:
            return command(arguments)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("Stopped; the same command uses what is kept in its folder.", file=sys.stderr)
            return 130

    return main


def _commit() -> str:
    """Of the code that gave a figure; a + stands for changes since."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+"]
    found = subprocess.run(git, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
