"""A folder of two models that are only used together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from netdiffus.errors import InputError
from netdiffus.model.files import CONFIG, refuse_model
from netdiffus.model.model import Model


@dataclass(frozen=True)
class ModelPair:
    """Which two models a folder holds.

    Attributes:
        what: Name of the pair, such as `model of sessions`.
        first: Folder of the model that is trained first.
        second: Folder of the model that is only used with the first one.
        option: Of `train`, which makes them.
    """

    what: str
    first: str
    second: str
    option: str

    @property
    def names(self) -> tuple[str, str]:
        """Of both folders."""
        return self.first, self.second

    def is_in(self, path: str | Path) -> bool:
        """Whether a folder holds both."""
        return all((Path(path) / name / CONFIG).is_file() for name in self.names)

    def load(self, path: str | Path) -> tuple[Model, Model]:
        """Reads both from a folder, which may come from an unknown source.

        Raises:
            InputError: One of them is missing or damaged.
        """
        folder = Path(path)
        if not self.is_in(folder):
            raise InputError(
                f"{folder}: no {self.what}: it needs the folders {self.first} and {self.second}; "
                f"train {self.option} makes them, and --resume ends a training that was interrupted"
            )
        return Model.load(folder / self.first), Model.load(folder / self.second)

    def save(self, path: str | Path, first: Model, second: Model, force: bool) -> None:
        """Writes the first, then the second.

        Raises:
            FileExistsError: A model is there and `force` is false.
        """
        self.refuse(path, force)
        self.disown(path)
        first.save(Path(path) / self.first, force=force)
        second.save(Path(path) / self.second, force=force)

    def refuse(self, path: str | Path | None, force: bool) -> None:
        """Refuses a folder into which they cannot, or may not, be written."""
        for name in self.names if path is not None else ():
            refuse_model(Path(path or "") / name, force)

    def disown(self, path: str | Path | None) -> None:
        """Removes the second model before the first one is replaced.

        With another first model, the second one would be wrong without any error.
        """
        if path is not None:
            (Path(path) / self.second / CONFIG).unlink(missing_ok=True)

    def folders(
        self, path: str | Path | None, resume: bool
    ) -> tuple[tuple[Path | None, bool], tuple[Path | None, bool]]:
        """The folder of each model, and whether its training is resumed."""
        one, two = (None if path is None else Path(path) / name for name in self.names)
        return (one, resume and _is_model(one)), (two, resume and _is_model(two))


def _is_model(folder: Path | None) -> bool:
    return folder is not None and (folder / CONFIG).is_file()
