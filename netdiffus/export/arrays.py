"""Traces as arrays of one width, the form that classifiers of website fingerprinting take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from netdiffus.errors import InputError, whole
from netdiffus.files import refuse_existing, whole_file
from netdiffus.traces.traces import Traces

PADDED_BY_0 = ("size", "direction", "time", "gap")  # whose packets are never 0 in all channels


def to_arrays(
    traces: Traces, length: int | None = None
) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[np.str_]]:
    """An array (N, L) for each channel, and the classes (N,).

    Behind the last point stands 0 where all channels are of packets, else NaN.

    Args:
        traces: What to write.
        length: L; longer traces are cut. None takes the longest trace.
    """
    width = int(traces.lengths.max()) if length is None else whole("length", length, at_least=1)
    kept = traces.truncate(width)
    zero = all(channel.kind in PADDED_BY_0 for channel in traces.channels)
    found = {}
    for c, channel in enumerate(kept.channels):
        array = np.full((len(kept), width), 0.0 if zero else np.nan)
        array[:, : kept.values.shape[2]][kept.mask] = kept.points(c)
        is_small = channel.kind == "direction"
        kind = np.int8 if is_small else np.int64 if channel.is_integer and zero else np.float64
        found[channel.name] = array.astype(kind)
    return found, kept.label_names


def write_arrays(
    traces: Traces, path: str | Path, length: int | None = None, *, force: bool = False
) -> None:
    """Writes an .npz file, whole or not at all, which `Traces.load` reads again.

    Of one channel it holds X (N, L) and y (N,), as Deep Fingerprinting's data sets do; of several
    an array (N, L) under the name of each, and y.

    Args:
        traces: What to write.
        path: An .npz file.
        length: See `to_arrays`.
        force: Replace a file that is there.

    Raises:
        InputError: Another suffix.
        FileExistsError: The file is there and `force` is false.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise InputError(f"{path}: arrays are written to .npz; choose this suffix")
    refuse_existing(path, force)
    found, y = to_arrays(traces, length)
    arrays: dict[str, Any] = {"X": next(iter(found.values()))} if len(found) == 1 else {**found}
    with whole_file(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays, y=y)
