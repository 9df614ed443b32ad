"""Types of NumPy arrays that all parts of the package name; arrays in temporary files."""

from __future__ import annotations

import os
from tempfile import TemporaryFile, gettempdir
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def temporary_array(shape: tuple[int, ...], kind: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array in a temporary file, which goes with the process.

    The operating system keeps in memory what it has room for.

    Raises:
        OSError: There is no room for it on the disk.
    """
    if 0 in shape:
        return np.zeros(shape, kind)
    with TemporaryFile(prefix="netdiffus-") as file:
        size = np.dtype(kind).itemsize * int(np.prod(shape))
        try:  # else a full disk ends the process when it writes there
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            text = f"{error.strerror}: {size:,} bytes for a temporary file, see TMPDIR"
            raise OSError(error.errno, text, gettempdir()) from None
        return np.memmap(file, kind, "r+", shape=shape)
