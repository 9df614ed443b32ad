"""Traces with names that are markup, and what a browser makes of HTML with them."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from netdiffus import Traces

EVIL = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', r"$\foo$", "a\nb\x1b[31m"]
TAGS = {"div", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "img"}


class Page(HTMLParser):
    """The text, the tags and the images of a piece of HTML, as a browser takes them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.names: set[str] = set()
        self.words: list[str] = []
        self.images: list[bytes] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}
        if tag == "img":
            kind, data = str(dict(attrs)["src"]).split(";base64,")
            assert kind in ("data:image/png", "data:image/svg+xml")
            self.images.append(base64.b64decode(data))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def evil_traces() -> Traces:
    rng = np.random.default_rng(0)
    return Traces.from_lists(
        {'<b onclick="x">': rng.uniform(0, 9, (24, 6)).tolist()},
        EVIL * 6,
        {"<i>meta": list(range(24))},
    )


def colours(content: bytes) -> int:
    with Image.open(io.BytesIO(content)) as picture:
        return len(picture.convert("RGB").getcolors(picture.width * picture.height) or [])
