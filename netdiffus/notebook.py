"""HTML for notebooks; all text from data is escaped."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from html import escape

from netdiffus.errors import shortened, visible

NO_PICTURES = "No pictures: matplotlib is not installed. pip install 'netdiffus[eval]'"
LONGEST = 600  # characters of a cell


def block(title: str, *parts: str) -> str:
    """A title, and below it the parts, which are HTML already."""
    return f"<div><p><strong>{_text(title)}</strong></p>{''.join(parts)}</div>"


def lines(texts: Iterable[str]) -> str:
    """Each text on a line of its own."""
    return "".join(f"<p>{escape(visible(text))}</p>" for text in texts)


def table(rows: Iterable[Sequence[object]], head: Sequence[str] = ()) -> str:
    """A row for each sequence; the caller formats the numbers."""
    body = "".join(_row(row, "td") for row in rows)
    top = f"<thead>{_row(head, 'th')}</thead>" if head else ""
    return f"<table>{top}<tbody>{body}</tbody></table>"


def number(x: float) -> str:
    """Whole numbers and numbers from 1,000 without decimals; others with three digits."""
    return f"{x:,.0f}" if x == round(x) or abs(x) >= 1000 else f"{x:.3g}"


def images(draw: Callable[[], Iterable[str]]) -> str:
    """The images that `draw` makes; one line of text instead where matplotlib is not installed."""
    try:
        return "".join(draw())
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "matplotlib":
            raise
        return lines([NO_PICTURES])


def image(content: bytes, kind: str, title: str, inches: float) -> str:
    """A PNG or SVG (`kind` is `png` or `svg+xml`) inside the page, so wide.

    The content stands in an `img`, not in the page itself, so that ids and styles of an SVG cannot
    clash with those of other pictures. The background is white, as a notebook may be dark.
    """
    data = base64.b64encode(content).decode("ascii")
    style = f"background:white;margin:2px;max-width:100%;width:{inches * 96:.0f}px"
    return f'<img alt="{_text(title)}" style="{style}" src="data:image/{kind};base64,{data}">'


def _row(cells: Sequence[object], tag: str) -> str:
    # Notebooks align text to the right.
    found = (
        f'<{tag} style="text-align:left;padding-right:1em">{_text(cell)}</{tag}>' for cell in cells
    )
    return f"<tr>{''.join(found)}</tr>"


def _text(value: object) -> str:
    return escape(shortened(str(value), LONGEST))
