"""Types of NumPy arrays that the whole package uses; arrays in temporary files."""

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
    """An array in a temporary file, which is removed when the process ends.

    The operating system caches it in free memory.

    Raises:
        OSError: The disk has too little space.
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
