"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable


def markdown(heads: str, rows: Iterable[Iterable[object]]) -> str:
    """A table; `heads` are its titles with | between them."""
    titles = heads.split(" | ")
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(map(str, cells))} |\n" for cells in lines)
