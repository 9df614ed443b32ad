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

from netdiffus.networks.causal import CausalConfig
from netdiffus.networks.denoiser import DenoiserConfig
from netdiffus.networks.image import ImageConfig

BOX, GAP, HEIGHT, ROW = 3.6, 0.5, 1.1, 1.6
GIVEN, LEARNED, MADE = "#e8e8e8", "#cfe0f5", "#d9efd4"

causal = CausalConfig(points=1, sizes=(2,), classes=1)
denoiser = DenoiserConfig(points=1, sizes=(2,), classes=1, columns=())
image = ImageConfig(channels=1, size=1, classes=1, columns=())

ROWS = {
    "causal\n(default)": [
        (GIVEN, "tokens of point t − 1\n(B, T, F)"),
        (LEARNED, "embeddings + totals so far\n+ place t + class, columns\n(B, T, w)"),
        (
            LEARNED,
            f"{causal.layers} blocks: causal attention,\n{causal.heads} heads; hidden layer\n"
            f"w = {causal.width}",
        ),
        (LEARNED, "token f + its embedding\n→ logits of token f + 1\n(B, T, S)"),
        (MADE, "one token after another,\nuntil the end\n(B, T, F)"),
    ],
    "teacher →\nstudent": [
        (GIVEN, "real traces"),
        (LEARNED, "teacher: causal,\n2/3 of the budget"),
        (MADE, "traces that it makes,\nnew ones all the time"),
        (LEARNED, "student: causal, anew,\nhalf as many steps"),
        (MADE, "the model that you get"),
    ],
    "series": [
        (GIVEN, "noisy coordinates\n(B, F, T), level of noise"),
        (LEARNED, "linear map + last answer\n+ place + class, columns\n(B, T, w)"),
        (
            LEARNED,
            f"{denoiser.layers} blocks: attention to all,\nsteered by the noise level\n"
            f"w = {denoiser.width}",
        ),
        (LEARNED, "logits of every token\n(B, T, S); x0 is their\nmean coordinate"),
        (MADE, "16 steps of DPM-Solver++,\nthen tokens\n(B, T, F)"),
    ],
    "masked": [
        (GIVEN, "tokens, some hidden\n(B, T, F), share hidden"),
        (LEARNED, "embeddings, or one vector\n+ place + class, columns\n(B, T, w)"),
        (
            LEARNED,
            f"{denoiser.layers} blocks: attention to all,\nsteered by the share\n"
            f"w = {denoiser.width}",
        ),
        (LEARNED, "token f + its embedding\n→ logits of token f + 1\n(B, T, S)"),
        (MADE, "32 steps, in each some\nof the hidden points\n(B, T, F)"),
    ],
    "image": [
        (GIVEN, "noisy GASF images\n(B, C, m + 1, m + 1), time"),
        (LEARNED, "patches + place\n(B, w, 16, 16)\n" + f"w = {image.width}"),
        (
            LEARNED,
            "U-Net of 2 levels, residual\nblocks, attention below;\nsteered by time and class",
        ),
        (LEARNED, "v of every pixel,\nmade symmetric\n(B, C, m + 1, m + 1)"),
        (MADE, "16 steps of DPM-Solver++,\nthen the nearest series\n(B, C, m)"),
    ],
    "paper": [
        (GIVEN, "noisy GASF images\n(B, C, m, m), time"),
        (LEARNED, "2 × (conv 3 × 3, ReLU)\n+ time and class\n(B, w, m, m), w = 32"),
        (LEARNED, "U-Net of 5 levels:\nw, 2w, 4w, 2w, w\nfeatures"),
        (LEARNED, "logit of x0\nof every pixel\n(B, C, m, m)"),
        (MADE, "16 steps of DPM-Solver++,\nthen the nearest series\n(B, C, m)"),
    ],
}
HEADS = ["given", "read", "body", "answer", "made"]


def box(ax: Axes, x: float, y: float, colour: str, text: str) -> None:
    """One box with its text, the lower left corner at (x, y)."""
    patch = FancyBboxPatch(
        (x, y), BOX, HEIGHT, boxstyle="round,pad=0.06", facecolor=colour, edgecolor="#555555"
    )
    ax.add_patch(patch)
    ax.text(x + BOX / 2, y + HEIGHT / 2, text, ha="center", va="center", fontsize=9)


def row(ax: Axes, y: float, name: str, boxes: list[tuple[str, str]]) -> None:
    """The name of a network and its boxes, with arrows between them."""
    ax.text(-0.3, y + HEIGHT / 2, name, ha="right", va="center", fontsize=12, fontweight="bold")
    for k, (colour, text) in enumerate(boxes):
        x = k * (BOX + GAP)
        box(ax, x, y, colour, text)
        if k:
            arrow = {"arrowstyle": "->", "color": "#333333"}
            middle = y + HEIGHT / 2
            ax.annotate("", (x - 0.06, middle), (x - GAP + 0.06, middle), arrowprops=arrow)


def main(path: Path) -> None:
    """Draws all of it into a file."""
    plt.rcParams |= {"svg.hashsalt": "netdiffus", "svg.fonttype": "none"}
    fig, ax = plt.subplots(figsize=(14.5, 7))
    for k, (name, boxes) in enumerate(ROWS.items()):
        row(ax, -ROW * k, name, boxes)
    for k, name in enumerate(HEADS):
        ax.text(k * (BOX + GAP) + BOX / 2, HEIGHT + 0.35, name, ha="center", color="#555555")
    ax.set_xlim(-2.1, len(HEADS) * (BOX + GAP))
    ax.set_ylim(-ROW * (len(ROWS) - 1) - 0.3, HEIGHT + 0.75)
    ax.set_aspect("equal")
    ax.axis("off")
    fig.savefig(path, bbox_inches="tight", facecolor="white", metadata={"Date": None})


if __name__ == "__main__":
    main(Path(__file__).with_suffix(".svg"))
