"""Where a data set lies: a folder, or an object store that Arrow or fsspec knows."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs

from netdiffus.errors import InputError
from netdiffus.files import url_of


@dataclass(frozen=True)
class Store:
    """The files of one folder; they are only read.

    Attributes:
        name: As the user knows it.
        files: The file system that it is part of.
        path: The folder there.
        is_local: Whether it is a folder of this machine.
    """

    name: str
    files: Any
    path: str
    is_local: bool

    @classmethod
    def of(cls, folder: str | Path) -> Store:
        """A folder, or a URL such as `s3://bucket/made`.

        Raises:
            InputError: No file system has such URLs, or it cannot be reached.
        """
        if (url := url_of(folder)) is None:
            return cls(str(folder), pa.fs.LocalFileSystem(), str(Path(folder).absolute()), True)
        return cls(url, *_file_system(url), False)

    def sizes(self) -> dict[str, int]:
        """The bytes of each file, by its name."""
        chosen = pa.fs.FileSelector(self.path, allow_not_found=True)
        found = self._tried(self.files.get_file_info, chosen)
        return {one.base_name: one.size for one in found if one.is_file}

    def open(self, name: str) -> Any:
        """A file, as Arrow reads it.

        Raises:
            OSError: It cannot be read.
        """
        return self.files.open_input_file(f"{self.path}/{name}")

    def text(self, name: str) -> str:
        """The text of a file.

        Raises:
            InputError: The store does not give it.
            UnicodeDecodeError: It is none.
        """
        with self._tried(self.open, name) as file:
            return bytes(file.read()).decode("utf-8")

    def shown(self, name: str) -> str:
        """A file, as errors name it."""
        return f"{self.name}/{name}"

    def _tried(self, do: Any, argument: Any) -> Any:
        try:
            return do(argument)
        except OSError as error:
            if self.is_local:
                raise
            raise InputError(f"{self.name}: {_first_line(error)}") from None


def _file_system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path there: Arrow's own, or else one of fsspec."""
    with suppress(pa.ArrowInvalid):
        found: tuple[Any, str] = pa.fs.FileSystem.from_uri(url)
        return found
    import fsspec  # slow to import

    try:
        files, path = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError, OSError) as error:
        raise InputError(f"{url}: {_first_line(error)}") from None
    return pa.fs.PyFileSystem(pa.fs.FSSpecHandler(files)), path


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
