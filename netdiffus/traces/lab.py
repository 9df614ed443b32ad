"""The lab traffic that ships with the package; `data/lab_traffic.md` says how it was made."""

from __future__ import annotations

from importlib.resources import as_file, files

from netdiffus.errors import InputError
from netdiffus.traces.traces import Traces

KINDS = ("volumes", "packets")


def lab_traffic(kind: str = "volumes") -> Traces:
    """Loads the bundled lab traffic: 900 sessions of nine classes over twenty links.

    Args:
        kind: `volumes` (bytes down and up per 0.2 s) or `packets` (length, direction and time of
            each session's first packets).
    """
    if kind not in KINDS:
        raise InputError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    with as_file(files("netdiffus") / "data" / f"lab_{kind}.parquet") as path:
        return Traces.load(path)
