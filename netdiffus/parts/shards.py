"""Which parts of a whole a process makes, where several share it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from netdiffus.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """One of so many shares of the work; the index counts from 0.

    Raises:
        InputError: There is no such share.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise InputError(
                f"shard {self.index}/{self.count}: shards count from 0, so give one of 0/"
                f"{self.count} to {self.count - 1}/{self.count}"
                if self.count > 0
                else f"shard {self.index}/{self.count}: there must be at least one shard"
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """A shard as the command line names it.

        Raises:
            InputError: It is not `INDEX/COUNT`, or there is no such shard.
        """
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if found is None:
            raise InputError(f"shard {text!r}: give INDEX/COUNT, as 0/4 for the first of four")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def asked(cls, text: str | None, force: bool) -> Shard:
        """The shard that a caller asks for; None is all.

        Raises:
            InputError: As of `parse`, or `force` stands beside a shard.
        """
        if text is None:
            return cls()
        if force:
            raise InputError("force with a shard: it would delete the parts of other shards")
        return cls.parse(text)

    def of(self, whole: Sequence[T]) -> Sequence[T]:
        """Its share: every `count`-th from `index` on."""
        return whole[self.index :: self.count]
