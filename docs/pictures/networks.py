"""Draws networks.svg, the picture of `how_it_works`: python docs/pictures/networks.py.

Widths, blocks and heads come from the code.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from netdiffus.networks.build import PAPER_WIDTH
from netdiffus.networks.causal import CausalConfig
from netdiffus.networks.denoiser import DenoiserConfig
from netdiffus.networks.image import ImageConfig

BOX, GAP, HEIGHT, ROW, INCH = 150, 18, 68, 104, 96  # in pixels, as text is
GIVEN, LEARNED, MADE = "#e8e8e8", "#cfe0f5", "#d9efd4"

causal = CausalConfig(points=1, sizes=(2,), classes=1)
denoiser = DenoiserConfig(points=1, sizes=(2,), classes=1, columns=())
image = ImageConfig(channels=1, size=1, classes=1, columns=())

ROWS = {
    "causal, the default": [
        (GIVEN, "tokens of point t − 1\n(B, T, F)"),
        (LEARNED, "embeddings, totals\n+ place t\n+ class, columns\n(B, T, w)"),
        (
            LEARNED,
            f"{causal.layers} blocks: attention\nto points before,\n"
            f"{causal.heads} heads, w = {causal.width}",
        ),
        (LEARNED, "logits of token f,\ngiven those before it\n(B, T, S)"),
        (MADE, "token after token,\nuntil the end\n(B, T, F)"),
    ],
    "series": [
        (GIVEN, "noisy coordinates\n(B, F, T),\nlevel of noise"),
        (LEARNED, "linear, last answer\n+ place\n+ class, columns\n(B, T, w)"),
        (
            LEARNED,
            f"{denoiser.layers} blocks: attention\nto all points, steered\n"
            f"by the noise level,\n{denoiser.heads} heads, w = {denoiser.width}",
        ),
        (LEARNED, "logits of each token\n(B, T, S); x0 is\ntheir mean"),
        (MADE, "16 denoising steps,\nthen tokens\n(B, T, F)"),
    ],
    "masked": [
        (GIVEN, "tokens, some hidden\n(B, T, F),\nshare hidden"),
        (LEARNED, "embeddings\n+ place\n+ class, columns\n(B, T, w)"),
        (
            LEARNED,
            f"{denoiser.layers} blocks: attention\nto all points, steered\n"
            f"by the share hidden,\n{denoiser.heads} heads, w = {denoiser.width}",
        ),
        (LEARNED, "logits of token f,\ngiven those before it\n(B, T, S)"),
        (MADE, "32 steps, each draws\nsome of the points\n(B, T, F)"),
    ],
    "image": [
        (GIVEN, "noisy GASF images\n(B, C, m + 1, m + 1),\ntime"),
        (LEARNED, f"patches + place\n(B, w, 16, 16),\nw = {image.width}"),
        (LEARNED, "U-Net of 2 levels,\nattention below,\nsteered by time,\nclass, columns"),
        (LEARNED, "v of each pixel,\nmade symmetric\n(B, C, m + 1, m + 1)"),
        (MADE, "16 denoising steps,\nthe nearest series\n(B, C, m)"),
    ],
    "paper": [
        (GIVEN, "noisy GASF images\n(B, C, m, m),\ntime"),
        (LEARNED, f"two convolutions\n+ time, class, columns\n(B, w, m, m),\nw = {PAPER_WIDTH}"),
        (LEARNED, "U-Net of 5 levels:\nw, 2w, 4w, 2w, w\nfeatures"),
        (LEARNED, "logit of x0\nof each pixel\n(B, C, m, m)"),
        (MADE, "16 denoising steps,\nthe nearest series\n(B, C, m)"),
    ],
}
HEADS = ["given", "read", "body", "answer", "made"]


def box(ax: Axes, x: float, y: float, colour: str, text: str) -> None:
    """One box with its text, the upper left corner at (x, y)."""
    patch = FancyBboxPatch(
        (x, y), BOX, HEIGHT, boxstyle="round,pad=2", facecolor=colour, edgecolor="#555555"
    )
    ax.add_patch(patch)
    ax.text(x + BOX / 2, y + HEIGHT / 2, text, ha="center", va="center", fontsize=9)


def row(ax: Axes, y: float, name: str, boxes: list[tuple[str, str]]) -> None:
    """The name of a network above its boxes, with arrows between them."""
    ax.text(0, y - 8, name, va="bottom", fontsize=11, fontweight="bold")
    for k, (colour, text) in enumerate(boxes):
        x = k * (BOX + GAP)
        box(ax, x, y, colour, text)
        if k:
            middle = y + HEIGHT / 2
            arrow = {"arrowstyle": "->", "color": "#333333", "shrinkA": 0, "shrinkB": 0}
            ax.annotate("", (x - 2, middle), (x - GAP + 2, middle), arrowprops=arrow)


def main(path: Path) -> None:
    """Draws all of it into a file."""
    plt.rcParams |= {"svg.hashsalt": "netdiffus", "svg.fonttype": "none"}
    width, height = len(HEADS) * (BOX + GAP), len(ROWS) * ROW + 24
    fig = plt.figure(figsize=(width / INCH, height / INCH))
    ax = fig.add_axes((0, 0, 1, 1))
    for k, (name, boxes) in enumerate(ROWS.items()):
        row(ax, 52 + ROW * k, name, boxes)
    for k, name in enumerate(HEADS):
        ax.text(k * (BOX + GAP) + BOX / 2, 14, name, ha="center", color="#555555")
    ax.set_xlim(-6, width - 6)
    ax.set_ylim(height, 0)
    ax.axis("off")
    fig.savefig(path, facecolor="white", metadata={"Date": None})


if __name__ == "__main__":
    main(Path(__file__).with_suffix(".svg"))
